//! What every store of revocations does. Nothing in here knows an adapter: a test is handed a maker of empty stores.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use stompede::backend::Revocations;
use stompede::model::{CloseReason, Principal, Revocation, StoreError, Tokens};

use crate::sink::Heard;

/// A store, whoever works for it, and what it says to its node.
pub(crate) struct Revoker {
    pub(crate) port: Arc<dyn Revocations>,
    pub(crate) heard: Arc<Heard>,
    /// Does what waits to be done.
    pub(crate) work: Box<dyn Fn()>,
}

/// Makes an empty store.
pub(crate) type Maker = fn() -> Revoker;

/// Every test of this file for the adapter that `$maker` makes.
macro_rules! judge {
    ($maker:expr) => {
        crate::revocations::judge! { $maker =>
            what_is_revoked_lets_nobody_in_and_ends_sessions
            what_is_revoked_twice_is_revoked_as_far_as_it_ever_was
            what_is_past_its_time_is_forgotten
        }
    };
    ($maker:expr => $($test:ident)*) => {
        $(#[test]
        fn $test() {
            crate::revocations::$test($maker);
        })*
    };
}
pub(crate) use judge;

impl Revoker {
    pub(crate) fn revoke(&self, tokens: Tokens, before_s: u64, until_s: u64) -> Result<(), StoreError> {
        let (done, told) = mpsc::channel();
        let revocation = Revocation { tokens, before_s, until_s };
        self.port.revoke(&revocation, Box::new(move |kept| done.send(kept).expect("it is waited for")));
        let begun = Instant::now();
        loop {
            (self.work)();
            if let Ok(kept) = told.recv_timeout(Duration::from_millis(1)) {
                return kept;
            }
            assert!(begun.elapsed() < DEADLINE, "it is never kept");
        }
    }

    pub(crate) fn is_revoked(&self, principal: &Principal) -> bool {
        let refused = self.port.check(principal).map_err(|refusal| refusal.reason);
        assert!(matches!(refused, Ok(()) | Err(CloseReason::TokenRevoked)), "{refused:?}");
        refused.is_err()
    }

    /// Waits until it is known that the token is revoked.
    pub(crate) fn hears_of(&self, principal: &Principal) {
        let begun = Instant::now();
        while !self.is_revoked(principal) {
            assert!(begun.elapsed() < DEADLINE, "it is never heard of");
            (self.work)();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Each is one; the last may be a moment behind what is told.
    fn awaits_reviews(&self, count: usize) {
        let begun = Instant::now();
        while self.heard.reviews.load(Ordering::SeqCst) < count {
            assert!(begun.elapsed() < DEADLINE, "sessions are never held against it");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.heard.reviews.load(Ordering::SeqCst), count);
    }
}

/// Who shows a token.
pub(crate) fn bearer(user: &str, id: &str, issued_s: u64) -> Principal {
    Principal {
        token_id: Some(id.into()),
        issued_s: Some(issued_s),
        expires_s: Some(u64::MAX),
        ..Principal::user(user)
    }
}

pub(crate) fn what_is_revoked_lets_nobody_in_and_ends_sessions(maker: Maker) {
    let store = maker();
    let (alice, bob, carl) = (bearer("alice", "1", 50), bearer("bob", "2", 50), bearer("carl", "3", 40));
    assert!(!store.is_revoked(&alice) && store.port.is_empty());
    assert_eq!(store.revoke(Tokens::Named("1".into()), 0, 1_000), Ok(()));
    assert!(store.is_revoked(&alice) && !store.is_revoked(&bob));
    store.awaits_reviews(1);
    assert_eq!(store.revoke(Tokens::OfUser("bob".into()), 51, 1_000), Ok(()));
    assert!(store.is_revoked(&bob) && !store.is_revoked(&bearer("bob", "4", 51)));
    assert_eq!(store.revoke(Tokens::All, 45, 1_000), Ok(()));
    assert!(store.is_revoked(&carl) && !store.is_revoked(&bearer("dora", "5", 45)));
    assert!(!store.is_revoked(&Principal::user("bob")), "he came without a token");
    store.awaits_reviews(3);
    assert_eq!(store.port.len(), 3);
}

pub(crate) fn what_is_revoked_twice_is_revoked_as_far_as_it_ever_was(maker: Maker) {
    let store = maker();
    let bob = || Tokens::OfUser("bob".into());
    assert_eq!(store.revoke(bob(), 60, 500), Ok(()));
    assert_eq!(store.revoke(bob(), 40, 1_000), Ok(()));
    assert!(store.is_revoked(&bearer("bob", "1", 59)) && !store.is_revoked(&bearer("bob", "2", 60)));
    assert_eq!(store.port.len(), 1);
    store.port.forget_old(500);
    assert!(store.is_revoked(&bearer("bob", "1", 59)), "the later end counts");
}

pub(crate) fn what_is_past_its_time_is_forgotten(maker: Maker) {
    let store = maker();
    assert_eq!(store.revoke(Tokens::Named("1".into()), 0, 100), Ok(()));
    assert_eq!(store.revoke(Tokens::Named("2".into()), 0, 200), Ok(()));
    store.port.forget_old(99);
    assert_eq!(store.port.len(), 2);
    store.port.forget_old(100);
    assert_eq!(store.port.len(), 1);
    assert!(store.is_revoked(&bearer("a", "2", 1)) && !store.is_revoked(&bearer("a", "1", 1)));
}

/// For what must happen, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(20);
