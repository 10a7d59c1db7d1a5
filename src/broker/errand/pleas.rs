//! What a backend is to say a word on before an errand is run.

use std::sync::{Arc, OnceLock};

use crate::broker::door::Broker;
use crate::broker::letters::{Letter, Sender};
use crate::broker::pleas::{About, Leave, Plea, Unruled, changed};
use crate::broker::post::Unposted;
use crate::model::{Allowance, CloseReason, Judged, Now, Principal, Refusal};
use crate::policy::hooks::Told;

use super::{Errand, NO_SESSION, Outcome, Step};

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

impl Broker {
    /// Turns what backends have allowed into what is to be posted.
    pub(super) fn hear_out(&self, errand: &mut Errand, now: Now) -> Result<(), Unposted> {
        let Errand { principal, steps, .. } = errand;
        let (mut at, mut is_open) = (0, false);
        while let Some(step) = steps.get_mut(at) {
            let Some(pending) = &mut step.plea else {
                at += 1;
                continue;
            };
            if let Some((message, key)) = pending.plea.keyed() {
                match self.claim_key(&mut step.claim, step.body, message, key, now) {
                    Ok(None) => {}
                    Ok(Some(before)) => {
                        (step.plea, step.outcome) = (None, Outcome::Before(before));
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
                let step = self.admit_step(principal, &send, leave, now);
                Ok(vec![step.map_err(Unruled::refusal)?])
            }
            About::Message(message) if allowance.is_for_worker => {
                let body = self.idempotency.fingerprint(&message.body);
                Ok(vec![Step::of(Letter::Handler(message), body)])
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
