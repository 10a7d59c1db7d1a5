//! Rooms and who is in them, in this process. A room without anybody is forgotten.

mod room;
mod survey;
mod users;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::{FixedState, RandomState};
use parking_lot::Mutex;
use stompede_protocol::Millis;

use super::few::Removed;
use crate::backend::{Change, Presence, Row, Soon, Status, TooManyRooms};
use crate::model::{Member, Members, People, Person, Ticket};

use room::Room;
pub(in crate::backend) use room::Standing;
use users::{Users, give_back};

/// Presence of one node.
///
/// Two kinds of locks: one for some rooms, one for some users. Whoever needs both takes the room's first, and the user's
/// while it holds that.
#[derive(Debug)]
pub struct MemoryPresence {
    rooms: Box<[Mutex<Rooms>]>,
    users: Box<[Mutex<Users>]>,
    user_rooms_max: usize,
    /// Of the tables within rooms.
    hasher: RandomState,
    /// Chooses locks. No secret: who finds names that share one gains no more than who uses one name alone.
    spread: FixedState,
}

/// Some of the rooms.
#[derive(Debug, Default)]
struct Rooms {
    by_name: HashMap<Arc<str>, Room, RandomState>,
    /// The greatest version of those that are forgotten: new ones go on from there, so that none is used twice.
    forgotten_version: u64,
}

impl MemoryPresence {
    /// Nobody is anywhere; nobody will be in more than `user_rooms_max` rooms.
    pub fn new(user_rooms_max: usize) -> Self {
        Self {
            rooms: (0..SHARDS).map(|_| Mutex::default()).collect(),
            users: (0..SHARDS).map(|_| Mutex::default()).collect(),
            user_rooms_max,
            hasher: RandomState::default(),
            spread: FixedState::default(),
        }
    }

    fn rooms_beside(&self, room: &str) -> &Mutex<Rooms> {
        &self.rooms[self.spread.hash_one(room) as usize % SHARDS]
    }

    fn users_beside(&self, user: &str) -> &Mutex<Users> {
        &self.users[self.spread.hash_one(user) as usize % SHARDS]
    }

    /// As [`Presence::members`].
    pub(in crate::backend) fn members_now(&self, room: &str, after: u64, count: usize) -> Members {
        let rooms = self.rooms_beside(room).lock();
        let Some(room) = rooms.by_name.get(room) else {
            return Members { version: rooms.forgotten_version, ..Members::default() };
        };
        let mut seats = room.after(after);
        let listed = seats.by_ref().take(count).map(|(user, seat)| Member {
            user: Arc::clone(user),
            status: self.users_beside(user).lock().status(user),
            arrival: seat.arrival,
        });
        let listed = listed.collect();
        Members { listed, count: room.present(), version: room.version, more: seats.next().is_some() }
    }
}

impl Presence for MemoryPresence {
    fn begin(&self, user: &Arc<str>) {
        self.users_beside(user).lock().begin(user);
    }

    fn end(&self, user: &str, now: Millis) -> bool {
        self.users_beside(user).lock().end(user, now)
    }

    fn enter(&self, row: Row<'_>, announce: &mut dyn FnMut(Change)) -> Result<(), TooManyRooms> {
        let mut rooms = self.rooms_beside(row.room).lock();
        let Rooms { by_name, forgotten_version } = &mut *rooms;
        if let Some(room) = by_name.get_mut(row.room)
            && room.add_session(row.user, &self.hasher, row.session)
        {
            announce(Change { user_changed: false, present: room.present(), version: room.version });
            return Ok(());
        }
        // Held to the end: a change of status is announced to the room after its JOIN.
        let mut users = self.users_beside(row.user).lock();
        if users.rooms(row.user).len() >= self.user_rooms_max {
            return Err(TooManyRooms(self.user_rooms_max));
        }
        let name = by_name.get_key_value(row.room).map(|(name, _)| Arc::clone(name));
        let name = name.unwrap_or_else(|| row.room.into());
        users.enter(row.user, &name);
        let room = by_name.entry(name).or_insert_with(|| Room::new(*forgotten_version));
        room.seat(row.user, &self.hasher, row.session);
        announce(Change { user_changed: true, present: room.present(), version: room.version });
        Ok(())
    }

    fn lose(&self, row: Row<'_>) {
        let mut rooms = self.rooms_beside(row.room).lock();
        if let Some(room) = rooms.by_name.get_mut(row.room) {
            room.lose(row.user, &self.hasher, row.session);
        }
    }

    fn leave(&self, row: Row<'_>, announce: &mut dyn FnMut(Change)) {
        let mut rooms = self.rooms_beside(row.room).lock();
        let Rooms { by_name, forgotten_version } = &mut *rooms;
        let Some(room) = by_name.get_mut(row.room) else { return };
        let removed = room.remove(row.user, &self.hasher, row.session);
        let change = |user_changed| Change { user_changed, present: room.present(), version: room.version };
        match removed {
            Removed::Nothing => {}
            Removed::One => announce(change(false)),
            Removed::Last => {
                let change = change(true);
                if let Some((name, _)) = by_name.get_key_value(row.room) {
                    self.users_beside(row.user).lock().leave(row.user, name);
                }
                if change.present == 0 {
                    *forgotten_version = change.version.max(*forgotten_version);
                    by_name.remove(row.room);
                    give_back(by_name);
                }
                announce(change);
            }
        }
    }

    fn members(&self, room: &str, after: u64, count: usize, _: Ticket) -> Soon<Members> {
        Soon::Now(self.members_now(room, after, count))
    }

    fn people(&self, next: Option<&str>, count: usize, _: Ticket) -> Soon<People> {
        Soon::Now(self.people_now(next, count))
    }

    fn person(&self, user: &str, _: Ticket) -> Soon<Person> {
        Soon::Now(self.person_now(user))
    }

    fn largest_rooms(&self, count: usize) -> Vec<(Arc<str>, usize)> {
        self.largest_rooms_now(count)
    }

    fn set_status(&self, user: &Arc<str>, status: Option<Status>, announce: &mut dyn FnMut(&str)) {
        let mut users = self.users_beside(user).lock();
        if users.set_status(user, status) {
            users.rooms(user).iter().for_each(|room| announce(room));
        }
    }

    fn forget_status(&self, user: &str, since: Millis) {
        self.users_beside(user).lock().forget_status(user, since);
    }

    fn fall_back(&self, now: Millis, events: usize, announce: &mut dyn FnMut(&str, &str)) {
        let mut announced = 0;
        for users in &self.users {
            let mut users = users.lock();
            while announced < events
                && let Some(user) = users.fall_back(now)
            {
                // Who is nowhere costs a little, too.
                announced += 1 + users.rooms(&user).len();
                users.rooms(&user).iter().for_each(|room| announce(&user, room));
            }
        }
    }

    fn rooms(&self) -> usize {
        self.rooms.iter().map(|rooms| rooms.lock().by_name.len()).sum()
    }

    fn online(&self) -> usize {
        self.users.iter().map(|users| users.lock().online()).sum()
    }

    fn statuses(&self) -> usize {
        self.users.iter().map(|users| users.lock().statuses()).sum()
    }
}

/// Rooms, and users, are spread over so many locks.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests;
