//! What a store that is shared by several nodes asks of what one of them knows.

use std::sync::Arc;

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
