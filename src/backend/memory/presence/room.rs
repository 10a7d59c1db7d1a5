//! Who is in one room, in their order of arrival.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::backend::memory::few::{Few, Removed};
use crate::model::ConnectionId;

/// One room. A large one keeps each user in 40 bytes, and 5 in its index; both have little room to spare.
#[derive(Debug)]
pub(super) struct Room {
    /// Grows by one with each user who comes or goes.
    pub(super) version: u64,
    /// By arrival. Who leaves leaves a gap, so that the places in the index stay true.
    seats: Vec<Seat>,
    /// Places in `seats`, by the hash of the user.
    index: HashTable<u32>,
    gaps: usize,
}

/// A user's place in a room.
#[derive(Debug)]
pub(super) struct Seat {
    /// `None`: a gap.
    user: Option<Arc<str>>,
    /// The room's version with which the user came: never used twice.
    pub(super) arrival: u64,
    sessions: Few<Session>,
}

impl Seat {
    /// How whoever sits there is in the room.
    pub(super) fn standing(&self) -> Standing {
        let is_open = self.sessions.as_slice().iter().any(|session| !session.is_broken);
        if is_open { Standing::Present } else { Standing::Broken }
    }
}

/// A session of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    id: ConnectionId,
    /// Its connection is gone; it is here until it is clear that its user does not come back.
    is_broken: bool,
}

/// How a user is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend) enum Standing {
    /// Not at all.
    Absent,
    /// All his connections there are broken.
    Broken,
    /// He is there.
    Present,
}

impl Session {
    fn open(id: ConnectionId) -> Self {
        Self { id, is_broken: false }
    }

    fn broken(id: ConnectionId) -> Self {
        Self { id, is_broken: true }
    }
}

impl Room {
    /// An empty room, whose versions follow `version`.
    pub(super) fn new(version: u64) -> Self {
        Self { version, seats: Vec::new(), index: HashTable::new(), gaps: 0 }
    }

    /// Users present.
    pub(super) fn present(&self) -> usize {
        self.seats.len() - self.gaps
    }

    /// Another session of a user who is present; `false` when he is not. With it he is back: what broke is over.
    pub(super) fn add_session(&mut self, user: &str, hasher: &RandomState, session: ConnectionId) -> bool {
        let Some(place) = self.place(user, hasher) else { return false };
        let sessions = &mut self.seats[place].sessions;
        sessions.push(Session::open(session));
        while let Some(broken) = sessions.as_slice().iter().find(|session| session.is_broken).copied() {
            sessions.remove(&broken);
        }
        true
    }

    /// The connection of a session broke.
    pub(super) fn lose(&mut self, user: &str, hasher: &RandomState, session: ConnectionId) {
        let Some(place) = self.place(user, hasher) else { return };
        self.seats[place].sessions.replace(&Session::open(session), Session::broken(session));
    }

    /// The first session of a user.
    pub(super) fn seat(&mut self, user: &Arc<str>, hasher: &RandomState, session: ConnectionId) {
        self.version += 1;
        if self.seats.len() == self.seats.capacity() {
            // A quarter more, not as much again: most of a crowd's memory is here.
            self.seats.reserve_exact((self.seats.len() / 4).max(SEATS_MIN));
        }
        let seat = Seat {
            user: Some(Arc::clone(user)),
            arrival: self.version,
            sessions: Few::One(Session::open(session)),
        };
        let place = self.seats.len() as u32;
        self.seats.push(seat);
        let seats = &self.seats;
        self.index.insert_unique(hasher.hash_one(&**user), place, |place| hash_of(seats, *place, hasher));
    }

    /// A session ends; [`Removed::Last`] when the user is gone with it.
    pub(super) fn remove(&mut self, user: &str, hasher: &RandomState, session: ConnectionId) -> Removed {
        let Some(place) = self.place(user, hasher) else { return Removed::Nothing };
        let sessions = &mut self.seats[place].sessions;
        let removed = match sessions.remove(&Session::open(session)) {
            Removed::Nothing => sessions.remove(&Session::broken(session)),
            removed => removed,
        };
        if removed == Removed::Last {
            self.version += 1;
            self.vacate(user, place, hasher);
        }
        removed
    }

    /// Users who came after `arrival`, by arrival.
    pub(super) fn after(&self, arrival: u64) -> impl Iterator<Item = (&Arc<str>, &Seat)> {
        let from = self.seats.partition_point(|seat| seat.arrival <= arrival);
        self.seats[from..].iter().filter_map(|seat| Some((seat.user.as_ref()?, seat)))
    }

    /// How a user is here.
    pub(super) fn standing(&self, user: &str, hasher: &RandomState) -> Standing {
        self.place(user, hasher).map_or(Standing::Absent, |place| self.seats[place].standing())
    }

    fn place(&self, user: &str, hasher: &RandomState) -> Option<usize> {
        let sits = |place: &u32| self.seats[*place as usize].user.as_deref() == Some(user);
        self.index.find(hasher.hash_one(user), sits).map(|place| *place as usize)
    }

    fn vacate(&mut self, user: &str, place: usize, hasher: &RandomState) {
        if let Ok(entry) = self.index.find_entry(hasher.hash_one(user), |known| *known as usize == place) {
            entry.remove();
        }
        self.seats[place].user = None;
        self.gaps += 1;
        if self.gaps > GAPS_MAX && self.gaps > self.seats.len() / 2 {
            self.close_up(hasher);
        }
    }

    fn close_up(&mut self, hasher: &RandomState) {
        self.seats.retain(|seat| seat.user.is_some());
        self.seats.shrink_to_fit();
        self.gaps = 0;
        let seats = &self.seats;
        self.index = HashTable::with_capacity(seats.len());
        for place in 0..seats.len() as u32 {
            let hash = hash_of(seats, place, hasher);
            self.index.insert_unique(hash, place, |place| hash_of(seats, *place, hasher));
        }
    }
}

fn hash_of(seats: &[Seat], place: u32, hasher: &RandomState) -> u64 {
    hasher.hash_one(seats[place as usize].user.as_deref().unwrap_or_default())
}

/// Seats that the first user makes room for.
const SEATS_MIN: usize = 2;

/// So few gaps are left as they are.
const GAPS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WorkerId;

    fn session(slot: u32) -> ConnectionId {
        ConnectionId { worker: WorkerId(0), slot, serial: 0 }
    }

    #[test]
    fn the_order_of_arrival_survives_those_who_leave() {
        let hasher = RandomState::default();
        let mut room = Room::new(7);
        let users: Vec<Arc<str>> = (0..200).map(|n| format!("u{n}").into()).collect();
        for (n, user) in users.iter().enumerate() {
            assert!(!room.add_session(user, &hasher, session(n as u32)));
            room.seat(user, &hasher, session(n as u32));
        }
        for (n, user) in users.iter().enumerate().filter(|(n, _)| n % 5 != 0) {
            assert_eq!(room.remove(user, &hasher, session(n as u32)), Removed::Last);
            assert_eq!(room.remove(user, &hasher, session(n as u32)), Removed::Nothing);
        }
        assert_eq!((room.present(), room.version), (40, 7 + 200 + 160));
        assert!(room.seats.len() <= 2 * 40 + GAPS_MAX, "{} seats for 40", room.seats.len());
        let left = users.iter().step_by(5);
        assert!(room.after(0).map(|(user, _)| user).eq(left.clone()));
        let eleventh = room.after(0).nth(10).unwrap().1.arrival;
        assert!(room.after(eleventh).map(|(user, _)| user).eq(left.skip(11)));
        assert!(room.add_session("u10", &hasher, session(1_000)));
        assert_eq!(room.remove("u10", &hasher, session(10)), Removed::One);
    }
}
