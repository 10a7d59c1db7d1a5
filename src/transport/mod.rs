//! How bytes travel: what a socket carries is cut into payload, signs of life and the end, and frames are wrapped for
//! the way back. Nothing here knows what a payload means beyond its being STOMP ([`encode`]), who it is for, or which
//! socket it came from; sockets are read and written by the caller.
//!
//! ```text
//! socket -> bytes -> Framing::receive -> Incoming::Payload -> the session
//! socket <- outbox <- Encoder (model) <- frames and deliveries
//!                  <- Incoming::Reply (pong, echo of a close)
//! ```

use bytes::Bytes;

use crate::model::CloseReason;

pub mod encode;
pub mod events;
mod line;
pub mod memory;
pub mod proxy_protocol;
pub mod sockjs;
pub mod tcp;
pub mod websocket;

/// What a framing finds in the bytes of a socket.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// Bytes of the peer's message.
    Payload {
        /// What it sent, unmasked.
        bytes: &'a [u8],
        /// The message is a WebSocket text message and these bytes are valid UTF-8.
        text: bool,
        /// These are the last bytes of their message.
        end: bool,
    },
    /// A sign of life without payload: a ping or a pong.
    Alive,
    /// A whole frame of the transport for the outbox: a pong, or the echo of a close.
    Reply(Bytes),
    /// The peer closed; what follows its close is not looked at.
    Closed {
        /// The close code it gave.
        code: Option<u16>,
    },
}

/// Cuts what a socket gives into [`Incoming`]; no I/O, no clock.
pub trait Framing {
    /// Takes bytes as the socket gave them, split anywhere. What was found before an error has been given to `sink`.
    ///
    /// # Errors
    /// The peer breaks the framing; nothing more may be fed, and [`FramingError::close_code`] belongs in the close frame.
    fn receive(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError>;

    /// Bytes to read and feed at a time. Where a few may become many, others should get their turn earlier.
    fn read_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// Sets the largest message in bytes: a stranger may send less than a session.
    fn set_message_bytes_max(&mut self, bytes_max: usize);

    /// Our own close frame is in the outbox: nothing may follow it, so no more [`Incoming::Reply`] comes.
    fn closing(&mut self);

    /// Bytes held for a message that is not complete.
    fn buffered_bytes(&self) -> usize;
}

/// How a peer can break the framing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The frame is not one of RFC 6455, or came at the wrong time.
    #[error("WebSocket framing: {0}")]
    Malformed(Box<str>),
    /// A message that is no array of strings.
    #[error("SockJS framing: a message is not an array of strings in JSON")]
    NotSockJs,
    /// A text message that is not UTF-8.
    #[error("WebSocket framing: a text message is not valid UTF-8")]
    NotUtf8,
    /// A message above the limit.
    #[error("a WebSocket message of at least {bytes} bytes; at most {bytes_max} are taken here")]
    TooLarge {
        /// What the peer announced or sent so far.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// More from a client that has nothing to say.
    #[error(
        "{bytes} bytes came behind the request for a stream that only goes out; at most {bytes_max} are thrown away"
    )]
    Unasked {
        /// What came.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

impl FramingError {
    /// The close code that RFC 6455, section 7.4.1, gives it.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Malformed(_) => 1002,
            Self::NotUtf8 | Self::NotSockJs => 1007,
            Self::TooLarge { .. } | Self::Unasked { .. } => 1009,
        }
    }

    /// Its row in the table of reasons.
    pub fn reason(&self) -> CloseReason {
        match self {
            Self::Malformed(_) | Self::NotUtf8 | Self::NotSockJs => CloseReason::BadFrame,
            Self::TooLarge { .. } | Self::Unasked { .. } => CloseReason::TooLarge,
        }
    }
}
