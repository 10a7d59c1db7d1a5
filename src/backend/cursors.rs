//! The port of cursors: up to where each device of a user has taken what is kept in one of his queues.

use std::fmt::Debug;

use crate::model::Destination;

/// Up to where a device has taken what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// Up to here; `None`: it was not here before.
    At(Option<u64>),
    /// The store looks it up when messages are read: [`Question::Resume`](super::Question::Resume).
    Kept,
}

/// Cursors of user queues whose messages are kept for those who are away. The device without a name is the user himself.
pub trait Cursors: Send + Sync + Debug {
    /// The device listens to the queue: from now on what it has not taken is kept for it. Up to where it has, if it was
    /// here before. `now_ms` here and below is milliseconds since the Unix epoch.
    fn begin(&self, queue: &Destination, device: &str, now_ms: u64) -> Cursor;

    /// The device has taken everything up to `offset`. Returns up to where all devices have, unless the store itself
    /// forgets what they have.
    fn advance(&self, queue: &Destination, device: &str, offset: u64, now_ms: u64) -> Option<u64>;

    /// Forgets devices that were not seen since `seen_ms`. To be called several times a second; does a bounded part of it.
    fn tick(&self, seen_ms: u64);

    /// Queues with cursors.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they hold in memory, roughly.
    fn bytes(&self) -> usize {
        self.len() * QUEUE_BYTES
    }
}

/// What one queue takes, with two devices.
const QUEUE_BYTES: usize = 240;
