//! The port of membership: who belongs to which room, and up to where each has read.

use std::fmt::Debug;

use crate::model::{Membership, MembershipError, People, Ticket};

use super::Soon;

/// Members of rooms. Membership lasts from the first SUBSCRIBE until it is ended, whoever is connected.
pub trait Memberships: Send + Sync + Debug {
    /// Makes `user` a member of `room` who has read up to `read`; `false` if he is one already. A store that is shared looks
    /// itself up to where there is anything to read. Later: [`Answer::Enrolled`](crate::model::Answer::Enrolled).
    fn enrol(&self, room: &str, user: &str, read: u64, ticket: Ticket)
    -> Soon<Result<bool, MembershipError>>;

    /// Ends a membership; `false` if there is none. Later: [`Answer::Withdrawn`](crate::model::Answer::Withdrawn).
    fn withdraw(&self, room: &str, user: &str, ticket: Ticket) -> Soon<bool>;

    /// Moves a read position forward, never back; whether it has moved, `None` if there is no such member. Later:
    /// [`Answer::Marked`](crate::model::Answer::Marked).
    fn mark_read(&self, room: &str, user: &str, offset: u64, ticket: Ticket) -> Soon<Option<bool>>;

    /// The membership of `user` in `room`. Later: [`Answer::Membership`](crate::model::Answer::Membership).
    fn membership(&self, room: &str, user: &str, ticket: Ticket) -> Soon<Option<Membership>>;

    /// The rooms of `user`, by name. Later: [`Answer::Memberships`](crate::model::Answer::Memberships).
    fn rooms_of(&self, user: &str, ticket: Ticket) -> Soon<Vec<Membership>>;

    /// About `count` members of `room`, from where an earlier list went on; `None` begins. Who stays is listed once, or twice
    /// in rare cases. Later: [`Answer::People`](crate::model::Answer::People).
    fn members(&self, room: &str, next: Option<&str>, count: usize, ticket: Ticket) -> Soon<People>;

    /// Memberships of all.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they hold in memory, roughly.
    fn bytes(&self) -> usize;
}
