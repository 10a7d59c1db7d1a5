//! Which workers want a destination, and the one order of its messages.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::{FixedState, RandomState};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::hash::BuildHasher;

use crate::model::trie::Trie;
use crate::model::{Destination, Pattern, WorkerId};

/// Most workers of a process: one bit each in a [`WorkerSet`], and one for the [`DESK`](super::DESK).
pub const WORKERS_MAX: usize = 63;

/// A set of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerSet(u64);

impl WorkerSet {
    /// Whether nobody is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with `worker`.
    #[must_use]
    pub fn with(self, worker: WorkerId) -> Self {
        Self(self.0 | 1 << worker.0)
    }

    /// The set without `worker`.
    #[must_use]
    pub fn without(self, worker: WorkerId) -> Self {
        Self(self.0 & !(1 << worker.0))
    }

    /// Its member, if there is just one.
    pub fn only(self) -> Option<WorkerId> {
        self.0.is_power_of_two().then(|| WorkerId(self.0.trailing_zeros() as u8))
    }

    /// Its members, lowest number first.
    pub fn iter(self) -> impl Iterator<Item = WorkerId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = left.trailing_zeros() as u8;
            // Takes the lowest bit away.
            left &= left.checked_sub(1)?;
            Some(WorkerId(lowest))
        })
    }
}

/// What a change of subscribers means one level up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// The first one came.
    Gained,
    /// The last one left.
    Lost,
    /// Nothing changed.
    Same,
}

/// The process-wide map of interest. Entries exist only while a worker wants the destination.
#[derive(Debug)]
pub struct Directory {
    exact: DashMap<Destination, WorkerSet, RandomState>,
    patterns: RwLock<Trie<WorkerId>>,
    pattern_count: AtomicUsize,
    stripes: Box<[Mutex<()>]>,
    /// Chooses one of them. No secret: who finds names that share a lock gains no more than who uses one name alone.
    hasher: FixedState,
}

impl Directory {
    /// An empty directory.
    pub fn new() -> Self {
        Self {
            exact: DashMap::default(),
            patterns: RwLock::default(),
            pattern_count: AtomicUsize::new(0),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            hasher: FixedState::default(),
        }
    }

    /// Serialises publishing to one destination: while the guard lives, nobody else publishes there, so every worker's
    /// inbox sees the same order. Held for the pushes of one publish, never for a delivery.
    #[inline(always)]
    pub fn order(&self, destination: &Destination) -> MutexGuard<'_, ()> {
        self.stripes[self.stripe(destination)].lock()
    }

    /// A number that is always the same for a destination.
    pub fn stripe(&self, destination: &Destination) -> usize {
        self.hasher.hash_one(destination.as_str()) as usize % STRIPES
    }

    /// The worker's first subscriber of `destination` came.
    pub fn add(&self, destination: &Destination, worker: WorkerId) -> Interest {
        let mut set = self.exact.entry(destination.clone()).or_default();
        let before = *set;
        *set = before.with(worker);
        if before.is_empty() { Interest::Gained } else { Interest::Same }
    }

    /// The worker's last subscriber of `destination` left.
    pub fn remove(&self, destination: &Destination, worker: WorkerId) -> Interest {
        let Entry::Occupied(mut entry) = self.exact.entry(destination.clone()) else { return Interest::Same };
        let set = entry.get().without(worker);
        if set.is_empty() {
            entry.remove();
            return Interest::Lost;
        }
        entry.insert(set);
        Interest::Same
    }

    /// The worker's first subscriber of `pattern` came.
    pub fn add_pattern(&self, pattern: &Pattern, worker: WorkerId) {
        let mut patterns = self.patterns.write();
        patterns.insert(pattern, worker);
        self.pattern_count.store(patterns.len(), Ordering::Release);
    }

    /// The worker's last subscriber of `pattern` left.
    pub fn remove_pattern(&self, pattern: &Pattern, worker: WorkerId) {
        let mut patterns = self.patterns.write();
        patterns.remove(pattern, &worker);
        self.pattern_count.store(patterns.len(), Ordering::Release);
    }

    /// Whether somebody has subscribed to a pattern.
    pub fn has_patterns(&self) -> bool {
        self.pattern_count.load(Ordering::Acquire) > 0
    }

    /// Whether a worker wants just this destination, patterns aside.
    pub fn is_wanted(&self, destination: &Destination) -> bool {
        self.exact.contains_key(destination)
    }

    /// The workers that want `destination`, by name or by pattern.
    pub fn interested(&self, destination: &Destination) -> WorkerSet {
        let mut set = self.exact.get(destination).map_or(WorkerSet::default(), |set| *set);
        if self.has_patterns() {
            self.patterns.read().for_each_match(destination, |worker| set = set.with(*worker));
        }
        set
    }

    /// Number of destinations and patterns that somebody wants.
    pub fn len(&self) -> usize {
        self.exact.len() + self.pattern_count.load(Ordering::Relaxed)
    }

    /// Whether nobody wants anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

/// Locks that order the publishes: enough that two destinations rarely share one.
const STRIPES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interest_comes_with_the_first_worker_and_goes_with_the_last() {
        let directory = Directory::new();
        let name = Destination::internal("/topic/a");
        assert_eq!(directory.add(&name, WorkerId(0)), Interest::Gained);
        assert_eq!(directory.add(&name, WorkerId(3)), Interest::Same);
        assert_eq!(directory.interested(&name).iter().collect::<Vec<_>>(), [WorkerId(0), WorkerId(3)]);
        assert_eq!(directory.remove(&name, WorkerId(0)), Interest::Same);
        assert_eq!(directory.remove(&name, WorkerId(3)), Interest::Lost);
        assert!(directory.is_empty());
    }

    #[test]
    fn a_set_knows_whether_it_has_one_member() {
        let mut set = WorkerSet::default();
        for (worker, expected) in [(62, Some(WorkerId(62))), (0, None), (7, None)] {
            set = set.with(WorkerId(worker));
            assert_eq!(set.only(), expected);
        }
        assert_eq!(WorkerSet::default().only(), None);
    }

    #[test]
    fn patterns_count_as_interest() {
        let directory = Directory::new();
        let pattern = Pattern::parse("/topic/**").unwrap();
        let name = Destination::internal("/topic/a");
        directory.add_pattern(&pattern, WorkerId(2));
        assert_eq!(directory.interested(&name).iter().collect::<Vec<_>>(), [WorkerId(2)]);
        directory.remove_pattern(&pattern, WorkerId(2));
        assert!(directory.interested(&name).is_empty());
    }
}
