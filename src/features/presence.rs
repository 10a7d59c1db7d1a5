//! Who is in a room, and telling it: single events in small rooms, a count per second in large ones; at once who leaves,
//! later who is lost.

mod herald;
mod lingering;

use std::sync::Arc;

use parking_lot::Mutex;
use stompede_protocol::Millis;

use crate::backend::{Presence, Row, Soon, Status, TooManyRooms};
use crate::model::{ConnectionId, Members, People, Person, Ticket};

pub use herald::{COUNT_EVERY_MS, Herald, SINGLE_EVENTS_MAX};
pub use lingering::{LINGERING_MAX, PARTINGS_A_TICK};
use lingering::{Lingering, Parting, What};

/// Something to tell a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement<'a> {
    /// A user became present.
    Join {
        /// Who.
        user: &'a str,
        /// The room's version with it.
        version: u64,
    },
    /// A user is gone.
    Leave {
        /// Who.
        user: &'a str,
        /// The room's version with it.
        version: u64,
    },
    /// So many are present.
    Count {
        /// How many.
        count: usize,
        /// The version of which that is true.
        version: u64,
    },
    /// The room was empty before.
    Occupied,
    /// The room is empty now.
    Vacated,
    /// A user who is present says something else of himself.
    Status {
        /// Who.
        user: &'a str,
        /// What; `None`: nothing any more.
        status: Option<&'a str>,
    },
}

/// Presence with its announcements.
#[derive(Debug)]
pub struct Attendance {
    store: Arc<dyn Presence>,
    linger_ms: u64,
    lingering: Mutex<Lingering>,
    herald: Arc<Herald>,
    edges: Edges,
}

/// Whether it is announced that a room has its first user, or has lost its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edges {
    /// Nobody wants to know.
    Untold,
    /// Before the JOIN, and behind the LEAVE.
    Told,
}

impl Attendance {
    /// Presence kept in `store`. A user whose connection broke stays present for `linger_ms`.
    pub fn new(store: Arc<dyn Presence>, linger_ms: u64) -> Self {
        Self { store, linger_ms, lingering: Mutex::default(), herald: Arc::default(), edges: Edges::Untold }
    }

    /// The same, and it announces edges or not.
    #[must_use]
    pub fn with_edges(self, edges: Edges) -> Self {
        Self { edges, ..self }
    }

    /// Who decides what is told of a change; for changes that other nodes tell of.
    pub fn herald(&self) -> Arc<Herald> {
        Arc::clone(&self.herald)
    }

    /// A session of `user` begins.
    pub fn begin(&self, user: &Arc<str>) {
        self.store.begin(user);
    }

    /// A session of `user` ends. His status is forgotten when he has none for longer than the linger.
    pub fn end(&self, user: &Arc<str>, now: Millis) {
        if self.store.end(user, now) {
            self.put_off(What::Status, user, now, &mut |_, _| {});
        }
    }

    /// A session entered a room. `announce` is called at most once, in the order of the room's changes. `now` here and
    /// below is monotonic: a clock that is set back must not silence large rooms.
    ///
    /// # Errors
    /// The user is in as many rooms as he may be.
    pub fn enter(
        &self,
        row: Row<'_>,
        now: Millis,
        announce: &mut dyn FnMut(Announcement<'_>),
    ) -> Result<(), TooManyRooms> {
        self.store.enter(row, &mut |change| {
            let single = Announcement::Join { user: row.user, version: change.version };
            if change.user_changed {
                if change.present == 1 && self.edges == Edges::Told {
                    announce(Announcement::Occupied);
                }
                self.herald.judge(row.room, change.present, single, now).into_iter().for_each(&mut *announce);
            }
        })
    }

    /// A session left a room, likewise.
    pub fn leave(&self, row: Row<'_>, now: Millis, announce: &mut dyn FnMut(Announcement<'_>)) {
        self.store.leave(row, &mut |change| {
            let single = Announcement::Leave { user: row.user, version: change.version };
            if change.user_changed {
                self.herald.judge(row.room, change.present, single, now).into_iter().for_each(&mut *announce);
                if change.present == 0 && self.edges == Edges::Told {
                    announce(Announcement::Vacated);
                }
            }
        });
    }

    /// The connection of a session broke: it leaves the room when its user has had time to come back. When he does, the row
    /// ends unheard, and what was put off finds none.
    pub fn lose(
        &self,
        room: Box<str>,
        user: &Arc<str>,
        session: ConnectionId,
        now: Millis,
        announce: &mut dyn FnMut(&str, Announcement<'_>),
    ) {
        self.store.lose(Row { room: &room, user, session });
        self.put_off(What::Row { room, session }, user, now, announce);
    }

    /// Some of those in the room, see [`Presence::members`].
    pub fn members(&self, room: &str, after: u64, count: usize, ticket: Ticket) -> Soon<Members> {
        self.store.members(room, after, count, ticket)
    }

    /// As [`Presence::people`].
    pub fn people(&self, next: Option<&str>, count: usize, ticket: Ticket) -> Soon<People> {
        self.store.people(next, count, ticket)
    }

    /// As [`Presence::person`].
    pub fn person(&self, user: &str, ticket: Ticket) -> Soon<Person> {
        self.store.person(user, ticket)
    }

    /// A user says something of himself, or takes it back. `announce` is called for each room where he is present, unless
    /// it is what he said before.
    pub fn set_status(
        &self,
        user: &Arc<str>,
        status: Option<Status>,
        announce: &mut dyn FnMut(&str, Announcement<'_>),
    ) {
        let text = status.as_ref().map(|status| Arc::clone(&status.text));
        let told = Announcement::Status { user, status: text.as_deref() };
        self.store.set_status(user, status, &mut |room| announce(room, told));
    }

    /// Rooms where somebody is present.
    pub fn rooms(&self) -> usize {
        self.store.rooms()
    }

    /// Users with a session.
    pub fn online(&self) -> usize {
        self.store.online()
    }

    /// Users who have said a status.
    pub fn statuses(&self) -> usize {
        self.store.statuses()
    }

    /// Rows and statuses of sessions that broke and may come back.
    pub fn lingering(&self) -> usize {
        self.lingering.lock().len()
    }

    /// Rooms that are told counts.
    pub fn large_rooms(&self) -> usize {
        self.herald.large_rooms()
    }

    /// Ends what has lingered long enough and what was said for a time, a bounded part of each; tells large rooms whose
    /// count has changed and that were last told a second ago. To be called several times a second.
    pub fn tick(&self, now: Millis, announce: &mut dyn FnMut(&str, Announcement<'_>)) {
        let due = self.lingering.lock().take_due(now);
        for parting in due {
            self.finish(parting, now, announce);
        }
        self.store.fall_back(now, EVENTS_A_TICK, &mut |user, room| {
            announce(room, Announcement::Status { user, status: None });
        });
        self.herald.tell_counts(now, announce);
    }

    /// Ends it when its time has come; now if that is now, or too many wait already.
    fn put_off(
        &self,
        what: What,
        user: &Arc<str>,
        now: Millis,
        announce: &mut dyn FnMut(&str, Announcement<'_>),
    ) {
        let parting = Parting { due: now.after(self.linger_ms), user: Arc::clone(user), what };
        if self.linger_ms == 0 {
            return self.finish(parting, now, announce);
        }
        let pushed = self.lingering.lock().push(parting);
        if let Err(parting) = pushed {
            self.finish(parting, now, announce);
        }
    }

    fn finish(&self, parting: Parting, now: Millis, announce: &mut dyn FnMut(&str, Announcement<'_>)) {
        let Parting { due, user, what } = parting;
        match what {
            What::Row { room, session } => {
                let row = Row { room: &room, user: &user, session };
                self.leave(row, now, &mut |announcement| announce(&room, announcement));
            }
            What::Status => self.store.forget_status(&user, Millis(due.0.saturating_sub(self.linger_ms))),
        }
    }
}

/// So many rooms, roughly, hear in one tick that somebody's status has fallen back; the others at the next.
pub const EVENTS_A_TICK: usize = 1_000;

#[cfg(test)]
mod tests;
