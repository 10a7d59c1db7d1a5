//! The only place that reads the clocks.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use stompede_protocol::Millis;

use crate::broker::Now;

/// Both clocks of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic side begins now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What both show.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.mono(), wall_ms: millis(wall) }
    }

    fn mono(&self) -> Millis {
        Millis(millis(self.start.elapsed()))
    }

    /// The monotonic side, finer; for durations.
    pub(crate) fn nanoseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A worker's clock: it reads the monotonic side only, and is set by the wall now and then.
#[derive(Debug)]
pub(crate) struct WorkerClock {
    clock: Clock,
    /// What the wall showed when the monotonic side began.
    begun_ms: Cell<u64>,
}

impl WorkerClock {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, begun_ms: Cell::new(begun_ms(clock.now())) }
    }

    /// What both show; the wall has been looked at by the last [`WorkerClock::set`].
    pub(crate) fn now(&self) -> Now {
        let mono = self.clock.mono();
        Now { mono, wall_ms: self.begun_ms.get() + mono.0 }
    }

    /// Looks at the wall. To be called several times a second.
    pub(crate) fn set(&self) {
        let before = self.clock.mono();
        let now = self.clock.now();
        // Whoever was interrupted between the two clocks looks again next time.
        if now.mono.since(before) <= 1 {
            self.begun_ms.set(corrected(self.begun_ms.get(), begun_ms(now)));
        }
    }
}

/// Both clocks are cut to milliseconds: one more or less says nothing, and time should not go back for it.
fn corrected(known_ms: u64, begun_ms: u64) -> u64 {
    if begun_ms.abs_diff(known_ms) > 1 { begun_ms } else { known_ms }
}

fn begun_ms(now: Now) -> u64 {
    now.wall_ms.saturating_sub(now.mono.0)
}

fn millis(duration: std::time::Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000).saturating_add(duration.subsec_millis().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_follows_the_wall_but_not_for_a_millisecond() {
        for (seen, expected) in [(998, 998), (999, 1_000), (1_000, 1_000), (1_001, 1_000), (1_002, 1_002)] {
            assert_eq!(corrected(1_000, seen), expected);
        }
        let clock = WorkerClock::new(Clock::start());
        let begun_ms = clock.begun_ms.get();
        clock.begun_ms.set(begun_ms - 3_600_000);
        while clock.begun_ms.get() < begun_ms - 1_000 {
            clock.set();
        }
        let now = clock.now();
        assert_eq!(now.wall_ms - now.mono.0, clock.begun_ms.get());
    }
}
