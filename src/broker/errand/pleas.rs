//! What a backend is to say a word on before an errand is run.

use std::sync::{Arc, OnceLock};

use crate::broker::door::Broker;
use crate::broker::letters::{Letter, Sender};
use crate::broker::pleas::{About, Leave, Plea, Unruled, changed};
use crate::broker::post::Unposted;
use crate::model::{Allowance, CloseReason, Judged, Now, Principal, Refusal};
use crate::policy::hooks::Told;

use super::{Errand, NO_SESSION, Step};

/// A question to a backend.
#[derive(Debug)]
pub(super) struct Pending {
    plea: Plea,
    /// The answer, as soon as it is there.
    told: Arc<OnceLock<Judged>>,
}

impl Pending {
    pub(super) fn new(plea: Plea) -> Self {
        Self { plea, told: Arc::default() }
    }
}

impl Errand {
    /// Where the worker has gone for whom a step was, a backend may stand in for him.
    pub(super) fn finds_stand_in(&mut self, broker: &Broker) -> bool {
        let Some(step) =
            self.steps.iter_mut().find_map(|step| broker.replaces_worker(&mut step.letter).then_some(step))
        else {
            return false;
        };
        if let Letter::Backend(hook, message) = std::mem::replace(&mut step.letter, Letter::Nothing) {
            step.plea = Some(Pending::new(Plea::of_message(hook, message)));
        }
        true
    }
}

impl Broker {
    /// Turns what backends have allowed into what is to be posted.
    pub(super) fn hear_out(&self, errand: &mut Errand, now: Now) -> Result<(), Unposted> {
        let Errand { principal, steps, .. } = errand;
        let (mut at, mut is_open) = (0, false);
        while let Some((before, [step, ..])) = steps.split_at_mut_checked(at) {
            let Some(pending) = &mut step.plea else {
                at += 1;
                continue;
            };
            if let Some(asked) = pending.plea.keyed() {
                match self.claim_key(before, &mut step.claim, step.body, asked, now) {
                    Ok(None) => {}
                    Ok(Some(outcome)) => {
                        (step.plea, step.outcome) = (None, outcome);
                        continue;
                    }
                    Err(Unposted::Full) => {
                        (at, is_open) = (at + 1, true);
                        continue;
                    }
                    Err(refused) => return Err(refused),
                }
            }
            if pending.plea.is_new() {
                self.plead_for(principal, pending, now);
            }
            if let Some(judged) = pending.told.get() {
                pending.plea.judge(self, 0, judged.clone(), now);
            }
            let Some(verdict) = pending.plea.verdict() else {
                (at, is_open) = (at + 1, true);
                continue;
            };
            let allowance = verdict.map_err(Unposted::Refused)?.clone();
            let Some(pending) = step.plea.take() else { continue };
            let claim = step.claim.take();
            // What it has become is looked at again: a message to the application may be a question, too.
            let mut granted =
                self.granted(principal, pending.plea, &allowance, now).map_err(Unposted::Refused)?;
            // It is accepted when the last of what it has become is.
            if let Some(last) = granted.last_mut() {
                last.claim = claim;
            }
            steps.splice(at..=at, granted);
        }
        if is_open { Err(Unposted::Unjudged) } else { Ok(()) }
    }

    fn plead_for(&self, principal: &Arc<Principal>, pending: &mut Pending, now: Now) {
        let (told, desk) = (Arc::clone(&pending.told), Arc::clone(&self.desk));
        let tell = || -> Told {
            Box::new(move |judged| {
                let _ = told.set(judged);
                desk.tell_room();
            })
        };
        self.plead(&mut pending.plea, Sender { principal, session: NO_SESSION }, 0, tell, now);
    }

    fn granted(
        &self,
        principal: &Arc<Principal>,
        plea: Plea,
        allowance: &Allowance,
        now: Now,
    ) -> Result<Vec<Step>, Refusal> {
        let leave = Leave::Given(plea.hook());
        match plea.about {
            About::Send(mut send) => {
                changed(&mut send, allowance, &self.parts.settings.limits)?;
                let step = self.admit_step(principal, &mut send, leave, now);
                Ok(vec![step.map_err(Unruled::refusal)?])
            }
            About::Message(message) if allowance.is_for_worker => {
                // Its claim goes with it.
                Ok(vec![Step::of(Letter::Handler(message), 0)])
            }
            About::Message(message) => {
                let letters = self.outcome(&message, allowance, now)?.into_iter();
                let steps = letters.map(|letter| Step { goes_on: true, ..Step::of(letter, 0) });
                Ok(steps.chain([Step::of(Letter::Nothing, 0)]).collect())
            }
            About::Subscribe(..) | About::Room => Err(CloseReason::Internal.into()),
        }
    }
}
