//! The idempotency keys of errands: another body with one that is known is refused, and a repeat is answered as the first was.

use crate::broker::door::Broker;
use crate::broker::post::Unposted;
use crate::features::idempotency::{Claim, Claimed, Kept};
use crate::model::{CloseReason, Message, Now, Refusal};

use super::Step;

impl Broker {
    /// Sees to the step's key, if it has one. What was accepted under it before, if anything was.
    pub(super) fn claim(&self, step: &mut Step, now: Now) -> Result<Option<Kept>, Unposted> {
        // A backend's own key counts as that of a session's.
        let of_sender = step.letter.idempotency_key().filter(|_| !step.goes_on);
        let Some((message, key)) = of_sender else { return Ok(None) };
        self.claim_key(&mut step.claim, step.body, message, key, now)
    }

    /// Claims `key` for a body that `body` stands for, unless that was done before.
    pub(super) fn claim_key(
        &self,
        claim: &mut Option<Claim>,
        body: u64,
        message: &Message,
        key: &str,
        now: Now,
    ) -> Result<Option<Kept>, Unposted> {
        let destination = &message.destination;
        let key = self.hash_of_key(message, key);
        if claim.is_none() {
            match self.idempotency.claims().claim(key, body, now.mono) {
                Claimed::Mine(mine) => *claim = Some(mine),
                Claimed::Before(kept) => return Ok(Some(kept)),
                Claimed::UnderWay => return Err(Unposted::Full),
                Claimed::Other => {
                    let refusal = Refusal::from(CloseReason::Conflict).at(destination.as_str());
                    return Err(Unposted::Refused(refusal));
                }
            }
        }
        // A session may have sent it, or it came before this process began: then its body is not known.
        let known = self.idempotency.is_accepted(destination, key, now.mono);
        Ok(known.then_some(Kept { id: None, position: None }))
    }
}
