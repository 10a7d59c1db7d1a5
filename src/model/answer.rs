//! What is asked of a store, and what it answers later, in the inbox of the worker that asked.

use std::sync::Arc;

use bytes::Bytes;

use super::destination::Destination;
use super::history::{Page, Place, Position};
use super::ids::ConnectionId;
use super::message::Message;
use super::people::{Members, Membership, MembershipError, People, Person};
use super::verdict::Judged;

/// Whose answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Who asked.
    pub connection: ConnectionId,
    /// The number of the question there.
    pub call: u32,
    /// What stands for the idempotency key of what was sent; 0 = it has none.
    pub key: u64,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The message is stored there, and on its way to the subscribers.
    Stored(Result<Position, StoreError>),
    /// The message is on its way to every node that wants it, and kept nowhere.
    Published(Result<(), StoreError>),
    /// The message is stored in this queue, and ready there.
    Queued(Destination, Result<(), StoreError>),
    /// Everything that was done before the question is safe.
    Synced(Result<(), StoreError>),
    /// What is published anywhere from now on is heard here.
    Listening(Result<(), StoreError>),
    /// What was read.
    Page(Result<Page, StoreError>),
    /// Where it stands.
    Found(Result<Option<Place>, StoreError>),
    /// How many there are, in the order of the readers.
    Unread(Result<Box<[u32]>, StoreError>),
    /// Who is present.
    Members(Result<Members, StoreError>),
    /// Whether the user is a member only now.
    Enrolled(Result<bool, MembershipError>),
    /// Whether the user was a member until now.
    Withdrawn(Result<bool, StoreError>),
    /// Whether the read position has moved; `None`: there is no such member.
    Marked(Result<Option<bool>, StoreError>),
    /// The membership, if there is one.
    Membership(Result<Option<Membership>, StoreError>),
    /// All memberships of a user.
    Memberships(Result<Vec<Membership>, StoreError>),
    /// What nodes have done, each in its own words; and how many there are, if some have not answered.
    Reports(Vec<Bytes>, Option<usize>),
    /// Whether tokens are revoked from now on.
    Revoked(Result<(), StoreError>),
    /// What is in a queue.
    Browsed(Result<Look, StoreError>),
    /// Who is online, or belongs to a room.
    People(Result<People, StoreError>),
    /// What is known of a user.
    Person(Result<Person, StoreError>),
    /// How much is in a queue.
    Depth(Result<Depth, StoreError>),
    /// Which queues there are.
    Queues(Result<Vec<Destination>, StoreError>),
    /// How many messages of a queue were removed, or put elsewhere.
    Removed(Result<usize, StoreError>),
    /// What a backend decides.
    Judged(Judged),
}

/// A message in a queue.
#[derive(Debug, Clone)]
pub struct Queued {
    /// What the queue knows it by; older messages have smaller tags, and no tag of a queue is given twice.
    pub tag: u64,
    /// The message.
    pub message: Arc<Message>,
    /// How often it was handed out before, as far as somebody can have seen it.
    pub deliveries: u32,
    /// [`expires_ms`](super::expiry::expires_ms).
    pub expires_ms: Option<u64>,
}

impl Queued {
    /// Whether it may be delivered no more.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        super::expiry::is_past(self.expires_ms, now_ms)
    }
}

/// How much is in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Messages, wherever they are.
    pub messages: usize,
    /// Of these, with consumers.
    pub out: usize,
    /// Bytes of all, as the store counts them.
    pub bytes: usize,
    /// When the oldest was sent, milliseconds since the Unix epoch.
    pub oldest_ms: Option<u64>,
}

/// A look at a queue.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Some of its messages, in order, whether they are ready, taken or postponed.
    pub listed: Vec<Queued>,
    /// The tag of the newest message that was ever put in the queue since it was last empty; 0 where it is.
    pub newest: u64,
}

impl Answer {
    /// Bytes that it keeps in memory.
    pub fn cost_bytes(&self) -> usize {
        match self {
            Self::Page(Ok(page)) => page.messages.iter().map(|message| message.cost_bytes()).sum(),
            Self::Unread(Ok(counts)) => size_of_val::<[u32]>(counts),
            Self::Reports(reports, _) => reports.iter().map(Bytes::len).sum(),
            Self::Members(Ok(members)) => size_of_val::<[_]>(&members.listed),
            Self::Memberships(Ok(memberships)) => size_of_val::<[_]>(memberships),
            Self::People(Ok(people)) => size_of_val::<[_]>(&people.listed),
            Self::Queues(Ok(queues)) => size_of_val::<[_]>(queues),
            Self::Browsed(Ok(look)) => look.listed.iter().map(|queued| queued.message.cost_bytes()).sum(),
            _ => 0,
        }
    }

    /// Whether what was sent is accepted, if that is what it answers.
    pub fn accepted(&self) -> Option<bool> {
        match self {
            Self::Stored(stored) => Some(stored.is_ok()),
            Self::Published(published) => Some(published.is_ok()),
            Self::Queued(_, queued) => Some(queued.is_ok()),
            _ => None,
        }
    }
}

/// Why a store cannot do what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no room for it.
    #[error("the store has no room for this message")]
    Full,
    /// The queue has as many messages, or bytes of them, as it may.
    #[error("the queue is full")]
    QueueFull,
    /// Nobody on any node handles the destination.
    #[error("nobody handles this destination")]
    NoHandler,
    /// Whoever asked for this answer is gone.
    #[error("nobody waits for this answer")]
    NoReceiver,
    /// It does not work at the moment.
    #[error("the store cannot do this at the moment")]
    Unavailable,
}
