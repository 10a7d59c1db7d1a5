//! How long sockets that did take bytes again had refused them.
//!
//! One client that does not read for two seconds may be dead; when many that do read need as long to come round, two
//! seconds say nothing. What is common is read from those that came back, so that the dead do not count.

use std::array::from_fn;

use stompede_protocol::Millis;

/// Durations of late, counted by powers of two.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    /// How many lasted less than `1 << index` ms, and at least half of that: in this window of time, and the last.
    counts: [[u32; BUCKETS]; 2],
    /// When this window began.
    began: Millis,
}

impl Recoveries {
    /// A socket takes bytes again after `ms`.
    pub(super) fn record(&mut self, ms: u64) {
        let bucket = (u64::BITS - ms.leading_zeros()) as usize;
        let count = &mut self.counts[0][bucket.min(BUCKETS - 1)];
        *count = count.saturating_add(1);
    }

    /// Forgets what is older. To be called at least every few seconds.
    pub(super) fn tick(&mut self, now: Millis) {
        if now.since(self.began) >= WINDOW_MS {
            self.began = now;
            self.counts = [Default::default(), self.counts[0]];
        }
    }

    /// So long nine in ten were blocked at most, milliseconds; 0 when there were fewer than `recoveries_min`.
    pub(super) fn common_ms(&self, recoveries_min: usize) -> u64 {
        let [now, before] = &self.counts;
        let counts: [u64; BUCKETS] = from_fn(|bucket| u64::from(now[bucket]) + u64::from(before[bucket]));
        let all: u64 = counts.iter().sum();
        if all == 0 || all < recoveries_min as u64 {
            return 0;
        }
        let mut seen = 0;
        let common = counts.iter().position(|count| {
            seen += count;
            seen * 10 >= all * 9
        });
        common.map_or(0, |bucket| 1 << bucket)
    }
}

/// The last holds all that lasted for 16 s and longer.
const BUCKETS: usize = 16;

/// What happened in this window and the one before it counts, milliseconds.
const WINDOW_MS: u64 = 3_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_is_what_nine_in_ten_kept_within() {
        let mut recoveries = Recoveries::default();
        (0..9).for_each(|_| recoveries.record(100));
        recoveries.record(9_000);
        assert_eq!(recoveries.common_ms(10), 128);
        (0..2).for_each(|_| recoveries.record(9_000));
        assert_eq!(recoveries.common_ms(10), 16_384);
    }

    #[test]
    fn a_few_are_not_common_and_the_past_is_forgotten() {
        let mut recoveries = Recoveries::default();
        assert_eq!(recoveries.common_ms(0), 0);
        (0..8).for_each(|_| recoveries.record(u64::MAX));
        assert_eq!((recoveries.common_ms(8), recoveries.common_ms(9)), (32_768, 0));
        recoveries.tick(Millis(WINDOW_MS));
        assert_eq!(recoveries.common_ms(8), 32_768);
        recoveries.tick(Millis(2 * WINDOW_MS));
        assert_eq!(recoveries.common_ms(0), 0);
    }
}
