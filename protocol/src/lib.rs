//! STOMP 1.0, 1.1 and 1.2 without I/O, clock or randomness.
//!
//! Bytes and the time go in; frames, events, deadlines and bytes come out. Sockets, timers and
//! random ids belong to the caller, so the same code runs under a runtime, a test or a simulation.
//!
//! - [`Decoder`] and [`encode`](encode()) turn bytes into [`Frame`]s and back, within [`Limits`].
//! - [`Session`] is the server's side of one connection, [`Client`] its mirror image.
//! - [`Violation`] names each misdeed of the peer; its `Display` is the text of the ERROR frame.

mod ack;
mod client;
mod command;
mod decoder;
mod encode;
mod error;
mod frame;
mod header;
mod heartbeat;
mod limits;
mod parse;
mod session;
mod time;
mod transaction;
mod version;

pub use ack::{AckId, AckMode, Ledger, SubscriptionKey};
pub use client::{Client, ClientEvent, Connected, Introduction};
pub use command::Command;
pub use decoder::{Decoder, Item};
pub use encode::{MessageHead, MessageTail, encode};
pub use error::{Violation, ViolationKind};
pub use frame::Frame;
pub use header::{Headers, escape_into, unescape};
pub use heartbeat::HeartBeat;
pub use limits::Limits;
pub use session::{
    Accepted, Commit, Connect, ErrorFrame, Event, Receipt, Send, Session, Settle, Step, Subscribe,
    Subscription, Timeout, Unsubscribe,
};
pub use time::Millis;
pub use version::Version;
