//! A client that listens to server-sent events, as the specification has them.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::served::DEADLINE;

/// An answer to a request for a stream.
pub(crate) struct Listener {
    pub(crate) stream: TcpStream,
    /// Status line and headers.
    pub(crate) head: String,
    unread: Vec<u8>,
    /// What came of a chunk that is not complete; a proxy may cut the stream into such.
    chunk: Option<Vec<u8>>,
    /// As a browser would send it back.
    pub(crate) last_event_id: String,
}

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) name: String,
    pub(crate) data: String,
    /// Milliseconds after which the client may come back, where it says so.
    pub(crate) retry: Option<u64>,
}

impl Listener {
    pub(crate) async fn ask(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Self::say(address, &format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")).await
    }

    /// What is answered to `request`.
    pub(crate) async fn say(address: SocketAddr, request: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), request).await
    }

    pub(crate) async fn over(mut stream: TcpStream, request: &str) -> Self {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut listener = Self {
            stream,
            head: String::new(),
            unread: Vec::new(),
            chunk: None,
            last_event_id: String::new(),
        };
        listener.head = listener.head().await;
        if listener.head.to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n") {
            let mut begun = std::mem::take(&mut listener.unread);
            listener.unread = whole_chunks(&mut begun);
            listener.chunk = Some(begun);
        }
        listener
    }

    /// A stream that has begun.
    pub(crate) async fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        let mut listener = Self::ask(address, target, headers).await;
        assert!(listener.head.starts_with("HTTP/1.1 200 "), "{}", listener.head);
        // A proxy writes names as it likes.
        let head = listener.head.to_lowercase();
        assert!(head.contains("\r\ncontent-type: text/event-stream\r\n"), "{head}");
        assert_eq!(listener.next().await.map(|heard| heard.name).as_deref(), Some("connected"));
        listener
    }

    /// The next event, or none at the end. What only says where the stream stands, or when to come back, is none.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        let mut heard = Heard::default();
        let mut data: Option<String> = None;
        for line in self.until("\n\n").await?.trim_end_matches('\n').lines() {
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "event" => heard.name = value.to_owned(),
                "data" => match &mut data {
                    Some(data) => *data += &format!("\n{value}"),
                    None => data = Some(value.to_owned()),
                },
                "id" => self.last_event_id = value.to_owned(),
                "retry" => heard.retry = Some(value.parse().unwrap()),
                _ => panic!("{line:?}"),
            }
        }
        heard.data = data.unwrap_or_default();
        Some(heard)
    }

    /// The data of the next event, which is called `name`.
    pub(crate) async fn hear(&mut self, name: &str) -> String {
        let heard = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
        assert_eq!(heard.name, name, "{heard:?}");
        heard.data
    }

    /// The body of an answer with a length.
    pub(crate) async fn body(&mut self) -> String {
        let length = self.head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let length: usize = length.unwrap().parse().unwrap();
        let mut body = std::mem::take(&mut self.unread);
        while body.len() < length {
            self.more(&mut body).await;
        }
        String::from_utf8(body).unwrap()
    }

    /// Passes over some bytes.
    pub(crate) async fn skip(&mut self, count: usize) {
        let mut unread = std::mem::take(&mut self.unread);
        while unread.len() < count {
            assert_ne!(self.more(&mut unread).await, 0, "the end");
        }
        self.unread = unread.split_off(count);
    }

    /// The head of a further answer.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await.expect("an answer")
    }

    async fn until(&mut self, end: &str) -> Option<String> {
        let mut unread = std::mem::take(&mut self.unread);
        loop {
            let found = unread.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = found {
                self.unread = unread.split_off(at + end.len());
                return Some(String::from_utf8(unread).unwrap());
            }
            if self.more(&mut unread).await == 0 {
                assert!(unread.is_empty(), "cut off: {}", String::from_utf8_lossy(&unread));
                return None;
            }
        }
    }

    async fn more(&mut self, unread: &mut Vec<u8>) -> usize {
        let into = self.chunk.as_mut().unwrap_or(unread);
        let count = timeout(DEADLINE, self.stream.read_buf(into)).await.expect("something in time").unwrap();
        if let Some(chunk) = &mut self.chunk {
            unread.extend(whole_chunks(chunk));
        }
        count
    }
}

/// Takes what is complete of a body in chunks.
fn whole_chunks(body: &mut Vec<u8>) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if body.len() < end + 2 + size + 2 {
            break;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body.drain(..end + 2 + size + 2);
    }
    whole
}
