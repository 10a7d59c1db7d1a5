//! Rooms and who is in them, in this process. A room without anybody is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::backend::{Change, Presence, Row};
use crate::model::ConnectionId;

/// Presence of one node.
#[derive(Debug)]
pub struct MemoryPresence {
    shards: Box<[Mutex<Rooms>]>,
    hasher: RandomState,
}

type Rooms = HashMap<Box<str>, Room, RandomState>;

#[derive(Debug, Default)]
struct Room {
    users: HashMap<Arc<str>, User, RandomState>,
    /// The same users by arrival.
    in_order: BTreeMap<u64, Arc<str>>,
    arrivals: u64,
}

#[derive(Debug)]
struct User {
    arrival: u64,
    sessions: Vec<ConnectionId>,
}

impl MemoryPresence {
    /// Nobody is anywhere.
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::default() }
    }

    fn shard(&self, room: &str) -> &Mutex<Rooms> {
        &self.shards[self.hasher.hash_one(room) as usize % SHARDS]
    }
}

impl Default for MemoryPresence {
    fn default() -> Self {
        Self::new()
    }
}

impl Presence for MemoryPresence {
    fn enter(&self, row: Row<'_>, announce: &mut dyn FnMut(Change)) {
        let mut rooms = self.shard(row.room).lock();
        if !rooms.contains_key(row.room) {
            rooms.insert(row.room.into(), Room::default());
        }
        let Some(room) = rooms.get_mut(row.room) else { return };
        let user_changed = !room.users.contains_key(row.user);
        if user_changed {
            room.arrivals += 1;
            let name: Arc<str> = row.user.into();
            room.in_order.insert(room.arrivals, Arc::clone(&name));
            room.users.insert(name, User { arrival: room.arrivals, sessions: Vec::new() });
        }
        if let Some(user) = room.users.get_mut(row.user) {
            user.sessions.push(row.session);
        }
        let present = room.users.len();
        announce(Change { user_changed, present });
    }

    fn leave(&self, row: Row<'_>, announce: &mut dyn FnMut(Change)) {
        let mut rooms = self.shard(row.room).lock();
        let Some(room) = rooms.get_mut(row.room) else { return };
        let Some(user) = room.users.get_mut(row.user) else { return };
        let Some(place) = user.sessions.iter().position(|session| *session == row.session) else { return };
        user.sessions.swap_remove(place);
        let user_changed = user.sessions.is_empty();
        if user_changed {
            let arrival = user.arrival;
            room.in_order.remove(&arrival);
            room.users.remove(row.user);
        }
        let present = room.users.len();
        if present == 0 {
            rooms.remove(row.room);
        }
        announce(Change { user_changed, present });
    }

    fn rooms(&self) -> usize {
        self.shards.iter().map(|rooms| rooms.lock().len()).sum()
    }

    fn members(&self, room: &str, count: usize) -> (Vec<Arc<str>>, usize) {
        let rooms = self.shard(room).lock();
        let Some(room) = rooms.get(room) else { return (Vec::new(), 0) };
        (room.in_order.values().take(count).map(Arc::clone).collect(), room.users.len())
    }
}

/// Rooms are spread over so many locks.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WorkerId;

    fn row(user: &str, slot: u32) -> Row<'_> {
        Row { room: "42", user, session: ConnectionId { worker: WorkerId(0), slot, serial: 0 } }
    }

    fn enter(presence: &MemoryPresence, user: &str, slot: u32) -> Change {
        let mut seen = None;
        presence.enter(row(user, slot), &mut |change| seen = Some(change));
        seen.unwrap()
    }

    fn leave(presence: &MemoryPresence, user: &str, slot: u32) -> Option<Change> {
        let mut seen = None;
        presence.leave(row(user, slot), &mut |change| seen = Some(change));
        seen
    }

    #[test]
    fn a_user_is_present_from_the_first_session_to_the_last() {
        let presence = MemoryPresence::new();
        assert_eq!(enter(&presence, "alice", 1), Change { user_changed: true, present: 1 });
        assert_eq!(enter(&presence, "alice", 2), Change { user_changed: false, present: 1 });
        assert_eq!(enter(&presence, "bob", 3), Change { user_changed: true, present: 2 });
        assert_eq!(presence.members("42", 10), (vec!["alice".into(), "bob".into()], 2));
        assert_eq!(presence.members("42", 1), (vec!["alice".into()], 2));
        assert_eq!(leave(&presence, "alice", 1), Some(Change { user_changed: false, present: 2 }));
        assert_eq!(leave(&presence, "alice", 1), None);
        assert_eq!(leave(&presence, "alice", 2), Some(Change { user_changed: true, present: 1 }));
        assert_eq!(enter(&presence, "alice", 1), Change { user_changed: true, present: 2 });
        assert_eq!(presence.members("42", 10), (vec!["bob".into(), "alice".into()], 2));
        assert_eq!(leave(&presence, "alice", 1), Some(Change { user_changed: true, present: 1 }));
        assert_eq!(leave(&presence, "bob", 3), Some(Change { user_changed: true, present: 0 }));
        assert!(presence.shards.iter().all(|rooms| rooms.lock().is_empty()));
    }
}
