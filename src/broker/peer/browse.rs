//! A look at a work queue that takes nothing: SUBSCRIBE with `browser:true`.
//!
//! Memory holds a place in the queue, not a copy of it: messages are read page by page, as the socket takes them.

use bytes::Bytes;
use stompede_protocol::{AckId, AckMode, Headers, SubscriptionKey};

use crate::backend::Soon;
use crate::model::{Delivery, Destination, Look, Message, Overflow, StoreError};

use super::{Browse, Env, Listening, Live, Peer};

impl Peer {
    /// Shows what is in the queue now. What comes later is not shown.
    pub(super) fn browse(&mut self, env: &mut Env<'_>, key: SubscriptionKey, queue: Destination) {
        let browse = Browse { queue, shown: 0, last: None, asked: None };
        self.add(key, Listening::Browse(Some(Box::new(browse))));
        self.browse_on(env);
    }

    /// Goes on where the outbox had no room.
    pub(super) fn browse_on(&mut self, env: &mut Env<'_>) {
        while let Some(place) = self.live.iter().position(Live::looks_on) {
            if !self.has_room(env) {
                return env.lanes.heed(self.id.slot, true);
            }
            let ticket = self.ticket();
            let Listening::Browse(Some(browse)) = &mut self.live[place].what else { return };
            match env.broker.queues.browse(&browse.queue, browse.shown, PAGE_MESSAGES, ticket) {
                Soon::Now(look) => self.show_page(env, place, look),
                Soon::Later => browse.asked = Some(ticket.call),
            }
        }
    }

    /// A page has come.
    pub(super) fn browsed(&mut self, env: &mut Env<'_>, call: u32, look: Result<Look, StoreError>) {
        let asked =
            |live: &Live| matches!(&live.what, Listening::Browse(Some(browse)) if browse.asked == Some(call));
        let Some(place) = self.live.iter().position(asked) else { return };
        if let Listening::Browse(Some(browse)) = &mut self.live[place].what {
            browse.asked = None;
        }
        match look {
            Ok(look) => {
                self.show_page(env, place, look);
                self.browse_on(env);
            }
            Err(error) => {
                let key = self.live[place].key;
                let refusal = self.unreadable(key, error);
                self.drop_subscription(env, key);
                self.refuse(env, &refusal, None);
            }
        }
    }

    /// Shows some of what is left, or says that nothing is.
    fn show_page(&mut self, env: &mut Env<'_>, place: usize, look: Look) {
        let key = self.live[place].key;
        let Listening::Browse(Some(browse)) = &mut self.live[place].what else { return };
        let last = *browse.last.get_or_insert(look.newest);
        let mut page = look.listed;
        page.retain(|queued| queued.tag <= last);
        if page.is_empty() {
            let queue = browse.queue.clone();
            self.live[place].what = Listening::Browse(None);
            let headers: Headers = [("browser", "end")].into_iter().collect();
            let message = env.broker.message(queue, None, headers, Bytes::new(), env.now);
            return self.show(env, key, &message, None);
        }
        for queued in page {
            if !self.has_room(env) {
                break;
            }
            if let Listening::Browse(Some(browse)) = &mut self.live[place].what {
                browse.shown = queued.tag;
            }
            if !queued.is_expired(env.now.wall_ms) {
                self.show(env, key, &queued.message, Some(queued.deliveries));
            }
        }
    }

    fn show(&mut self, env: &mut Env<'_>, key: SubscriptionKey, message: &Message, redelivered: Option<u32>) {
        let Some(subscription) = self.session.subscription(key) else { return };
        let (id, mode) = (subscription.id.clone(), subscription.ack);
        // As on a topic: an ACK must name what was given out, and changes nothing.
        let live = self.live.iter_mut().find(|live| live.key == key);
        let ack = live.filter(|_| mode != AckMode::Auto).map(|live| {
            live.issued += 1;
            AckId { subscription: key, number: live.issued }
        });
        let shown = message.destination.as_str();
        let delivery =
            Delivery { message, subscription: id.as_deref(), shown, ack, redelivered, recovered: None };
        let frame = env.broker.parts.encoders.of(self.kind).whole(&delivery);
        // Whoever comes here has looked for room.
        env.lanes.push(self.id.slot, frame, None, Overflow::Close, usize::MAX);
        env.tally.deliveries.count(1);
    }

    /// Half of the outbox is left to everything else: who looks at a long queue is not slow.
    pub(super) fn has_room(&self, env: &Env<'_>) -> bool {
        let outbox_bytes = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.bytes());
        outbox_bytes * 2 <= env.broker.settings().limits.outbox_bytes_max && self.is_open()
    }
}

/// Messages read from a queue at a time.
const PAGE_MESSAGES: usize = 32;
