//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use stompede_protocol::{AckMode, Headers, Receipt, Subscribe, SubscriptionKey, Unsubscribe};

use crate::backend::Soon;
use crate::broker::door::JSON;
use crate::broker::letters::Letter;
use crate::broker::pleas::{About, Leave, Plea, Unruled};
use crate::broker::routes::Route;
use crate::features::rooms::Page;
use crate::features::{Belongings, Consumer, revoke, rooms};
use crate::model::message::forwarded_headers;
use crate::model::{CloseReason, Destination, Members, Refusal};
use crate::routing::{Listener, ReplyRoute};

use super::calls::{Asked, recovered};
use super::listen::Begun;
use super::presence::Departure;
use super::work::{Stage, Work};
use super::{Env, Listening, Live, Peer, QueueShare};

impl Peer {
    #[inline(never)]
    pub(super) fn subscribe(&mut self, env: &mut Env<'_>, mut subscribe: Subscribe) {
        let receipt = subscribe.receipt.take();
        let checked = self.check_subscription_rate(env).and_then(|()| self.check_subscription_count(env));
        if let Err(refusal) = checked {
            let refusal = refusal.at(&subscribe.destination);
            return self.refuse_subscription(env, &subscribe, &refusal, receipt);
        }
        self.begin_subscription(env, subscribe, receipt, Leave::Open);
    }

    /// Begins what was asked for, or has a backend asked first.
    pub(super) fn begin_subscription(
        &mut self,
        env: &mut Env<'_>,
        subscribe: Subscribe,
        receipt: Option<Receipt>,
        leave: Leave,
    ) {
        if leave != Leave::Open && self.session.subscription(subscribe.key).is_none() {
            // It was ended while a backend was asked.
            return self.complete(receipt);
        }
        let Some(principal) = self.member().map(|member| Arc::clone(&member.principal)) else { return };
        let route = match env.broker.route(&principal, &subscribe, leave) {
            Err(Unruled::Asks(asks)) => {
                let key = subscribe.key;
                let plea = Stage::Plea(Box::new(Plea::new(asks, About::Subscribe(subscribe, leave))));
                return self.work(env, Work::of_one(plea, receipt, Some(key)));
            }
            Err(Unruled::Refused(refusal)) => Err(refusal),
            Ok(route) => Ok(route),
        };
        let begun = route.and_then(|route| self.begin(env, &subscribe, route));
        self.note_leave(env, &subscribe, leave);
        match begun {
            Ok(Begun::Live) => self.complete(receipt),
            Ok(Begun::Asks(letter)) => {
                self.work(env, Work::of_one(Stage::Post(letter), receipt, Some(subscribe.key)))
            }
            Ok(Begun::Waits) => self.calls.attach(receipt),
            Ok(Begun::HasNoHistory) => {
                if let Some(receipt) = receipt {
                    self.session.complete_with(receipt, &[recovered(false)]);
                }
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

    /// Makes the subscription live, or sees to it that it will be.
    fn begin(&mut self, env: &mut Env<'_>, subscribe: &Subscribe, route: Route) -> Result<Begun, Refusal> {
        match route {
            Route::Topic { .. } => return self.begin_topic(env, subscribe, route),
            Route::Queue(queue) => self.consume(env, subscribe, &queue)?,
            Route::Browse(queue) => {
                self.browse(env, subscribe.key, queue);
            }
            Route::Temp(name) => {
                self.reply_token(env, &name)?;
                self.add(subscribe.key, Listening::Temp(name));
            }
            Route::Members(room, page) => {
                self.add(subscribe.key, Listening::Request(None));
                return Ok(self.answer_members(env, subscribe.key, &room, page));
            }
            Route::Order(order) => return Ok(self.order(env, subscribe.key, &order)),
            Route::Revoke => {
                let revocation = revoke::parse(&subscribe.headers, env.now.wall_s());
                let revocation = revocation.map_err(|refusal| refusal.at(&subscribe.destination))?;
                return Ok(self.revoke(env, subscribe.key, revocation));
            }
            Route::Unread => {
                self.add(subscribe.key, Listening::Request(None));
                self.answer_unread(env, subscribe.key)?;
            }
            Route::Request(destination) => return self.request(env, subscribe, destination).map(Begun::Asks),
        }
        Ok(Begun::Live)
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
        let share =
            QueueShare { queue: queue.clone(), arrived: 0, paused: false, resuming: false, lost: Vec::new() };
        self.add(subscribe.key, Listening::Queue(Box::new(share)));
        env.broker.queues.subscribe(queue, self.consumer(subscribe.key), credit, env.now);
        Ok(())
    }

    fn answer_members(&mut self, env: &mut Env<'_>, key: SubscriptionKey, room: &str, page: Page) -> Begun {
        let ticket = self.ticket();
        match env.broker.attendance.members(room, page.after, page.count, ticket) {
            Soon::Now(members) => {
                self.tell_members(env, key, room, &members);
                Begun::Live
            }
            Soon::Later => {
                self.calls.add(ticket.call, Asked::Members(key, room.into()));
                Begun::Waits
            }
        }
    }

    /// The answer to the question who is in the room.
    pub(super) fn tell_members(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        room: &str,
        members: &Members,
    ) {
        let Some(subscription) = self.session.subscription(key) else { return };
        let destination = Destination::internal(&subscription.destination);
        let mut headers = Headers::new();
        headers.push("content-type", JSON);
        let body = rooms::members_answer(room, members);
        let message = env.broker.message(destination, None, headers, body.into(), env.now);
        self.deliver_direct(env, key, &message);
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
        let token = env.broker.reply_token();
        let headers = forwarded_headers(&subscribe.headers);
        // A request publishes nothing: each is to be answered.
        let mut headers: Headers = headers.iter().filter(|(name, _)| *name != "idempotency-key").collect();
        headers.push("command", "SUBSCRIBE");
        headers.push("session", &member.session);
        headers.push("reply-to", &format!("/reply-queue/{token}"));
        let user = member.principal.user.clone();
        let message = env.broker.message(destination, user, headers, bytes::Bytes::new(), env.now);
        let listener = Listener::Request(subscribe.key);
        env.broker.replies.insert(&token, ReplyRoute { connection: self.id, listener });
        self.add(subscribe.key, Listening::Request(Some(token)));
        Ok(env.broker.to_application(Arc::new(message)))
    }

    #[inline(never)]
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
                self.unlisten(env, subscriber);
                self.end_unread(env, live.key);
                if let Some(room) = room {
                    self.leave_room(env, room, departure);
                }
            }
            Listening::Queue(share) => {
                let own = self.unwritten.iter().filter(|unwritten| unwritten.key == live.key);
                let kept: Vec<u64> = own.map(|unwritten| unwritten.tag).collect();
                let consumer = self.consumer(live.key);
                let QueueShare { queue, arrived, lost, .. } = &*share;
                let has = Belongings { arrived: *arrived, kept: &kept, unwritten: lost };
                env.broker.queues.unsubscribe(queue, consumer, &has, env.now);
            }
            Listening::Request(Some(token)) => env.broker.replies.remove(&token),
            Listening::Temp(_) | Listening::Request(None) | Listening::Browse(_) => {}
        }
    }

    pub(super) fn consumer(&self, key: SubscriptionKey) -> Consumer {
        Consumer { connection: self.id, key }
    }

    pub(super) fn add(&mut self, key: SubscriptionKey, what: Listening) {
        if self.live.is_empty() {
            // Most connections have one; a first push would make room for four.
            self.live.reserve_exact(1);
        }
        self.live.push(Live { key, granted: false, what, issued: 0 });
    }
}

/// Messages of a work queue that may wait in the outbox of a consumer that does not acknowledge.
const AUTO_CREDIT: usize = 64;
