//! What a destination does when it is full.

use std::sync::Arc;

use super::destination::Destination;
use super::pattern::Pattern;

/// What happens to a connection whose outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The connection is closed with `slow-consumer`.
    #[default]
    Close,
    /// The oldest deliveries of such destinations that still wait are dropped, counted.
    DropOldest,
}

/// Settings of the destinations that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRule {
    /// Which destinations.
    pub pattern: Pattern,
    /// What to do with a full outbox.
    pub overflow: Overflow,
}

/// The rules in their order; the first that matches counts.
#[derive(Debug, Clone, Default)]
pub struct DestinationRules(Arc<[DestinationRule]>);

impl DestinationRules {
    /// Keeps the order given.
    pub fn new(rules: Vec<DestinationRule>) -> Self {
        Self(rules.into())
    }

    /// The overflow rule of a destination.
    pub fn overflow(&self, destination: &Destination) -> Overflow {
        let rule = self.0.iter().find(|rule| rule.pattern.matches(destination));
        rule.map_or(Overflow::default(), |rule| rule.overflow)
    }
}
