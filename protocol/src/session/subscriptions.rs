//! The open subscriptions of one connection and what they have outstanding.

use crate::error::{Violation, excerpt};
use crate::{AckMode, Ledger, Limits, Subscription, SubscriptionKey, Version};

/// In the order in which they were opened, which is that of their keys.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    open: Vec<Entry>,
    opened: u32,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) subscription: Subscription,
    /// What is outstanding; of a tracked subscription in a client mode.
    pub(super) ledger: Option<Box<Ledger>>,
}

impl Subscriptions {
    pub(super) fn open(
        &mut self,
        id: Option<&str>,
        destination: &str,
        ack: AckMode,
        limits: &Limits,
    ) -> Result<SubscriptionKey, Violation> {
        let identity = id.unwrap_or(destination);
        if id.is_some_and(|id| id.len() > limits.subscription_id_bytes_max) {
            return Err(Violation::SubscriptionIdTooLong { limit: limits.subscription_id_bytes_max });
        }
        if self.open.iter().any(|entry| entry.is_called(id, destination)) {
            return Err(Violation::SubscriptionTaken { id: excerpt(identity.as_bytes()) });
        }
        let excess = Violation::TooManySubscriptions { limit: limits.subscriptions_max };
        if self.open.len() >= limits.subscriptions_max {
            return Err(excess);
        }
        self.opened = self.opened.checked_add(1).ok_or(excess)?;
        let key = SubscriptionKey(self.opened);
        let subscription = Subscription { key, id: id.map(Into::into), destination: destination.into(), ack };
        if self.open.is_empty() {
            // Most connections have one; a first push would make room for four.
            self.open.reserve_exact(1);
        }
        self.open.push(Entry { subscription, ledger: None });
        Ok(key)
    }

    /// Finds what UNSUBSCRIBE names: the `id`; under 1.0 also the `destination`, where a subscription without an id
    /// is meant first.
    pub(super) fn named(
        &self,
        id: Option<&str>,
        destination: Option<&str>,
        version: Version,
    ) -> Result<SubscriptionKey, Violation> {
        let destination = destination.filter(|_| version == Version::V1_0);
        let found = match (id, destination) {
            (Some(id), _) => self.open.iter().find(|entry| entry.subscription.id.as_deref() == Some(id)),
            (None, Some(destination)) => self
                .open
                .iter()
                .filter(|entry| *entry.subscription.destination == *destination)
                .min_by_key(|entry| entry.subscription.id.is_some()),
            (None, None) => {
                return Err(Violation::MissingHeader { command: crate::Command::Unsubscribe, header: "id" });
            }
        };
        let name = id.or(destination).unwrap_or_default();
        found
            .map(|entry| entry.subscription.key)
            .ok_or_else(|| Violation::UnknownSubscription { id: excerpt(name.as_bytes()) })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.open.iter().map(|entry| &entry.subscription)
    }

    pub(super) fn get(&self, key: SubscriptionKey) -> Option<&Entry> {
        self.position(key).map(|index| &self.open[index])
    }

    pub(super) fn get_mut(&mut self, key: SubscriptionKey) -> Option<&mut Entry> {
        self.position(key).map(|index| &mut self.open[index])
    }

    pub(super) fn remove(&mut self, key: SubscriptionKey) -> Option<Entry> {
        self.position(key).map(|index| self.open.remove(index))
    }

    fn position(&self, key: SubscriptionKey) -> Option<usize> {
        self.open.binary_search_by_key(&key, |entry| entry.subscription.key).ok()
    }
}

impl Entry {
    /// Tags of all that is outstanding, in order of delivery.
    pub(super) fn tags(&self) -> Vec<u64> {
        self.ledger.iter().flat_map(|ledger| ledger.tags()).collect()
    }

    fn is_called(&self, id: Option<&str>, destination: &str) -> bool {
        match (self.subscription.id.as_deref(), id) {
            (Some(own), Some(id)) => own == id,
            (None, None) => *self.subscription.destination == *destination,
            _ => false,
        }
    }
}
