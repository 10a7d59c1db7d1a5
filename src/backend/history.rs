//! The port of what is kept: messages of a destination, numbered, for those who come later.

use std::fmt::Debug;
use std::sync::Arc;

use crate::model::{
    Destination, Full, Message, Position, Reader, Retention, Start, StoreError, Ticket, Which, WorkerId,
};

/// What became of a message that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It stands there, and every interested worker has it.
    Now(Position),
    /// The answer comes by [`Sink::answer`](super::Sink::answer), in the order in which messages were given.
    Later,
}

/// What to do where workers have no room for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not to take it; this worker is told when there is room.
    Wait(WorkerId),
    /// To take it all the same: what has begun is finished.
    None,
}

/// Why a message was not even taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unappended {
    /// A worker, or the store's own line, has no room now; whoever asked is told when there is.
    #[error("there is no room now")]
    Busy,
    /// It will not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Full> for Unappended {
    fn from(_: Full) -> Self {
        Self::Busy
    }
}

/// What is asked of a destination's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Messages; the answer is [`Answer::Page`](crate::model::Answer::Page).
    Read(Read),
    /// Messages that a device has not taken yet, all of them if it was not here before. Only of a store that keeps the
    /// cursors, too; the answer is [`Answer::Page`](crate::model::Answer::Page).
    Resume(Box<str>, Read),
    /// Where a message stands; [`Answer::Found`](crate::model::Answer::Found).
    Find(Which),
    /// How many messages of others each has not read, counted up to [`UNREAD_MAX`];
    /// [`Answer::Unread`](crate::model::Answer::Unread).
    Count(Box<[Reader]>),
}

/// Which messages are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// From where.
    pub start: Start,
    /// Messages of one answer.
    pub messages_max: usize,
    /// Bytes of one answer; a single message of any size is answered.
    pub bytes_max: usize,
    /// Whoever asks hears what comes from now on as well: what was kept a moment ago and is on its way to him may be missing
    /// at the end of the answer, and follows it. To others everything is told that is kept when they ask.
    pub is_followed: bool,
}

/// Unread messages are counted so far: who has more has many.
pub const UNREAD_MAX: u32 = 1_000;

/// Messages of destinations, in their order.
///
/// Numbering, keeping and publishing are one step: what is kept stands in the order in which it was delivered. An offset
/// is never used for two messages of an epoch.
pub trait History: Send + Sync + Debug {
    /// Numbers `message`, keeps it as `retention` says, and hands it to whoever subscribes. `message` is held by nobody
    /// else; its position is set.
    ///
    /// # Errors
    /// Nothing has happened.
    fn append(
        &self,
        message: &mut Arc<Message>,
        retention: &Retention,
        patience: Patience,
        ticket: Ticket,
    ) -> Result<Appended, Unappended>;

    /// Asks. The answer comes by [`Sink::answer`](super::Sink::answer). `now_ms` is milliseconds since the Unix epoch: what
    /// is too old is not there.
    fn ask(&self, destination: &Destination, question: Question, ticket: Ticket, now_ms: u64);

    /// Forgets what stands up to `offset`: everybody whom it was for has it.
    fn trim(&self, destination: &Destination, offset: u64);

    /// Offset of the newest message that `destination` ever had.
    fn last(&self, destination: &Destination) -> u64;

    /// Forgets what is too old. To be called several times a second; does a bounded part of it.
    fn tick(&self, now_ms: u64);

    /// Bytes that it holds in memory.
    fn bytes(&self) -> usize;

    /// Destinations of which something is kept.
    fn len(&self) -> usize;

    /// Whether nothing is kept.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
