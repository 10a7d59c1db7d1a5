//! `[[hook]]`: backends that decide what rules leave open.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Config, Problem};
use crate::policy::access::RulePattern;
use crate::policy::hooks::{Ask, HookEvent, HookRule, HookRules};
use crate::policy::signature::{SECRET_BYTES_MIN, Signer};
use crate::policy::{Secret, Who};
use crate::server::hooks::HookOptions;
use crate::server::http::client::check_url;

/// A backend that is asked, or told, by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSection {
    /// Its name in metrics and in the log.
    pub name: String,
    /// What it is about.
    pub on: Vec<HookEvent>,
    /// Where it is.
    pub url: String,
    /// The secret that requests are signed with.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// File with that secret; what is blank at its ends does not count.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Destinations it is about.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// When it is asked about what rules have a word on.
    #[serde(default)]
    pub ask: Ask,
    /// Of `connect`: it says who it is, in place of tokens and accounts.
    #[serde(default)]
    pub authenticates: bool,
    /// Headers of CONNECT that it is told.
    #[serde(default)]
    pub headers: Vec<String>,
    /// From the question to the answer, milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Requests at once.
    #[serde(default = "concurrency")]
    pub concurrency: usize,
    /// Questions that wait for one of them to end.
    #[serde(default = "waiting_max")]
    pub waiting_max: usize,
    /// How long an answer about access is kept, at most, milliseconds.
    #[serde(default)]
    pub cache_ttl_ms: u64,
    /// How often a notice is told in vain before it is a dead letter.
    #[serde(default = "attempts")]
    pub attempts: u32,
}

fn timeout_ms() -> u64 {
    3_000
}

fn concurrency() -> usize {
    32
}

fn attempts() -> u32 {
    12
}

fn waiting_max() -> usize {
    1_024
}

impl HookSection {
    fn rule(&self, at: &str) -> Result<HookRule, Problem> {
        let patterns = self.patterns.iter().map(|text| {
            RulePattern::parse(text)
                .map_err(|error| Problem::new(&format!("{at}.patterns"), error.to_string()))
        });
        Ok(HookRule {
            name: self.name.as_str().into(),
            events: self.on.clone(),
            patterns: patterns.collect::<Result<_, _>>()?,
            ask: self.ask,
            authenticates: self.authenticates,
        })
    }

    fn signer(&self, at: &str) -> Result<Signer, Problem> {
        let (key, secret) = match (&self.secret, &self.secret_file) {
            (Some(secret), None) => ("secret", secret.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Problem::new(
                        &format!("{at}.secret_file"),
                        format!("cannot read {}: {error}", path.display()),
                    )
                })?;
                ("secret_file", Secret::new(text.trim()))
            }
            (Some(_), Some(_)) => {
                return Err(Problem::new(
                    &format!("{at}.secret"),
                    "secret and secret_file exclude each other",
                ));
            }
            (None, None) => {
                let fault = "requests are signed: set secret or secret_file, of at least 32 bytes";
                return Err(Problem::new(at, fault));
            }
        };
        let bytes = secret.expose().len();
        if bytes < SECRET_BYTES_MIN {
            let fault = format!("it has {bytes} bytes and at least {SECRET_BYTES_MIN} are needed");
            return Err(Problem::new(&format!("{at}.{key}"), fault));
        }
        Ok(Signer::new(&secret))
    }

    fn check(&self, at: &str, problems: &mut Vec<Problem>) {
        let mut wrong = |key: &str, fault: String| problems.push(Problem::new(&format!("{at}.{key}"), fault));
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.bytes().all(is_plain) {
            let fault = format!("a name has 1 to {NAME_BYTES_MAX} small letters, digits and dashes");
            wrong("name", format!("{:?}: {fault}", self.name));
        }
        if self.on.is_empty() {
            wrong("on", "it is empty, so nothing would ever be asked".to_owned());
        }
        let needs = self.on.iter().any(|event| event.has_destination());
        if needs && self.patterns.is_empty() {
            wrong("patterns", "it is empty: name destinations, such as \"/topic/orders/**\"".to_owned());
        }
        if !needs && !self.patterns.is_empty() {
            wrong("patterns", "connect and disconnect are about no destination".to_owned());
        }
        if self.authenticates && !self.on.contains(&HookEvent::Connect) {
            wrong("authenticates", "it is for hooks on \"connect\"".to_owned());
        }
        let ranges = [
            ("timeout_ms", self.timeout_ms, 10, TIMEOUT_MS_MAX),
            ("concurrency", self.concurrency as u64, 1, 1_024),
            ("waiting_max", self.waiting_max as u64, 0, 1 << 20),
            ("cache_ttl_ms", self.cache_ttl_ms, 0, CACHE_TTL_MS_MAX),
            ("attempts", self.attempts.into(), 1, 64),
        ];
        for (key, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                wrong(key, format!("{value} must be {min} to {max}"));
            }
        }
    }
}

impl Config {
    /// Which hooks are asked what.
    pub(super) fn hook_rules(&self) -> Result<HookRules, Vec<Problem>> {
        let rules = self.hook.iter().enumerate().map(|(i, hook)| hook.rule(&format!("hook[{i}]")));
        rules.collect::<Result<_, _>>().map(HookRules::new).map_err(|problem| vec![problem])
    }

    /// How hooks are asked.
    pub(in crate::server) fn hook_options(&self) -> Result<Vec<HookOptions>, Vec<Problem>> {
        let options = self.hook.iter().enumerate().map(|(i, hook)| {
            Ok(HookOptions {
                name: hook.name.clone(),
                url: hook.url.clone(),
                signer: hook.signer(&format!("hook[{i}]"))?,
                timeout: Duration::from_millis(hook.timeout_ms),
                concurrency: hook.concurrency,
                waiting_max: hook.waiting_max,
                cache_ttl_ms: hook.cache_ttl_ms,
                attempts: hook.attempts,
                headers: hook.headers.clone(),
            })
        });
        options.collect::<Result<_, _>>().map_err(|problem| vec![problem])
    }

    pub(super) fn check_hooks(&self, problems: &mut Vec<Problem>) {
        for (i, hook) in self.hook.iter().enumerate() {
            let at = format!("hook[{i}]");
            hook.check(&at, problems);
            problems.extend(hook.signer(&at).err());
            problems.extend(
                check_url(&hook.url, self.fetch.plain())
                    .err()
                    .map(|fault| Problem::new(&format!("{at}.url"), fault)),
            );
            if self.hook[..i].iter().any(|other| other.name == hook.name) {
                problems.push(Problem::new(&format!("{at}.name"), format!("{:?} is there twice", hook.name)));
            }
        }
        let connects: Vec<_> =
            (0..self.hook.len()).filter(|i| self.hook[*i].on.contains(&HookEvent::Connect)).collect();
        if let [_, second, ..] = connects[..] {
            let fault = "a session begins once: one hook alone is on \"connect\"";
            problems.push(Problem::new(&format!("hook[{second}].on"), fault));
        }
        for (i, rule) in self.access.rule.iter().enumerate() {
            let asks = rule.parse().is_ok_and(|rule| rule.who.contains(&Who::Hook));
            let decides = |event: &HookEvent| matches!(event, HookEvent::Subscribe | HookEvent::Publish);
            if asks && !self.hook.iter().any(|hook| hook.on.iter().any(decides)) {
                let fault = "there is no [[hook]] on \"subscribe\" or \"publish\", so it would admit nobody";
                problems.push(Problem::new(&format!("access.rule[{i}].who"), fault));
            }
        }
    }
}

/// What stands in labels of metrics and names of queues.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

/// Longest name of a hook, bytes.
const NAME_BYTES_MAX: usize = 64;

/// A session that waits longer for a word is as good as refused.
const TIMEOUT_MS_MAX: u64 = 30_000;

/// Who was let in a day ago should be asked about again.
const CACHE_TTL_MS_MAX: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(more: &str) -> Vec<String> {
        let base = "[[hook]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\n";
        let config: Config = toml::from_str(&format!("{base}{more}")).unwrap();
        let mut problems = Vec::new();
        config.check_hooks(&mut problems);
        problems.extend(config.hook_rules().err().unwrap_or_default());
        problems.into_iter().map(|problem| problem.key).collect()
    }

    const SECRET: &str = "secret = \"a secret of at least thirty-two bytes\"\n";

    fn with(more: &str) -> Vec<String> {
        faults(&format!("{SECRET}{more}"))
    }

    #[test]
    fn a_hook_says_what_it_is_about() {
        assert_eq!(with("on = [\"subscribe\", \"publish\"]\npatterns = [\"/topic/{a}/**\"]"), [""; 0]);
        assert_eq!(with("on = [\"connect\"]\nauthenticates = true"), [""; 0]);
        assert_eq!(with("on = []"), ["hook[0].on"]);
        assert_eq!(with("on = [\"subscribe\"]"), ["hook[0].patterns"]);
        assert_eq!(with("on = [\"connect\"]\npatterns = [\"/a\"]"), ["hook[0].patterns"]);
        assert_eq!(with("on = [\"subscribe\"]\npatterns = [\"a\"]"), ["hook[0].patterns"]);
        assert_eq!(with("on = [\"disconnect\"]\nauthenticates = true"), ["hook[0].authenticates"]);
    }

    #[test]
    fn a_hook_has_a_secret_of_its_own() {
        assert_eq!(faults("on = [\"connect\"]"), ["hook[0]"]);
        assert_eq!(faults("on = [\"connect\"]\nsecret = \"short\""), ["hook[0].secret"]);
        assert_eq!(faults("on = [\"connect\"]\nsecret_file = \"/nowhere/at/all\""), ["hook[0].secret_file"]);
        assert_eq!(with("on = [\"connect\"]\nsecret_file = \"/nowhere\""), ["hook[0].secret"]);
    }

    #[test]
    fn names_urls_and_figures_are_within_bounds() {
        for (key, value) in
            [("timeout_ms", "9"), ("concurrency", "0"), ("waiting_max", "2000000"), ("attempts", "0")]
        {
            assert_eq!(with(&format!("on = [\"connect\"]\n{key} = {value}")), [format!("hook[0].{key}")]);
        }
        let two = "[[hook]]\nname = \"a\"\non = [\"connect\"]\nurl = \"http://example.com/\"\n";
        let found = with(&format!("on = [\"connect\"]\n{two}{SECRET}"));
        assert_eq!(found, ["hook[1].url", "hook[1].name", "hook[1].on"]);
        let rule = "[[access.rule]]\npattern = \"/topic/a\"\nactions = [\"subscribe\"]\nwho = [\"hook\"]";
        assert_eq!(with(&format!("on = [\"connect\"]\n{rule}")), ["access.rule[0].who"]);
    }
}
