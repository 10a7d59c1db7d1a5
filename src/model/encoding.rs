//! How a delivery becomes bytes. Transports implement [`Encoder`]; workers are handed the list and know only numbers.

use std::sync::Arc;

use bytes::Bytes;
use stompede_protocol::AckId;

use super::message::Message;

/// One message for one subscription.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// What is delivered.
    pub message: &'a Message,
    /// Value of the header `subscription`; `None` for a STOMP 1.0 subscription without id.
    pub subscription: Option<&'a str>,
    /// Value of the header `destination`: as subscribed for user queues, else the message's.
    pub shown: &'a str,
    /// Set in client ack modes: makes `message-id` unique and adds `ack`.
    pub ack: Option<AckId>,
    /// How often it was delivered before, on work queues only: the headers `redelivered` and `stompede-delivery-count`.
    pub redelivered: Option<u32>,
    /// Value of `stompede-recovered`: whether nothing is missing before it. On the first message after it was asked for,
    /// and on the first after a gap.
    pub recovered: Option<bool>,
}

/// The end of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// As it goes on the wire.
    pub bytes: Bytes,
    /// The head must say that it is compressed.
    pub is_compressed: bool,
}

/// Turns deliveries into bytes that may go on the wire as they are.
pub trait Encoder: Send + Sync {
    /// The whole frame in one buffer.
    fn whole(&self, delivery: &Delivery<'_>) -> Bytes;

    /// Whether a tail costs so much that whole frames should share one, by [`Encoder::join`].
    fn is_tail_costly(&self) -> bool;

    /// The part that all receivers with the same [`Delivery::shown`] share.
    fn tail(&self, delivery: &Delivery<'_>) -> Tail;

    /// The part before `tail` that belongs to one receiver.
    fn head(&self, delivery: &Delivery<'_>, tail: &Tail) -> Bytes;

    /// Head and `tail` in one buffer.
    fn join(&self, delivery: &Delivery<'_>, tail: &Tail) -> Bytes;

    /// A ready STOMP frame or heart-beat (CONNECTED, RECEIPT, ERROR, an end of line) as it goes on the wire.
    fn wrap(&self, frame: Bytes) -> Bytes;

    /// The transport's own question for a sign of life; `None` where it has none.
    fn ping(&self) -> Option<Bytes>;

    /// The transport's own last frame: a close code as in [`Row::websocket`](super::close::Row::websocket) and why, cut
    /// to what the transport can carry. `None` where closing the socket says it all.
    fn close(&self, code: u16, reason: &str) -> Option<Bytes>;
}

/// Number of an [`Encoder`] in [`Encoders`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncoderKind(pub u8);

/// All encoders of the process.
#[derive(Clone)]
pub struct Encoders(Arc<[Box<dyn Encoder>]>);

impl Encoders {
    /// Numbers the encoders by their place in the list.
    pub fn new(list: Vec<Box<dyn Encoder>>) -> Self {
        Self(list.into())
    }

    /// The encoder of a kind.
    ///
    /// # Panics
    /// When the kind was not made for this list, which is a fault in the program.
    pub fn of(&self, kind: EncoderKind) -> &dyn Encoder {
        &*self.0[usize::from(kind.0)]
    }
}

impl std::fmt::Debug for Encoders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoders({})", self.0.len())
    }
}
