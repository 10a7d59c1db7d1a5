//! What a store that is shared by several nodes asks of what one of them knows.

use std::sync::Arc;

use crate::model::{People, Person};

use super::{MemoryPresence, SHARDS, Standing};

impl MemoryPresence {
    /// How a user is in a room.
    pub(in crate::backend) fn standing(&self, room: &str, user: &str) -> Standing {
        let rooms = self.rooms_beside(room).lock();
        rooms.by_name.get(room).map_or(Standing::Absent, |room| room.standing(user, &self.hasher))
    }

    /// Whether a user has a session.
    pub(in crate::backend) fn is_online(&self, user: &str) -> bool {
        self.users_beside(user).lock().is_online(user)
    }

    /// The rooms where a user is.
    pub(in crate::backend) fn rooms_of(&self, user: &str) -> Vec<Arc<str>> {
        self.users_beside(user).lock().rooms(user).to_vec()
    }

    /// Up to `count` users of a room who arrived after `after`, with how they are there, and the arrival of the last, if
    /// there may be more.
    pub(in crate::backend) fn page(
        &self,
        room: &str,
        after: u64,
        count: usize,
    ) -> (Vec<(Arc<str>, Standing)>, Option<u64>) {
        let rooms = self.rooms_beside(room).lock();
        let Some(room) = rooms.by_name.get(room) else { return (Vec::new(), None) };
        let (mut page, mut last) = (Vec::new(), None);
        for (user, seat) in room.after(after).take(count) {
            page.push((Arc::clone(user), seat.standing()));
            last = Some(seat.arrival);
        }
        let is_full = page.len() == count;
        (page, last.filter(|_| is_full))
    }

    /// As [`Presence::people`](crate::backend::Presence::people). A list goes on behind the last name of a part.
    pub(in crate::backend) fn people_now(&self, next: Option<&str>, count: usize) -> People {
        let (first, mut after) = next.and_then(|next| next.split_once(':')).unwrap_or(("0", ""));
        let mut people =
            People { count: self.users.iter().map(|users| users.lock().online()).sum(), ..People::default() };
        for part in first.parse().unwrap_or(SHARDS)..SHARDS {
            let mut users = self.users_of_part(part);
            users.retain(|user| **user > *after || after.is_empty());
            users.sort_unstable();
            let room = count - people.listed.len();
            if users.len() > room {
                users.truncate(room);
                let last = users.last().map_or(after, |user| user);
                people.next = Some(format!("{part}:{last}").into());
                people.listed.append(&mut users);
                return people;
            }
            people.listed.append(&mut users);
            after = "";
        }
        people
    }

    /// As [`Presence::person`](crate::backend::Presence::person).
    pub(in crate::backend) fn person_now(&self, user: &str) -> Person {
        let users = self.users_beside(user).lock();
        Person {
            is_online: users.is_online(user),
            status: users.status(user),
            rooms: users.rooms(user).to_vec(),
        }
    }

    /// As [`Presence::largest_rooms`](crate::backend::Presence::largest_rooms).
    pub(in crate::backend) fn largest_rooms_now(&self, count: usize) -> Vec<(Arc<str>, usize)> {
        let mut largest = Vec::new();
        for rooms in &self.rooms {
            let rooms = rooms.lock();
            largest.extend(rooms.by_name.iter().map(|(name, room)| (Arc::clone(name), room.present())));
            // Never more than twice what is wanted, and what one part has.
            if largest.len() > 2 * count {
                keep_largest(&mut largest, count);
            }
        }
        keep_largest(&mut largest, count);
        largest
    }

    /// One part of all rooms.
    pub(in crate::backend) fn rooms_of_part(&self, part: usize) -> Vec<Arc<str>> {
        self.rooms[part].lock().by_name.keys().map(Arc::clone).collect()
    }

    /// One part of all users with a session.
    pub(in crate::backend) fn users_of_part(&self, part: usize) -> Vec<Arc<str>> {
        self.users[part].lock().everybody()
    }

    /// Number of those parts.
    pub(in crate::backend) const PARTS: usize = SHARDS;
}

fn keep_largest(rooms: &mut Vec<(Arc<str>, usize)>, count: usize) {
    rooms.sort_unstable_by(|(name, size), (other, other_size)| {
        other_size.cmp(size).then_with(|| name.cmp(other))
    });
    rooms.truncate(count);
}
