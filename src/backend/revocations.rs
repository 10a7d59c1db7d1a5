//! The port of revocation: tokens that are good no more, on all nodes and for as long as they would be good.

use std::fmt::Debug;

use crate::model::{Principal, Refusal, Revocation, StoreError};

/// Called when a revocation is kept, or cannot be.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Keeps what is revoked. Every node knows all of it: from its start, and what is new within seconds as long as it reaches the
/// store. Whenever it hears of something new it says [`Sink::review`](super::Sink::review).
pub trait Revocations: Send + Sync + Debug {
    /// Revokes. `done` is called once, when it is in force on this node and as safe as this store keeps anything.
    fn revoke(&self, revocation: &Revocation, done: Done);

    /// Refuses who shows a token that is revoked. Whoever came without a token has nothing that could be.
    ///
    /// # Errors
    /// `token-revoked`.
    fn check(&self, principal: &Principal) -> Result<(), Refusal>;

    /// Forgets those whose tokens have expired. To be called now and then.
    fn forget_old(&self, now_s: u64);

    /// How many are known.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
