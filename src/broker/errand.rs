//! Errands: what is sent by somebody who has no session, through the same door as a SEND.
//!
//! ```text
//!  admit_errand --> Errand -- run_errand --> Done: what a store has still to answer is told to who ran it
//!                     ^            |
//!                     +--- Waits <-+
//! ```
//!
//! All steps are admitted before the first is posted, as in a COMMIT; once one is posted the others follow. Whoever runs it
//! tries again when the [`Desk`] tells of room, and now and then. What is sent is one step, or several where a backend makes
//! more of it: then the last one has the outcome of all.

mod claims;
mod pleas;

use std::sync::Arc;

use stompede_protocol::Send;

use crate::features::idempotency::{Claim, Kept};
use crate::model::{
    Address, Answer, CloseReason, Destination, MessageId, Now, Position, Principal, Refusal, expiry,
};
use crate::policy::quota::UserRate;
use crate::routing::desk::{Answered, DESK, Desk};

use super::door::Broker;
use super::letters::{Letter, Sender};
use super::pleas::{About, Leave, Plea, Unruled};
use super::post::{Posted, Unposted, store_refusal};
use pleas::Pending;

/// What somebody without a session sends.
#[derive(Debug)]
pub struct Errand {
    principal: Arc<Principal>,
    steps: Vec<Step>,
    /// The first step that is not posted.
    next: usize,
    /// A part of what was sent was not kept; the last part of it is still to be looked at.
    is_failing: bool,
}

#[derive(Debug)]
struct Step {
    /// What a backend is to say a word on first; the letter is made of what it says.
    plea: Option<Pending>,
    letter: Letter,
    /// A further step follows for the same that was sent.
    goes_on: bool,
    /// What stands for the body as it was sent.
    body: u64,
    claim: Option<Claim>,
    outcome: Outcome,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing yet.
    Waits,
    /// It is on its way, and kept if it is to be.
    Posted,
    /// A store will answer.
    Late,
    /// It was posted by an earlier request, which this one repeats.
    Before(Kept),
    /// It repeats an earlier step, which has this key.
    Twin(u64),
    /// It was accepted, and had this key.
    Accepted(u64, Kept),
}

/// How far an errand has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Every step is posted.
    Done,
    /// For room, for a store or for another errand with the same key.
    Waits,
    /// For somebody who handles this.
    Unhandled(Destination),
}

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The message, if it became one that is known.
    pub id: Option<MessageId>,
    /// Where it stands, if its destination is kept.
    pub position: Option<Position>,
    /// It was accepted before.
    pub repeated: bool,
}

impl Broker {
    /// The rate of a user, shared with his sessions.
    pub fn rate_of(&self, user: &Arc<str>) -> UserRate {
        self.parts.user_rates.join(user)
    }

    /// Where those without a session are answered.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Whether this may be posted as `principal`: policy, rules, content, as of a SEND.
    ///
    /// # Errors
    /// One of them may not, so none will be; which, counted from 0.
    pub fn admit_errand(
        &self,
        principal: &Arc<Principal>,
        sends: Vec<Send>,
        now: Now,
    ) -> Result<Errand, (usize, Refusal)> {
        let admitted = sends.into_iter().enumerate().map(|(at, send)| {
            let step = self.first_step(principal, send, now).inspect_err(|refusal| self.count(refusal));
            step.map_err(|refusal| (at, refusal))
        });
        let steps = admitted.collect::<Result<_, _>>()?;
        Ok(Errand { principal: Arc::clone(principal), steps, next: 0, is_failing: false })
    }

    fn first_step(&self, principal: &Arc<Principal>, mut send: Send, now: Now) -> Result<Step, Refusal> {
        match self.admit_step(principal, &mut send, Leave::Open, now) {
            Ok(step) => Ok(step),
            Err(Unruled::Refused(refusal)) => Err(refusal),
            Err(Unruled::Asks(asks)) => {
                let step = Step::of(Letter::Nothing, 0);
                Ok(Step { plea: Some(Pending::new(Plea::new(asks, About::Send(send)))), ..step })
            }
        }
    }

    fn admit_step(
        &self,
        principal: &Arc<Principal>,
        send: &mut Send,
        leave: Leave,
        now: Now,
    ) -> Result<Step, Unruled> {
        if self.is_draining() {
            return Err(Refusal::from(CloseReason::ShuttingDown).into());
        }
        let reply_to = send.headers.get("reply-to").map(str::to_owned);
        if reply_to.as_ref().is_some_and(|address| address.starts_with("/temp-queue/")) {
            return Err(Refusal::new(CloseReason::BadDestination, SESSIONS_OWN).at(&send.destination).into());
        }
        let address = Address::of_send_shared(&send.destination)?;
        let has_key = send.headers.get("idempotency-key").is_some();
        let body = if has_key { self.idempotency.fingerprint(&send.body) } else { 0 };
        let sender = Sender { principal, session: NO_SESSION };
        let letter = self.admit(sender, send, address, reply_to.as_deref(), None, leave, now)?;
        if matches!(letter, Letter::Refresh(_) | Letter::Mark(_) | Letter::Leave(..)) {
            return Err(Refusal::new(CloseReason::BadDestination, SESSIONS_OWN).at(&send.destination).into());
        }
        let expires_ms = expiry::expires_ms(&send.headers, now.wall_ms);
        let expires_ms = expires_ms
            .map_err(|bad| Refusal::new(CloseReason::BadContent, bad.to_string()).at(&send.destination))?;
        let letter = if expiry::is_past(expires_ms, now.wall_ms) { letter.if_late() } else { letter };
        Ok(match letter {
            Letter::Backend(hook, message) => {
                let plea = Some(Pending::new(Plea::of_message(hook, message)));
                Step { plea, ..Step::of(Letter::Nothing, body) }
            }
            letter => Step::of(letter, body),
        })
    }

    /// Posts what can be posted now. `answered` makes what is called with a store's answer to a step.
    ///
    /// # Errors
    /// The step that was next is refused; those before it are posted, those behind it never will be.
    pub fn run_errand(
        &self,
        errand: &mut Errand,
        now: Now,
        answered: &mut dyn FnMut(usize) -> Answered,
    ) -> Result<Progress, Refusal> {
        let mut run = Ok(());
        if errand.next == 0 && errand.steps.iter().any(|step| step.plea.is_some()) {
            run = self.hear_out(errand, now);
        }
        if run.is_ok() && errand.steps.len() < 2 {
            run = self.post_steps(errand, now, answered);
        } else if run.is_ok() {
            self.journal.as_one(&mut || run = self.post_steps(errand, now, answered));
        }
        match run {
            Ok(()) => Ok(Progress::Done),
            Err(Unposted::Full | Unposted::Unanswered | Unposted::Unjudged | Unposted::Granted(_)) => {
                Ok(Progress::Waits)
            }
            Err(Unposted::NoHandler(_)) if errand.finds_stand_in(self) => Ok(Progress::Waits),
            Err(Unposted::NoHandler(destination)) => Ok(Progress::Unhandled(destination)),
            Err(Unposted::Refused(refusal) | Unposted::Ended(refusal)) => {
                self.count(&refusal);
                Err(refusal)
            }
        }
    }

    fn post_steps(
        &self,
        errand: &mut Errand,
        now: Now,
        answered: &mut dyn FnMut(usize) -> Answered,
    ) -> Result<(), Unposted> {
        // What a topic that is not kept takes needs no look ahead.
        if errand.next == 0 && !matches!(&errand.steps[..], [Step { letter: Letter::Topic(_), .. }]) {
            self.prepare(errand.steps.iter().map(|step| &step.letter))?;
        }
        while let Some((before, [step, ..])) = errand.steps.split_at_mut_checked(errand.next) {
            if self.is_over_memory() {
                return Err(Unposted::Full);
            }
            let at = errand.next;
            self.post_step(before, step, now, &mut || answered(at))?;
            self.counters().of(DESK).messages_accepted.add(1);
            errand.next += 1;
        }
        Ok(())
    }

    fn post_step(
        &self,
        before: &[Step],
        step: &mut Step,
        now: Now,
        answered: &mut dyn FnMut() -> Answered,
    ) -> Result<(), Unposted> {
        if let Some(outcome) = self.claim(before, step, now)? {
            step.outcome = outcome;
        }
        if matches!(step.outcome, Outcome::Before(_) | Outcome::Twin(_)) {
            return Ok(());
        }
        let late = self.is_answered_later(&step.letter);
        let ticket = if late { self.desk.ask(answered()) } else { self.desk.ticket() };
        let posted = self.post(&mut step.letter, !before.is_empty(), ticket, now);
        if late && !matches!(posted, Ok(Posted::Later)) {
            self.desk.forget(ticket);
        }
        step.outcome = if posted? == Posted::Later { Outcome::Late } else { Outcome::Posted };
        Ok(())
    }

    fn count(&self, refusal: &Refusal) {
        self.counters().of(DESK).refused(refusal.reason);
    }
}

impl Step {
    fn of(letter: Letter, body: u64) -> Self {
        Self { plea: None, letter, goes_on: false, body, claim: None, outcome: Outcome::Waits }
    }
}

impl Errand {
    /// Steps, as far as they are known: a backend that is asked may make several of one.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Steps that are posted, all before the others.
    pub fn posted(&self) -> usize {
        self.next
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether step `at` is followed by another one for the same that was sent.
    pub fn goes_on(&self, at: usize) -> bool {
        self.steps.get(at).is_some_and(|step| step.goes_on)
    }

    /// Whether the answer of a store is still to come for step `at`.
    pub fn is_late(&self, at: usize) -> bool {
        self.steps.get(at).is_some_and(|step| step.outcome == Outcome::Late)
    }

    /// What was accepted by step `at`, which is posted; with a store's answer, if it was late.
    ///
    /// # Errors
    /// The store has not kept it.
    pub fn accepted(&mut self, at: usize, answer: Option<&Answer>) -> Result<Accepted, Refusal> {
        let accepted = self.conclude(at, answer);
        self.is_failing = self.goes_on(at) && (self.is_failing || accepted.is_err());
        accepted
    }

    fn conclude(&mut self, at: usize, answer: Option<&Answer>) -> Result<Accepted, Refusal> {
        let internal = || Refusal::from(CloseReason::Internal);
        let (before, rest) = self.steps.split_at_mut_checked(at).ok_or_else(internal)?;
        let step = rest.first_mut().ok_or_else(internal)?;
        let repeated = match step.outcome {
            Outcome::Before(kept) => Some(kept),
            Outcome::Twin(key) => Some(twin(before, key)?),
            _ => None,
        };
        if let Some(Kept { id, position }) = repeated {
            return Ok(Accepted { id, position, repeated: true });
        }
        let message = step.letter.message();
        let mut position = message.and_then(|message| message.position);
        if step.outcome == Outcome::Late {
            let told = match answer {
                Some(Answer::Stored(stored)) => stored.map(Some),
                Some(Answer::Published(done) | Answer::Queued(_, done)) => done.map(|()| None),
                _ => return Err(internal()),
            };
            let destination = message.map(|message| message.destination.clone()).ok_or_else(internal)?;
            position = told.map_err(|error| store_refusal(&destination, error))?.or(position);
        }
        let kept = Kept { id: message.map(|message| message.id), position };
        if let Some(claim) = step.claim.take().filter(|_| !self.is_failing) {
            step.outcome = Outcome::Accepted(claim.key(), kept);
            claim.accept(kept);
        }
        Ok(Accepted { id: kept.id, position, repeated: false })
    }
}

/// What was accepted of the first with this key.
fn twin(before: &[Step], key: u64) -> Result<Kept, Refusal> {
    let accepted = before.iter().find_map(|step| match step.outcome {
        Outcome::Accepted(known, kept) if known == key => Some(kept),
        _ => None,
    });
    accepted.ok_or_else(|| Refusal::new(CloseReason::Unavailable, "the first with this key was not accepted"))
}

/// In the header `session` of what a worker of the application gets.
const NO_SESSION: &str = "http";

const SESSIONS_OWN: &str = "this is a session's own affair: send it over STOMP";
