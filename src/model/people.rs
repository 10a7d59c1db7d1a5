//! Who is present in a room, and who belongs to it.

use std::sync::Arc;

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

/// Some of many people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct People {
    /// Who.
    pub listed: Vec<Arc<str>>,
    /// Where the list goes on; opaque, and `None` at its end.
    pub next: Option<Box<str>>,
    /// How many there are, listed or not.
    pub count: usize,
}

/// What is known of one user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// He has a session.
    pub is_online: bool,
    /// What he has said of himself.
    pub status: Option<Arc<str>>,
    /// Rooms where he is present.
    pub rooms: Vec<Arc<str>>,
}

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
    /// The store does not work at the moment.
    #[error("the store cannot do this at the moment")]
    Unavailable,
}
