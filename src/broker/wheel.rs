//! A coarse timer wheel: thousands of deadlines for the price of a vector push each.

use stompede_protocol::Millis;

/// Deadlines of connections, kept to [`TICK_MS`]. A deadline further away than one turn comes up early; whoever is
/// called looks at the true deadline and asks again.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Box<[Vec<Entry>]>,
    /// Ticks up to this one are done.
    tick: u64,
}

/// Slot and serial number of the connection.
pub(super) type Entry = (u32, u32);

impl Wheel {
    pub(super) fn new(now: Millis) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), tick: now.0 / TICK_MS }
    }

    /// Calls `entry` up at `at` or a tick later, unless it is called up by then already, at `scheduled`. Returns when it is
    /// called up first.
    pub(super) fn schedule(&mut self, entry: Entry, at: Millis, scheduled: Millis) -> Millis {
        let tick = at.0.div_ceil(TICK_MS).clamp(self.tick + 1, self.tick + SLOTS as u64 - 1);
        let called = Millis(tick * TICK_MS);
        if called >= scheduled {
            return scheduled;
        }
        self.slots[tick as usize % SLOTS].push(entry);
        called
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.slots.iter().map(Vec::len).sum()
    }

    /// Moves what is due until `now` to the end of `due`.
    pub(super) fn advance(&mut self, now: Millis, due: &mut Vec<Entry>) {
        let until = now.0 / TICK_MS;
        // After a long pause one turn visits every slot.
        self.tick = self.tick.max(until.saturating_sub(SLOTS as u64));
        while self.tick < until {
            self.tick += 1;
            let slot = &mut self.slots[self.tick as usize % SLOTS];
            due.append(slot);
            if slot.capacity() > KEPT_ENTRIES {
                *slot = Vec::new();
            }
        }
    }
}

/// The wheel turns this often, milliseconds: how exact heart-beats and other deadlines are.
pub(super) const TICK_MS: u64 = 100;

/// One turn is 51.2 s, longer than most deadlines.
const SLOTS: usize = 512;

/// Capacity that an empty slot keeps.
const KEPT_ENTRIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEVER: Millis = Millis(u64::MAX);

    #[test]
    fn who_is_called_up_by_then_is_not_listed_again() {
        let mut wheel = Wheel::new(Millis(0));
        let entry = (0, 0);
        let scheduled = wheel.schedule(entry, Millis(937), NEVER);
        assert_eq!(scheduled, Millis(1_000));
        for at in [937, 1_000, 5_000] {
            assert_eq!(wheel.schedule(entry, Millis(at), scheduled), scheduled);
        }
        assert_eq!(wheel.len(), 1);
        assert_eq!(wheel.schedule(entry, Millis(900), scheduled), Millis(900));
        assert_eq!(wheel.len(), 2);
    }

    proptest! {
        #[test]
        fn nothing_is_forgotten_and_nothing_is_late(
            deadlines in prop::collection::vec(0u64..200_000, 1..50),
            steps in prop::collection::vec(1u64..70_000, 1..20),
        ) {
            let mut wheel = Wheel::new(Millis(0));
            let mut waiting: Vec<(u32, u64)> = Vec::new();
            for (n, at) in deadlines.iter().enumerate() {
                wheel.schedule((n as u32, 0), Millis(*at), NEVER);
                waiting.push((n as u32, *at));
            }
            let mut now = 0;
            for step in steps {
                now += step;
                let mut due = Vec::new();
                wheel.advance(Millis(now), &mut due);
                for (n, _) in due {
                    let at = deadlines[n as usize];
                    if at > now {
                        wheel.schedule((n, 0), Millis(at), NEVER);
                    } else {
                        waiting.retain(|(waiting, _)| *waiting != n);
                    }
                }
                for (_, at) in &waiting {
                    prop_assert!(*at + TICK_MS > now, "deadline {at} missed at {now}");
                }
            }
        }
    }
}
