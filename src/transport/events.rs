//! Server-sent events (HTML Living Standard, section 9.2): deliveries as the events of a stream that only goes out.
//!
//! A stream is a session like any other behind it: what its client would say, CONNECT and SUBSCRIBE, the server says for it,
//! see [`Events`]; what the broker says besides deliveries it writes with the functions here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::{Framing, FramingError, Incoming};
use crate::model::{Delivery, Encoder, Position, Tail};

/// The framing of a stream: what is fed first are the frames that are said for the client. What comes after it is from the
/// client itself, which has nothing to say.
#[derive(Debug, Default)]
pub struct Events {
    begun: bool,
    discarded_bytes: usize,
}

impl Framing for Events {
    fn receive(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
        if !self.begun {
            self.begun = true;
            sink(Incoming::Payload { bytes, text: true, end: true });
            return Ok(());
        }
        self.discarded_bytes += bytes.len();
        if self.discarded_bytes > DISCARDED_BYTES_MAX {
            let (bytes, bytes_max) = (self.discarded_bytes, DISCARDED_BYTES_MAX);
            return Err(FramingError::Unasked { bytes, bytes_max });
        }
        Ok(())
    }

    /// Nobody sends messages here.
    fn set_message_bytes_max(&mut self, _bytes_max: usize) {}

    fn closing(&mut self) {}

    fn buffered_bytes(&self) -> usize {
        0
    }
}

/// Deliveries as events.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventEncoder {
    /// The cursor of the stream is where its one destination stands, so that all receivers may share it.
    pub(super) is_numbered: bool,
}

impl Encoder for EventEncoder {
    fn whole(&self, delivery: &Delivery<'_>) -> Bytes {
        let mut out = Vec::with_capacity(HEAD_BYTES + room(delivery));
        self.put_head(delivery, &mut out);
        put_tail(delivery, &mut out);
        out.into()
    }

    fn is_tail_costly(&self) -> bool {
        false
    }

    fn tail(&self, delivery: &Delivery<'_>) -> Tail {
        let mut out = Vec::with_capacity(room(delivery));
        put_tail(delivery, &mut out);
        Tail { bytes: out.into(), is_compressed: false }
    }

    fn head(&self, delivery: &Delivery<'_>, _tail: &Tail) -> Bytes {
        let mut out = Vec::new();
        self.put_head(delivery, &mut out);
        out.into()
    }

    fn join(&self, delivery: &Delivery<'_>, tail: &Tail) -> Bytes {
        let mut out = Vec::with_capacity(HEAD_BYTES + tail.bytes.len());
        self.put_head(delivery, &mut out);
        out.extend_from_slice(&tail.bytes);
        out.into()
    }

    /// Frames of STOMP have no place in a stream; whoever writes one says it with the functions below.
    fn wrap(&self, _stomp: Bytes) -> Bytes {
        Bytes::new()
    }

    fn ping(&self) -> Option<Bytes> {
        Some(Bytes::from_static(b"event: heartbeat\ndata: ping\n\n"))
    }

    fn close(&self, _code: u16, _reason: &str) -> Option<Bytes> {
        None
    }
}

impl EventEncoder {
    fn put_head(self, delivery: &Delivery<'_>, out: &mut Vec<u8>) {
        if delivery.recovered == Some(false) {
            out.extend_from_slice(LOST);
        }
        if let Some(position) = delivery.message.position.filter(|_| self.is_numbered) {
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(position.to_string().as_bytes());
            out.push(b'\n');
        }
    }
}

/// The first event: every later publish will arrive. When the stream breaks its client comes back after `retry_ms`
/// milliseconds; else an earlier figure would hold.
pub fn connected(cursor: &str, session: &str, retry_ms: u32) -> Bytes {
    let data = format!("{{\"session\":\"{session}\"}}");
    format!("retry: {retry_ms}\nid: {cursor}\nevent: connected\ndata: {data}\n\n").into()
}

/// Something between the event before and the next is missing.
pub fn lost() -> Bytes {
    Bytes::from_static(LOST)
}

/// The cursor that an event carries which others have without.
pub fn id_line(cursor: &str) -> Bytes {
    format!("id: {cursor}\n").into()
}

/// The last event: `why` is one line of JSON; after `retry_ms` milliseconds the client may come back.
pub fn closed(why: &[u8], retry_ms: u32) -> Bytes {
    let mut out = b"event: closed\n".to_vec();
    put_data(why, &mut out);
    out.extend_from_slice(format!("retry: {retry_ms}\n\n").as_bytes());
    out.into()
}

/// The end of a stream of which there is no more to say than when the client may come back.
pub fn retry(retry_ms: u32) -> Bytes {
    format!("retry: {retry_ms}\n\n").into()
}

/// Where each destination of a stream stands, as the text that its client brings back.
pub fn cursor(positions: &[Option<Position>]) -> String {
    let texts = positions.iter().map(|position| match position {
        Some(position) => position.to_string(),
        None => NOWHERE.to_owned(),
    });
    texts.collect::<Vec<_>>().join(SEPARATOR)
}

/// What [`cursor`] wrote of `count` destinations; nowhere in any of them if it is another text.
pub fn positions(cursor: &str, count: usize) -> Vec<Option<Position>> {
    let read: Vec<_> = cursor.split(SEPARATOR).take(count + 1).map(|text| text.parse().ok()).collect();
    if read.len() == count { read } else { vec![None; count] }
}

/// `event` and `data`, and the end of the event.
fn put_tail(delivery: &Delivery<'_>, out: &mut Vec<u8>) {
    let message = delivery.message;
    if message.headers.get("stompede-event") == Some("gap") {
        return;
    }
    if !message.text {
        out.extend_from_slice(b"event: binary\n");
        put_data(BASE64.encode(&message.body).as_bytes(), out);
        return out.push(b'\n');
    }
    let name = message.headers.get("event").filter(|name| is_free(name));
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.unwrap_or("message").as_bytes());
    out.push(b'\n');
    put_data(&message.body, out);
    out.push(b'\n');
}

/// Each line by itself, whichever of its three ends it has.
fn put_data(mut body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    while let Some(at) = body.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        let (line, rest) = body.split_at(at);
        out.extend_from_slice(line);
        if rest[0] != 0 {
            out.extend_from_slice(b"\ndata: ");
        }
        body = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
    }
    out.extend_from_slice(body);
    out.push(b'\n');
}

/// Whether an event of a sender may be called so: not as those of the stream itself, or of the browser's own.
fn is_free(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control) && !RESERVED.contains(&name)
}

fn room(delivery: &Delivery<'_>) -> usize {
    let event = delivery.message.headers.get("event").map_or(0, str::len);
    let bytes = delivery.message.body.len();
    TAIL_BYTES + event + if delivery.message.text { bytes } else { bytes.div_ceil(3) * 4 }
}

const LOST: &[u8] = b"event: recovered\ndata: false\n\n";

/// `open` and `error` are what an EventSource calls its own events.
const RESERVED: [&str; 7] = ["connected", "recovered", "heartbeat", "closed", "binary", "open", "error"];

/// In place of a position where there is none.
const NOWHERE: &str = "-";

const SEPARATOR: &str = ",";

/// `id`, and a position.
const HEAD_BYTES: usize = 48;

/// `event: message`, `data` and the ends of their lines, for a body of one line.
const TAIL_BYTES: usize = 32;

/// What a client may send behind its request: it has nothing to say.
const DISCARDED_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
