//! What the broker keeps and how nodes reach each other: the ports, and their adapters.
//!
//! A port is declared here in the words of its users. [`memory`] is not a mock: it is what a single broker runs on.

use std::fmt::{self, Debug};
use std::sync::Arc;

use crate::model::{ConnectionId, Full, Message, WorkerId};

pub mod memory;
mod queues;

pub use queues::{Due, QueueError, Queued, Queues};

/// Makes a bus whose messages go to a sink.
pub type RelayMaker = Box<dyn FnOnce(Arc<dyn Sink>) -> Arc<dyn Relay>>;

/// Everything a broker keeps its state in.
pub struct Backend {
    /// Who is where.
    pub presence: Arc<dyn Presence>,
    /// Work queues.
    pub queues: Arc<dyn Queues>,
    /// Makes the bus, once it is known where its messages go.
    pub relay: RelayMaker,
}

impl Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("presence", &self.presence)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

/// What comes back from the bus to this node.
#[derive(Debug, Clone)]
pub enum Inbound {
    /// A message for whoever subscribes its destination here.
    Message(Arc<Message>),
}

/// Takes what comes back. The broker implements it on its directory and inboxes.
pub trait Sink: Send + Sync + Debug {
    /// Hands `inbound` to every interested worker of this node or, with [`Full`], to none; worker `from` is told when
    /// there is room again.
    fn accept(&self, inbound: &Inbound, from: Option<WorkerId>) -> Result<(), Full>;

    /// As [`Sink::accept`], room or not: for what is bounded elsewhere.
    fn force(&self, inbound: &Inbound);
}

/// Carries messages to every node that wants them: at most once per node, in one order per destination.
pub trait Relay: Send + Sync + Debug {
    /// Publishes. `Ok` means that every interested node gets it; [`Full`] that nobody did.
    fn publish(&self, message: &Arc<Message>, from: Option<WorkerId>) -> Result<(), Full>;

    /// Publishes what nobody could wait for, past full inboxes: an event of the broker itself, at most one per change of
    /// a subscription, or the rest of a transaction whose sender is gone.
    fn announce(&self, message: &Arc<Message>);
}

/// One session in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// The room.
    pub room: &'a str,
    /// The user.
    pub user: &'a str,
    /// The session.
    pub session: ConnectionId,
}

/// How presence changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The user became present or absent: the first session came or the last one left.
    pub user_changed: bool,
    /// Users present afterwards.
    pub present: usize,
}

/// Who is where.
pub trait Presence: Send + Sync + Debug {
    /// Adds a row. `announce` is called while the room's order is held, so that two changes of one room are announced
    /// in the order in which they happened.
    fn enter(&self, row: Row<'_>, announce: &mut dyn FnMut(Change));

    /// Removes a row, likewise; nothing happens where there is none.
    fn leave(&self, row: Row<'_>, announce: &mut dyn FnMut(Change));

    /// Up to `count` users present in `room`, in their order of arrival, and how many there are in all.
    fn members(&self, room: &str, count: usize) -> (Vec<Arc<str>>, usize);

    /// Number of rooms where somebody is present.
    fn rooms(&self) -> usize;
}
