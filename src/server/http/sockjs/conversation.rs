//! One session for handlers that want messages, whichever way they travel.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::{By, Came, Pipe};
use crate::server::http::UpgradeRequest;
use crate::server::shutdown::Closing;
use crate::server::socket::Socket;
use crate::transport::sockjs::frame;
use crate::transport::websocket::{Connection, Message};

/// A session of SockJS as its handler sees it. One task owns it.
pub struct Conversation {
    carrier: Carrier,
    /// The request that began it.
    pub request: UpgradeRequest,
    /// When the server ends its connections: then the handler ends the session.
    pub closing: Closing,
}

enum Carrier {
    Requests(Pipe),
    WebSocket {
        connection: Box<Connection<Socket>>,
        /// SockJS has messages of its own in those of the WebSocket.
        is_framed: bool,
        /// Came with another one.
        received: VecDeque<String>,
        heart_beat: Duration,
    },
    /// The client broke the framing: the connection was cut.
    Cut,
}

impl Conversation {
    /// Begins it; nothing where the client is gone already.
    pub(super) async fn begin(came: Came, heart_beat: Duration, message_bytes_max: usize) -> Option<Self> {
        let Came { by, request, closing } = came;
        let open =
            |stream, read_ahead: &[u8]| Box::new(Connection::new(stream, read_ahead, message_bytes_max));
        let received = VecDeque::new();
        let carrier = match by {
            By::Requests(pipe) => Carrier::Requests(pipe),
            By::Raw(stream, read_ahead) => {
                let connection = open(stream, &read_ahead);
                Carrier::WebSocket { connection, is_framed: false, received, heart_beat }
            }
            By::WebSocket(stream, read_ahead) => {
                let mut connection = open(stream, &read_ahead);
                connection.send(&Message::Text(frame::OPEN.to_owned())).await.ok()?;
                Carrier::WebSocket { connection, is_framed: true, received, heart_beat }
            }
        };
        Some(Self { carrier, request, closing })
    }

    /// The next message; `None` when no more comes. May be dropped at any await.
    pub async fn recv(&mut self) -> Option<String> {
        match &mut self.carrier {
            Carrier::Requests(pipe) => poll_fn(|context| pipe.poll_next(context)).await,
            Carrier::Cut => None,
            Carrier::WebSocket { connection, is_framed, received, heart_beat } => loop {
                if let Some(message) = received.pop_front() {
                    return Some(message);
                }
                let Ok(came) = timeout(*heart_beat, connection.recv()).await else {
                    if *is_framed {
                        connection.send(&Message::Text(frame::HEART_BEAT.to_owned())).await.ok()?;
                    }
                    continue;
                };
                let text = match came?.ok()? {
                    Message::Text(text) => text,
                    Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                };
                match *is_framed {
                    false => return Some(text),
                    // A client may say nothing as a sign of life.
                    true if text.is_empty() => {}
                    true => {
                        let Ok(messages) = frame::messages(text.as_bytes()) else {
                            self.carrier = Carrier::Cut;
                            return None;
                        };
                        received.extend(messages);
                    }
                }
            },
        }
    }

    /// Sends a message, as soon as there is room for it.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn send(&mut self, message: &str) -> io::Result<()> {
        match &mut self.carrier {
            Carrier::Cut => Err(io::ErrorKind::BrokenPipe.into()),
            Carrier::Requests(pipe) => poll_fn(|context| pipe.poll_push(context, message)).await,
            Carrier::WebSocket { connection, is_framed, .. } => {
                let text = if *is_framed { frame::message(message) } else { message.to_owned() };
                connection.send(&Message::Text(text)).await
            }
        }
    }

    /// Ends the session with a code and why; what was sent before is told first.
    pub async fn close(self, code: u16, reason: &str) {
        match self.carrier {
            Carrier::Cut => {}
            Carrier::Requests(pipe) => pipe.end(&frame::close(code, reason)),
            Carrier::WebSocket { mut connection, is_framed, .. } => {
                // The client may be gone already; nothing is left to say to it.
                if is_framed {
                    let _ = connection.send(&Message::Text(frame::close(code, reason))).await;
                }
                let _ = connection.close(code, reason).await;
            }
        }
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("request", &self.request).finish_non_exhaustive()
    }
}
