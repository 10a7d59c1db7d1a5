//! The client as an operator sees it, and what he does to it.

use std::sync::Arc;

use stompede_protocol::SubscriptionKey;

use crate::broker::door::JSON;
use crate::features::control::{self, Order};
use crate::features::revoke;
use crate::model::{Answer, CloseReason, Destination, Refusal, Revocation, SessionRow, Whom};

use super::calls::Asked;
use super::listen::Begun;
use super::{Env, Listening, Peer};

impl Peer {
    /// The session, if it is meant.
    pub(in crate::broker) fn row(&self, whom: &Whom) -> Option<SessionRow> {
        let member = self.member().filter(|_| !self.is_closing())?;
        let user = member.principal.user.clone();
        let destinations = || self.session.subscriptions().map(|known| (*known.destination).into()).collect();
        whom.is(&member.session, user.as_deref()).then(|| SessionRow {
            session: member.session.clone(),
            user,
            destinations: destinations(),
        })
    }

    /// Ends the session, and says why.
    pub(in crate::broker) fn kick(&mut self, env: &mut Env<'_>, reason: Option<&str>) {
        env.tally.refused(CloseReason::Kicked);
        let refusal = match reason {
            Some(reason) => Refusal::new(CloseReason::Kicked, reason.to_owned()),
            None => CloseReason::Kicked.into(),
        };
        self.close(env, &refusal, None);
    }

    /// Ends the session if its token is revoked; whether it was.
    pub(in crate::broker) fn review(&mut self, env: &mut Env<'_>) -> bool {
        let member = self.member().filter(|_| !self.is_closing());
        let Some(Err(refusal)) = member.map(|member| env.broker.revocations.check(&member.principal)) else {
            return false;
        };
        env.tally.refused(refusal.reason);
        self.close(env, &refusal, None);
        true
    }

    /// Has tokens revoked, and tells so when it is kept.
    pub(super) fn revoke(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        revocation: Revocation,
    ) -> Begun {
        let ticket = self.ticket();
        self.add(key, Listening::Request(None));
        let sink = Arc::clone(&env.broker.sink);
        let done = Box::new(move |kept| sink.answer(ticket, Answer::Revoked(kept)));
        env.broker.revoke(&revocation, done);
        self.calls.add(ticket.call, Asked::Revoke(key, Box::new(revocation)));
        Begun::Waits
    }

    /// It is kept, and in force.
    pub(super) fn tell_revoked(&mut self, env: &mut Env<'_>, key: SubscriptionKey, revocation: &Revocation) {
        self.tell_operator(env, key, revoke::answer(revocation));
    }

    /// Ends subscriptions to `destination`; how many. Who listens for refusals hears it.
    pub(in crate::broker) fn unsubscribe_from(&mut self, env: &mut Env<'_>, destination: &str) -> usize {
        let meant: Vec<SubscriptionKey> = self
            .session
            .subscriptions()
            .filter(|known| *known.destination == *destination)
            .map(|known| known.key)
            .collect();
        for key in &meant {
            self.drop_subscription(env, *key);
        }
        if !meant.is_empty() && self.hears_refusals() {
            let text = "an operator has ended this subscription";
            self.refuse(env, &Refusal::new(CloseReason::Forbidden, text).at(destination), None);
        }
        meant.len()
    }

    /// Gives an order to all nodes, this one among them; their reports are the one answer.
    pub(super) fn order(&mut self, env: &mut Env<'_>, key: SubscriptionKey, order: &Order) -> Begun {
        let ticket = self.ticket();
        self.add(key, Listening::Request(None));
        self.calls.add(ticket.call, Asked::Order(key));
        env.broker.control.order(order.encode(), ticket);
        Begun::Waits
    }

    /// What the nodes say.
    pub(super) fn tell_reports(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        reports: &[bytes::Bytes],
        nodes: Option<usize>,
    ) {
        self.tell_operator(env, key, control::answer(reports, nodes));
    }

    fn tell_operator(&mut self, env: &mut Env<'_>, key: SubscriptionKey, body: Vec<u8>) {
        let Some(subscription) = self.session.subscription(key) else { return };
        let destination = Destination::internal(&subscription.destination);
        let headers = [("content-type", JSON)].into_iter().collect();
        let message = env.broker.message(destination, None, headers, body.into(), env.now);
        self.deliver_direct(env, key, &message);
    }
}
