//! Leaves a backend alone that does not answer.
//!
//! ```text
//!             so many failures in a row              time is over: one is let through
//!   Closed ------------------------------> Open ------------------------------> Probing
//!     ^                                     ^                                      |
//!     |                                     +--------------- it fails: longer -----+
//!     +-------------------------------------------------------- it succeeds -------+
//! ```

use stompede_protocol::Millis;

/// One hook's breaker.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// How often it has opened in a row.
    opened: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Millis,
    },
    /// Whoever was let through has so long to come back.
    Probing {
        until: Millis,
    },
}

/// As an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Everything is asked.
    Closed,
    /// Nothing is asked but a probe.
    Open,
}

impl Breaker {
    /// Whether one may ask now.
    ///
    /// # Errors
    /// After how many milliseconds somebody may again.
    pub(super) fn admit(&mut self, now: Millis, probe_ms_max: u64) -> Result<(), u64> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } | State::Probing { until } if now < until => Err(until.since(now)),
            State::Open { .. } | State::Probing { .. } => {
                self.state = State::Probing { until: now.after(probe_ms_max) };
                Ok(())
            }
        }
    }

    /// An answer has come that can be understood.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// None has. `chance` spreads brokers that lost the same backend in the same moment.
    pub(super) fn failed(&mut self, now: Millis, chance: u64) {
        self.failures = self.failures.saturating_add(1);
        let is_probe = matches!(self.state, State::Probing { .. });
        if !is_probe && (self.failures < FAILURES || self.state != State::Closed) {
            return;
        }
        let rest_ms = (REST_MS_MIN << self.opened.min(16)).min(REST_MS_MAX);
        self.opened = self.opened.saturating_add(1);
        self.state = State::Open { until: now.after(rest_ms / 2 + chance % (rest_ms / 2 + 1)) };
    }

    pub(super) fn standing(&self) -> Standing {
        if self.state == State::Closed { Standing::Closed } else { Standing::Open }
    }
}

/// So many failures in a row, and the backend is left alone.
pub(super) const FAILURES: u32 = 5;

/// First for so long, at most, milliseconds; half of it at least. Each time twice as long,
const REST_MS_MIN: u64 = 1_000;

/// but no longer than this.
const REST_MS_MAX: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(now: u64, chance: u64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert_eq!(breaker.admit(Millis(now), 100), Ok(()));
            breaker.failed(Millis(now), chance);
        }
        breaker
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_no_fewer() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..FAILURES {
                breaker.failed(Millis(0), 0);
            }
            assert_eq!(breaker.admit(Millis(0), 100), Ok(()));
            breaker.succeeded();
        }
        assert_eq!(broken(0, 0).admit(Millis(0), 100), Err(REST_MS_MIN / 2));
        assert_eq!(broken(0, 0).standing(), Standing::Open);
    }

    #[test]
    fn one_probe_goes_through_and_its_success_closes() {
        let mut breaker = broken(0, 0);
        assert_eq!(breaker.admit(Millis(500), 100), Ok(()));
        assert_eq!(breaker.admit(Millis(500), 100), Err(100));
        breaker.succeeded();
        assert_eq!((breaker.admit(Millis(500), 100), breaker.standing()), (Ok(()), Standing::Closed));
    }

    #[test]
    fn a_failed_probe_opens_for_longer_up_to_a_limit() {
        let (mut breaker, mut now) = (broken(0, u64::MAX), 0);
        let mut rests = Vec::new();
        for _ in 0..8 {
            let rest = breaker.admit(Millis(now), 100).unwrap_err();
            rests.push(rest);
            now += rest;
            assert_eq!(breaker.admit(Millis(now), 100), Ok(()));
            breaker.failed(Millis(now), u64::MAX);
        }
        assert!(rests.windows(2).all(|pair| pair[0] <= REST_MS_MAX && pair[1] <= REST_MS_MAX));
        assert!(rests[0] <= REST_MS_MIN && rests[7] > REST_MS_MAX / 2, "{rests:?}");
    }

    #[test]
    fn a_probe_that_never_comes_back_is_followed_by_another() {
        let mut breaker = broken(0, 0);
        assert_eq!(breaker.admit(Millis(500), 100), Ok(()));
        assert_eq!(breaker.admit(Millis(600), 100), Ok(()));
    }

    #[test]
    fn who_was_let_through_before_it_opened_opens_it_no_wider() {
        let mut breaker = broken(0, 0);
        for _ in 0..10 {
            breaker.failed(Millis(0), 0);
        }
        assert_eq!(breaker.admit(Millis(500), 100), Ok(()));
    }
}
