//! What a destination does when it is full.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::destination::Destination;
use super::history::Retention;
use super::pattern::Pattern;

/// What happens to a connection whose outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// What to do with a full outbox, if this rule says it.
    pub overflow: Option<Overflow>,
    /// What is kept of each, if this rule says it.
    pub history: Option<Retention>,
    /// What is kept of each for a user who is away, if this rule says it: of his own queues, which the pattern names as he
    /// subscribes them.
    pub offline: Option<Retention>,
}

/// The rules in their order; each setting is that of the first rule that matches and says it.
#[derive(Debug, Clone, Default)]
pub struct DestinationRules {
    rules: Arc<[DestinationRule]>,
    has_offline: bool,
}

impl DestinationRules {
    /// Keeps the order given.
    pub fn new(rules: Vec<DestinationRule>) -> Self {
        let has_offline = rules.iter().any(|rule| rule.offline.is_some());
        Self { rules: rules.into(), has_offline }
    }

    /// The overflow rule of a destination.
    pub fn overflow(&self, destination: &Destination) -> Overflow {
        self.find(destination, |rule| rule.overflow.as_ref()).copied().unwrap_or_default()
    }

    /// What is kept of a destination, if anything.
    pub fn history(&self, destination: &Destination) -> Option<&Retention> {
        let retention = if destination.is_of_user() {
            if !self.has_offline {
                return None;
            }
            let (_, path) = destination.user_queue()?;
            let as_subscribed = Destination::internal(&format!("/user/queue/{path}"));
            self.find(&as_subscribed, |rule| rule.offline.as_ref())
        } else {
            self.find(destination, |rule| rule.history.as_ref())
        };
        retention.filter(|retention| retention.messages_max > 0)
    }

    /// The least age, milliseconds, after which something that is kept goes.
    pub fn shortest_age_ms(&self) -> Option<u64> {
        let kept = self.rules.iter().flat_map(|rule| [rule.history, rule.offline]).flatten();
        kept.map(|retention| retention.age_ms_max).min()
    }

    fn find<'a, T>(
        &'a self,
        destination: &Destination,
        says: impl Fn(&'a DestinationRule) -> Option<&'a T>,
    ) -> Option<&'a T> {
        let mut said = self.rules.iter().filter_map(|rule| Some((&rule.pattern, says(rule)?)));
        said.find(|(pattern, _)| pattern.matches(destination)).map(|(_, setting)| setting)
    }
}
