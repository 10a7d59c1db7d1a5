//! The port of what is safe: whether what was done outlives the process, and since when.

use std::fmt::Debug;

use crate::model::{Destination, StoreError, Ticket};

/// Whether something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// As well as this store keeps anything.
    Now,
    /// It will be told by [`Sink::answer`](super::Sink::answer), in the order in which things were done.
    Later,
}

/// When what is done is safe. Stores whose changes take effect before they are safe (acknowledgements, memberships, read
/// positions, cursors) write them in the order in which they were made.
pub trait Journal: Send + Sync + Debug {
    /// Asks to be told when everything that was done before is safe; the answer is
    /// [`Answer::Synced`](crate::model::Answer::Synced).
    fn sync(&self, ticket: Ticket) -> Kept;

    /// Makes one change of all that `act` does on this thread: after a crash it is there as a whole or not at all.
    fn as_one(&self, act: &mut dyn FnMut());

    /// Whether what is sent to a queue is answered later.
    fn is_late(&self) -> bool;

    /// Whether everything that is sent is answered later: it goes by other nodes.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether messages are taken.
    ///
    /// # Errors
    /// Why not.
    fn admits(&self) -> Result<(), StoreError>;

    /// The same in words for an operator.
    ///
    /// # Errors
    /// Why not.
    fn health(&self) -> Result<(), String>;

    /// What time brings: `now_ms` is milliseconds since the Unix epoch. To be called several times a second.
    fn tick(&self, now_ms: u64);
}

/// The journal of stores that die with the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unkept;

impl Journal for Unkept {
    fn sync(&self, _: Ticket) -> Kept {
        Kept::Now
    }

    fn as_one(&self, act: &mut dyn FnMut()) {
        act();
    }

    fn is_late(&self) -> bool {
        false
    }

    fn admits(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    fn tick(&self, _: u64) {}
}

/// An idempotency key of a SEND that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Where it was sent.
    pub destination: Destination,
    /// By whom; empty for nobody.
    pub user: Box<str>,
    /// The key.
    pub key: Box<str>,
}

/// A key is remembered so long, milliseconds.
pub const KEY_WINDOW_MS: u64 = 5 * 60 * 1_000;
