//! What the broker keeps and how nodes reach each other: the ports, and their adapters.
//!
//! A port is declared here in the words of its users. [`memory`] is not a mock: it is what a single broker runs on.

use std::fmt::{self, Debug};
use std::sync::Arc;

use bytes::Bytes;
use stompede_protocol::Millis;

use crate::model::{
    Answer, ConnectionId, Destination, Full, Members, Message, MessageId, Now, Pattern, People, Person,
    Ticket, WorkerId,
};

pub mod claims;
pub mod control;
pub mod cursors;
pub mod disk;
pub mod history;
mod journal;
pub mod memberships;
pub mod memory;
mod queues;
#[cfg(test)]
#[path = "quiet_tests.rs"]
mod quiet;
pub mod record;
pub mod redis;
mod revocations;

pub use queues::{Attended, Attending, Due, Move, QueueError, Queues};
#[cfg(test)]
pub(crate) use quiet::Quiet;

pub use claims::{Claims, Holder, Unshared};
pub use control::{Alone, Control, REPORT_MS_MAX, Report};
pub use cursors::{Cursor, Cursors};
pub use history::{Appended, History, Patience, Question, Read, UNREAD_MAX, Unappended};
pub use journal::{Journal, KEY_WINDOW_MS, Kept, KnownKey, Unkept};
pub use memberships::Memberships;
pub use revocations::{Done, Revocations};

/// Makes what publishes, once it is known where messages go.
pub type BusMaker = Box<dyn FnOnce(Arc<dyn Sink>) -> Bus>;

/// What publishes.
#[derive(Debug)]
pub struct Bus {
    /// What is not kept.
    pub relay: Arc<dyn Relay>,
    /// What is kept.
    pub history: Arc<dyn History>,
    /// Orders to all nodes.
    pub control: Arc<dyn Control>,
    /// Tokens that are good no more.
    pub revocations: Arc<dyn Revocations>,
}

/// Everything a broker keeps its state in.
pub struct Backend {
    /// Who is where.
    pub presence: Arc<dyn Presence>,
    /// Up to where devices have taken what was kept for them.
    pub cursors: Arc<dyn Cursors>,
    /// Who belongs to which room.
    pub memberships: Arc<dyn Memberships>,
    /// Work queues.
    pub queues: Arc<dyn Queues>,
    /// Which node has what is asked for by a name.
    pub claims: Arc<dyn Claims>,
    /// When what is done is safe.
    pub journal: Arc<dyn Journal>,
    /// Idempotency keys of what was accepted before this process began.
    pub known_keys: Vec<KnownKey>,
    /// Makes the bus.
    pub bus: BusMaker,
}

impl Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("presence", &self.presence)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

/// A message that workers are asked to take.
pub struct Inbound<'a> {
    /// Where it was published.
    pub destination: &'a Destination,
    /// Memory that it takes, bytes.
    pub cost_bytes: usize,
    /// The worker that is told when there is room, if there is none.
    pub from: Option<WorkerId>,
    /// Makes it. Called once, where there is room: before, it has no place in the order.
    pub make: &'a mut dyn FnMut() -> Arc<Message>,
}

/// Takes what comes back. The broker implements it on its directory and inboxes.
pub trait Sink: Send + Sync + Debug {
    /// Hands a message to every interested worker of this node or, with [`Full`], to none.
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full>;

    /// Hands a message to every interested worker, room or not: for what is bounded elsewhere.
    fn force(&self, message: &Arc<Message>);

    /// Whether a message that is to be handed over later would have room now; otherwise the worker is told when it has.
    fn room_for(&self, destination: &Destination, cost_bytes: usize, from: WorkerId) -> Result<(), Full>;

    /// A store that was too busy for a worker takes messages again.
    fn tell_room(&self, worker: WorkerId);

    /// Hands the answer to whoever asked, behind everything that his worker was handed before.
    fn answer(&self, ticket: Ticket, answer: Answer);

    /// Whether somebody on this node hears what is published there, because he wants it or a pattern that matches.
    fn is_heard(&self, destination: &Destination) -> bool;

    /// Whether somebody on this node wants just this, patterns aside.
    fn is_wanted(&self, destination: &Destination) -> bool;

    /// Whether somebody on this node has subscribed to patterns.
    fn wants_patterns(&self) -> bool;

    /// Something that was published there may never have come: its subscribers are told.
    fn gap(&self, destination: &Destination);

    /// Something that patterns match may never have come: their subscribers are told.
    fn gap_in_patterns(&self);

    /// Tokens were revoked: sessions that they opened end.
    fn review(&self);

    /// Something may be taken from the queue that could not be before.
    fn ready(&self, queue: &Destination);

    /// An answer to a session of this node has come from another one.
    fn reply(&self, message: &Arc<Message>);

    /// Does what an operator orders; `report` hears of it.
    fn obey(&self, order: &Bytes, report: Report);

    /// Who is in a room has changed, on whichever node.
    fn changed(&self, news: &News<'_>, now: Now);

    /// Who is in a room says something else of himself, on whichever node.
    fn said(&self, word: &Word<'_>);

    /// A room has its first user, or has lost its last, over all nodes, and backends are to be told. It is given again, here or
    /// on another node, until `acked` was called.
    fn edge(&self, edge: &Edge<'_>, acked: Acked);
}

/// Called when it need not be given again.
pub type Acked = Box<dyn FnOnce() + Send>;

/// A room is empty no more, or has become so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge<'a> {
    /// The room.
    pub room: &'a str,
    /// Whether somebody is there now.
    pub is_occupied: bool,
    /// Its identity, the same whenever it is given.
    pub id: MessageId,
    /// When, milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

/// A user who is present in a room says something else of himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// The room.
    pub room: &'a str,
    /// The user.
    pub user: &'a str,
    /// What; `None`: nothing any more.
    pub status: Option<&'a str>,
    /// Identity of the message by which it is told, the same on all nodes.
    pub id: MessageId,
    /// When, milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

/// A user has become present in a room, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News<'a> {
    /// The room.
    pub room: &'a str,
    /// The user.
    pub user: &'a str,
    /// Whether he came.
    pub came: bool,
    /// Users present afterwards.
    pub present: usize,
    /// The room's version afterwards.
    pub version: u64,
    /// Identity of the message by which it is told, the same on all nodes.
    pub id: MessageId,
    /// When, milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

/// What a port says: at once, or as an [`Answer`] to the ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Soon<T> {
    /// This.
    Now(T),
    /// It comes by [`Sink::answer`].
    Later,
}

impl<T> Soon<T> {
    /// What is made of it, if it is there now.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Soon<U> {
        match self {
            Self::Now(it) => Soon::Now(make(it)),
            Self::Later => Soon::Later,
        }
    }
}

/// What somebody listens to.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// One destination.
    Exact(&'a Destination),
    /// All that a pattern matches.
    Pattern(&'a Pattern),
}

/// Carries messages to every node that wants them: at most once per node, in one order per destination.
pub trait Relay: Send + Sync + Debug {
    /// Publishes. `Ok` means that every interested node gets it, with [`Kept::Later`] once the answer,
    /// [`Answer::Published`], says so; [`Full`] that nobody did.
    fn publish(&self, message: &Arc<Message>, from: Option<WorkerId>, ticket: Ticket) -> Result<Kept, Full>;

    /// Publishes what nobody could wait for, past full inboxes: an event of the broker itself, at most one per change of
    /// a subscription, or the rest of a transaction whose sender is gone.
    fn announce(&self, message: &Arc<Message>);

    /// Somebody on this node listens. With [`Kept::Later`] the answer, [`Answer::Listening`], comes when whatever is
    /// published on any node after it will be heard; it is given to the ticket, if there is one.
    fn listen(&self, wanted: Wanted<'_>, ticket: Option<Ticket>) -> Kept;

    /// The last one on this node who listened has gone.
    fn unlisten(&self, wanted: Wanted<'_>);
}

/// One session in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// The room.
    pub room: &'a str,
    /// The user. His name is kept once, however many rooms he is in.
    pub user: &'a Arc<str>,
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
    /// The room's version afterwards: one more with each user who came or went, and never used again, even when the room
    /// is empty for a while.
    pub version: u64,
}

/// What a user says of himself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In a word.
    pub text: Arc<str>,
    /// Until when, if not for good.
    pub until: Option<Millis>,
}

/// The user is in the named number of rooms already, which is the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user is present in {0} rooms at most, in all sessions together")]
pub struct TooManyRooms(pub usize);

/// Who is where, who is online, and what they say of themselves.
///
/// Whatever is announced is announced while it is held fast: two changes of one room, or of one user, are announced in
/// the order in which they happened. `announce` must not call the port. A store that is shared by several nodes never calls
/// it: who comes and goes, and what they say of themselves, is told to every node by [`Sink::changed`] and [`Sink::said`].
pub trait Presence: Send + Sync + Debug {
    /// A session of `user` begins, in no room yet.
    fn begin(&self, user: &Arc<str>);

    /// A session of `user` ends. Whether it was the last, and the user has a status that is to be forgotten some time;
    /// see [`Presence::forget_status`].
    fn end(&self, user: &str, now: Millis) -> bool;

    /// Adds a row.
    ///
    /// # Errors
    /// The user is in no more rooms than he may; another row in a room where he is present changes nothing in that.
    fn enter(&self, row: Row<'_>, announce: &mut dyn FnMut(Change)) -> Result<(), TooManyRooms>;

    /// The connection of a row broke. It stays until it is removed, or its user enters the room again.
    fn lose(&self, row: Row<'_>);

    /// Removes a row; nothing happens where there is none.
    fn leave(&self, row: Row<'_>, announce: &mut dyn FnMut(Change));

    /// Up to `count` users present in `room` who arrived after `after`, by arrival. Later: [`Answer::Members`].
    fn members(&self, room: &str, after: u64, count: usize, ticket: Ticket) -> Soon<Members>;

    /// About `count` users with a session, on whichever node, from where an earlier list went on; `None` begins. Who stays
    /// is listed once, or twice in rare cases. Later: [`Answer::People`].
    fn people(&self, next: Option<&str>, count: usize, ticket: Ticket) -> Soon<People>;

    /// What is known of a user. Later: [`Answer::Person`].
    fn person(&self, user: &str, ticket: Ticket) -> Soon<Person>;

    /// Up to `count` rooms where somebody is present by a session of this node, with how many, the largest first.
    fn largest_rooms(&self, count: usize) -> Vec<(Arc<str>, usize)>;

    /// Sets the status of a user, or takes it back. `announce` is called with each of his rooms if that is news. Ignored
    /// of who has no session.
    fn set_status(&self, user: &Arc<str>, status: Option<Status>, announce: &mut dyn FnMut(&str));

    /// Forgets the status of a user whose last session ended at `since` or before.
    fn forget_status(&self, user: &str, since: Millis);

    /// Takes statuses back whose time is over, and announces user and room of each, until some `events` announcements
    /// have been made or none is left. To be called again for the rest.
    fn fall_back(&self, now: Millis, events: usize, announce: &mut dyn FnMut(&str, &str));

    /// Number of rooms where somebody is present.
    fn rooms(&self) -> usize;

    /// Number of users with a session.
    fn online(&self) -> usize;

    /// Number of users who have said a status.
    fn statuses(&self) -> usize;
}
