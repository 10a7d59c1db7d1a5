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

use rule_pattern::Captures;
pub(super) use rule_pattern::Overlap;
pub use rule_pattern::RulePattern;
pub use who::Who;

use super::error::PolicyError;
use super::hooks::{Found, HookEvent, HookId, HookRules};

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
    /// `anyone`, `signed-in`, `service`, `hook`, `claim <name> contains {capture}`, `claim <name> equals {capture}`.
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

/// All rules, and what backends are asked where rules leave it open.
#[derive(Debug, Clone, Default)]
pub struct Access {
    rules: Vec<AccessRule>,
    hooks: HookRules,
}

/// What becomes of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It may be.
    Allowed,
    /// It may not.
    Denied,
    /// A backend decides.
    Asked(HookId),
}

/// What the rules alone say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Yes,
    No,
    /// No rule decides, or the one that does leaves it to a hook.
    Open,
}

impl Access {
    /// Keeps the order given.
    pub fn new(rules: Vec<AccessRule>) -> Self {
        Self { rules, hooks: HookRules::default() }
    }

    /// The same, with backends that are asked.
    #[must_use]
    pub fn with_hooks(mut self, hooks: HookRules) -> Self {
        self.hooks = hooks;
        self
    }

    /// Which backends are asked what.
    pub fn hooks(&self) -> &HookRules {
        &self.hooks
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

    /// Whether `principal` may do `action` at the concrete `destination`, without asking anybody.
    pub fn may(&self, principal: &Principal, action: Action, destination: &str) -> bool {
        self.word(principal, action, destination) == Word::Yes
    }

    /// Whether `principal` may do `action` at everything that `pattern` can match, without asking anybody. Rules that meet the
    /// pattern only in part must admit too; then one rule that covers the pattern decides.
    pub fn may_pattern(&self, principal: &Principal, action: Action, pattern: &Pattern) -> bool {
        self.word_on_pattern(principal, action, pattern) == Word::Yes
    }

    /// Whether `principal` may do `action` at the concrete `destination`, or who decides it.
    pub fn rule(&self, principal: &Principal, action: Action, destination: &str) -> Ruling {
        let word = self.word(principal, action, destination);
        self.ruling(principal, action, word, |event, always| {
            self.hooks.find(event, destination, always).into()
        })
    }

    /// As [`Access::rule`], for everything that `pattern` can match.
    pub fn rule_pattern(&self, principal: &Principal, action: Action, pattern: &Pattern) -> Ruling {
        let word = self.word_on_pattern(principal, action, pattern);
        self.ruling(principal, action, word, |event, always| self.hooks.find_pattern(event, pattern, always))
    }

    fn ruling(
        &self,
        principal: &Principal,
        action: Action,
        word: Word,
        find: impl Fn(HookEvent, bool) -> Found,
    ) -> Ruling {
        let (event, follows) = match action {
            Action::Subscribe => (HookEvent::Subscribe, false),
            Action::Send => (HookEvent::Publish, false),
            // Who may listen somewhere by the backend's word may do what goes with it.
            Action::Presence | Action::History => (HookEvent::Subscribe, true),
            // The application's own stand-ins are no affair of the application.
            Action::Handle => (HookEvent::Subscribe, true),
        };
        let is_asked = self.hooks.has(event) && !principal.is_service();
        match word {
            Word::No => Ruling::Denied,
            Word::Yes if !is_asked || follows => Ruling::Allowed,
            Word::Open if !is_asked || action == Action::Handle => Ruling::Denied,
            Word::Yes | Word::Open => match find(event, word == Word::Yes) {
                Found::Hook(hook) => Ruling::Asked(hook),
                Found::Nobody if word == Word::Yes => Ruling::Allowed,
                Found::Nobody | Found::Several => Ruling::Denied,
            },
        }
    }

    fn word(&self, principal: &Principal, action: Action, destination: &str) -> Word {
        if may_all(principal, action) {
            return Word::Yes;
        }
        let matching =
            self.rules_of(action).find_map(|rule| Some((rule, rule.pattern.matches(destination)?)));
        matching.map_or(Word::Open, |(rule, captures)| rule.word(principal, &captures))
    }

    fn word_on_pattern(&self, principal: &Principal, action: Action, pattern: &Pattern) -> Word {
        if may_all(principal, action) {
            return Word::Yes;
        }
        let mut so_far = Word::Yes;
        for rule in self.rules_of(action) {
            let (captures, covers) = match rule.pattern.overlap(pattern) {
                Overlap::Nothing => continue,
                Overlap::Part(captures) => (captures, false),
                Overlap::All(captures) => (captures, true),
            };
            match rule.word(principal, &captures) {
                Word::No => return Word::No,
                Word::Open => so_far = Word::Open,
                Word::Yes => {}
            }
            if covers {
                return so_far;
            }
        }
        Word::Open
    }

    fn rules_of(&self, action: Action) -> impl Iterator<Item = &AccessRule> {
        self.rules.iter().filter(move |rule| rule.actions.contains(&action))
    }
}

impl AccessRule {
    fn word(&self, principal: &Principal, captures: &Captures<'_>) -> Word {
        if self.who.iter().any(|who| who.admits(principal, captures)) {
            Word::Yes
        } else if self.who.contains(&Who::Hook) {
            Word::Open
        } else {
            Word::No
        }
    }
}

/// Services may do everything; in development mode users may do everything but stand in for the application.
fn may_all(principal: &Principal, action: Action) -> bool {
    principal.role == Role::Service || principal.unrestricted && action != Action::Handle
}

/// What users may by default, for rooms under the given prefixes (each with its last slash). Services need no rule.
pub fn default_rules(topic_prefix: &str, app_prefix: &str) -> Vec<AccessRule> {
    use Action::{History, Presence, Send, Subscribe};
    let room = || vec![Who::ClaimContains { claim: "rooms".into(), capture: "room".into() }, Who::Hook];
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
