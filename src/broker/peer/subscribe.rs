//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use stompede_protocol::{AckMode, Receipt, Subscribe, SubscriptionKey, Unsubscribe};

use crate::broker::door::JSON;
use crate::broker::letters::Letter;
use crate::broker::routes::Route;
use crate::features::rooms::Page;
use crate::features::{Consumer, rooms, users};
use crate::model::{Address, CloseReason, Destination, Refusal};
use crate::policy::access::Action;
use crate::routing::{Interest, Listener, ReplyRoute, Subscriber, SubscriberId, Topic};

use super::presence::Departure;
use super::send::{Stage, Work};
use super::{Env, Listening, Live, Peer, QueueShare};

impl Peer {
    pub(super) fn subscribe(&mut self, env: &mut Env<'_>, mut subscribe: Subscribe) {
        let receipt = subscribe.receipt.take();
        let Some(principal) = self.member().map(|member| Arc::clone(&member.principal)) else { return };
        let checked = self.check_subscription_rate(env).and_then(|()| self.check_subscription_count(env));
        let route = match checked {
            Ok(()) => env.broker.route(&principal, &subscribe),
            Err(refusal) => Err(refusal.at(&subscribe.destination)),
        };
        let begun = route.and_then(|route| self.begin(env, &subscribe, route));
        match begun {
            Ok(None) => self.complete(receipt),
            Ok(Some(letter)) => {
                self.work(env, Work::of_one(Stage::Post(letter), receipt, Some(subscribe.key)))
            }
            Err(refusal) => self.refuse_subscription(env, &subscribe, &refusal, receipt),
        }
    }

    /// A refusal that the session may survive; the protocol's own limit ends it.
    fn check_subscription_count(&self, env: &Env<'_>) -> Result<(), Refusal> {
        let limit = env.broker.settings().limits.subscriptions_max;
        if self.live.len() < limit {
            return Ok(());
        }
        Err(Refusal::new(CloseReason::TooManySubscriptions, format!("more than {limit} subscriptions")))
    }

    /// Makes the subscription live. A request that a worker must answer is returned.
    fn begin(
        &mut self,
        env: &mut Env<'_>,
        subscribe: &Subscribe,
        route: Route,
    ) -> Result<Option<Letter>, Refusal> {
        match route {
            Route::Topic { topic, room, own, errors } => {
                let subscriber = self.listen(env, subscribe, &topic, own);
                self.add(subscribe.key, Listening::Topic { subscriber, room: None, errors });
                if let Some(entered) = room {
                    self.enter_room(env, &entered)?;
                    if let Some(Live { what: Listening::Topic { room, .. }, .. }) = self.live.last_mut() {
                        *room = Some(entered);
                    }
                }
            }
            Route::Queue(queue) => self.consume(env, subscribe, &queue)?,
            Route::Temp(name) => {
                self.reply_token(env, &name)?;
                self.add(subscribe.key, Listening::Temp(name));
            }
            Route::Members(room, page) => {
                self.add(subscribe.key, Listening::Request(None));
                self.answer_members(env, subscribe, &room, page);
            }
            Route::Request(destination) => return self.request(env, subscribe, destination).map(Some),
        }
        Ok(None)
    }

    fn listen(&self, env: &mut Env<'_>, subscribe: &Subscribe, topic: &Topic, own: bool) -> SubscriberId {
        let subscriber = Subscriber {
            slot: self.id.slot,
            key: subscribe.key,
            kind: self.kind,
            id: subscribe.id.as_deref().map(|id| env.table.text(id)),
            shown: own.then(|| env.table.text(&subscribe.destination)),
            issued: (subscribe.ack != AckMode::Auto).then_some(0),
        };
        let (subscriber, interest) = env.table.add(topic.clone(), subscriber);
        if interest == Interest::Gained {
            match topic {
                Topic::Exact(destination) => {
                    env.broker.directory.add(destination, self.id.worker);
                }
                Topic::Wildcard(pattern) => env.broker.directory.add_pattern(pattern, self.id.worker),
            }
        }
        subscriber
    }

    fn consume(
        &mut self,
        env: &mut Env<'_>,
        subscribe: &Subscribe,
        queue: &Destination,
    ) -> Result<(), Refusal> {
        let unacked_max = env.broker.settings().limits.unacked_max;
        let credit = match subscribe.headers.get("prefetch-count") {
            None if subscribe.ack == AckMode::Auto => AUTO_CREDIT,
            None => unacked_max,
            Some(text) => match text.parse::<usize>() {
                Ok(0) => unacked_max,
                Ok(count) => count.min(unacked_max),
                Err(_) => {
                    let text = "prefetch-count is a number of messages";
                    return Err(Refusal::new(CloseReason::BadContent, text).at(&subscribe.destination));
                }
            },
        };
        if subscribe.ack != AckMode::Auto {
            self.session.track(subscribe.key);
        }
        let share = QueueShare { queue: queue.clone(), arrived: 0, paused: false, resuming: false };
        self.add(subscribe.key, Listening::Queue(Box::new(share)));
        env.broker.queues.subscribe(queue, self.consumer(subscribe.key), credit, env.now.mono);
        Ok(())
    }

    fn answer_members(&mut self, env: &mut Env<'_>, subscribe: &Subscribe, room: &str, page: Page) {
        let members = env.broker.attendance.members(room, page.after, page.count);
        let body = rooms::members_answer(room, &members);
        let mut headers = stompede_protocol::Headers::new();
        headers.push("content-type", JSON);
        let destination = Destination::internal(&subscribe.destination);
        let message = env.broker.message(destination, None, headers, body.into(), env.now);
        self.deliver_direct(env, subscribe.key, &message);
    }

    /// A SUBSCRIBE to the application by somebody who is no worker: one request, one answer.
    fn request(
        &mut self,
        env: &mut Env<'_>,
        subscribe: &Subscribe,
        destination: Destination,
    ) -> Result<Letter, Refusal> {
        let open = self.live.iter().filter(|live| matches!(live.what, Listening::Request(Some(_)))).count();
        let limit = env.broker.settings().limits.replies_max;
        if open >= limit {
            let text = format!("more than {limit} requests wait for their answer");
            return Err(Refusal::new(CloseReason::TooManySubscriptions, text).at(&subscribe.destination));
        }
        let Some(member) = self.member() else { return Err(CloseReason::Internal.into()) };
        let token: Box<str> = format!("{:032x}", (env.broker.parts.random)()).into();
        let mut headers = crate::model::message::forwarded_headers(&subscribe.headers);
        headers.push("command", "SUBSCRIBE");
        headers.push("session", &member.session);
        headers.push("reply-to", &format!("/reply-queue/{token}"));
        let user = member.principal.user.clone();
        let message = env.broker.message(destination, user, headers, bytes::Bytes::new(), env.now);
        let listener = Listener::Request(subscribe.key);
        env.broker.replies.insert(&token, ReplyRoute { connection: self.id, listener });
        self.add(subscribe.key, Listening::Request(Some(token)));
        Ok(Letter::Handler(Arc::new(message)))
    }

    pub(super) fn unsubscribe(&mut self, env: &mut Env<'_>, unsubscribe: Unsubscribe) {
        self.end_subscription(env, unsubscribe.subscription.key);
        self.complete(unsubscribe.receipt);
    }

    fn refuse_subscription(
        &mut self,
        env: &mut Env<'_>,
        subscribe: &Subscribe,
        refusal: &Refusal,
        receipt: Option<Receipt>,
    ) {
        self.drop_subscription(env, subscribe.key);
        self.refuse(env, refusal, receipt);
    }

    /// The broker ends a subscription: its id is free again.
    pub(super) fn drop_subscription(&mut self, env: &mut Env<'_>, key: SubscriptionKey) {
        self.session.cancel_subscription(key);
        self.end_subscription(env, key);
    }

    fn end_subscription(&mut self, env: &mut Env<'_>, key: SubscriptionKey) {
        if let Some(place) = self.live.iter().position(|live| live.key == key) {
            let live = self.live.swap_remove(place);
            self.end_listening(env, live, Departure::Meant);
        }
    }

    /// Takes a subscription out of whatever could deliver to it. What it has not acknowledged goes back to its queue; what
    /// waits in the outbox and will not be acknowledged stays, for it may still be written.
    pub(super) fn end_listening(&mut self, env: &mut Env<'_>, live: Live, departure: Departure) {
        match live.what {
            Listening::Topic { subscriber, room, .. } => {
                let (topic, interest) = env.table.remove(subscriber);
                if interest == Interest::Lost {
                    match &topic {
                        Topic::Exact(destination) => {
                            env.broker.directory.remove(destination, self.id.worker);
                        }
                        Topic::Wildcard(pattern) => {
                            env.broker.directory.remove_pattern(pattern, self.id.worker)
                        }
                    }
                }
                if let Some(room) = room {
                    self.leave_room(env, room, departure);
                }
            }
            Listening::Queue(share) => {
                let own = self.unwritten.iter().filter(|unwritten| unwritten.key == live.key);
                let kept: Vec<u64> = own.map(|unwritten| unwritten.tag).collect();
                let consumer = self.consumer(live.key);
                let QueueShare { queue, arrived, .. } = &*share;
                env.broker.queues.unsubscribe(queue, consumer, *arrived, &kept, env.now.mono);
            }
            Listening::Request(Some(token)) => env.broker.replies.remove(&token),
            Listening::Temp(_) | Listening::Request(None) => {}
        }
    }

    /// After a change of claims: subscriptions that are no longer allowed end the session.
    pub(super) fn recheck(&mut self, env: &mut Env<'_>) -> Result<(), Refusal> {
        let Some(member) = self.member() else { return Ok(()) };
        let access = &env.broker.parts.access;
        let mut lost: Vec<(SubscriptionKey, Box<str>)> = Vec::new();
        for subscription in self.session.subscriptions() {
            let name = &*subscription.destination;
            let works =
                |live: &Live| live.key == subscription.key && matches!(live.what, Listening::Queue(_));
            let handles = name.starts_with("/app/") && self.live.iter().any(works);
            let own = name.starts_with("/app/");
            let allowed = own && (!handles || access.may(&member.principal, Action::Handle, name))
                || !own
                    && match Address::of_subscribe(name) {
                        Ok(Address::Wildcard(pattern)) => {
                            access.may_pattern(&member.principal, Action::Subscribe, &pattern)
                        }
                        Ok(Address::OwnQueue { .. } | Address::UserQueue(_)) => {
                            access.may(&member.principal, Action::Subscribe, &users::short_name(name))
                        }
                        _ => access.may(&member.principal, Action::Subscribe, name),
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

    pub(super) fn consumer(&self, key: SubscriptionKey) -> Consumer {
        Consumer { connection: self.id, key }
    }

    fn add(&mut self, key: SubscriptionKey, what: Listening) {
        if self.live.is_empty() {
            // Most connections have one; a first push would make room for four.
            self.live.reserve_exact(1);
        }
        self.live.push(Live { key, what, issued: 0 });
    }
}

/// Messages of a work queue that may wait in the outbox of a consumer that does not acknowledge.
const AUTO_CREDIT: usize = 64;
