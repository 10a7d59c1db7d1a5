//! Which subscriptions outlast a change of claims.

use stompede_protocol::{Subscribe, SubscriptionKey};

use crate::broker::pleas::Leave;
use crate::features::users;
use crate::model::{Address, CloseReason, Principal, Refusal};
use crate::policy::Access;
use crate::policy::access::{Action, Ruling};
use crate::policy::hooks::{Found, HookEvent, HookId};

use super::{Env, Listening, Live, Peer};

impl Peer {
    /// Notes who has let the subscription in.
    pub(super) fn note_leave(&mut self, env: &Env<'_>, subscribe: &Subscribe, leave: Leave) {
        if leave == Leave::Open {
            return;
        }
        let decider = decider(&env.broker.parts.access, &subscribe.destination);
        if let Some(live) = self.live.iter_mut().find(|live| live.key == subscribe.key) {
            live.granted = decider.is_some_and(|hook| leave.is_of(hook));
        }
    }

    /// After a change of claims: subscriptions that are no longer allowed end the session.
    pub(super) fn recheck(&mut self, env: &mut Env<'_>) -> Result<(), Refusal> {
        let Some(member) = self.member() else { return Ok(()) };
        let access = &env.broker.parts.access;
        let mut lost: Vec<(SubscriptionKey, Box<str>)> = Vec::new();
        for subscription in self.session.subscriptions() {
            let name = &*subscription.destination;
            let is_it = |live: &&Live| live.key == subscription.key;
            let live = self.live.iter().find(is_it);
            let principal = &member.principal;
            let allowed = if name.starts_with("/app/") {
                let handles = live.is_some_and(|live| matches!(live.what, Listening::Queue(_)));
                !handles || access.may(principal, Action::Handle, name)
            } else {
                may_stay(access, principal, name, live.is_some_and(|live| live.granted))
            };
            if !allowed {
                lost.push((subscription.key, name.into()));
            }
        }
        let Some((_, name)) = lost.first() else { return Ok(()) };
        let text = format!("the fresh token no longer allows the subscription to {name}");
        let refusal = Refusal::new(CloseReason::Forbidden, text).at(name);
        // The session's end is its connection's, for the rooms; these it leaves now.
        for (key, _) in lost {
            self.drop_subscription(env, key);
        }
        Err(refusal)
    }
}

/// Whether rules allow it still, or leave it to the backend that has `granted` it. Nobody is asked anew.
fn may_stay(access: &Access, principal: &Principal, name: &str, granted: bool) -> bool {
    let subscribe = Action::Subscribe;
    let (ruling, is_ruled) = match Address::of_subscribe(name) {
        Ok(Address::Wildcard(pattern)) => (
            access.rule_pattern(principal, subscribe, &pattern),
            access.may_pattern(principal, subscribe, &pattern),
        ),
        Ok(Address::OwnQueue { .. } | Address::UserQueue(_)) => {
            let name = users::short_name(name);
            (access.rule(principal, subscribe, &name), access.may(principal, subscribe, &name))
        }
        _ => (access.rule(principal, subscribe, name), access.may(principal, subscribe, name)),
    };
    match ruling {
        Ruling::Allowed => true,
        Ruling::Asked(_) => granted || is_ruled,
        Ruling::Denied => false,
    }
}

/// Who decides about a subscription where rules do not.
fn decider(access: &Access, name: &str) -> Option<HookId> {
    let (hooks, event) = (access.hooks(), HookEvent::Subscribe);
    match Address::of_subscribe(name) {
        Ok(Address::Wildcard(pattern)) => match hooks.find_pattern(event, &pattern, false) {
            Found::Hook(hook) => Some(hook),
            Found::Nobody | Found::Several => None,
        },
        Ok(Address::OwnQueue { .. } | Address::UserQueue(_)) => {
            hooks.find(event, &users::short_name(name), false)
        }
        _ => hooks.find(event, name, false),
    }
}
