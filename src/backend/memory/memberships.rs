//! Members of rooms in this process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::backend::{Memberships, Soon};
use crate::model::{Limits, Membership, MembershipError, People, Ticket};

/// Memberships of one node.
#[derive(Debug)]
pub struct MemoryMemberships {
    /// The rooms of each user and up to where he has read.
    users: Box<[Mutex<Users>]>,
    /// The members of each room, and the one text of its name. Locked after `users`, never before.
    rooms: Box<[Mutex<Members>]>,
    hasher: RandomState,
    count: AtomicUsize,
    user_rooms_max: usize,
    room_members_max: usize,
    memberships_max: usize,
}

type Users = HashMap<Arc<str>, Rooms, RandomState>;

type Rooms = BTreeMap<Arc<str>, u64>;

type Members = HashMap<Arc<str>, BTreeSet<Arc<str>>, RandomState>;

impl MemoryMemberships {
    /// No members yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            users: (0..SHARDS).map(|_| Mutex::default()).collect(),
            rooms: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            count: AtomicUsize::new(0),
            user_rooms_max: limits.memberships_of_user_max,
            room_members_max: limits.members_of_room_max,
            memberships_max: limits.memberships_max,
        }
    }

    fn users(&self, user: &str) -> &Mutex<Users> {
        &self.users[self.hasher.hash_one(user) as usize % SHARDS]
    }

    fn members_beside(&self, room: &str) -> &Mutex<Members> {
        &self.rooms[self.hasher.hash_one(room) as usize % SHARDS]
    }

    /// One more member; the room's name as all its members share it.
    fn grow(&self, room: &str, user: &Arc<str>, members_max: usize) -> Result<Arc<str>, MembershipError> {
        let mut rooms = self.members_beside(room).lock();
        let name = rooms.get_key_value(room).map(|(name, _)| Arc::clone(name));
        let name = name.unwrap_or_else(|| room.into());
        let size = rooms.get(room).map_or(0, BTreeSet::len);
        if size >= members_max {
            return Err(MembershipError::Members(members_max));
        }
        rooms.entry(Arc::clone(&name)).or_default().insert(Arc::clone(user));
        Ok(name)
    }

    fn shrink(&self, room: &str, user: &str) {
        let mut rooms = self.members_beside(room).lock();
        let Some(members) = rooms.get_mut(room) else { return };
        members.remove(user);
        if members.is_empty() {
            rooms.remove(room);
        }
    }
}

impl MemoryMemberships {
    /// A membership of an earlier process, whatever the limits.
    pub(in crate::backend) fn restore(&self, room: &str, user: &str, read: u64) {
        let mut users = self.users(user).lock();
        let user = name_of(&users, user);
        let Ok(name) = self.grow(room, &user, usize::MAX) else { return };
        users.entry(user).or_default().insert(name, read);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl MemoryMemberships {
    /// As [`Memberships::enrol`].
    pub(in crate::backend) fn enrolled(
        &self,
        room: &str,
        user: &str,
        read: u64,
    ) -> Result<bool, MembershipError> {
        let mut users = self.users(user).lock();
        let rooms = users.get(user);
        if rooms.is_some_and(|rooms| rooms.contains_key(room)) {
            return Ok(false);
        }
        if rooms.map_or(0, BTreeMap::len) >= self.user_rooms_max {
            return Err(MembershipError::Rooms(self.user_rooms_max));
        }
        if self.len() >= self.memberships_max {
            return Err(MembershipError::Store(self.memberships_max));
        }
        let user = name_of(&users, user);
        let name = self.grow(room, &user, self.room_members_max)?;
        users.entry(user).or_default().insert(name, read);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// As [`Memberships::withdraw`].
    pub(in crate::backend) fn withdrawn(&self, room: &str, user: &str) -> bool {
        let mut users = self.users(user).lock();
        let Some(rooms) = users.get_mut(user) else { return false };
        if rooms.remove(room).is_none() {
            return false;
        }
        if rooms.is_empty() {
            users.remove(user);
        }
        self.shrink(room, user);
        self.count.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// As [`Memberships::mark_read`].
    pub(in crate::backend) fn marked_read(&self, room: &str, user: &str, offset: u64) -> Option<bool> {
        let mut users = self.users(user).lock();
        let read = users.get_mut(user)?.get_mut(room)?;
        let moves = offset > *read;
        *read = offset.max(*read);
        Some(moves)
    }

    /// As [`Memberships::membership`].
    pub(in crate::backend) fn membership_of(&self, room: &str, user: &str) -> Option<Membership> {
        let users = self.users(user).lock();
        let (room, read) = users.get(user)?.get_key_value(room)?;
        Some(Membership { room: Arc::clone(room), read: *read })
    }

    /// As [`Memberships::members`]. A list goes on behind the last name.
    pub(in crate::backend) fn members_of(&self, room: &str, next: Option<&str>, count: usize) -> People {
        let rooms = self.members_beside(room).lock();
        let Some(members) = rooms.get(room) else { return People::default() };
        let from = next.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = members.range::<str, _>((from, Bound::Unbounded));
        let listed: Vec<_> = found.by_ref().take(count).cloned().collect();
        let next = listed.last().filter(|_| found.next().is_some()).map(|user| (**user).into());
        People { listed, next, count: members.len() }
    }

    /// As [`Memberships::rooms_of`].
    pub(in crate::backend) fn all_of(&self, user: &str) -> Vec<Membership> {
        let users = self.users(user).lock();
        let rooms = users.get(user).into_iter().flatten();
        rooms.map(|(room, read)| Membership { room: Arc::clone(room), read: *read }).collect()
    }
}

impl Memberships for MemoryMemberships {
    fn enrol(&self, room: &str, user: &str, read: u64, _: Ticket) -> Soon<Result<bool, MembershipError>> {
        Soon::Now(self.enrolled(room, user, read))
    }

    fn withdraw(&self, room: &str, user: &str, _: Ticket) -> Soon<bool> {
        Soon::Now(self.withdrawn(room, user))
    }

    fn mark_read(&self, room: &str, user: &str, offset: u64, _: Ticket) -> Soon<Option<bool>> {
        Soon::Now(self.marked_read(room, user, offset))
    }

    fn membership(&self, room: &str, user: &str, _: Ticket) -> Soon<Option<Membership>> {
        Soon::Now(self.membership_of(room, user))
    }

    fn rooms_of(&self, user: &str, _: Ticket) -> Soon<Vec<Membership>> {
        Soon::Now(self.all_of(user))
    }

    fn members(&self, room: &str, next: Option<&str>, count: usize, _: Ticket) -> Soon<People> {
        Soon::Now(self.members_of(room, next, count))
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> usize {
        self.len() * MEMBERSHIP_BYTES
    }
}

/// The user's name as all his memberships share it.
fn name_of(users: &Users, user: &str) -> Arc<str> {
    users.get_key_value(user).map_or_else(|| user.into(), |(name, _)| Arc::clone(name))
}

/// Users, and rooms, are spread over so many locks.
const SHARDS: usize = 64;

/// What one membership takes, its share of names and tables included.
const MEMBERSHIP_BYTES: usize = 150;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_membership_that_has_ended() {
        let members = MemoryMemberships::new(&Limits::default());
        members.enrolled("42", "alice", 0).unwrap();
        members.restore("42", "bob", 7);
        assert!(members.withdrawn("42", "alice") && members.withdrawn("42", "bob"));
        assert!(members.users.iter().all(|users| users.lock().is_empty()));
        assert!(members.rooms.iter().all(|rooms| rooms.lock().is_empty()));
    }
}
