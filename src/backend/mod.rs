//! What the broker keeps and how nodes reach each other: the ports, and their adapters.
//!
//! A port is declared here in the words of its users. [`memory`] is not a mock: it is what a single broker runs on.

use std::fmt::{self, Debug};
use std::sync::Arc;

use stompede_protocol::Millis;

use crate::model::{Answer, ConnectionId, Destination, Full, Message, Ticket, WorkerId};

pub mod cursors;
pub mod disk;
pub mod history;
mod journal;
pub mod memberships;
pub mod memory;
mod queues;
pub mod record;

pub use queues::{Due, QueueError, Queued, Queues};

pub use cursors::Cursors;
pub use history::{Appended, History, Patience, Question, Read, UNREAD_MAX, Unappended};
pub use journal::{Journal, KEY_WINDOW_MS, Kept, KnownKey, Unkept};
pub use memberships::{Membership, MembershipError, Memberships};

/// Makes what publishes, once it is known where messages go.
pub type BusMaker = Box<dyn FnOnce(Arc<dyn Sink>) -> Bus>;

/// What publishes.
#[derive(Debug)]
pub struct Bus {
    /// What is not kept.
    pub relay: Arc<dyn Relay>,
    /// What is kept.
    pub history: Arc<dyn History>,
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

/// Who is in a room, or some of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// By arrival.
    pub listed: Vec<Member>,
    /// How many are present, listed or not.
    pub count: usize,
    /// The room's version, of which all this is true.
    pub version: u64,
    /// Others came after the last one listed.
    pub more: bool,
}

/// One who is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: Arc<str>,
    /// What he has said of himself; `None` where nothing.
    pub status: Option<Arc<str>>,
    /// His place in the order: grows from one arrival in a room to the next.
    pub arrival: u64,
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
/// the order in which they happened. `announce` must not call the port.
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

    /// Up to `count` users present in `room` who arrived after `after`, by arrival.
    fn members(&self, room: &str, after: u64, count: usize) -> Members;

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
