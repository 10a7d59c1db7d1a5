//! What stood under a key: for those who are told when another body comes with it, and what became of the first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use stompede_protocol::Millis;

use crate::backend::KEY_WINDOW_MS;
use crate::model::{MessageId, Position};

/// Keys that were used lately, each with what stands for its body. A repeat beyond the bound, or of a key that came another
/// way, is told by [`Idempotency`](super::Idempotency) alone: there the first body wins.
#[derive(Debug, Default)]
pub struct Claims(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    known: HashMap<u64, Entry, RandomState>,
    /// Oldest first.
    ages: VecDeque<(Millis, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    body: u64,
    since: Millis,
    /// What was accepted; until then it is under way.
    accepted: Option<Kept>,
}

/// What was accepted under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The message, if it became one.
    pub id: Option<MessageId>,
    /// Where it stands, if its destination is kept.
    pub position: Option<Position>,
}

/// What is known of a key.
#[derive(Debug)]
pub enum Claimed {
    /// Nothing: it is the claimant's now.
    Mine(Claim),
    /// The same body was accepted under it.
    Before(Kept),
    /// The same body is being posted.
    UnderWay,
    /// It belongs to another body.
    Other,
}

/// A key that somebody uses for the first time. Dropped before it is settled, it is free again.
#[derive(Debug)]
pub struct Claim {
    claims: Arc<Claims>,
    key: u64,
}

impl Claims {
    /// Claims `key` for a body that `body` stands for.
    pub fn claim(self: &Arc<Self>, key: u64, body: u64, now: Millis) -> Claimed {
        let mut book = self.0.lock();
        book.forget_old(now);
        match book.known.get(&key) {
            Some(entry) if entry.body != body => return Claimed::Other,
            Some(Entry { accepted: Some(kept), .. }) => return Claimed::Before(*kept),
            Some(_) => return Claimed::UnderWay,
            None => {}
        }
        book.known.insert(key, Entry { body, since: now, accepted: None });
        book.ages.push_back((now, key));
        Claimed::Mine(Claim { claims: Arc::clone(self), key })
    }

    /// Forgets what is out of its window. To be called now and then.
    pub fn tick(&self, now: Millis) {
        self.0.lock().forget_old(now);
    }

    /// Bytes that it keeps, roughly.
    pub fn bytes(&self) -> usize {
        self.0.lock().ages.len() * ENTRY_BYTES
    }
}

impl Book {
    fn forget_old(&mut self, now: Millis) {
        while let Some((since, key)) = self.ages.front().copied() {
            if now.since(since) < KEY_WINDOW_MS && self.ages.len() < CLAIMS_MAX {
                break;
            }
            self.ages.pop_front();
            // It may have been given up and used again since.
            if self.known.get(&key).is_some_and(|entry| entry.since == since) {
                self.known.remove(&key);
            }
        }
    }
}

impl Claim {
    /// The key.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// What was posted under it was accepted.
    pub fn accept(self, kept: Kept) {
        if let Some(entry) = self.claims.0.lock().known.get_mut(&self.key) {
            entry.accepted = Some(kept);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut book = self.claims.0.lock();
        if book.known.get(&self.key).is_some_and(|entry| entry.accepted.is_none()) {
            book.known.remove(&self.key);
        }
    }
}

/// Keys remembered; beyond, the oldest is forgotten early.
pub const CLAIMS_MAX: usize = 100_000;

/// What one remembered key takes, both its places included.
const ENTRY_BYTES: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Kept = Kept { id: Some(MessageId { node: 1, number: 2 }), position: None };

    fn mine(claimed: Claimed) -> Claim {
        let Claimed::Mine(claim) = claimed else { panic!("{claimed:?}") };
        claim
    }

    #[test]
    fn a_key_belongs_to_its_first_body_until_its_window_ends() {
        let claims = Arc::<Claims>::default();
        let claim = mine(claims.claim(1, 10, Millis(0)));
        assert!(matches!(claims.claim(1, 10, Millis(1)), Claimed::UnderWay));
        assert!(matches!(claims.claim(1, 11, Millis(1)), Claimed::Other));
        claim.accept(KEPT);
        assert!(matches!(claims.claim(1, 10, Millis(1)), Claimed::Before(kept) if kept == KEPT));
        assert!(matches!(claims.claim(1, 11, Millis(1)), Claimed::Other));
        drop(mine(claims.claim(1, 11, Millis(KEY_WINDOW_MS))));
        claims.tick(Millis(2 * KEY_WINDOW_MS));
        assert_eq!(claims.bytes(), 0);
    }

    #[test]
    fn what_was_not_accepted_leaves_its_key_free() {
        let claims = Arc::<Claims>::default();
        drop(mine(claims.claim(1, 10, Millis(0))));
        mine(claims.claim(1, 11, Millis(5))).accept(KEPT);
        claims.tick(Millis(KEY_WINDOW_MS));
        assert!(matches!(claims.claim(1, 11, Millis(KEY_WINDOW_MS)), Claimed::Before(_)));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let claims = Arc::<Claims>::default();
        for key in 0..=CLAIMS_MAX as u64 {
            mine(claims.claim(key, 0, Millis(0))).accept(KEPT);
        }
        assert!(claims.bytes() <= CLAIMS_MAX * ENTRY_BYTES);
        mine(claims.claim(0, 1, Millis(0)));
    }
}
