//! STOMP deliveries as they leave: one encoder for each way of wrapping and each version.

use std::cell::RefCell;

use bytes::Bytes;
use stompede_protocol::{MessageHead, MessageTail, Version};

use super::events::EventEncoder;
use super::line::{LINE_BYTES, Line};
use super::sockjs::SockJsEncoder;
use super::websocket::deflate::{self, STORED_BYTES};
use super::websocket::frame::{self, HEADER_BYTES_MAX, Kind};
use crate::model::{Delivery, Encoder, EncoderKind, Encoders, Tail};

/// How frames are wrapped for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Not at all: TCP, TLS, the in-process pipe.
    Raw,
    /// In WebSocket text messages while they are valid UTF-8, else in binary ones.
    Text,
    /// In WebSocket binary messages, for clients that send such.
    Binary,
    /// As [`Wire::Text`], deliveries compressed.
    DeflateText,
    /// As [`Wire::Binary`], deliveries compressed.
    DeflateBinary,
    /// As events of a stream with one destination, whose position is the stream's.
    Events,
    /// As events that say nothing of where they stand.
    BareEvents,
    /// In messages of SockJS, each of them a WebSocket message.
    SockJs,
    /// In messages of SockJS, each of them a line.
    SockJsLines,
}

impl Wire {
    /// For a client that sends binary messages: what it is answered in.
    pub fn binary(self) -> Self {
        match self {
            Self::Raw => Self::Raw,
            Self::Text | Self::Binary => Self::Binary,
            Self::DeflateText | Self::DeflateBinary => Self::DeflateBinary,
            Self::Events | Self::BareEvents | Self::SockJs | Self::SockJsLines => self,
        }
    }

    /// The WebSocket message in which this goes; none where there are no messages.
    fn message(self, is_text: impl Fn() -> bool) -> Option<Kind> {
        match self {
            Self::Raw | Self::Events | Self::BareEvents | Self::SockJs | Self::SockJsLines => None,
            // Heads are text whoever wrote the headers; the body decides.
            Self::Text | Self::DeflateText if is_text() => Some(Kind::Text),
            Self::Text | Self::DeflateText | Self::Binary | Self::DeflateBinary => Some(Kind::Binary),
        }
    }

    fn compresses(self) -> bool {
        matches!(self, Self::DeflateText | Self::DeflateBinary)
    }
}

/// Every encoder; [`kind`] numbers them.
pub fn encoders() -> Encoders {
    let all = WIRES.into_iter().flat_map(|wire| Version::ALL.map(|version| encoder(wire, version)));
    Encoders::new(all.collect())
}

/// The number of an encoder in [`encoders`].
pub const fn kind(wire: Wire, version: Version) -> EncoderKind {
    EncoderKind(wire as u8 * Version::ALL.len() as u8 + version as u8)
}

fn encoder(wire: Wire, version: Version) -> Box<dyn Encoder> {
    match wire {
        Wire::Events => Box::new(EventEncoder { is_numbered: true }),
        Wire::BareEvents => Box::new(EventEncoder { is_numbered: false }),
        Wire::SockJs | Wire::SockJsLines => Box::new(SockJsEncoder {
            stomp: StompEncoder { wire: Wire::Raw, version },
            is_websocket: wire == Wire::SockJs,
        }),
        _ => Box::new(StompEncoder { wire, version }),
    }
}

const WIRES: [Wire; 9] = [
    Wire::Raw,
    Wire::Text,
    Wire::Binary,
    Wire::DeflateText,
    Wire::DeflateBinary,
    Wire::Events,
    Wire::BareEvents,
    Wire::SockJs,
    Wire::SockJsLines,
];

#[derive(Debug, Clone, Copy)]
pub(super) struct StompEncoder {
    wire: Wire,
    version: Version,
}

impl Encoder for StompEncoder {
    fn whole(&self, delivery: &Delivery<'_>) -> Bytes {
        if self.wire.compresses() {
            return self.join(delivery, &self.tail(delivery));
        }
        if delivery.message.body.len() <= COPIED_BODY_BYTES_MAX {
            return self.drafted(delivery, |out| {
                self.put_head(delivery, out);
                self.put_tail(delivery, out);
            });
        }
        let mut out = self.begin(head_room(delivery) + tail_room(delivery));
        self.put_head(delivery, &mut out);
        self.put_tail(delivery, &mut out);
        self.seal(delivery, out, 0)
    }

    fn is_tail_costly(&self) -> bool {
        self.wire.compresses()
    }

    fn tail(&self, delivery: &Delivery<'_>) -> Tail {
        let mut out = Vec::with_capacity(tail_room(delivery));
        self.put_tail(delivery, &mut out);
        let may_be_compressed = self.wire.compresses() && !holds_secret(delivery);
        match may_be_compressed.then(|| deflate::compress(&out)).flatten() {
            Some(bytes) => Tail { bytes, is_compressed: true },
            None => Tail { bytes: out.into(), is_compressed: false },
        }
    }

    fn head(&self, delivery: &Delivery<'_>, tail: &Tail) -> Bytes {
        let out = self.head_before(delivery, tail, 0);
        self.seal_before(delivery, out, tail, tail.bytes.len())
    }

    fn join(&self, delivery: &Delivery<'_>, tail: &Tail) -> Bytes {
        if !tail.is_compressed && tail.bytes.len() <= COPIED_BODY_BYTES_MAX {
            return self.drafted(delivery, |out| {
                self.put_head(delivery, out);
                out.extend_from_slice(&tail.bytes);
            });
        }
        let mut out = self.head_before(delivery, tail, tail.bytes.len());
        out.extend_from_slice(&tail.bytes);
        self.seal_before(delivery, out, tail, 0)
    }

    fn wrap(&self, stomp: Bytes) -> Bytes {
        match self.wire.message(|| std::str::from_utf8(&stomp).is_ok()) {
            Some(kind) => frame::message(kind, &stomp),
            None => stomp,
        }
    }

    fn ping(&self) -> Option<Bytes> {
        (self.wire != Wire::Raw).then(frame::ping)
    }

    fn close(&self, code: u16, reason: &str) -> Option<Bytes> {
        (self.wire != Wire::Raw).then(|| frame::close(code, reason))
    }
}

impl StompEncoder {
    /// A buffer with `room` for STOMP, and for a WebSocket header before it.
    #[inline(always)]
    fn begin(self, room: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.header_room() + room);
        out.resize(self.header_room(), 0);
        out
    }

    /// Bytes before STOMP that are left free for a WebSocket header.
    fn header_room(self) -> usize {
        if self.wire == Wire::Raw { 0 } else { HEADER_BYTES_MAX }
    }

    /// A whole frame by way of the thread's buffer: it takes no more room than it needs, and while nobody shares it one
    /// allocation.
    #[inline(always)]
    fn drafted(self, delivery: &Delivery<'_>, put: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        DRAFT.with_borrow_mut(|out| {
            out.clear();
            out.resize(self.header_room(), 0);
            put(out);
            let frame = match self.wire.message(|| delivery.message.text) {
                Some(kind) => frame::seal_copied(kind, out),
                None => Bytes::copy_from_slice(out),
            };
            if out.capacity() > KEPT_BYTES {
                *out = Vec::new();
            }
            frame
        })
    }

    /// The head as it must be before `tail`, and room for `more_bytes`.
    fn head_before(self, delivery: &Delivery<'_>, tail: &Tail, more_bytes: usize) -> Vec<u8> {
        let stored_bytes = if tail.is_compressed { STORED_BYTES } else { 0 };
        let mut out = self.begin(stored_bytes + head_room(delivery) + more_bytes);
        out.resize(out.len() + stored_bytes, 0);
        self.put_head(delivery, &mut out);
        if tail.is_compressed {
            deflate::store(&mut out, HEADER_BYTES_MAX);
        }
        out
    }

    fn seal_before(self, delivery: &Delivery<'_>, out: Vec<u8>, tail: &Tail, more_bytes: usize) -> Bytes {
        match self.wire.message(|| delivery.message.text) {
            Some(kind) if tail.is_compressed => frame::seal_compressed(kind, out, more_bytes),
            _ => self.seal(delivery, out, more_bytes),
        }
    }

    #[inline(always)]
    fn seal(self, delivery: &Delivery<'_>, out: Vec<u8>, more_bytes: usize) -> Bytes {
        match self.wire.message(|| delivery.message.text) {
            Some(kind) => frame::seal(kind, out, more_bytes),
            None => out.into(),
        }
    }

    pub(super) fn put_head(self, delivery: &Delivery<'_>, out: &mut Vec<u8>) {
        let mut id = Line::default();
        id.message_id(delivery.message.id);
        if let Some(ack) = delivery.ack {
            id.byte(b'@');
            id.decimal(u64::from(ack.subscription.0));
            id.byte(b'-');
            id.decimal(ack.number);
        }
        let names_ack = delivery.ack.is_some() && self.version == Version::V1_2;
        let ack = names_ack.then(|| id.as_str());
        let head = MessageHead { subscription: delivery.subscription, message_id: id.as_str(), ack };
        head.encode(self.version, out);
        if delivery.redelivered.is_some() || delivery.recovered.is_some() {
            put_past(delivery, out);
        }
    }

    pub(super) fn put_tail(self, delivery: &Delivery<'_>, out: &mut Vec<u8>) {
        let message = delivery.message;
        let mut timestamp = itoa::Buffer::new();
        let timestamp = timestamp.format(message.timestamp_ms);
        let mut position = Line::default();
        if let Some(stands) = message.position {
            position.position(stands);
        }
        let sender = message.sender.as_deref();
        let own = [
            ("timestamp", timestamp),
            ("user-name", sender.unwrap_or_default()),
            ("stompede-position", position.as_str()),
        ];
        let own = match (sender, message.position) {
            (Some(_), Some(_)) => &own[..],
            (Some(_), None) => &own[..2],
            (None, None) => &own[..1],
            (None, Some(_)) => &[own[0], own[2]],
        };
        MessageTail { destination: delivery.shown, headers: &message.headers, own, body: &message.body }
            .encode(self.version, out);
    }
}

/// Whether somebody had the message before, and whether something before it is missing.
#[inline(never)]
fn put_past(delivery: &Delivery<'_>, out: &mut Vec<u8>) {
    match delivery.redelivered {
        None => {}
        Some(0) => out.extend_from_slice(b"redelivered:false\n"),
        Some(times) => {
            out.extend_from_slice(REDELIVERED);
            out.extend_from_slice(itoa::Buffer::new().format(times).as_bytes());
            out.push(b'\n');
        }
    }
    match delivery.recovered {
        Some(true) => out.extend_from_slice(b"stompede-recovered:true\n"),
        Some(false) => out.extend_from_slice(b"stompede-recovered:false\n"),
        None => {}
    }
}

/// Whether the tail carries what nobody may guess, beside text that others chose: how far it shrinks would tell, byte by
/// byte, whether their text is like it (the attacks called CRIME and BREACH). Only the broker writes these headers.
fn holds_secret(delivery: &Delivery<'_>) -> bool {
    SECRET_HEADERS.iter().any(|name| delivery.message.headers.get(name).is_some())
}

/// The right to answer, and the session of who asks.
const SECRET_HEADERS: [&str; 2] = ["reply-to", "session"];

/// Room that the head takes when nothing is escaped.
fn head_room(delivery: &Delivery<'_>) -> usize {
    let ids = if delivery.ack.is_some() { 2 } else { 1 };
    let counted = if delivery.redelivered > Some(0) { REDELIVERED.len() + COUNT_BYTES } else { 0 };
    HEAD_BYTES + delivery.subscription.map_or(0, str::len) + ids * LINE_BYTES + counted
}

/// Room that the tail takes when nothing is escaped; never less than what [`MessageTail`] asks for, so that it does
/// not move the buffer.
fn tail_room(delivery: &Delivery<'_>) -> usize {
    let message = delivery.message;
    let headers = message.headers.text_bytes() + 2 * message.headers.len() + delivery.shown.len();
    let own = TAIL_BYTES + message.sender.as_deref().map_or(0, str::len);
    message.body.len() + (headers + own).max(TAIL_BYTES_MIN)
}

thread_local! {
    /// Small frames are written into this before their size is known.
    static DRAFT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Capacity that a thread keeps.
const KEPT_BYTES: usize = 64 << 10;

/// A longer body is not copied once more for the sake of an allocation.
const COPIED_BODY_BYTES_MAX: usize = 4 << 10;

/// Before the number of deliveries.
const REDELIVERED: &[u8] = b"redelivered:true\nstompede-delivery-count:";

/// The largest of them, and the end of its line.
const COUNT_BYTES: usize = 11;

/// `MESSAGE`, the names of `subscription`, `message-id` and `ack`, `redelivered:false`, and what separates them.
const HEAD_BYTES: usize = 64;

/// The names of `destination`, `timestamp`, `user-name` and `content-length`, two numbers, and what separates them.
const TAIL_BYTES: usize = 112;

/// What [`MessageTail`] reserves beside the body.
const TAIL_BYTES_MIN: usize = 256;

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
