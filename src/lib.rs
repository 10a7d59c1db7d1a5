//! stompede: a STOMP broker for application realtime.
//!
//! The house has floors; imports point down only. See `ARCHITECTURE.md`.

pub mod backend;
pub mod model;
pub mod routing;
pub mod transport;
