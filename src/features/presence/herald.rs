//! What of presence is told: single events in small rooms, a count per second in large ones.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use stompede_protocol::Millis;

use super::Announcement;

/// Decides what a room hears of who comes and goes.
#[derive(Debug, Default)]
pub struct Herald {
    /// Rooms above the threshold: when they were last told their count, and whether it has changed since.
    large: Mutex<HashMap<Box<str>, Large, RandomState>>,
}

#[derive(Debug, Clone, Copy)]
struct Large {
    told: Millis,
    count: usize,
    version: u64,
    changed: bool,
}

impl Herald {
    /// What is told of a change after which `count` users are present: `single`, a count, or nothing now.
    pub fn judge<'a>(
        &self,
        room: &str,
        count: usize,
        single: Announcement<'a>,
        now: Millis,
    ) -> Option<Announcement<'a>> {
        let (Announcement::Join { version, .. } | Announcement::Leave { version, .. }) = single else {
            return Some(single);
        };
        let mut large = self.large.lock();
        if count <= SINGLE_EVENTS_MAX {
            // Who heard counts until now hears a last one, too: he cannot tell what happened since the one before.
            if let Some(known) = large.get_mut(room) {
                *known = Large { count, version, changed: true, ..*known };
            }
            return Some(single);
        }
        match large.get_mut(room) {
            Some(known) if now < known.told.after(COUNT_EVERY_MS) => {
                *known = Large { count, version, changed: true, ..*known };
                None
            }
            _ => {
                large.insert(room.into(), Large { told: now, count, version, changed: false });
                Some(Announcement::Count { count, version })
            }
        }
    }

    /// Tells rooms whose count has changed and that were last told a second ago.
    pub(super) fn tell_counts(&self, now: Millis, announce: &mut dyn FnMut(&str, Announcement<'_>)) {
        let mut due = Vec::new();
        self.large.lock().retain(|room, large| {
            if large.changed && now >= large.told.after(COUNT_EVERY_MS) {
                due.push((room.clone(), large.count, large.version));
                *large = Large { told: now, changed: false, ..*large };
            }
            large.changed || large.count > SINGLE_EVENTS_MAX
        });
        for (room, count, version) in due {
            announce(&room, Announcement::Count { count, version });
        }
    }

    /// Rooms that are told counts.
    pub(super) fn large_rooms(&self) -> usize {
        self.large.lock().len()
    }
}

/// Up to so many present users, each coming and going is told by itself.
pub const SINGLE_EVENTS_MAX: usize = 200;

/// A large room is told its count at most this often, milliseconds.
pub const COUNT_EVERY_MS: u64 = 1_000;
