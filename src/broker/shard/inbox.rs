//! What the shard is given to do: messages to deliver, answers, ends.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Waker;

use crate::broker::peer::events::Shared;
use crate::broker::settings::Now;
use crate::model::{Answer, CloseReason, Destination, Message, Overflow};
use crate::routing::fanout::{Incidents, fan_out};
use crate::routing::{Item, Note, Turn};

use super::Shard;

impl Shard {
    /// Does some of what waits in the inbox, as far as the backlog allows. Whatever is left wakes the driver.
    pub fn drain(&mut self, now: Now) {
        let broker = Arc::clone(&self.broker);
        self.undrained_bytes = 0;
        if self.is_backlogged() {
            return;
        }
        // A blocked socket is looked at between two turns: before, nobody knows whether it takes bytes again, and what
        // comes at once must not make a slow consumer of it.
        let mut turn = Turn::new(ITEMS_AT_ONCE, broker.settings().limits.outbox_bytes_max / 2);
        let waiting = loop {
            match broker.inboxes().of(self.worker).next(&mut turn) {
                ControlFlow::Continue(Item::Publish(message)) => self.deliver(&message, now),
                ControlFlow::Continue(item) => self.handle(item, now),
                ControlFlow::Break(waiting) => break waiting,
            }
        };
        for worker in waiting.iter() {
            broker.sink.tell_room(worker);
        }
    }

    /// Registers who is woken when the inbox has something that may be done; `true` when it has already.
    pub fn watch_inbox(&mut self, waker: &Waker) -> bool {
        let filled = self.broker.inboxes().of(self.worker).watch(waker);
        filled && !self.is_backlogged()
    }

    fn deliver(&mut self, message: &Arc<Message>, now: Now) {
        let limits = &self.broker.settings().limits;
        let overflow = self.broker.settings().rules.overflow(&message.destination);
        let encoders = &self.broker.parts.encoders;
        let (table, lanes) = (&mut self.table, &mut self.lanes);
        let begun = self.sampler.next().then(|| (self.broker.parts.stopwatch)());
        let report = fan_out(table, lanes, encoders, message, overflow, limits.outbox_bytes_max);
        if let Some(begun) = begun {
            self.tally.fan_outs.record((self.broker.parts.stopwatch)().saturating_sub(begun));
        }
        self.tally.deliveries.count(report.delivered);
        if let Some(incidents) = report.incidents {
            self.follow_up(*incidents, message, overflow, now);
        }
    }

    /// Sees to those to whom more happened than that they were given the message, or who take it themselves.
    #[inline(never)]
    fn follow_up(&mut self, incidents: Incidents, message: &Arc<Message>, overflow: Overflow, now: Now) {
        self.tally.deliveries_dropped.count(incidents.dropped);
        for slot in incidents.robbed {
            self.with(slot, now, |peer, env| peer.lost_deliveries(env));
        }
        for slot in incidents.slow {
            self.tally.refused(CloseReason::SlowConsumer);
            self.with(slot, now, |peer, env| peer.too_slow(env));
        }
        let mut shared = Shared::new(message, overflow);
        for (slot, key) in incidents.watched {
            self.with(slot, now, |peer, env| peer.noticed(env, key, &mut shared));
        }
    }

    // Apart from what every message runs through, to which [`Shard::drain`] sees itself.
    #[inline(never)]
    fn handle(&mut self, item: Item, now: Now) {
        match item {
            Item::Publish(message) => self.deliver(&message, now),
            Item::Consume { to, key, tag, message, deliveries } => {
                if self.is_current(to) {
                    self.with(to.slot, now, |peer, env| {
                        peer.consume_message(env, key, tag, &message, deliveries)
                    });
                }
            }
            Item::Resume { to, key } => {
                if self.is_current(to) {
                    self.with(to.slot, now, |peer, env| peer.resume(env, key));
                }
            }
            Item::Reply { route, message } => {
                if self.is_current(route.connection) {
                    self.with(route.connection.slot, now, |peer, env| {
                        peer.reply(env, &route.listener, &message)
                    });
                }
            }
            Item::Answer { ticket, answer } => {
                if let Answer::Queued(queue, Ok(())) = &answer {
                    // Whoever sent it may be gone.
                    self.broker.queues.hand_out(queue, now);
                }
                if self.is_current(ticket.connection) {
                    self.with(ticket.connection.slot, now, |peer, env| {
                        let read = peer.wants_input();
                        peer.answered(env, ticket.call, answer);
                        if !read {
                            env.lanes.wake(ticket.connection.slot);
                        }
                    });
                }
            }
            Item::Gap(destination) => {
                let mut told = Vec::new();
                self.table.for_each(&destination, |subscriber, _| {
                    told.push((subscriber.slot, subscriber.key, subscriber.note));
                });
                self.tally.gaps_told.count(told.len());
                for (slot, key, note) in told {
                    self.with(slot, now, |peer, env| peer.missed(env, key, note, &destination));
                }
            }
            Item::PatternGap => {
                let mut told = Vec::new();
                self.table.for_each_of_patterns(|pattern, subscriber| {
                    told.push((Destination::internal(pattern.as_str()), subscriber.slot, subscriber.key));
                });
                self.tally.gaps_told.count(told.len());
                for (shown, slot, key) in told {
                    self.with(slot, now, |peer, env| peer.missed(env, key, Note::None, &shown));
                }
            }
            Item::Round(round) => self.obey(&round, now),
            Item::Ready(queue) => self.broker.queues.hand_out(&queue, now),
            Item::Room => self.retry_held(now),
        }
    }

    pub(super) fn retry_held(&mut self, now: Now) {
        for id in std::mem::take(&mut self.held) {
            if self.is_current(id) {
                self.with(id.slot, now, |peer, env| {
                    peer.listed = false;
                    peer.retry(env);
                });
                self.lanes.wake(id.slot);
            }
        }
    }
}

/// Items done in a turn.
const ITEMS_AT_ONCE: usize = 64;
