//! The idempotency keys of errands: another body with one that is known is refused, and a repeat is answered as the first was.

use crate::broker::door::Broker;
use crate::broker::post::Unposted;
use crate::features::idempotency::{Claim, Claimed, Kept};
use crate::model::{CloseReason, Message, Now, Refusal};

use super::{Outcome, Step};

impl Broker {
    /// Sees to the step's key, if it has one. What became of it already: it may have been used, by one of the steps `before`,
    /// too.
    pub(super) fn claim(
        &self,
        before: &[Step],
        step: &mut Step,
        now: Now,
    ) -> Result<Option<Outcome>, Unposted> {
        // A backend's own key counts as that of a session's.
        let of_sender = step.letter.idempotency_key().filter(|_| !step.goes_on);
        let Some((message, key)) = of_sender else { return Ok(None) };
        self.claim_key(before, &mut step.claim, step.body, (message, key), now)
    }

    /// Claims `key` for a body that `body` stands for, unless that was done before.
    pub(super) fn claim_key(
        &self,
        before: &[Step],
        claim: &mut Option<Claim>,
        body: u64,
        (message, key): (&Message, &str),
        now: Now,
    ) -> Result<Option<Outcome>, Unposted> {
        let destination = &message.destination;
        let key = self.hash_of_key(message, key);
        if claim.is_none() {
            match self.idempotency.claims().claim(key, body, now.mono) {
                Claimed::Mine(mine) => *claim = Some(mine),
                Claimed::Before(kept) => return Ok(Some(Outcome::Before(kept))),
                Claimed::UnderWay if before.iter().any(|step| step.holds(key)) => {
                    return Ok(Some(Outcome::Twin(key)));
                }
                Claimed::UnderWay => return Err(Unposted::Full),
                Claimed::Other => {
                    let refusal = Refusal::from(CloseReason::Conflict).at(destination.as_str());
                    return Err(Unposted::Refused(refusal));
                }
            }
        }
        // A session may have sent it, or it came before this process began: then its body is not known.
        let known = self.idempotency.is_accepted(destination, key, now.mono);
        Ok(known.then_some(Outcome::Before(Kept { id: None, position: None })))
    }
}

impl Step {
    fn holds(&self, key: u64) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.key() == key)
    }
}
