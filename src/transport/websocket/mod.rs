//! WebSocket (RFC 6455), the server's side.
//!
//! - [`handshake`] checks the upgrade request and writes the answer.
//! - [`WebSocket`] cuts the bytes of the socket into messages.
//! - [`Deflated`] does the same where the client may compress ([`deflate`]).
//! - [`frame`] writes frames; servers do not mask, so one buffer serves all receivers.
//! - [`Connection`] is the whole of it over one stream, for handlers that want messages rather than bytes.

mod boundary;
mod codec;
mod connection;
pub mod deflate;
pub mod frame;
pub mod handshake;
mod header;
#[cfg(test)]
#[path = "hearing_tests.rs"]
mod hearing;
mod utf8;
mod whole;

pub use codec::WebSocket;
pub use connection::{Closed, Connection, Message};
pub use deflate::Deflated;
