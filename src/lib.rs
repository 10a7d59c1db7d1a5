//! stompede: a STOMP publish/subscribe broker for application realtime.
//!
//! The house has floors; imports point down only. See `ARCHITECTURE.md`.

pub mod backend;
pub mod broker;
pub mod features;
pub mod model;
pub mod policy;
pub mod routing;
pub mod server;
pub mod transport;
