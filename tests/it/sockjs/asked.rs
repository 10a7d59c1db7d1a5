//! Requests as a browser's, by hand: what stands in the head, and which bytes are a chunk, is what these tests are about.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::served::DEADLINE;

/// An answer that goes on.
pub(super) struct Open {
    stream: TcpStream,
    pub(super) status: u16,
    pub(super) head: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Open {
    /// Sends a request and reads the answer's head.
    pub(super) async fn ask(
        address: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if method != "GET" {
            request += &format!("content-length: {}\r\n", body.len());
        }
        request += "\r\n";
        request += body;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            String::from_utf8(head).unwrap().to_lowercase()
        };
        let head = timeout(DEADLINE, head).await.expect("a head in time");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { stream, status, head }
    }

    /// The next chunk; nothing where the answer has ended.
    pub(super) async fn chunk(&mut self) -> Option<String> {
        let chunk = async {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(self.stream.read_u8().await.unwrap());
            }
            let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            self.stream.read_exact(&mut chunk).await.unwrap();
            assert!(chunk.ends_with(b"\r\n"));
            chunk.truncate(length);
            String::from_utf8(chunk).unwrap()
        };
        let chunk = timeout(DEADLINE, chunk).await.expect("a chunk in time");
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Frames until one of messages; these.
    pub(super) async fn messages(&mut self) -> Vec<String> {
        loop {
            let chunk = self.chunk().await.expect("more to come");
            let frame = chunk.strip_prefix("data: ").unwrap_or(&chunk).trim_end();
            match frame.strip_prefix('a') {
                Some(array) => return serde_json::from_str(array).unwrap(),
                None => assert!(!frame.starts_with('c'), "{frame}"),
            }
        }
    }

    async fn finish(mut self) -> Answer {
        let length = header(&self.head, "content-length").and_then(|value| value.parse().ok());
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                timeout(DEADLINE, self.stream.read_exact(&mut body)).await.expect("a body in time").unwrap();
            }
            None if self.head.contains("transfer-encoding: chunked") => {
                while let Some(chunk) = self.chunk().await {
                    body.extend_from_slice(chunk.as_bytes());
                }
            }
            None => {}
        }
        let Self { status, head, .. } = self;
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }
}

impl Answer {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The messages of one frame.
    pub(super) fn messages(&self) -> Vec<String> {
        let array = self.body.trim_end().strip_prefix('a').unwrap_or_else(|| panic!("no messages: {self:?}"));
        serde_json::from_str(array).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The whole answer to a request.
pub(super) async fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    Open::ask(address, method, target, headers, body).await.finish().await
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
