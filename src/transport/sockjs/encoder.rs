//! STOMP frames as messages of SockJS.

use bytes::Bytes;

use super::frame::{self, AFTER, BEFORE, FRAME_BYTES};
use crate::model::{Delivery, Encoder, Message, Tail};
use crate::transport::encode::StompEncoder;
use crate::transport::websocket::frame::{self as websocket, HEADER_BYTES_MAX, Kind};

/// Around an encoder of plain STOMP.
#[derive(Debug, Clone, Copy)]
pub(in crate::transport) struct SockJsEncoder {
    pub(in crate::transport) stomp: StompEncoder,
    /// Each frame is a WebSocket message; else it is a line.
    pub(in crate::transport) is_websocket: bool,
}

impl Encoder for SockJsEncoder {
    fn whole(&self, delivery: &Delivery<'_>) -> Bytes {
        let mut plain = Vec::new();
        with_text(delivery, |delivery| {
            self.stomp.put_head(delivery, &mut plain);
            self.stomp.put_tail(delivery, &mut plain);
        });
        self.frame(&plain)
    }

    fn is_tail_costly(&self) -> bool {
        false
    }

    fn tail(&self, delivery: &Delivery<'_>) -> Tail {
        let mut plain = Vec::new();
        with_text(delivery, |delivery| self.stomp.put_tail(delivery, &mut plain));
        let mut out = Vec::with_capacity(plain.len() + plain.len() / ESCAPED_PART);
        frame::escape(&plain, &mut out);
        self.end(&mut out);
        Tail { bytes: out.into(), is_compressed: false }
    }

    fn head(&self, delivery: &Delivery<'_>, tail: &Tail) -> Bytes {
        self.seal(self.head_before(delivery), tail.bytes.len())
    }

    fn join(&self, delivery: &Delivery<'_>, tail: &Tail) -> Bytes {
        let mut out = self.head_before(delivery);
        out.extend_from_slice(&tail.bytes);
        self.seal(out, 0)
    }

    fn wrap(&self, stomp: Bytes) -> Bytes {
        self.frame(&stomp)
    }

    /// The browser answers the WebSocket's; the page sees the other.
    fn ping(&self) -> Option<Bytes> {
        if self.is_websocket {
            let seen = websocket::message(Kind::Text, frame::HEART_BEAT.as_bytes());
            return Some([seen, websocket::ping()].concat().into());
        }
        Some(Bytes::from_static(b"h\n"))
    }

    fn close(&self, code: u16, reason: &str) -> Option<Bytes> {
        let last = frame::close(code, reason);
        if self.is_websocket {
            let last = websocket::message(Kind::Text, last.as_bytes());
            return Some([last, websocket::close(code, reason)].concat().into());
        }
        Some((last + "\n").into())
    }
}

impl SockJsEncoder {
    fn begin(self, room: usize) -> Vec<u8> {
        let before = if self.is_websocket { HEADER_BYTES_MAX } else { 0 };
        let mut out = Vec::with_capacity(before + FRAME_BYTES + room);
        out.resize(before, 0);
        out.extend_from_slice(BEFORE);
        out
    }

    fn head_before(self, delivery: &Delivery<'_>) -> Vec<u8> {
        let mut plain = Vec::new();
        self.stomp.put_head(delivery, &mut plain);
        let mut out = self.begin(plain.len() + plain.len() / ESCAPED_PART);
        frame::escape(&plain, &mut out);
        out
    }

    fn frame(self, stomp: &[u8]) -> Bytes {
        let mut out = self.begin(stomp.len() + stomp.len() / ESCAPED_PART);
        frame::escape(stomp, &mut out);
        self.end(&mut out);
        self.seal(out, 0)
    }

    fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(AFTER);
        if !self.is_websocket {
            out.push(b'\n');
        }
    }

    fn seal(self, out: Vec<u8>, more_bytes: usize) -> Bytes {
        if self.is_websocket { websocket::seal(Kind::Text, out, more_bytes) } else { out.into() }
    }
}

/// SockJS carries text alone. What is none in a binary body becomes the character for such before the body is measured, so
/// that its `content-length` is right.
fn with_text(delivery: &Delivery<'_>, put: impl FnOnce(&Delivery<'_>)) {
    if delivery.message.text {
        return put(delivery);
    }
    let message = delivery.message;
    let body = String::from_utf8_lossy(&message.body).into_owned();
    let message = Message { body: body.into(), ..message.clone() };
    put(&Delivery { message: &message, ..*delivery });
}

/// One byte in so many is one that is escaped, as a guess.
const ESCAPED_PART: usize = 8;
