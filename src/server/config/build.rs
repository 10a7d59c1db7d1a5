//! From texts to the values that the broker works with.

use super::error::Problem;
use super::sections::History;
use super::{AccessSection, Config};
use crate::model::{DestinationRule, DestinationRules, Pattern};
use crate::policy::access::default_rules;
use crate::policy::authenticator::Mode;
use crate::policy::{Access, Accounts, ApiKeys, Authenticator, JwtConfig, JwtVerifier, Origins, Proxies};

/// Who is it, what may he, and which pages may ask.
#[derive(Debug)]
pub struct Policy {
    /// From credentials to principals.
    pub authenticator: Authenticator,
    /// Keys of the HTTP API.
    pub api_keys: ApiKeys,
    /// The access rules.
    pub access: Access,
    /// The accepted origins.
    pub origins: Origins,
    /// Who may speak for others.
    pub proxies: Proxies,
}

impl Config {
    /// Builds the three gates. Every fault is listed under the key that causes it.
    pub fn policy(&self) -> Result<Policy, Vec<Problem>> {
        let mut problems = Vec::new();
        let access = kept(self.build_access(), &mut problems).unwrap_or_default();
        let jwt = kept(self.build_verifier(&access), &mut problems).flatten();
        let accounts = kept(self.build_accounts(), &mut problems).unwrap_or_default();
        let api_keys = ApiKeys::new(&self.api.key).map_err(|e| vec![problem("api.key", &e)]);
        let api_keys = kept(api_keys, &mut problems).unwrap_or_default();
        let origins = Origins::new(&self.origins.allow, self.is_development());
        let origins =
            kept(origins.map_err(|e| vec![problem("origins.allow", &e)]), &mut problems).unwrap_or_default();
        let proxies = Proxies::new(&self.trusted_proxies).map_err(|e| vec![problem("trusted_proxies", &e)]);
        let proxies = kept(proxies, &mut problems).unwrap_or_default();
        if !problems.is_empty() {
            return Err(problems);
        }
        let authenticator = Authenticator::new(jwt, accounts, self.mode());
        Ok(Policy { authenticator, api_keys, access, origins, proxies })
    }

    /// The settings of destinations.
    pub fn destination_rules(&self) -> Result<DestinationRules, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut rules = Vec::with_capacity(self.destination.len());
        for (i, section) in self.destination.iter().enumerate() {
            let problem = |key: &str, fault: String| Problem::new(&format!("destination[{i}].{key}"), fault);
            let text = &section.pattern;
            let (of_topics, of_users) = (text.starts_with("/topic/"), text.starts_with("/user/queue/"));
            let well_formed = (of_topics || of_users) && !text.split('/').skip(1).any(str::is_empty);
            let Some(pattern) = Pattern::parse(text).ok().filter(|_| well_formed) else {
                let fault = format!(
                    "{text:?} is no destination or pattern under /topic/, like /topic/ticks/**, or under /user/queue/"
                );
                problems.push(problem("pattern", fault));
                continue;
            };
            if of_users && (section.overflow.is_some() || section.history.is_some()) {
                let fault = "a user's own queue has \"offline\" and neither \"overflow\" nor \"history\"";
                problems.push(problem("pattern", fault.to_owned()));
            }
            if of_topics && section.offline.is_some() {
                let fault = "a topic has \"history\"; \"offline\" is for queues under /user/queue/";
                problems.push(problem("offline", fault.to_owned()));
            }
            let [history, offline] =
                [section.history, section.offline].map(|kept| kept.map(History::retention));
            rules.push(DestinationRule { pattern, overflow: section.overflow, history, offline });
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // A prefix that is no destination is told by `policy`.
        if let Ok(pattern) = Pattern::parse(&format!("{}**", self.rooms.topic_prefix)) {
            let history = Some(History::default().retention());
            rules.push(DestinationRule { pattern, overflow: None, history, offline: None });
        }
        Ok(DestinationRules::new(rules))
    }

    /// What `stompede token` and development mode sign and verify with.
    pub fn signing(&self) -> JwtConfig {
        if !self.is_development() {
            return self.jwt.clone();
        }
        JwtConfig { secret: JwtConfig::development().secret, ..self.jwt.clone() }
    }

    fn mode(&self) -> Mode {
        match (self.is_development(), self.access.allow_anonymous) {
            (true, _) => Mode::Development,
            (false, true) => Mode::AllowAnonymous,
            (false, false) => Mode::Closed,
        }
    }

    fn build_access(&self) -> Result<Access, Vec<Problem>> {
        let AccessSection { rule, defaults, .. } = &self.access;
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        for (i, rule) in rule.iter().enumerate() {
            match rule.parse() {
                Ok(rule) => rules.push(rule),
                Err(error) => problems.push(problem(&format!("access.rule[{i}]"), &error)),
            }
        }
        let prefixes = self.check_rooms();
        if !prefixes.is_empty() {
            problems.extend(prefixes);
        } else if *defaults {
            rules.extend(default_rules(&self.rooms.topic_prefix, &self.rooms.app_prefix));
        }
        let hooks = kept(self.hook_rules(), &mut problems).unwrap_or_default();
        if problems.is_empty() { Ok(Access::new(rules).with_hooks(hooks)) } else { Err(problems) }
    }

    fn build_verifier(&self, access: &Access) -> Result<Option<JwtVerifier>, Vec<Problem>> {
        if !self.jwt.has_key() && !self.is_development() {
            return Ok(None);
        }
        let verifier =
            self.jwt.check_secret_is_own().and_then(|()| JwtVerifier::new(&self.signing(), access.claims()));
        verifier.map(Some).map_err(|error| vec![problem("jwt", &error)])
    }

    fn build_accounts(&self) -> Result<Accounts, Vec<Problem>> {
        let accounts = Accounts::new(&self.account);
        accounts.map_err(|error| {
            // The faulty account is the last of those without which the rest would do.
            let faulty = (1..=self.account.len()).find(|n| Accounts::new(&self.account[..*n]).is_err());
            vec![problem(&format!("account[{}]", faulty.unwrap_or(1) - 1), &error)]
        })
    }

    fn check_rooms(&self) -> Vec<Problem> {
        let prefix = |key: &str, text: &str, root: &str| {
            let path = text.strip_prefix(root).and_then(|rest| rest.strip_suffix('/'));
            let plain =
                |path: &str| path.split('/').all(|s| !s.is_empty() && !s.contains(['*', '#', '>', '{', '}']));
            let fault = format!(
                "{text:?} must begin with {root}, end with / and have no wildcards, like {root}chat/"
            );
            (!path.is_some_and(plain)).then(|| Problem::new(key, fault))
        };
        let topic = prefix("rooms.topic_prefix", &self.rooms.topic_prefix, "/topic/");
        let app = prefix("rooms.app_prefix", &self.rooms.app_prefix, "/app/");
        topic.into_iter().chain(app).collect()
    }
}

impl Problem {
    /// A fault whose place is not known yet.
    pub fn new(key: &str, fault: impl Into<String>) -> Self {
        Self { key: key.to_owned(), fault: fault.into(), place: None }
    }
}

fn problem(key: &str, error: &dyn std::error::Error) -> Problem {
    Problem::new(key, error.to_string())
}

pub(super) fn kept<T>(result: Result<T, Vec<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|found| problems.extend(found)).ok()
}
