//! What reaches the client other than by fan-out: messages of work queues, answers, refusals.

use std::sync::Arc;

use stompede_protocol::{AckId, AckMode, SubscriptionKey};

use crate::model::{Delivery, Message, Overflow};
use crate::routing::{Listener, Pushed};

use super::{Env, Listening, Peer};

impl Peer {
    /// A message of a work queue.
    pub(in crate::broker) fn consume_message(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        tag: u64,
        message: &Arc<Message>,
        redelivered: bool,
    ) {
        let consumer = self.consumer(key);
        let live = self.live.iter_mut().find(|live| live.key == key);
        let Some(Listening::Queue(share)) = live.map(|live| &mut live.what) else {
            // Unsubscribed while the message was on its way.
            env.broker.queues.unsubscribe(&message.destination, consumer, &[tag], env.now.mono);
            return;
        };
        let outbox_bytes = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.bytes());
        if share.paused || outbox_bytes > env.broker.settings().limits.outbox_bytes_max {
            share.paused = true;
            env.broker.queues.pause(&share.queue, consumer, tag, env.now.mono);
            return;
        }
        let Some(subscription) = self.session.subscription(key) else { return };
        let (id, auto) = (subscription.id.clone(), subscription.ack == AckMode::Auto);
        let ack = if auto { None } else { self.session.deliver(key, tag) };
        let delivery = Delivery {
            message,
            subscription: id.as_deref(),
            shown: message.destination.as_str(),
            ack,
            redelivered: Some(redelivered),
        };
        let frame = env.broker.parts.encoders.of(self.kind).whole(&delivery);
        // The credit of a consumer bounds what waits here.
        env.lanes.push(self.id.slot, frame, None, Overflow::Close, usize::MAX);
        env.broker.counters().deliveries.add(1);
        if auto {
            let end = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.pushed_total());
            let live = self.live.iter_mut().find(|live| live.key == key);
            if let Some(Listening::Queue(share)) = live.map(|live| &mut live.what) {
                share.unwritten.push_back((end, tag));
            }
        }
    }

    /// The socket took bytes: without acknowledgements a message is settled when it is written.
    pub(in crate::broker) fn wrote(&mut self, env: &mut Env<'_>) {
        self.session.sent(env.now.mono);
        let Some(lane) = env.lanes.lane(self.id.slot) else { return };
        let (written, empty) = (lane.outbox.written_total(), lane.outbox.is_empty());
        let id = self.id;
        for live in &mut self.live {
            let Listening::Queue(share) = &mut live.what else { continue };
            let consumer = crate::features::Consumer { connection: id, key: live.key };
            let mut settled = smallvec::SmallVec::<[u64; 8]>::new();
            while let Some((_, tag)) = share.unwritten.pop_front_if(|(end, _)| *end <= written) {
                settled.push(tag);
            }
            if !settled.is_empty() {
                env.broker.queues.settle(&share.queue, consumer, &settled, env.now.mono);
            }
            if empty && share.paused {
                share.paused = false;
                env.broker.queues.resume(&share.queue, consumer, env.now.mono);
            }
        }
    }

    /// An answer to a request of this session.
    pub(in crate::broker) fn reply(&mut self, env: &mut Env<'_>, listener: &Listener, message: &Message) {
        match listener {
            Listener::Request(key) => {
                let live = self.live.iter_mut().find(|live| live.key == *key);
                let Some(Listening::Request(token)) = live.map(|live| &mut live.what) else { return };
                let Some(token) = token.take() else { return };
                env.broker.replies.remove(&token);
                self.deliver_direct(env, *key, message);
            }
            Listener::TempQueue(name) => {
                let listens = |what: &Listening| matches!(what, Listening::Temp(known) if **known == **name);
                let subscribed = self.live.iter().find(|live| listens(&live.what)).map(|live| live.key);
                match subscribed {
                    Some(key) => self.deliver_direct(env, key, message),
                    None => {
                        let shown = format!("/temp-queue/{name}");
                        self.deliver_as(env, Some(&shown), &shown, None, message);
                    }
                }
            }
        }
    }

    /// Delivers to one subscription; MESSAGE shows the destination as subscribed.
    pub(super) fn deliver_direct(&mut self, env: &mut Env<'_>, key: SubscriptionKey, message: &Message) {
        let Some(subscription) = self.session.subscription(key) else { return };
        let (id, shown, mode) = (subscription.id.clone(), subscription.destination.clone(), subscription.ack);
        let live = self.live.iter_mut().find(|live| live.key == key);
        let ack = live.filter(|_| mode != AckMode::Auto).map(|live| {
            live.issued += 1;
            AckId { subscription: key, number: live.issued }
        });
        self.deliver_as(env, id.as_deref(), &shown, ack, message);
    }

    fn deliver_as(
        &mut self,
        env: &mut Env<'_>,
        subscription: Option<&str>,
        shown: &str,
        ack: Option<AckId>,
        message: &Message,
    ) {
        let delivery = Delivery { message, subscription, shown, ack, redelivered: None };
        let frame = env.broker.parts.encoders.of(self.kind).whole(&delivery);
        let bytes_max = env.broker.settings().limits.outbox_bytes_max;
        match env.lanes.push(self.id.slot, frame, None, Overflow::Close, bytes_max) {
            Pushed::Full => self.too_slow(env),
            Pushed::Taken | Pushed::Dropped(_) => env.broker.counters().deliveries.add(1),
        }
    }
}
