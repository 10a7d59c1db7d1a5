//! The one door, and what stands behind it.
//!
//! [`door::Broker`] decides: who may what, where it goes. [`peer::Peer`] is one client: a STOMP session and its way
//! through the door. [`shard::Shard`] is a worker's core: peers, table, outboxes, timers. None of them knows a runtime,
//! a socket or a clock, so the same code runs under tokio and under a simulation.

mod attendance;
pub mod census;
pub mod counters;
pub mod door;
pub mod errand;
pub mod handle;
mod leave;
mod letters;
mod liveness;
mod local;
mod notices;
pub mod peer;
mod pleas;
mod post;
pub mod questions;
mod routes;
pub mod settings;
pub mod shard;
mod stand_in;
mod streams;
mod wheel;

pub use census::{Census, Held};
pub use counters::{Asked, Counters, Tally, Transport};
pub use door::Broker;
pub use errand::{Accepted, Errand, Progress};
pub use handle::{Handle, Host, Messages, Received, Settlement};
pub use peer::{Call, CallAnswer, Link, Shown};
pub use questions::{NamedRoom, Passed};
pub use settings::{EventSettings, Now, Parts, Settings};
pub use shard::{Shard, Status};
