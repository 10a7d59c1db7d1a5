//! What became of questions to one hook.

use std::time::Duration;

use crate::model::Counter;

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The backend said yes.
    Allowed,
    /// The backend said no.
    Denied,
    /// It gave no answer that can be understood.
    Failed,
    /// It was not asked, for it does not answer.
    Rejected,
    /// It was not asked, for too many wait already.
    Overloaded,
    /// It took a notice.
    Told,
    /// A notice was told in vain so often that it is a dead letter.
    Dead,
}

impl Outcome {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Allowed, Self::Denied, Self::Failed, Self::Rejected, Self::Overloaded, Self::Told, Self::Dead];

    /// In a word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Overloaded => "overloaded",
            Self::Told => "told",
            Self::Dead => "dead",
        }
    }
}

/// Counters of one hook.
#[derive(Debug, Default)]
pub(crate) struct HookCounters {
    outcomes: [Counter; Outcome::ALL.len()],
    pub(crate) took: Took,
}

impl HookCounters {
    pub(in crate::server::hooks) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].add(1);
    }

    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].value()
    }
}

/// How long requests took.
#[derive(Debug, Default)]
pub(crate) struct Took {
    /// Of each bucket those that belong there and to none before; the last has no bound.
    buckets: [Counter; TOOK_BOUNDS_MS.len() + 1],
    sum_us: Counter,
}

impl Took {
    pub(super) fn record(&self, took: Duration) {
        let bucket = TOOK_BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        self.buckets[bucket.unwrap_or(TOOK_BOUNDS_MS.len())].add(1);
        self.sum_us.add(usize::try_from(took.as_micros()).unwrap_or(usize::MAX));
    }

    /// How many there were in each bucket, and in none before.
    pub(crate) fn counts(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Counter::value)
    }

    pub(crate) fn sum_us(&self) -> u64 {
        self.sum_us.value()
    }
}

/// Up to where the buckets reach, milliseconds: from a backend on this machine to the longest timeout.
pub(crate) const TOOK_BOUNDS_MS: [u64; 10] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000];
