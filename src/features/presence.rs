//! Who is in a room, and telling it: single events in small rooms, a count per second in large ones.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::backend::{Change, Presence, Row};

/// Something to tell a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement<'a> {
    /// A user became present.
    Join(&'a str),
    /// A user is gone.
    Leave(&'a str),
    /// So many are present.
    Count(usize),
}

/// Presence with its announcements.
#[derive(Debug)]
pub struct Attendance {
    store: Arc<dyn Presence>,
    /// Rooms above the threshold: when they were last told their count, and whether it has changed since.
    large: Mutex<HashMap<Box<str>, Large, RandomState>>,
}

#[derive(Debug, Clone, Copy)]
struct Large {
    told_ms: u64,
    count: usize,
    changed: bool,
}

impl Attendance {
    /// Presence kept in `store`.
    pub fn new(store: Arc<dyn Presence>) -> Self {
        Self { store, large: Mutex::default() }
    }

    /// A session entered a room. `announce` is called at most once, in the order of the room's changes. `now_ms` here and
    /// below is monotonic: a clock that is set back must not silence large rooms.
    pub fn enter(&self, row: Row<'_>, now_ms: u64, announce: &mut dyn FnMut(Announcement<'_>)) {
        self.store.enter(row, &mut |change| {
            self.tell(row.room, change, Announcement::Join(row.user), now_ms, announce);
        });
    }

    /// A session left a room, likewise.
    pub fn leave(&self, row: Row<'_>, now_ms: u64, announce: &mut dyn FnMut(Announcement<'_>)) {
        self.store.leave(row, &mut |change| {
            self.tell(row.room, change, Announcement::Leave(row.user), now_ms, announce);
        });
    }

    /// Users in the room, at most `count`, and how many there are.
    pub fn members(&self, room: &str, count: usize) -> (Vec<Arc<str>>, usize) {
        self.store.members(room, count)
    }

    /// Rooms where somebody is present.
    pub fn rooms(&self) -> usize {
        self.store.rooms()
    }

    /// Rooms that are told counts.
    pub fn large_rooms(&self) -> usize {
        self.large.lock().len()
    }

    /// Tells large rooms whose count has changed and that were last told a second ago. To be called several times a
    /// second.
    pub fn tick(&self, now_ms: u64, mut announce: impl FnMut(&str, Announcement<'_>)) {
        let mut due = Vec::new();
        self.large.lock().retain(|room, large| {
            if large.changed && now_ms >= large.told_ms + COUNT_EVERY_MS {
                due.push((room.clone(), large.count));
                *large = Large { told_ms: now_ms, changed: false, ..*large };
            }
            large.changed || large.count > SINGLE_EVENTS_MAX
        });
        for (room, count) in due {
            announce(&room, Announcement::Count(count));
        }
    }

    fn tell(
        &self,
        room: &str,
        change: Change,
        single: Announcement<'_>,
        now_ms: u64,
        announce: &mut dyn FnMut(Announcement<'_>),
    ) {
        if !change.user_changed {
            return;
        }
        let mut large = self.large.lock();
        if change.present <= SINGLE_EVENTS_MAX {
            // Who heard counts until now hears a last one, too: he cannot tell what happened since the one before.
            if let Some(known) = large.get_mut(room) {
                *known = Large { count: change.present, changed: true, ..*known };
            }
            drop(large);
            announce(single);
            return;
        }
        let known = large.get_mut(room);
        match known {
            Some(known) if now_ms < known.told_ms + COUNT_EVERY_MS => {
                known.changed = true;
                known.count = change.present;
            }
            _ => {
                large.insert(room.into(), Large { told_ms: now_ms, count: change.present, changed: false });
                drop(large);
                announce(Announcement::Count(change.present));
            }
        }
    }
}

/// Up to so many present users, each coming and going is told by itself.
pub const SINGLE_EVENTS_MAX: usize = 200;

/// A large room is told its count at most this often, milliseconds.
pub const COUNT_EVERY_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::memory::MemoryPresence;
    use crate::model::{ConnectionId, WorkerId};

    #[test]
    fn a_room_that_is_large_no_more_hears_a_last_count_and_is_forgotten() {
        let attendance = Attendance::new(Arc::new(MemoryPresence::new()));
        let session = |slot| ConnectionId { worker: WorkerId(0), slot, serial: 0 };
        let users: Vec<String> = (0..SINGLE_EVENTS_MAX + 2).map(|n| format!("u{n}")).collect();
        for (n, user) in users.iter().enumerate() {
            attendance.enter(Row { room: "42", user, session: session(n as u32) }, 5_000, &mut |_| {});
        }
        for (n, user) in users.iter().enumerate().skip(190) {
            attendance.leave(Row { room: "42", user, session: session(n as u32) }, 5_100, &mut |_| {});
        }
        let mut counts = Vec::new();
        attendance.tick(6_000, |_, a| counts.push(format!("{a:?}")));
        assert_eq!(counts, ["Count(190)"]);
        assert!(attendance.large.lock().is_empty());
    }

    #[test]
    fn a_large_room_hears_a_count_at_most_once_a_second() {
        let attendance = Attendance::new(Arc::new(MemoryPresence::new()));
        let mut heard = Vec::new();
        for n in 0..SINGLE_EVENTS_MAX as u32 + 50 {
            let user = format!("u{n}");
            let session = ConnectionId { worker: WorkerId(0), slot: n, serial: 0 };
            attendance.enter(Row { room: "42", user: &user, session }, 5_000, &mut |a| {
                heard.push(format!("{a:?}"))
            });
        }
        assert_eq!(heard.len(), SINGLE_EVENTS_MAX + 1);
        assert_eq!(heard[SINGLE_EVENTS_MAX], "Count(201)");
        let mut counts = Vec::new();
        for now_ms in [5_999, 6_000, 7_500] {
            attendance.tick(now_ms, |room, a| counts.push((now_ms, room.to_owned(), format!("{a:?}"))));
        }
        assert_eq!(counts, [(6_000, "42".to_owned(), "Count(250)".to_owned())]);
    }
}
