//! Numbers to be exported.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that grows, or is set.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`, from whatever thread.
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Adds `count`, from the one thread that changes the number: no cache line is locked for it. What another thread added
    /// at the same moment would be lost.
    pub fn count(&self, count: usize) {
        self.0.store(self.value().wrapping_add(count as u64), Ordering::Relaxed);
    }

    /// It is `value` from now on.
    pub fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
