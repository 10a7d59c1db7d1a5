//! stompede: a STOMP publish/subscribe broker for application realtime.

pub mod model;
pub mod policy;
pub mod server;
