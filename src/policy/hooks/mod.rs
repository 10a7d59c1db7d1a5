//! What a backend is asked, and about which destinations.
//!
//! Rules come first. What they deny is denied. What they leave open (no rule decides, or the rule says `hook`) is the
//! backend's to decide; what they allow is asked of it only where the hook wants to hear of everything.

mod verdicts;

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stompede_protocol::Headers;

use super::access::{Overlap, RulePattern};
use super::authenticator::Credentials;
use crate::model::{Judged, Pattern, Principal};

pub use verdicts::{VERDICTS_MAX, Verdicts};

/// What a hook is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    /// A session begins: who is it, and may he?
    Connect,
    /// May he listen there?
    Subscribe,
    /// May this be sent there, and as it is?
    Publish,
    /// The application is asked: what does it answer?
    Message,
    /// A session has ended.
    Disconnect,
    /// The first user is in a room.
    RoomOccupied,
    /// The last user has left a room.
    RoomVacated,
    /// A message for somebody who is not there.
    Offline,
}

impl HookEvent {
    /// All of them.
    pub const ALL: [Self; 8] = {
        use HookEvent::*;
        [Connect, Subscribe, Publish, Message, Disconnect, RoomOccupied, RoomVacated, Offline]
    };

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Message => "message",
            Self::Disconnect => "disconnect",
            Self::RoomOccupied => "room-occupied",
            Self::RoomVacated => "room-vacated",
            Self::Offline => "offline",
        }
    }

    /// Whether something waits for the answer.
    pub const fn decides(self) -> bool {
        matches!(self, Self::Connect | Self::Subscribe | Self::Publish | Self::Message)
    }

    /// Whether it is about a destination.
    pub const fn has_destination(self) -> bool {
        !matches!(self, Self::Connect | Self::Disconnect)
    }
}

/// A hook, by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HookId(pub usize);

/// When a hook is asked about what rules have a word on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Where no rule decides, or the rule that does says `hook`.
    #[default]
    Undecided,
    /// Also about what a rule allows.
    Always,
}

/// What one hook is responsible for.
#[derive(Debug, Clone)]
pub struct HookRule {
    /// Its name.
    pub name: Box<str>,
    /// What it is about.
    pub events: Vec<HookEvent>,
    /// Which destinations.
    pub patterns: Vec<RulePattern>,
    /// When it is asked.
    pub ask: Ask,
    /// Of `connect`: it decides who it is, without a look at tokens and accounts.
    pub authenticates: bool,
}

impl HookRule {
    /// Whether it is told of something.
    pub fn is_told(&self) -> bool {
        self.events.iter().any(|event| !event.decides())
    }

    /// How much of what `pattern` matches is its affair.
    fn share(&self, pattern: &Pattern) -> Share {
        let share = |own: &RulePattern| match own.overlap(pattern) {
            Overlap::Nothing => Share::Nothing,
            Overlap::Part(_) => Share::Part,
            Overlap::All(_) => Share::All,
        };
        self.patterns.iter().map(share).max().unwrap_or(Share::Nothing)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    Nothing,
    Part,
    All,
}

/// Which hook is responsible for all that a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There is none.
    Nobody,
    /// This one.
    Hook(HookId),
    /// None for all of it.
    Several,
}

impl From<Option<HookId>> for Found {
    fn from(hook: Option<HookId>) -> Self {
        hook.map_or(Self::Nobody, Self::Hook)
    }
}

/// All hooks, in the order of the configuration: of those that fit the first counts.
#[derive(Debug, Clone, Default)]
pub struct HookRules {
    rules: Vec<HookRule>,
    /// Whether there is any, by event: nearly always there is none.
    has: [bool; HookEvent::ALL.len()],
}

impl HookRules {
    /// Keeps the order given.
    pub fn new(rules: Vec<HookRule>) -> Self {
        let has = HookEvent::ALL.map(|event| rules.iter().any(|rule| rule.events.contains(&event)));
        Self { rules, has }
    }

    /// Whether any hook is about `event`.
    pub fn has(&self, event: HookEvent) -> bool {
        self.has[event as usize]
    }

    /// Whether any is told that a room has its first user, or has lost its last.
    pub fn tells_edges(&self) -> bool {
        self.has(HookEvent::RoomOccupied) || self.has(HookEvent::RoomVacated)
    }

    /// The rule of a hook.
    pub fn rule(&self, hook: HookId) -> Option<&HookRule> {
        self.rules.get(hook.0)
    }

    /// The hook for an event without a destination.
    pub fn of(&self, event: HookEvent) -> Option<HookId> {
        self.find_by(event, |_| true)
    }

    /// The hook for `destination`; with `always` only one that is asked about what rules allow, too.
    pub fn find(&self, event: HookEvent, destination: &str, always: bool) -> Option<HookId> {
        self.find_by(event, |rule| {
            (!always || rule.ask == Ask::Always)
                && rule.patterns.iter().any(|pattern| pattern.matches(destination).is_some())
        })
    }

    /// The hook for everything that `pattern` matches. Without `always` it covers it all; with `always`, among those that are
    /// asked about what rules allow, it is enough that both have something in common. A hook further down has no say where one
    /// before it covers it all; where several have a part each nobody can decide.
    pub fn find_pattern(&self, event: HookEvent, pattern: &Pattern, always: bool) -> Found {
        if !self.has(event) {
            return Found::Nobody;
        }
        let mut found = Found::Nobody;
        for (place, rule) in self.rules.iter().enumerate() {
            if !rule.events.contains(&event) || always && rule.ask != Ask::Always {
                continue;
            }
            match (rule.share(pattern), found) {
                (Share::Nothing, _) => {}
                (_, Found::Hook(_)) => return Found::Several,
                (Share::All, _) => return Found::Hook(HookId(place)),
                (Share::Part, _) if !always => return Found::Several,
                (Share::Part, _) => found = Found::Hook(HookId(place)),
            }
        }
        found
    }

    fn find_by(&self, event: HookEvent, fits: impl Fn(&HookRule) -> bool) -> Option<HookId> {
        if !self.has(event) {
            return None;
        }
        let found = self.rules.iter().position(|rule| rule.events.contains(&event) && fits(rule));
        found.map(HookId)
    }
}

/// One question.
#[derive(Debug, Clone)]
pub struct Case {
    /// Whom it goes to.
    pub hook: HookId,
    /// What it is about.
    pub event: HookEvent,
    /// Who wants it.
    pub principal: Arc<Principal>,
    /// His session; empty where there is none.
    pub session: Box<str>,
    /// Where; empty where there is no destination.
    pub destination: Box<str>,
    /// Headers of what is sent, or of CONNECT.
    pub headers: Headers,
    /// What is sent.
    pub body: Bytes,
    /// What was shown, where the backend is to say who it is.
    pub credentials: Option<Box<Credentials>>,
    /// When it was asked, as [`Verdicts`] counts.
    pub generation: u64,
}

/// Called with an answer, once, on any thread.
pub type Told = Box<dyn FnOnce(Judged) + Send>;

/// Asks backends.
pub trait Judge: Send + Sync + Debug {
    /// Asks. Where no answer comes in time, or none that can be understood, `told` gets a refusal.
    fn ask(&self, case: Case, told: Told);
}
