//! A SEND that is repeated because its receipt was lost is not published twice.

mod claims;

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use stompede_protocol::Millis;

use crate::backend::KEY_WINDOW_MS as WINDOW_MS;
use crate::model::Destination;
use crate::policy::digest;

pub use claims::{CLAIMS_MAX, Claim, Claimed, Claims, Kept};

/// Keys seen lately, by destination. Not the keys themselves are kept but 64 bits of each, under a seed that nobody
/// outside knows.
#[derive(Debug, Default)]
pub struct Idempotency {
    windows: Mutex<HashMap<Destination, Window, RandomState>>,
    /// Keys of SENDs that a store has not answered, and where they belong.
    deferred: Mutex<HashMap<u64, Destination, RandomState>>,
    /// Keys of all windows.
    count: AtomicUsize,
    /// When windows are next looked through for old keys.
    next_sweep: AtomicU64,
    hasher: RandomState,
    /// Keys of those who hear of another body.
    claims: Arc<Claims>,
}

/// The keys of one destination, oldest first.
#[derive(Debug, Default)]
struct Window {
    /// Whether the SEND was accepted; until then it is under way.
    known: HashMap<u64, bool, RandomState>,
    ages: VecDeque<(Millis, u64)>,
}

/// What a key says of a SEND.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// For the first time: to be published.
    Never,
    /// Before: accepted already, the first body wins.
    Before,
    /// Another SEND with it is being posted: whether it will be accepted is not known yet.
    UnderWay,
}

impl Idempotency {
    /// What stands for `key` of `user` at `destination`; never 0.
    pub fn hash(&self, destination: &Destination, user: &str, key: &str) -> u64 {
        self.hasher.hash_one((destination, user, key)).max(1)
    }

    /// What stands for a body.
    pub fn fingerprint(&self, body: &[u8]) -> u64 {
        self.hasher.hash_one(body)
    }

    /// Keys of those who hear of another body.
    pub fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// Whether a SEND with this key was accepted; the key is not remembered.
    pub fn is_accepted(&self, destination: &Destination, hash: u64, now: Millis) -> bool {
        let mut windows = self.windows.lock();
        windows.get_mut(destination).is_some_and(|window| {
            self.forgot(window.forget_old(now));
            window.known.get(&hash) == Some(&true)
        })
    }

    /// Looks a key up and remembers it.
    pub fn check(&self, destination: &Destination, hash: u64, now: Millis) -> Seen {
        let mut windows = self.windows.lock();
        let window = windows.entry(destination.clone()).or_default();
        self.forgot(window.forget_old(now));
        match window.known.get(&hash) {
            Some(true) => return Seen::Before,
            Some(false) => return Seen::UnderWay,
            None => {}
        }
        if window.ages.len() >= KEYS_MAX
            && let Some((_, oldest)) = window.ages.pop_front()
        {
            window.known.remove(&oldest);
            self.forgot(1);
        }
        // Beyond the limit of all windows a repeat is published again; better than refusing what is new.
        if self.count.load(Ordering::Relaxed) < KEYS_OF_ALL_MAX {
            window.known.insert(hash, false);
            window.ages.push_back((now, hash));
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Seen::Never
    }

    /// A SEND with this key was accepted before this process began.
    pub fn recall(&self, destination: &Destination, user: &str, key: &str) {
        let hash = self.hash(destination, user, key);
        if self.check(destination, hash, Millis(0)) == Seen::Never {
            self.accepted(destination, hash);
        }
    }

    /// The SEND of a key was accepted.
    pub fn accepted(&self, destination: &Destination, hash: u64) {
        let mut windows = self.windows.lock();
        if let Some(accepted) = windows.get_mut(destination).and_then(|window| window.known.get_mut(&hash)) {
            *accepted = true;
        }
    }

    /// Whether the SEND of a key is accepted will be told by [`Idempotency::settle`].
    pub fn defer(&self, destination: &Destination, hash: u64) {
        self.deferred.lock().insert(hash, destination.clone());
    }

    /// What became of a SEND that was deferred.
    pub fn settle(&self, hash: u64, is_accepted: bool) {
        let Some(destination) = self.deferred.lock().remove(&hash) else { return };
        if is_accepted {
            self.accepted(&destination, hash);
        } else {
            self.forget(&destination, hash);
        }
    }

    /// Forgets a key whose SEND was not accepted after all.
    pub fn forget(&self, destination: &Destination, hash: u64) {
        let mut windows = self.windows.lock();
        let Some(window) = windows.get_mut(destination) else { return };
        if window.known.remove(&hash).is_some() {
            // It has just been remembered: it stands near the end.
            if let Some(place) = window.ages.iter().rposition(|(_, known)| *known == hash) {
                window.ages.remove(place);
            }
            self.forgot(1);
        }
    }

    /// Forgets what is out of its window. To be called now and then.
    pub fn tick(&self, now: Millis) {
        if now.0 < self.next_sweep.load(Ordering::Relaxed) {
            return;
        }
        self.next_sweep.store(now.after(SWEEP_MS).0, Ordering::Relaxed);
        self.claims.tick(now);
        self.windows.lock().retain(|_, window| {
            self.forgot(window.forget_old(now));
            !window.ages.is_empty()
        });
    }

    /// Bytes that the windows keep, roughly.
    pub fn bytes(&self) -> usize {
        self.count.load(Ordering::Relaxed) * KEY_BYTES + self.claims.bytes()
    }

    fn forgot(&self, count: usize) {
        self.count.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Window {
    /// Returns how many were forgotten.
    fn forget_old(&mut self, now: Millis) -> usize {
        let before = self.ages.len();
        while let Some((since, hash)) = self.ages.front().copied() {
            if now.since(since) < WINDOW_MS {
                break;
            }
            self.ages.pop_front();
            self.known.remove(&hash);
        }
        before - self.ages.len()
    }
}

/// The key of the `number`th message that somebody makes of what `user` sent to `destination` with `key`. The same on all nodes and
/// after a restart, so that he may be asked again and what he makes of it is published once.
pub fn derived_key(destination: &Destination, user: &str, key: &str, number: usize) -> String {
    format!("stompede-{}", digest::of([destination.as_str(), user, key, &number.to_string()]))
}

/// Windows are looked through this often, milliseconds.
const SWEEP_MS: u64 = 10_000;

/// Keys remembered of one destination; beyond, the oldest is forgotten early.
pub const KEYS_MAX: usize = 10_000;

/// Keys remembered of all destinations together.
pub const KEYS_OF_ALL_MAX: usize = 1_000_000;

/// What one remembered key takes, its share in its window included.
const KEY_BYTES: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_once_for_each_user_and_destination_until_its_window_ends() {
        let keys = Idempotency::default();
        let (a, b) = (Destination::internal("/topic/a"), Destination::internal("/topic/b"));
        let [key, other_user] = ["alice", "bob"].map(|user| keys.hash(&a, user, "k"));
        let elsewhere = keys.hash(&b, "alice", "k");
        assert_eq!(keys.check(&a, key, Millis(0)), Seen::Never);
        assert_eq!(keys.check(&a, key, Millis(1)), Seen::UnderWay);
        keys.accepted(&a, key);
        assert_eq!(keys.check(&a, key, Millis(1)), Seen::Before);
        assert_eq!(keys.check(&a, other_user, Millis(1)), Seen::Never);
        assert_eq!(keys.check(&b, elsewhere, Millis(1)), Seen::Never);
        assert_eq!(keys.check(&a, key, Millis(WINDOW_MS)), Seen::Never);
        keys.forget(&a, key);
        assert_eq!(keys.check(&a, key, Millis(WINDOW_MS)), Seen::Never);
        keys.tick(Millis(3 * WINDOW_MS));
        assert!(keys.windows.lock().is_empty());
        assert_eq!(keys.bytes(), 0);
    }

    #[test]
    fn a_send_that_a_store_answers_later_is_under_way_until_then() {
        let keys = Idempotency::default();
        let a = Destination::internal("/topic/a");
        for (n, is_accepted, expected) in [(1, true, Seen::Before), (2, false, Seen::Never)] {
            let key = keys.hash(&a, "alice", &n.to_string());
            assert_eq!(keys.check(&a, key, Millis(0)), Seen::Never);
            keys.defer(&a, key);
            assert_eq!(keys.check(&a, key, Millis(0)), Seen::UnderWay);
            keys.settle(key, is_accepted);
            assert_eq!(keys.check(&a, key, Millis(0)), expected);
        }
        assert!(keys.deferred.lock().is_empty());
    }

    #[test]
    fn a_derived_key_is_the_same_for_the_same_alone() {
        let [a, ab] = ["/app/a", "/app/ab"].map(Destination::internal);
        let first = derived_key(&a, "bc", "k", 0);
        assert_eq!(first, derived_key(&a, "bc", "k", 0));
        for other in [
            derived_key(&a, "bc", "k", 1),
            derived_key(&a, "bc", "l", 0),
            derived_key(&a, "b", "ck", 0),
            derived_key(&ab, "c", "k", 0),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_destination_remembers_a_bounded_number() {
        let keys = Idempotency::default();
        let a = Destination::internal("/topic/a");
        let key = |n: usize| keys.hash(&a, "alice", &n.to_string());
        for n in 0..=KEYS_MAX {
            assert_eq!(keys.check(&a, key(n), Millis(0)), Seen::Never);
        }
        assert_eq!(keys.check(&a, key(KEYS_MAX), Millis(0)), Seen::UnderWay);
        assert_eq!(keys.check(&a, key(0), Millis(0)), Seen::Never);
    }
}
