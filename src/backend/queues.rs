//! The port of work queues.
//!
//! ```text
//!  put ---> ready --- take ---> out --- settle ---> gone
//!            ^  ^                | \--- bury -----> gone, and a dead letter is ready elsewhere
//!            |  +--- release,    |
//!            |       give_back --+
//!            |                   |
//!            +--- due --- postponed <--- postpone
//! ```
//!
//! The store owns what must outlive the process where messages do: their order, how often each was handed out, until when
//! it is good and when it is due. So times in here are milliseconds since the Unix epoch. Who consumes, whose turn it is
//! and what becomes of a message that was handed out too often is not the store's affair.

use std::fmt::Debug;
use std::sync::Arc;

use crate::model::{Depth, Destination, Look, Message, Queued, StoreError, Ticket};

use super::{Kept, Soon};

/// What time has brought.
#[derive(Debug, Default)]
pub struct Due {
    /// Queues where a postponed message is ready again.
    pub ready: Vec<Destination>,
    /// Messages that were ready or postponed until they expired. They are taken.
    pub expired: Vec<(Destination, Queued)>,
}

/// A message that is to stand in another queue.
#[derive(Debug, Clone)]
pub struct Move {
    /// What its queue knows it by.
    pub tag: u64,
    /// The other queue.
    pub to: Destination,
    /// The message as it is to stand there.
    pub message: Arc<Message>,
}

/// Why a message could not be put in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The named number of messages waits already.
    #[error("the queue holds {0} messages, its limit")]
    Messages(usize),
    /// The named number of bytes would be exceeded.
    #[error("the queue would hold more than {0} bytes, its limit")]
    Bytes(usize),
    /// The named number of queues exists already.
    #[error("there are {0} queues, their limit")]
    Queues(usize),
    /// All queues together would exceed the named number of bytes.
    #[error("all queues together would hold more than {0} bytes, their limit")]
    Store(usize),
    /// The store's own line has no room now; whoever asked is told when it has.
    #[error("there is no room now")]
    Busy,
    /// It will not be kept.
    #[error(transparent)]
    Unkept(StoreError),
}

/// Who sees to a message that is for a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attending {
    /// Nobody consumes from it on any node.
    Nobody,
    /// Somebody does.
    Somebody,
    /// It was accepted before, under its idempotency key.
    Done,
}

/// Called once with who it is.
pub type Attended = Box<dyn FnOnce(Result<Attending, StoreError>) + Send>;

/// Work queues: messages wait, are taken by one, and come back unless settled. `tests/backends` judges every adapter.
///
/// A message that is taken when the process dies comes back as [`Queues::release`] returns it, where messages survive. What
/// is taken counts towards every limit until it is settled, and so does what is postponed.
pub trait Queues: Send + Sync + Debug {
    /// Whether so many more messages of so many bytes in all have room.
    fn admit(&self, queue: &Destination, messages: usize, bytes: usize) -> Result<(), QueueError>;

    /// Adds a message at the end. With [`Kept::Later`] it is ready, and can be taken, when the store has answered with
    /// [`Answer::Queued`](crate::model::Answer::Queued).
    fn put(&self, queue: &Destination, message: Arc<Message>, ticket: Ticket) -> Result<Kept, QueueError>;

    /// As [`Queues::put`], room or not: what has begun is finished.
    fn force(&self, queue: &Destination, message: Arc<Message>, ticket: Ticket) -> Kept;

    /// Takes the oldest message that is ready, expired or not, and counts it as handed out.
    fn take(&self, queue: &Destination) -> Option<Queued>;

    /// Nothing was there to take, and so many messages would be taken if they were. A store that fetches them from
    /// elsewhere fetches no more.
    fn want(&self, _queue: &Destination, _count: usize) {}

    /// Gives a taken message back; it stands before everything newer again.
    fn release(&self, queue: &Destination, tag: u64);

    /// As [`Queues::release`], of a message that nobody can have seen: it was not handed out this time.
    fn give_back(&self, queue: &Destination, tag: u64);

    /// As [`Queues::release`] and [`Queues::take`] of the same message.
    fn retake(&self, queue: &Destination, tag: u64) -> Option<Queued>;

    /// As [`Queues::release`], but it is ready no sooner than `due_ms`: with the first [`Queues::sweep`] after it.
    fn postpone(&self, queue: &Destination, tag: u64, due_ms: u64);

    /// Ends a taken message; returns it.
    fn settle(&self, queue: &Destination, tag: u64) -> Option<Arc<Message>>;

    /// Ends a taken message and puts `letter` at the end of another queue, both or neither. Where `to` is full, the oldest
    /// that are ready there make room. Returns how many messages are lost by that: `letter` itself is one of them where
    /// nothing could make room. Nothing happens where `tag` is not taken.
    fn bury(&self, queue: &Destination, tag: u64, to: &Destination, letter: Arc<Message>) -> usize;

    /// What has come due until `now_ms`, at most `count` messages; a later call has the others.
    fn sweep(&self, now_ms: u64, count: usize) -> Due;

    /// Looks at up to `count` messages with tags above `after`. Later: [`Answer::Browsed`](crate::model::Answer::Browsed).
    fn browse(&self, queue: &Destination, after: u64, count: usize, ticket: Ticket) -> Soon<Look>;

    /// How much is in a queue. Later: [`Answer::Depth`](crate::model::Answer::Depth).
    fn depth(&self, queue: &Destination, ticket: Ticket) -> Soon<Depth>;

    /// Queues that hold messages, by name. Later: [`Answer::Queues`](crate::model::Answer::Queues).
    fn names(&self, ticket: Ticket) -> Soon<Vec<Destination>>;

    /// Removes up to `count` messages that are with nobody; how many. Later:
    /// [`Answer::Removed`](crate::model::Answer::Removed).
    fn purge(&self, queue: &Destination, count: usize, ticket: Ticket) -> Soon<usize>;

    /// Puts messages that are with nobody at the end of other queues, where there is room; how many. Later:
    /// [`Answer::Removed`](crate::model::Answer::Removed).
    fn transfer(&self, queue: &Destination, moves: Vec<Move>, ticket: Ticket) -> Soon<usize>;

    /// Somebody on this node consumes from the queue, or nobody does any more. A store that is shared notes it.
    fn attend(&self, _queue: &Destination, _is_attended: bool) {}

    /// Whether somebody on another node may consume from the queue: then only [`Queues::put`] finds out.
    fn may_be_attended_elsewhere(&self) -> bool {
        false
    }

    /// Who sees to a message just now, on any node, as far as the store knows; `then` is told, perhaps before this returns.
    fn ask_attending(&self, message: &Message, then: Attended);

    /// Bytes that all queues hold in memory.
    fn bytes(&self) -> usize;

    /// Messages in all queues, waiting, handed out or postponed. Of a store that is shared, those that this node has fetched.
    fn messages(&self) -> usize;

    /// Number of queues that hold messages.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
