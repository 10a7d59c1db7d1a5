//! Somebody types: told to the room, but not with every key.

use stompede_protocol::Millis;

use crate::model::Destination;

/// Where one connection has just been typing.
#[derive(Debug, Default)]
pub struct Typing {
    recent: Vec<(Destination, Millis)>,
}

impl Typing {
    /// Whether `topic` is to hear that its author types: not within [`TYPING_EVERY_MS`] of the last time, and of no more
    /// than [`TYPING_ROOMS_MAX`] topics within that time.
    pub fn admit(&mut self, topic: &Destination, now: Millis) -> bool {
        self.recent.retain(|(_, at)| now.since(*at) < TYPING_EVERY_MS);
        if self.recent.len() >= TYPING_ROOMS_MAX || self.recent.iter().any(|(known, _)| known == topic) {
            return false;
        }
        self.recent.push((topic.clone(), now));
        true
    }
}

/// A room hears of one connection's typing at most this often, milliseconds.
pub const TYPING_EVERY_MS: u64 = 1_000;

/// Rooms in which one connection types within that time; nobody has so many hands.
pub const TYPING_ROOMS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_hears_once_a_second_and_few_rooms_at_once() {
        let mut typing = Typing::default();
        let room = |n: usize| Destination::internal(&format!("/topic/chat/{n}"));
        let admitted = [0, 1, 999, 1_000, 1_500, 2_000].map(|now| typing.admit(&room(0), Millis(now)));
        assert_eq!(admitted, [true, false, false, true, false, true]);
        let count = (0..100).filter(|n| typing.admit(&room(*n), Millis(2_500))).count();
        assert_eq!(count, TYPING_ROOMS_MAX - 1);
        assert!(typing.admit(&room(99), Millis(3_500)));
        assert_eq!(typing.recent.len(), 1);
    }
}
