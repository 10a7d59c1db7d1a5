//! Who may do what where: pattern x action x who.
//!
//! Rules are asked in their order. **The first rule that names the action and whose pattern matches decides**, so a
//! narrow rule placed before a wide one takes its destinations out of the wide one. What no rule decides is denied.
//!
//! Destinations are judged in the form in which clients write them: `/topic/...`, `/queue/...`, `/app/...`,
//! `/user/queue/<path>` for one's own queues, `/user/<id>/queue/<path>` for those of others, `/temp-queue/<name>`.
//! A SUBSCRIBE to `/app/...` by somebody who is no worker is a request and is judged as `subscribe`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{Pattern, Principal, Role};

mod rule_pattern;
mod who;

pub use rule_pattern::RulePattern;
use rule_pattern::{Captures, Overlap};
pub use who::Who;

use super::error::PolicyError;

/// What somebody wants to do with a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Receive its messages, or ask a request of `/app/...`.
    Subscribe,
    /// Publish to it.
    Send,
    /// Be a worker of `/app/...`.
    Handle,
    /// See who is there.
    Presence,
    /// Read what was said before.
    History,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// Which destinations.
    pub pattern: RulePattern,
    /// Which actions.
    pub actions: Vec<Action>,
    /// Who may: one of these is enough.
    pub who: Vec<Who>,
}

/// `[[access.rule]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRuleConfig {
    /// A destination with literal segments, `*`, `{name}` and a last `**`.
    pub pattern: String,
    /// Which actions.
    pub actions: Vec<Action>,
    /// `anyone`, `signed-in`, `service`, `claim <name> contains {capture}`, `claim <name> equals {capture}`.
    pub who: Vec<String>,
}

impl AccessRuleConfig {
    /// Checks the texts.
    pub fn parse(&self) -> Result<AccessRule, PolicyError> {
        let pattern = RulePattern::parse(&self.pattern)?;
        let empty = |list| PolicyError::EmptyRule { pattern: self.pattern.clone(), list };
        if self.actions.is_empty() {
            return Err(empty("actions"));
        }
        if self.who.is_empty() {
            return Err(empty("who"));
        }
        let who = self.who.iter().map(|who| Who::parse(who, &pattern)).collect::<Result<_, _>>()?;
        Ok(AccessRule { pattern, actions: self.actions.clone(), who })
    }
}

/// All rules.
#[derive(Debug, Clone, Default)]
pub struct Access {
    rules: Vec<AccessRule>,
}

impl Access {
    /// Keeps the order given.
    pub fn new(rules: Vec<AccessRule>) -> Self {
        Self { rules }
    }

    /// The rules of an unconfigured broker, with rooms under `/topic/chat/` and `/app/chat/`.
    pub fn defaults() -> Self {
        Self::new(default_rules("/topic/chat/", "/app/chat/"))
    }

    /// The claims that some rule asks for.
    pub fn claims(&self) -> BTreeSet<Box<str>> {
        let who = self.rules.iter().flat_map(|rule| &rule.who);
        who.filter_map(Who::claim).map(Into::into).collect()
    }

    /// Whether `principal` may do `action` at the concrete `destination`.
    pub fn may(&self, principal: &Principal, action: Action, destination: &str) -> bool {
        if may_all(principal, action) {
            return true;
        }
        let matching =
            self.rules_of(action).find_map(|rule| Some((rule, rule.pattern.matches(destination)?)));
        matching.is_some_and(|(rule, captures)| rule.admits(principal, &captures))
    }

    /// Whether `principal` may do `action` at everything that `pattern` can match. Rules that meet the pattern only in
    /// part must admit too; then one rule that covers the pattern decides.
    pub fn may_pattern(&self, principal: &Principal, action: Action, pattern: &Pattern) -> bool {
        if may_all(principal, action) {
            return true;
        }
        for rule in self.rules_of(action) {
            match rule.pattern.overlap(pattern) {
                Overlap::Nothing => {}
                Overlap::Part(captures) if rule.admits(principal, &captures) => {}
                Overlap::Part(_) => return false,
                Overlap::All(captures) => return rule.admits(principal, &captures),
            }
        }
        false
    }

    fn rules_of(&self, action: Action) -> impl Iterator<Item = &AccessRule> {
        self.rules.iter().filter(move |rule| rule.actions.contains(&action))
    }
}

impl AccessRule {
    fn admits(&self, principal: &Principal, captures: &Captures<'_>) -> bool {
        self.who.iter().any(|who| who.admits(principal, captures))
    }
}

/// Services may do everything; in development mode users may do everything but stand in for the application.
fn may_all(principal: &Principal, action: Action) -> bool {
    principal.role == Role::Service || principal.unrestricted && action != Action::Handle
}

/// What users may by default, for rooms under the given prefixes (each with its last slash). Services need no rule.
pub fn default_rules(topic_prefix: &str, app_prefix: &str) -> Vec<AccessRule> {
    use Action::{History, Presence, Send, Subscribe};
    let room = || vec![Who::ClaimContains { claim: "rooms".into(), capture: "room".into() }];
    let user = || vec![Who::SignedIn];
    let rule = |pattern: &str, actions: &[Action], who| AccessRule {
        pattern: RulePattern::known(pattern),
        actions: actions.to_vec(),
        who,
    };
    vec![
        rule("/user/queue/**", &[Subscribe], user()),
        rule(&format!("{topic_prefix}{{room}}"), &[Subscribe, Presence, History], room()),
        rule(&format!("{topic_prefix}{{room}}/events"), &[Subscribe], room()),
        rule(&format!("{app_prefix}{{room}}/**"), &[Send, Subscribe, Presence, History], room()),
        rule("/app/**", &[Send, Subscribe], user()),
        rule("/temp-queue/**", &[Subscribe, Send], user()),
    ]
}

#[cfg(test)]
mod tests;
