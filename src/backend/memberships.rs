//! The port of membership: who belongs to which room, and up to where each has read.

use std::fmt::Debug;
use std::sync::Arc;

/// A room that somebody belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The room.
    pub room: Arc<str>,
    /// Offset up to which he has read there.
    pub read: u64,
}

/// Why somebody cannot become a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The user belongs to the named number of rooms already.
    #[error("a user is member of at most {0} rooms")]
    Rooms(usize),
    /// The room has the named number of members already.
    #[error("a room has at most {0} members")]
    Members(usize),
    /// All memberships together would exceed the named number.
    #[error("there are {0} memberships, their limit")]
    Store(usize),
}

/// Members of rooms. Membership lasts from the first SUBSCRIBE until it is ended, whoever is connected.
pub trait Memberships: Send + Sync + Debug {
    /// Makes `user` a member of `room` who has read up to `read`; `false` if he is one already.
    ///
    /// # Errors
    /// A limit is reached.
    fn enrol(&self, room: &str, user: &str, read: u64) -> Result<bool, MembershipError>;

    /// Ends a membership; `false` if there is none.
    fn withdraw(&self, room: &str, user: &str) -> bool;

    /// Moves a read position forward, never back; whether it has moved, `None` if there is no such member.
    fn mark_read(&self, room: &str, user: &str, offset: u64) -> Option<bool>;

    /// The membership of `user` in `room`.
    fn membership(&self, room: &str, user: &str) -> Option<Membership>;

    /// The rooms of `user`, by name.
    fn rooms_of(&self, user: &str) -> Vec<Membership>;

    /// Memberships of all.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they hold in memory, roughly.
    fn bytes(&self) -> usize;
}
