//! Which tokens are revoked, as far as this node knows.
//!
//! Every adapter has this list in memory, since whoever connects is held against it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use crate::backend::{Done, Revocations, Sink};
use crate::model::revocation::REVOCATIONS_MAX;
use crate::model::{CloseReason, Principal, Refusal, Revocation, StoreError, Tokens};

/// Revocations that die with the process.
#[derive(Debug)]
pub struct MemoryRevocations {
    list: RevocationList,
    sink: Arc<dyn Sink>,
}

impl MemoryRevocations {
    /// Of the node behind `sink`.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { list: RevocationList::default(), sink }
    }
}

impl Revocations for MemoryRevocations {
    fn revoke(&self, revocation: &Revocation, done: Done) {
        let has_room = self.list.has_room_for(&revocation.tokens);
        if !has_room {
            return done(Err(StoreError::Full));
        }
        let is_news = self.list.add([revocation]);
        // Who ordered it hears of it before his own session ends.
        done(Ok(()));
        if is_news {
            self.sink.review();
        }
    }

    fn check(&self, principal: &Principal) -> Result<(), Refusal> {
        self.list.check(principal)
    }

    fn forget_old(&self, now_s: u64) {
        self.list.forget_old(now_s);
    }

    fn len(&self) -> usize {
        self.list.len()
    }
}

/// What is revoked.
#[derive(Debug, Default)]
pub(in crate::backend) struct RevocationList {
    all: RwLock<HashMap<Tokens, Until, RandomState>>,
    /// As many as `all` has. Where it is 0, as nearly always, nobody who connects takes the lock.
    count: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Until {
    before_s: u64,
    until_s: u64,
}

impl RevocationList {
    /// Adds what is not known yet, or widens what is; whether any of it was news.
    pub(in crate::backend) fn add<'a>(&self, revocations: impl IntoIterator<Item = &'a Revocation>) -> bool {
        let mut all = self.all.write();
        let mut is_news = false;
        for Revocation { tokens, before_s, until_s } in revocations {
            let new = Until { before_s: *before_s, until_s: *until_s };
            match all.entry(tokens.clone()) {
                Entry::Vacant(place) => {
                    place.insert(new);
                    is_news = true;
                }
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    is_news |= new.before_s > known.before_s;
                    known.before_s = known.before_s.max(new.before_s);
                    known.until_s = known.until_s.max(new.until_s);
                }
            }
        }
        self.count.store(all.len(), Ordering::Release);
        is_news
    }

    /// Refuses who shows a token that is revoked. Whoever came without a token has nothing that could be.
    ///
    /// # Errors
    /// `token-revoked`.
    pub(in crate::backend) fn check(&self, principal: &Principal) -> Result<(), Refusal> {
        if self.count.load(Ordering::Acquire) == 0 || principal.expires_s.is_none() {
            return Ok(());
        }
        let all = self.all.read();
        let is_early = |tokens: &Tokens| {
            // What does not say when it was issued may be of any age.
            all.get(tokens)
                .is_some_and(|until| principal.issued_s.is_none_or(|issued| issued < until.before_s))
        };
        let named = principal.token_id.as_deref().map(|id| Tokens::Named(id.into()));
        let of_user = principal.user.as_deref().map(|user| Tokens::OfUser(user.into()));
        let is_revoked = named.is_some_and(|named| all.contains_key(&named))
            || of_user.is_some_and(|of_user| is_early(&of_user))
            || is_early(&Tokens::All);
        if is_revoked { Err(CloseReason::TokenRevoked.into()) } else { Ok(()) }
    }

    /// Whether one more may be kept.
    pub(in crate::backend) fn has_room_for(&self, tokens: &Tokens) -> bool {
        let all = self.all.read();
        all.len() < REVOCATIONS_MAX || all.contains_key(tokens)
    }

    /// Forgets those whose tokens have all expired, and says which.
    pub(in crate::backend) fn forget_old(&self, now_s: u64) -> Vec<Tokens> {
        if self.len() == 0 {
            return Vec::new();
        }
        let mut all = self.all.write();
        let old = all.extract_if(|_, until| until.until_s <= now_s).map(|(tokens, _)| tokens).collect();
        all.shrink_to(SPARE);
        self.count.store(all.len(), Ordering::Release);
        old
    }

    /// All that are known.
    pub(in crate::backend) fn list(&self) -> Vec<Revocation> {
        let all = self.all.read();
        let list = all.iter().map(|(tokens, until)| {
            let Until { before_s, until_s } = *until;
            Revocation { tokens: tokens.clone(), before_s, until_s }
        });
        list.collect()
    }

    /// How many.
    pub(in crate::backend) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// What is known of these tokens.
    pub(in crate::backend) fn of(&self, tokens: &Tokens) -> Option<Revocation> {
        let Until { before_s, until_s } = *self.all.read().get(tokens)?;
        Some(Revocation { tokens: tokens.clone(), before_s, until_s })
    }
}

/// A table that was large keeps room for so many.
const SPARE: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(user: &str, id: Option<&str>, issued_s: Option<u64>) -> Principal {
        let token_id = id.map(Into::into);
        Principal { token_id, issued_s, expires_s: Some(1_000), ..Principal::user(user) }
    }

    fn revoke(tokens: Tokens, before_s: u64) -> [Revocation; 1] {
        [Revocation { tokens, before_s, until_s: 1_000 }]
    }

    #[test]
    fn tokens_are_revoked_by_name_by_user_and_by_time() {
        let revoked = RevocationList::default();
        let is = |principal: &Principal| revoked.check(principal).is_err();
        let (alice, bob) = (bearer("alice", Some("1"), Some(50)), bearer("bob", Some("2"), Some(50)));
        assert!(!is(&alice) && revoked.len() == 0);
        assert!(revoked.add(&revoke(Tokens::Named("1".into()), 0)));
        assert!(is(&alice) && !is(&bob));
        assert!(!revoked.add(&revoke(Tokens::Named("1".into()), 0)), "known already");
        assert!(revoked.add(&revoke(Tokens::OfUser("bob".into()), 50)));
        assert!(!is(&bob), "issued at that time is not before it");
        assert!(revoked.add(&revoke(Tokens::OfUser("bob".into()), 51)) && is(&bob));
        assert!(
            !revoked.add(&revoke(Tokens::OfUser("bob".into()), 10)) && is(&bob),
            "what is revoked stays so"
        );
        let (old, new) = (bearer("carl", None, Some(60)), bearer("carl", None, Some(61)));
        assert!(revoked.add(&revoke(Tokens::All, 61)));
        assert!(is(&old) && !is(&new) && is(&bearer("dora", None, None)));
        assert!(!is(&Principal::user("bob")) && !is(&Principal::anonymous()), "they have no token");
        assert_eq!(revoked.list().len(), 3);
        revoked.forget_old(999);
        assert_eq!(revoked.len(), 3);
        revoked.forget_old(1_000);
        assert!(revoked.len() == 0 && !is(&alice));
    }

    #[test]
    fn revocations_are_bounded_but_one_may_always_be_widened() {
        let revoked = RevocationList::default();
        let many: Vec<_> =
            (0..REVOCATIONS_MAX).flat_map(|n| revoke(Tokens::Named(n.to_string().into()), 0)).collect();
        revoked.add(&many);
        assert!(!revoked.has_room_for(&Tokens::All) && revoked.has_room_for(&Tokens::Named("7".into())));
    }
}
