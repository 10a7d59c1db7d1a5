//! A client that comes through a load balancer, from an address of its choice.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::front::Balancer;
use crate::served::DEADLINE;

/// By what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    WebSocket,
    Tcp,
}

impl Way {
    pub(super) const ALL: [Self; 2] = [Self::WebSocket, Self::Tcp];
}

/// An open session.
pub(super) struct Guest {
    line: Line,
    /// Came behind the frame that was waited for.
    early: Vec<u8>,
    /// Which instance serves it.
    pub(super) instance: String,
}

enum Line {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Tcp(TcpStream),
}

impl Guest {
    /// Signs in.
    ///
    /// # Errors
    /// What the broker, or the balancer, answers instead.
    pub(super) async fn come(way: Way, balancer: &Balancer, from: [u8; 4]) -> Result<Self, String> {
        Self::come_claiming(way, balancer, from, "").await
    }

    /// Signs in and claims to be `other`, as far as a client can.
    ///
    /// # Errors
    /// What the broker, or the balancer, answers instead.
    pub(super) async fn come_claiming(
        way: Way,
        balancer: &Balancer,
        from: [u8; 4],
        other: &str,
    ) -> Result<Self, String> {
        let line = match way {
            Way::WebSocket => {
                let mut request = "ws://stompede/ws".into_client_request().unwrap();
                if !other.is_empty() {
                    request.headers_mut().insert("x-forwarded-for", other.parse().unwrap());
                }
                let opened = client_async(request, connect(from, balancer.http).await);
                match timeout(DEADLINE, opened).await.expect("a handshake in time") {
                    Ok((page, _)) => Line::WebSocket(Box::new(page)),
                    Err(Error::Http(answer)) => return Err(answer.status().to_string()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            Way::Tcp => Line::Tcp(connect(from, balancer.stomp).await),
        };
        let mut guest = Self { line, early: Vec::new(), instance: String::new() };
        if way == Way::Tcp && !other.is_empty() {
            guest.say(&format!("PROXY TCP4 {other} 10.0.0.1 12345 61613\r\n")).await;
        }
        let login =
            "CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,1000\nlogin:backend\npasscode:right\n\n\0";
        guest.say(login).await;
        let answer = guest.hear().await.ok_or("closed without a word")?;
        if !answer.starts_with("CONNECTED\n") {
            return Err(answer);
        }
        let instance = answer.lines().find_map(|line| line.strip_prefix("server:")).unwrap();
        Ok(Self { instance: instance.to_owned(), ..guest })
    }

    pub(super) async fn say(&mut self, frames: &str) {
        match &mut self.line {
            Line::WebSocket(page) => drop(page.send(Message::text(frames)).await),
            Line::Tcp(stream) => drop(stream.write_all(frames.as_bytes()).await),
        }
    }

    /// The next frame, without its end; `None` at the end of the connection.
    pub(super) async fn hear(&mut self) -> Option<String> {
        let heard = async {
            loop {
                let blank = self.early.iter().take_while(|byte| **byte == b'\n').count();
                self.early.drain(..blank);
                if let Some(end) = self.early.iter().position(|byte| *byte == 0) {
                    let frame = self.early.drain(..=end).collect::<Vec<u8>>();
                    return Some(String::from_utf8(frame[..end].to_vec()).unwrap());
                }
                let more = self.read().await?;
                self.early.extend(more);
            }
        };
        timeout(DEADLINE, heard).await.expect("a frame in time")
    }

    /// Sends `body` to a topic that it subscribes itself, and waits for it.
    pub(super) async fn hears_itself(&mut self, body: &str) {
        let subscribe = "SUBSCRIBE\nid:0\ndestination:/topic/echo\nreceipt:r\n\n\0";
        self.say(subscribe).await;
        assert_eq!(self.hear().await.unwrap(), "RECEIPT\nreceipt-id:r\n\n");
        self.say(&format!("SEND\ndestination:/topic/echo\n\n{body}\0")).await;
        let message = self.hear().await.unwrap();
        assert!(
            message.split_once("\n\n").is_some_and(|(_, heard)| heard == body),
            "{} bytes",
            message.len()
        );
        self.say("UNSUBSCRIBE\nid:0\nreceipt:u\n\n\0").await;
        assert_eq!(self.hear().await.unwrap(), "RECEIPT\nreceipt-id:u\n\n");
    }

    /// Waits for a sign of life: a ping, or a heart-beat.
    pub(super) async fn feels_a_beat(&mut self) {
        assert!(self.early.is_empty());
        let beat = async {
            match &mut self.line {
                Line::WebSocket(page) => match page.next().await {
                    Some(Ok(Message::Text(beat))) => beat.as_str() == "\n",
                    sign => matches!(sign, Some(Ok(Message::Ping(_)))),
                },
                Line::Tcp(stream) => stream.read_u8().await.is_ok_and(|byte| byte == b'\n'),
            }
        };
        assert!(timeout(DEADLINE, beat).await.expect("a beat in time"), "the connection was cut");
    }

    async fn read(&mut self) -> Option<Vec<u8>> {
        match &mut self.line {
            Line::WebSocket(page) => match page.next().await? {
                Ok(Message::Text(text)) => Some(text.as_bytes().to_vec()),
                Ok(Message::Binary(bytes)) => Some(bytes.to_vec()),
                Ok(Message::Close(_)) | Err(_) => None,
                Ok(_) => Some(Vec::new()),
            },
            Line::Tcp(stream) => {
                let mut chunk = vec![0; 64 << 10];
                let count = stream.read(&mut chunk).await.unwrap_or(0);
                chunk.truncate(count);
                (count > 0).then_some(chunk)
            }
        }
    }
}

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    timeout(DEADLINE, socket.connect(to)).await.expect("a connection in time").unwrap()
}
