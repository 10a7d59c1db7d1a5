//! The port of claims: which node has what clients ask for by a name of their own, in requests that come to any node.

use std::fmt::Debug;

use crate::model::StoreError;

/// Where a node is asked by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Host and port; empty where others cannot reach it.
    pub address: Box<str>,
    /// Shown to the node it says that another node asks. Nobody else can know it. Without spaces.
    pub proof: Box<str>,
}

/// Called once with who has it.
pub type Claimed = Box<dyn FnOnce(Result<Option<Holder>, StoreError>) + Send>;

/// Knows who has what.
pub trait Claims: Send + Sync + Debug {
    /// Whether other nodes claim here, too.
    fn is_shared(&self) -> bool;

    /// Claims `name` for `holder`, unless somebody else has it; `then` is told who has it afterwards. What is not claimed again
    /// for [`CLAIM_MS`] lapses.
    fn claim(&self, name: &str, holder: &Holder, then: Claimed);

    /// Who has it.
    fn find(&self, name: &str, then: Claimed);

    /// Nobody has it any more, if it was `holder`'s.
    fn release(&self, name: &str, holder: &Holder);
}

/// Whatever is asked for is here.
#[derive(Debug, Default)]
pub struct Unshared;

impl Claims for Unshared {
    fn is_shared(&self) -> bool {
        false
    }

    fn claim(&self, _name: &str, holder: &Holder, then: Claimed) {
        then(Ok(Some(holder.clone())));
    }

    fn find(&self, _name: &str, then: Claimed) {
        then(Ok(None));
    }

    fn release(&self, _name: &str, _holder: &Holder) {}
}

/// How long a claim stands, milliseconds: longer than a store is usually away. Who needs it no more releases it.
pub const CLAIM_MS: u64 = 120_000;
