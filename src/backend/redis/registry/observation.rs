//! Who has stood still for too long, seen from one node.
//!
//! Time counts only while the counters are read beat after beat: a look that is late or fails, on whatever account, begins the
//! observation anew. So neither Redis being away, nor this node being paused, nor both, is anybody's death.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::RandomState;
use stompede_protocol::Millis;

use super::Pace;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Observation {
    pace: Pace,
    /// The last look, since observation began.
    looked: Option<Millis>,
    seen: HashMap<u64, Seen, RandomState>,
    /// Those that move, this node included, in order.
    alive: Vec<u64>,
}

#[derive(Debug)]
struct Seen {
    /// `None`: nothing but what it holds is known of it.
    counter: Option<u64>,
    /// Since when it is so.
    since: Millis,
    /// When it was last seen at all.
    looked: Millis,
}

impl Observation {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, looked: None, seen: HashMap::default(), alive: Vec::new() }
    }

    /// Nothing that was seen so far counts.
    pub(super) fn restart(&mut self) {
        self.looked = None;
        self.seen.clear();
    }

    /// A look at all counters, and at those who hold something and have none. Gives the dead, each once.
    pub(super) fn observe(
        &mut self,
        own: u64,
        counters: impl Iterator<Item = (u64, u64)>,
        suspects: &BTreeSet<u64>,
        now: Millis,
    ) -> Vec<u64> {
        let is_late = self.looked.is_some_and(|looked| now.0 - looked.0 > BEATS_LATE_MAX * self.pace.beat_ms);
        if is_late {
            self.restart();
        }
        self.looked = Some(now);
        let counted = counters.map(|(incarnation, counter)| (incarnation, Some(counter)));
        let counted: HashMap<u64, Option<u64>, RandomState> =
            suspects.iter().map(|suspect| (*suspect, None)).chain(counted).take(NODES_MAX).collect();
        for (incarnation, counter) in counted.into_iter().filter(|(incarnation, _)| *incarnation != own) {
            let seen = self.seen.entry(incarnation).or_insert(Seen { counter, since: now, looked: now });
            if seen.counter != counter && counter.is_some() {
                (seen.counter, seen.since) = (counter, now);
            }
            seen.looked = now;
        }
        // Who holds something is not seen in every look, since not all is looked through each time.
        self.seen.retain(|_, seen| now.0 - seen.looked.0 <= BEATS_LATE_MAX * self.pace.beat_ms);
        let is_dead = |seen: &Seen| now.0 - seen.since.0 >= self.pace.lease_ms;
        let mut dead: Vec<u64> =
            self.seen.extract_if(|_, seen| is_dead(seen)).map(|(incarnation, _)| incarnation).collect();
        dead.sort_unstable();
        let moves = |seen: &&Seen| {
            seen.counter.is_some() && now.0 - seen.since.0 <= BEATS_LATE_MAX * self.pace.beat_ms
        };
        self.alive =
            self.seen.iter().filter(|(_, seen)| moves(seen)).map(|(incarnation, _)| *incarnation).collect();
        self.alive.push(own);
        self.alive.sort_unstable();
        dead
    }

    /// This node's place among those that move, and how many they are.
    pub(super) fn rank(&self, own: u64) -> (usize, usize) {
        match self.alive.binary_search(&own) {
            Ok(rank) => (rank, self.alive.len()),
            Err(_) => (0, 1),
        }
    }
}

/// A look that is so many beats late may have missed something.
const BEATS_LATE_MAX: u64 = 3;

/// Nodes that are observed.
const NODES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { beat_ms: 1_000, lease_ms: 9_000 };

    fn look(observation: &mut Observation, now_s: u64, counters: &[(u64, u64)]) -> Vec<u64> {
        observation.observe(1, counters.iter().copied(), &BTreeSet::new(), Millis(now_s * 1_000))
    }

    #[test]
    fn who_stands_still_for_a_lease_is_dead_once() {
        let mut observation = Observation::new(PACE);
        for now in 0..9 {
            assert!(look(&mut observation, now, &[(1, now), (2, 7), (3, now)]).is_empty(), "{now}");
        }
        assert_eq!(look(&mut observation, 9, &[(1, 9), (2, 7), (3, 9)]), [2]);
        assert!(look(&mut observation, 10, &[(1, 10), (2, 7), (3, 10)]).is_empty());
        assert_eq!(observation.rank(1), (0, 3), "seen for the first time again");
        for now in 11..15 {
            look(&mut observation, now, &[(1, now), (2, 7), (3, now)]);
        }
        assert_eq!((observation.rank(1), observation.rank(3), observation.rank(9)), ((0, 2), (1, 2), (0, 1)));
    }

    #[test]
    fn time_that_was_not_observed_does_not_count() {
        let mut observation = Observation::new(PACE);
        for now in 0..9 {
            look(&mut observation, now, &[(2, 7)]);
        }
        // A look is missing: this node was paused, or Redis was away.
        for now in 20..29 {
            assert!(look(&mut observation, now, &[(2, 7)]).is_empty(), "{now}");
        }
        observation.restart();
        for now in 29..38 {
            assert!(look(&mut observation, now, &[(2, 7)]).is_empty(), "{now}");
        }
        assert_eq!(look(&mut observation, 38, &[(2, 7)]), [2]);
    }

    #[test]
    fn who_holds_something_and_has_no_counter_is_dead_too() {
        let mut observation = Observation::new(PACE);
        let suspects = BTreeSet::from([5]);
        let mut dead = Vec::new();
        for now in 0..10 {
            let seen = if now % 2 == 0 { suspects.clone() } else { BTreeSet::new() };
            dead.extend(observation.observe(1, std::iter::empty(), &seen, Millis(now * 1_000)));
        }
        assert_eq!(dead, [5]);
        assert!(observation.observe(1, std::iter::once((5, 1)), &suspects, Millis(10_000)).is_empty());
        assert!(observation.observe(1, std::iter::once((5, 2)), &suspects, Millis(11_000)).is_empty());
        assert_eq!(observation.rank(5), (1, 2), "it was only slow to register");
    }
}
