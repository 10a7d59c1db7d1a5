//! What reaches the client other than by fan-out: messages of work queues, answers, refusals.

use std::sync::Arc;

use stompede_protocol::{AckId, AckMode, Millis, SubscriptionKey};

use crate::model::{Delivery, Message, Overflow};
use crate::routing::{Item, Listener, Pushed};

use super::presence::Departure;
use super::{CONNECTION_LOST, Env, Listening, Live, Manner, Peer, Unwritten};

impl Peer {
    /// A message of a work queue.
    pub(in crate::broker) fn consume_message(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        tag: u64,
        message: &Arc<Message>,
        deliveries: u32,
    ) {
        let consumer = self.consumer(key);
        let live = self.live.iter_mut().find(|live| live.key == key);
        let Some(Listening::Queue(share)) = live.map(|live| &mut live.what) else {
            // Unsubscribed while the message was on its way: the queue has it back.
            return;
        };
        share.arrived += 1;
        let outbox_bytes = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.bytes());
        let has_room = outbox_bytes <= env.broker.settings().limits.outbox_bytes_max;
        if share.paused || !has_room || env.lanes.is_sealed(self.id.slot) {
            share.paused = true;
            env.lanes.heed(self.id.slot, true);
            env.broker.queues.pause(&share.queue, consumer, tag, env.now);
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
            redelivered: Some(deliveries),
            recovered: None,
        };
        let frame = env.broker.parts.encoders.of(self.kind).whole(&delivery);
        // The credit of a consumer bounds what waits here.
        env.lanes.push(self.id.slot, frame, None, Overflow::Close, usize::MAX);
        env.tally.deliveries.count(1);
        if auto {
            let end = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.pushed_total());
            let queue = message.destination.clone();
            self.unwritten.push_back(Unwritten { end, tag, key, queue });
            env.lanes.heed(self.id.slot, true);
        }
    }

    /// The socket took bytes, and the lane was asked to tell: without acknowledgements a message is settled when it is
    /// written.
    pub(in crate::broker) fn wrote(&mut self, env: &mut Env<'_>) {
        let Some(lane) = env.lanes.lane(self.id.slot) else { return };
        let written = lane.outbox.written_total();
        let has_room = lane.outbox.bytes() * 2 <= env.broker.settings().limits.outbox_bytes_max;
        while let Some(first) = self.unwritten.pop_front_if(|first| first.end <= written) {
            let mut tags = Tags::from_slice(&[first.tag]);
            let more = |next: &mut Unwritten| next.key == first.key && next.end <= written;
            while let Some(next) = self.unwritten.pop_front_if(more) {
                tags.push(next.tag);
            }
            env.broker.queues.settle(&first.queue, self.consumer(first.key), &tags, env.now);
        }
        self.wrote_mail(env, written);
        if has_room {
            self.resume_paused(env);
            self.read_further(env);
            if self.live.iter().any(Live::browses) {
                self.browse_on(env);
            }
        }
        let waits = |what: &Listening| match what {
            Listening::Queue(share) => share.paused && !share.resuming,
            Listening::Browse(browse) => browse.is_some(),
            _ => false,
        };
        let heeds = !self.unwritten.is_empty()
            || self.live.iter().any(|live| waits(&live.what))
            || self.has_more_to_read()
            || self.has_unwritten_mail();
        env.lanes.heed(self.id.slot, heeds);
    }

    /// The socket last took bytes at `then`: our own heart-beat is not due before an interval from there.
    pub(in crate::broker) fn last_wrote(&mut self, then: Millis) {
        self.session.sent(then);
    }

    /// The outbox has room: queues may hand out to this connection again. The order goes through the inbox: what was
    /// handed out before the pause stands there, and must bounce before anything follows, or messages change places.
    fn resume_paused(&mut self, env: &Env<'_>) {
        for live in &mut self.live {
            if let Listening::Queue(share) = &mut live.what
                && share.paused
                && !share.resuming
            {
                share.resuming = true;
                env.broker.inboxes.force(self.id.worker, Item::Resume { to: self.id, key: live.key });
            }
        }
    }

    /// Everything handed out before the pause has bounced.
    pub(in crate::broker) fn resume(&mut self, env: &Env<'_>, key: SubscriptionKey) {
        let consumer = self.consumer(key);
        let live = self.live.iter_mut().find(|live| live.key == key);
        if let Some(Listening::Queue(share)) = live.map(|live| &mut live.what) {
            (share.paused, share.resuming) = (false, false);
            env.broker.queues.resume(&share.queue, consumer, env.now);
        }
    }

    /// What waits in the outbox behind position `kept` will never be written: work queues get theirs back. The connection
    /// ends with it, so those of live subscriptions go back when these end.
    pub(super) fn lose_unwritten(&mut self, env: &Env<'_>, kept: u64) {
        let written = self.unwritten.partition_point(|unwritten| unwritten.end <= kept);
        let lost = Vec::from(self.unwritten.split_off(written));
        for of_one in lost.chunk_by(|a, b| a.key == b.key) {
            let tags = of_one.iter().map(|unwritten| unwritten.tag);
            let Unwritten { key, queue, .. } = &of_one[0];
            match self.live.iter_mut().find(|live| live.key == *key).map(|live| &mut live.what) {
                Some(Listening::Queue(share)) => share.lost.extend(tags),
                _ => {
                    let tags: Tags = tags.collect();
                    env.broker.queues.give_back(queue, self.consumer(*key), &tags, env.now);
                }
            }
        }
    }

    /// The socket takes nothing more.
    pub(in crate::broker) fn lose_socket(&mut self, env: &mut Env<'_>) {
        let written = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.written_total());
        self.lose_unwritten(env, written);
        self.release(env, Departure::Broken, CONNECTION_LOST);
    }

    /// An answer to a request of this session.
    pub(in crate::broker) fn reply(&mut self, env: &mut Env<'_>, listener: &Listener, message: &Message) {
        if self.is_closing() {
            return;
        }
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
        if matches!(self.manner, Manner::Events(_)) {
            return self.deliver_event(env, key, message, None);
        }
        let live = self.live.iter_mut().find(|live| live.key == key);
        let number = live.filter(|_| mode != AckMode::Auto).and_then(|live| match live.what {
            // One count for what comes by fan-out and what does not.
            Listening::Topic { subscriber, .. } => env.table.issue(subscriber),
            _ => {
                live.issued += 1;
                Some(live.issued)
            }
        });
        let ack = number.map(|number| AckId { subscription: key, number });
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
        let delivery = Delivery { message, subscription, shown, ack, redelivered: None, recovered: None };
        let frame = env.broker.parts.encoders.of(self.kind).whole(&delivery);
        let bytes_max = env.broker.settings().limits.outbox_bytes_max;
        match env.lanes.push(self.id.slot, frame, None, Overflow::Close, bytes_max) {
            Pushed::Full => self.too_slow(env),
            Pushed::Taken | Pushed::Dropped(_) => env.tally.deliveries.count(1),
        }
    }
}

/// Messages that are settled together.
type Tags = smallvec::SmallVec<[u64; 8]>;
