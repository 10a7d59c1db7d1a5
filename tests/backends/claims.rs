//! What every store of claims does that several nodes share.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use stompede::backend::{Claims, Holder};
use stompede::model::StoreError;

/// A node before the store.
pub(crate) struct Claimant {
    pub(crate) port: Arc<dyn Claims>,
    pub(crate) holder: Holder,
    /// Keeps whoever works for it.
    pub(crate) _work: Box<dyn std::any::Any>,
}

impl Claimant {
    pub(crate) fn claim(&self, name: &str) -> Result<Option<Holder>, StoreError> {
        let (tell, told) = mpsc::channel();
        self.port.claim(
            name,
            &self.holder,
            Box::new(move |holder| tell.send(holder).expect("it is waited for")),
        );
        told.recv_timeout(DEADLINE).expect("an answer in time")
    }

    pub(crate) fn find(&self, name: &str) -> Result<Option<Holder>, StoreError> {
        let (tell, told) = mpsc::channel();
        self.port.find(name, Box::new(move |holder| tell.send(holder).expect("it is waited for")));
        told.recv_timeout(DEADLINE).expect("an answer in time")
    }
}

/// Two nodes over one store.
pub(crate) fn the_first_has_it_until_he_lets_it_go(one: &Claimant, other: &Claimant) {
    assert!(one.port.is_shared());
    assert_eq!(other.find("a b/c"), Ok(None));
    assert_eq!(one.claim("a b/c"), Ok(Some(one.holder.clone())));
    assert_eq!(one.claim("a b/c"), Ok(Some(one.holder.clone())), "it is his already");
    assert_eq!(other.claim("a b/c"), Ok(Some(one.holder.clone())));
    assert_eq!(other.find("a b/c"), Ok(Some(one.holder.clone())));
    assert_eq!(other.claim("a b/d"), Ok(Some(other.holder.clone())));
    other.port.release("a b/c", &other.holder);
    assert_eq!(other.find("a b/c"), Ok(Some(one.holder.clone())), "it is not his to let go");
    one.port.release("a b/c", &one.holder);
    assert_eq!(one.find("a b/c"), Ok(None));
    assert_eq!(other.claim("a b/c"), Ok(Some(other.holder.clone())));
}

const DEADLINE: Duration = Duration::from_secs(10);
