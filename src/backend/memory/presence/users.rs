//! What is known of users beyond one room: whether they are online, where they are, and their status.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use stompede_protocol::Millis;

use crate::backend::Status;
use crate::backend::memory::few::{Few, Removed};

/// Some of the users.
#[derive(Debug, Default)]
pub(super) struct Users {
    /// Open sessions of those who have any.
    sessions: HashMap<Arc<str>, u32, RandomState>,
    /// Rooms of those who are in any.
    rooms: HashMap<Arc<str>, Few<Arc<str>>, RandomState>,
    /// Of those who have said one.
    statuses: HashMap<Arc<str>, Said, RandomState>,
    /// When statuses fall back, soonest first: the `until` of each that has one.
    falls: BTreeSet<(Millis, Arc<str>)>,
}

/// What a user has said of himself.
#[derive(Debug)]
struct Said {
    status: Status,
    /// When his last session ended, if he has none.
    deserted: Option<Millis>,
}

impl Users {
    pub(super) fn begin(&mut self, user: &Arc<str>) {
        *self.sessions.entry(Arc::clone(user)).or_default() += 1;
        if let Some(said) = self.statuses.get_mut(user) {
            said.deserted = None;
        }
    }

    pub(super) fn end(&mut self, user: &str, now: Millis) -> bool {
        let Some(count) = self.sessions.get_mut(user) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.sessions.remove(user);
        give_back(&mut self.sessions);
        let Some(said) = self.statuses.get_mut(user) else { return false };
        said.deserted = Some(now);
        true
    }

    /// Whether the user has a session.
    pub(super) fn is_online(&self, user: &str) -> bool {
        self.sessions.contains_key(user)
    }

    /// Everybody with a session.
    pub(super) fn everybody(&self) -> Vec<Arc<str>> {
        self.sessions.keys().map(Arc::clone).collect()
    }

    /// Where the user is.
    pub(super) fn rooms(&self, user: &str) -> &[Arc<str>] {
        self.rooms.get(user).map_or(&[], Few::as_slice)
    }

    pub(super) fn enter(&mut self, user: &Arc<str>, room: &Arc<str>) {
        match self.rooms.get_mut(user) {
            Some(rooms) => rooms.push(Arc::clone(room)),
            None => {
                self.rooms.insert(Arc::clone(user), Few::One(Arc::clone(room)));
            }
        }
    }

    pub(super) fn leave(&mut self, user: &str, room: &Arc<str>) {
        if self.rooms.get_mut(user).is_some_and(|rooms| rooms.remove(room) == Removed::Last) {
            self.rooms.remove(user);
            give_back(&mut self.rooms);
        }
    }

    pub(super) fn status(&self, user: &str) -> Option<Arc<str>> {
        self.statuses.get(user).map(|said| Arc::clone(&said.status.text))
    }

    /// Whether that was news. Who has no session says nothing any more.
    pub(super) fn set_status(&mut self, user: &Arc<str>, status: Option<Status>) -> bool {
        if !self.sessions.contains_key(user) {
            return false;
        }
        let before = self.drop_status(user);
        let news = before.as_ref().map(|status| &status.text) != status.as_ref().map(|status| &status.text);
        if let Some(status) = status {
            if let Some(until) = status.until {
                self.falls.insert((until, Arc::clone(user)));
            }
            self.statuses.insert(Arc::clone(user), Said { status, deserted: None });
        }
        news
    }

    /// Forgets the status of a user whose last session ended at `since` or before.
    pub(super) fn forget_status(&mut self, user: &str, since: Millis) {
        let said = self.statuses.get(user);
        if said.and_then(|said| said.deserted).is_some_and(|deserted| deserted <= since) {
            self.drop_status(user);
        }
    }

    /// The next user whose status falls back by `now`; it has.
    pub(super) fn fall_back(&mut self, now: Millis) -> Option<Arc<str>> {
        let (until, user) = self.falls.first()?;
        if *until > now {
            return None;
        }
        let user = Arc::clone(user);
        self.drop_status(&user);
        Some(user)
    }

    /// Users with a session.
    pub(super) fn online(&self) -> usize {
        self.sessions.len()
    }

    /// Users who have said a status.
    pub(super) fn statuses(&self) -> usize {
        self.statuses.len()
    }

    fn drop_status(&mut self, user: &str) -> Option<Status> {
        let (user, Said { status, .. }) = self.statuses.remove_entry(user)?;
        give_back(&mut self.statuses);
        if let Some(until) = status.until {
            self.falls.remove(&(until, user));
        }
        Some(status)
    }
}

/// A map that was large gives its memory back.
pub(super) fn give_back<K: Eq + Hash, V>(map: &mut HashMap<K, V, RandomState>) {
    if map.capacity() > KEPT_ENTRIES && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}

/// Entries for which a map keeps its memory.
const KEPT_ENTRIES: usize = 16;
