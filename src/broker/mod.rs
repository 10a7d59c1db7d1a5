//! The one door, and what stands behind it.
//!
//! [`door::Broker`] decides: who may what, where it goes. [`peer::Peer`] is one client: a STOMP session and its way
//! through the door. [`shard::Shard`] is a worker's core: peers, table, outboxes, timers. None of them knows a runtime,
//! a socket or a clock, so the same code runs under tokio and under a simulation.

mod attendance;
pub mod counters;
pub mod door;
pub mod handle;
mod letters;
mod liveness;
mod local;
pub mod peer;
mod routes;
pub mod settings;
pub mod shard;
mod wheel;

pub use counters::{Census, Counters};
pub use door::Broker;
pub use handle::{Handle, Host, Messages, Received};
pub use peer::{Call, CallAnswer, Link, Shown};
pub use settings::{Now, Parts, Settings};
pub use shard::{Shard, Status};
