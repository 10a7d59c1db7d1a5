//! What a backend is asked before something is done.
//!
//! ```text
//!             asked               answered
//!   New --------------> Open ---------------> Judged
//!    |                                          ^
//!    +------- the answer is known already ------+
//! ```

use std::sync::Arc;

use bytes::Bytes;
use stompede_protocol::{Headers, Send, Subscribe};

use crate::model::message::forwarded_headers;
use crate::model::{Allowance, CloseReason, Judged, Limits, Message, Principal, Refusal};
use crate::policy::access::{Action, Ruling};
use crate::policy::hooks::{Case, HookEvent, HookId, HookRules, Judge, Told};

use super::door::Broker;
pub(super) use super::leave::Leave;
use super::letters::Sender;
use super::settings::Now;

/// Why something may not be done, or not yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unruled {
    /// It may not.
    Refused(Refusal),
    /// A backend decides.
    Asks(Asks),
}

impl From<Refusal> for Unruled {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Unruled {
    /// Where nobody can be asked.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Asks(asks) => Refusal::from(CloseReason::Forbidden).at(&asks.destination),
        }
    }
}

/// Whom to ask about what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asks {
    pub(super) hook: HookId,
    pub(super) event: HookEvent,
    pub(super) destination: Box<str>,
}

/// Something that a backend is to say a word on.
#[derive(Debug)]
pub(super) struct Plea {
    pub(super) about: About,
    asks: Asks,
    state: State,
}

/// What is wanted.
#[derive(Debug)]
pub(super) enum About {
    /// To send this.
    Send(Send),
    /// To listen there, with what others have said yes to.
    Subscribe(Subscribe, Leave),
    /// To hear what the application says to this.
    Message(Arc<Message>),
    /// To do something with a room.
    Room,
}

#[derive(Debug)]
enum State {
    New,
    /// The number of the question, and the question.
    Open(u32, Box<Case>),
    Judged(Judged),
}

impl Plea {
    pub(super) fn new(asks: Asks, about: About) -> Self {
        Self { about, asks, state: State::New }
    }

    /// For what the application is asked by a message.
    pub(super) fn of_message(hook: HookId, message: Arc<Message>) -> Self {
        let destination = message.destination.as_str().into();
        Self::new(Asks { hook, event: HookEvent::Message, destination }, About::Message(message))
    }

    /// What the application is asked, with its idempotency key, if it has one and nobody was asked yet.
    pub(super) fn keyed(&self) -> Option<(&Message, &str)> {
        match (&self.about, &self.state) {
            (About::Message(message), State::New) => {
                message.headers.get("idempotency-key").map(|key| (&**message, key))
            }
            _ => None,
        }
    }

    /// Who is asked.
    pub(super) fn hook(&self) -> HookId {
        self.asks.hook
    }

    pub(super) fn is_new(&self) -> bool {
        matches!(self.state, State::New)
    }

    /// What was said, as soon as it was.
    pub(super) fn verdict(&self) -> Option<Result<&Allowance, Refusal>> {
        match &self.state {
            State::Judged(judged) => Some(match &judged.verdict {
                Ok(allowance) => Ok(allowance),
                Err(refusal) if refusal.destination.is_none() => {
                    Err(refusal.clone().at(&self.asks.destination))
                }
                Err(refusal) => Err(refusal.clone()),
            }),
            State::New | State::Open(..) => None,
        }
    }

    /// The answer to question `call` is there; gives it back if it was another one's.
    pub(super) fn judge(&mut self, broker: &Broker, call: u32, judged: Judged, now: Now) -> Option<Judged> {
        match &self.state {
            State::Open(open, case) if *open == call => {
                broker.verdicts.keep(case, &judged, now.mono);
                self.state = State::Judged(judged);
                None
            }
            _ => Some(judged),
        }
    }

    fn case(&self, broker: &Broker, sender: Sender<'_>) -> Case {
        let Asks { hook, event, destination } = self.asks.clone();
        let (headers, body) = match &self.about {
            About::Send(send) => (forwarded_headers(&send.headers), send.body.clone()),
            About::Subscribe(..) | About::Room => Default::default(),
            About::Message(message) => (message.headers.clone(), message.body.clone()),
        };
        Case {
            hook,
            event,
            principal: Arc::clone(sender.principal),
            session: sender.session.into(),
            destination,
            headers,
            body,
            credentials: None,
            generation: broker.verdicts.generation(),
        }
    }
}

impl Broker {
    /// Plugs in who asks backends. Later calls change nothing.
    pub fn judge_by(&self, judge: Arc<dyn Judge>) {
        let _ = self.judge.set(judge);
    }

    /// Which hooks there are.
    pub fn hook_rules(&self) -> &HookRules {
        self.parts.access.hooks()
    }

    /// What backends have said of a user holds no more; of anybody with `None`.
    pub fn forget_verdicts(&self, user: Option<&str>) {
        self.verdicts.forget(user);
    }

    /// Answers of backends that still hold, or did until lately.
    pub fn verdicts(&self) -> usize {
        self.verdicts.len()
    }

    /// Refuses what `principal` may not, or says who decides it.
    pub(super) fn inquire(
        &self,
        principal: &Principal,
        action: Action,
        destination: &str,
        leave: Leave,
    ) -> Result<(), Unruled> {
        match self.parts.access.rule(principal, action, destination) {
            Ruling::Allowed => Ok(()),
            Ruling::Asked(hook) if leave.is_of(hook) => Ok(()),
            Ruling::Asked(hook) => {
                let event = if action == Action::Send { HookEvent::Publish } else { HookEvent::Subscribe };
                leave.check(Asks { hook, event, destination: destination.into() })
            }
            Ruling::Denied => Err(Unruled::Refused(not_allowed(action, destination))),
        }
    }

    /// Asks, unless the answer is known. `told` makes who gets it, with the number of the question.
    pub(super) fn plead(
        &self,
        plea: &mut Plea,
        sender: Sender<'_>,
        call: u32,
        told: impl FnOnce() -> Told,
        now: Now,
    ) {
        let case = plea.case(self, sender);
        if let Some(judged) = self.verdicts.known(&case, now.mono) {
            plea.state = State::Judged(judged);
            return;
        }
        if let Some((message, key)) = plea.keyed()
            && self.idempotency.is_accepted(&message.destination, self.hash_of_key(message, key), now.mono)
        {
            // It was accepted while there was a worker.
            plea.state = State::Judged(Judged::nothing());
            return;
        }
        plea.state = State::Open(call, Box::new(case.clone()));
        match &plea.about {
            About::Message(message) => self.ask_stand_in(message, case, told()),
            _ => self.ask(case, told()),
        }
    }

    /// Asks a backend.
    pub(super) fn ask(&self, case: Case, told: Told) {
        ask(self.judge.get(), case, told);
    }
}

/// Asks whoever asks backends, if there is anybody.
pub(super) fn ask(judge: Option<&Arc<dyn Judge>>, case: Case, told: Told) {
    match judge {
        Some(judge) => judge.ask(case, told),
        None => told(Judged::failed(CloseReason::Unavailable.into())),
    }
}

/// The message as the backend wants it.
///
/// # Errors
/// It is larger than a message may be.
pub(super) fn changed(send: &mut Send, allowance: &Allowance, limits: &Limits) -> Result<(), Refusal> {
    if let Some(body) = &allowance.body {
        fits(&send.destination, body, limits)?;
        send.body = body.clone();
    }
    if allowance.headers.is_empty() {
        return Ok(());
    }
    let is_new = |name: &str| allowance.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let mut headers: Headers = send.headers.iter().filter(|(name, _)| !is_new(name)).collect();
    allowance.headers.iter().for_each(|(name, value)| headers.push(name, value));
    send.headers = headers;
    Ok(())
}

/// A client's own message of that size would not have been taken.
pub(super) fn fits(destination: &str, body: &Bytes, limits: &Limits) -> Result<(), Refusal> {
    if body.len() <= limits.body_bytes_max {
        return Ok(());
    }
    tracing::warn!(destination, bytes = body.len(), "a hook wants a message that is too large");
    Err(Refusal::from(CloseReason::Unavailable).at(destination))
}

/// Says that `principal` may not.
pub(super) fn not_allowed(action: Action, destination: &str) -> Refusal {
    let verb = match action {
        Action::Subscribe => "SUBSCRIBE to",
        Action::Send => "SEND to",
        Action::Handle => "handle",
        Action::Presence => "see who is in",
        Action::History => "read the history of",
    };
    Refusal::new(CloseReason::Forbidden, format!("not allowed to {verb} {destination}")).at(destination)
}
