//! Those whose connection broke, until it is clear that they do not come back.

use std::collections::VecDeque;
use std::sync::Arc;

use stompede_protocol::Millis;

use crate::model::ConnectionId;

/// Who is leaving, the first who broke first. All wait equally long, so a queue does.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    queue: VecDeque<Parting>,
}

/// Something that ends when its time has come.
#[derive(Debug)]
pub(super) struct Parting {
    pub(super) due: Millis,
    pub(super) user: Arc<str>,
    pub(super) what: What,
}

/// What ends.
#[derive(Debug)]
pub(super) enum What {
    /// The row of a session that is gone.
    Row { room: Box<str>, session: ConnectionId },
    /// The status of a user who had no session left.
    Status,
}

impl Lingering {
    /// Puts it at the end, or gives it back: there is no room.
    pub(super) fn push(&mut self, parting: Parting) -> Result<(), Parting> {
        if self.queue.len() >= LINGERING_MAX {
            return Err(parting);
        }
        self.queue.push_back(parting);
        Ok(())
    }

    /// Takes out what is due, some of it if it is much.
    pub(super) fn take_due(&mut self, now: Millis) -> Vec<Parting> {
        let due = self.queue.iter().take(PARTINGS_A_TICK).take_while(|parting| parting.due <= now).count();
        let due = self.queue.drain(..due).collect();
        if self.queue.is_empty() && self.queue.capacity() > KEPT_PARTINGS {
            self.queue = VecDeque::new();
        }
        due
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

/// Rows that may linger at once; whoever breaks beyond leaves at once. 56 bytes each, and the room's name: 16 MiB and
/// more, when 10,000 users in 26 rooms each are cut off together.
pub const LINGERING_MAX: usize = 1 << 18;

/// Rows that end in one tick: of 10,000 users who were cut off together a tenth in each, since every one may be told to a
/// room.
pub const PARTINGS_A_TICK: usize = 1_000;

/// Partings for which an empty queue keeps its memory.
const KEPT_PARTINGS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn parting(due: u64) -> Parting {
        Parting { due: Millis(due), user: "alice".into(), what: What::Status }
    }

    #[test]
    fn what_is_due_comes_in_bounded_portions() {
        let mut lingering = Lingering::default();
        for n in 0..LINGERING_MAX as u64 {
            lingering.push(parting(n / 2_000)).unwrap();
        }
        assert!(lingering.push(parting(0)).is_err());
        assert_eq!(lingering.take_due(Millis(0)).len(), PARTINGS_A_TICK);
        assert_eq!(lingering.take_due(Millis(0)).len(), PARTINGS_A_TICK);
        assert_eq!(lingering.take_due(Millis(0)).len(), 0);
        assert_eq!(lingering.len(), LINGERING_MAX - 2 * PARTINGS_A_TICK);
    }
}
