//! The client as an operator sees it, and what he does to it.

use stompede_protocol::SubscriptionKey;

use crate::broker::door::JSON;
use crate::features::control::{self, Order};
use crate::model::{CloseReason, Destination, Refusal, SessionRow, Whom};

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

    /// Ends the session.
    pub(in crate::broker) fn kick(&mut self, env: &mut Env<'_>) {
        env.broker.counters().refused(CloseReason::Kicked);
        self.close(env, &CloseReason::Kicked.into(), None);
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
        let Some(subscription) = self.session.subscription(key) else { return };
        let destination = Destination::internal(&subscription.destination);
        let headers = [("content-type", JSON)].into_iter().collect();
        let body = control::answer(reports, nodes);
        let message = env.broker.message(destination, None, headers, body.into(), env.now);
        self.deliver_direct(env, key, &message);
    }
}
