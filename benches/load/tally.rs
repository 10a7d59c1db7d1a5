//! What one thread counted.

use hdrhistogram::Histogram;

use crate::body::{Arrival, Expected, Stamp};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Stamped messages.
    pub(crate) received: u64,
    /// Other messages: what the server says by itself.
    pub(crate) events: u64,
    pub(crate) receipts: u64,
    pub(crate) beats: u64,
    pub(crate) missing: u64,
    /// Doubled, or after a later one.
    pub(crate) again: u64,
    /// Of a stream that is not subscribed, or under another subscription.
    pub(crate) stray: u64,
    /// ERROR frames, and connections that ended or were not opened.
    pub(crate) errors: u64,
    pub(crate) ended: u64,
    /// Of those that did not read.
    pub(crate) deaf_ended: u64,
    /// Microseconds from due to received.
    pub(crate) latency: Latency,
}

/// A histogram of three digits.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are legal"))
    }
}

impl Latency {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts one, of so many microseconds.
    pub(crate) fn record(&mut self, us: u64) {
        self.0.saturating_record(us);
    }

    /// Milliseconds within which this share arrived; 1 is all.
    pub(crate) fn ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }
}

impl Tally {
    /// Counts a message; `expected` is in the order of streams, `subscription` what the message names, if it matters.
    pub(crate) fn arrive(
        &mut self,
        expected: &mut [Expected],
        stamp: Stamp,
        subscription: Option<u32>,
        now: u64,
        measured_from: u64,
    ) {
        self.received += 1;
        let place = match expected {
            [only] if only.stream == stamp.stream => Ok(0),
            _ => expected.binary_search_by_key(&stamp.stream, |expected| expected.stream),
        };
        let place =
            place.ok().filter(|at| subscription.is_none_or(|number| number == expected[*at].subscription));
        match place.map(|at| expected[at].arrive(stamp.number)) {
            Some(Arrival::Next) => {}
            Some(Arrival::After(count)) => self.missing += u64::from(count),
            Some(Arrival::Again) => self.again += 1,
            None => self.stray += 1,
        }
        if stamp.due >= measured_from {
            self.latency.record(now.saturating_sub(stamp.due) / 1_000);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.events += other.events;
        self.receipts += other.receipts;
        self.missing += other.missing;
        self.again += other.again;
        self.stray += other.stray;
        self.beats += other.beats;
        self.deaf_ended += other.deaf_ended;
        self.errors += other.errors;
        self.ended += other.ended;
        // Both have the same bounds.
        let _ = self.latency.0.add(&other.latency.0);
    }

    /// Nothing was lost, doubled, out of order, refused or closed.
    pub(crate) fn is_clean(&self) -> bool {
        self.missing + self.again + self.stray + self.errors + self.ended == 0
    }
}

const LONGEST: u64 = 600_000_000;
