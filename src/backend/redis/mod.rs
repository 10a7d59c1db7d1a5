//! Many nodes as one broker, through Redis.

mod claims;
mod control;
mod cursors;
mod custody;
mod history;
mod hub;
mod interest;
mod journal;
mod keys;
pub mod link;
mod listener;
mod logs;
mod memberships;
mod open;
mod pages;
mod presence;
mod queues;
mod registry;
mod relay;
mod revocations;
mod scripts;
#[cfg(test)]
#[path = "tests/testing.rs"]
mod testing;
mod wire;

pub use hub::{Clock, Random};
pub use link::Vitals;
pub use link::{Options, OptionsError, StartError, check};
pub use open::{LinkMaker, NodeOptions, NodeVitals, Redis};
pub use registry::Description;
