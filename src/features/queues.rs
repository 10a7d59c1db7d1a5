//! Work queues: each message to one of this node's consumers, in turn, as far as their credit goes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use stompede_protocol::SubscriptionKey;

use crate::backend::{Kept, QueueError, Queues, Soon};
use crate::model::{ConnectionId, Destination, Look, Message, Now, Queued, Ticket};
use crate::routing::{Inboxes, Item};

use dead_letters::{Reason, Undertaker};
use group::{Group, Member};

mod census;
mod dead_letters;
mod group;
mod resting;
mod survey;

pub use dead_letters::{DeadLetterCounters, revived};

/// One subscription that takes from a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    /// Its connection.
    pub connection: ConnectionId,
    /// Its subscription there.
    pub key: SubscriptionKey,
}

/// What a leaving consumer has of what was handed to it.
#[derive(Debug, Default)]
pub struct Belongings<'a> {
    /// So many messages have reached it; later ones are on their way to it, and were never handed out.
    pub arrived: u64,
    /// Tags of what may still be written: it is settled or given back one day.
    pub kept: &'a [u64],
    /// Tags of what will never be written: it was never handed out.
    pub unwritten: &'a [u64],
}

/// Hands messages of queues to consumers.
#[derive(Debug)]
pub struct Dispatcher {
    store: Arc<dyn Queues>,
    inboxes: Arc<Inboxes>,
    undertaker: Undertaker,
    /// Never locked while a group's lock is waited for: a group that dissolves locks it.
    groups: Mutex<HashMap<Destination, Arc<Mutex<Group>>, RandomState>>,
    /// Queues where something rests: only they have to be looked at as time passes.
    restless: Mutex<BTreeSet<Destination>>,
}

impl Dispatcher {
    /// A dispatcher over `store`. A message that was redelivered `redeliveries_max` times is a dead letter when it comes
    /// back once more; 0 = never.
    pub fn new(
        store: Arc<dyn Queues>,
        inboxes: Arc<Inboxes>,
        redeliveries_max: u32,
        counters: Arc<DeadLetterCounters>,
    ) -> Self {
        let undertaker = Undertaker::new(Arc::clone(&store), redeliveries_max, counters);
        Self { store, inboxes, undertaker, groups: Mutex::default(), restless: Mutex::default() }
    }

    /// Whether somebody consumes from `queue`, or may do so on another node.
    pub fn has_consumers(&self, queue: &Destination) -> bool {
        self.store.may_be_attended_elsewhere() || self.has_members(queue)
    }

    /// Whether somebody on this node consumes from `queue`.
    pub fn has_members(&self, queue: &Destination) -> bool {
        self.group(queue).is_some_and(|group| !group.lock().members.is_empty())
    }

    /// Whether so many more messages of so many bytes in all have room.
    pub fn admit(&self, queue: &Destination, messages: usize, bytes: usize) -> Result<(), QueueError> {
        self.store.admit(queue, messages, bytes)
    }

    /// Puts a message into the queue and hands out what can be.
    pub fn publish(
        &self,
        queue: &Destination,
        message: Arc<Message>,
        ticket: Ticket,
        now: Now,
    ) -> Result<Kept, QueueError> {
        let kept = self.store.put(queue, message, ticket)?;
        self.hand_out_kept(queue, kept, now);
        Ok(kept)
    }

    /// As [`Dispatcher::publish`], room or not: for the rest of a transaction that has begun.
    pub fn publish_anyway(
        &self,
        queue: &Destination,
        message: Arc<Message>,
        ticket: Ticket,
        now: Now,
    ) -> Kept {
        let kept = self.store.force(queue, message, ticket);
        self.hand_out_kept(queue, kept, now);
        kept
    }

    /// Adds a consumer that may have `credit` messages at once.
    pub fn subscribe(&self, queue: &Destination, consumer: Consumer, credit: usize, now: Now) {
        self.with_group(queue, now, |group| group.members.push(Member::new(consumer, credit)));
    }

    /// Removes a consumer. What it has goes back.
    pub fn unsubscribe(&self, queue: &Destination, consumer: Consumer, has: &Belongings<'_>, now: Now) {
        self.with_group(queue, now, |group| {
            let Some(place) = group.place(consumer) else { return };
            for (tag, serial) in group.members.remove(place).out {
                if serial > has.arrived || has.unwritten.contains(&tag) {
                    self.store.give_back(queue, tag);
                } else if !has.kept.contains(&tag) {
                    self.store.release(queue, tag);
                }
            }
        });
        // What was asked for its sake is wanted no more.
        self.group(queue).into_iter().for_each(|group| self.store.want(queue, group.lock().credit()));
    }

    /// Messages that were never written come back.
    pub fn give_back(&self, queue: &Destination, consumer: Consumer, tags: &[u64], now: Now) {
        self.with_group(queue, now, |group| {
            group.forget(consumer, tags);
            tags.iter().for_each(|tag| self.store.give_back(queue, *tag));
        });
    }

    /// The consumer is done with these messages.
    pub fn settle(&self, queue: &Destination, consumer: Consumer, tags: &[u64], now: Now) {
        for tag in tags {
            self.store.settle(queue, *tag);
        }
        self.with_group(queue, now, |group| group.forget(consumer, tags));
    }

    /// The consumer refuses these messages: another one gets them first, and after [`REST_MS`] whoever is there.
    pub fn refuse(&self, queue: &Destination, consumer: Consumer, tags: &[u64], now: Now) {
        self.with_group(queue, now, |group| {
            for queued in tags.iter().filter_map(|tag| self.store.retake(queue, *tag)) {
                group.resting.add(queued, consumer, now.mono.after(REST_MS));
            }
            group.forget(consumer, tags);
        });
    }

    /// The consumer refuses these messages for now: after `delay_ms` whoever is there gets them.
    pub fn postpone(&self, queue: &Destination, consumer: Consumer, tags: &[u64], delay_ms: u64, now: Now) {
        self.with_group(queue, now, |group| {
            for tag in tags {
                match delay_ms {
                    0 => self.store.release(queue, *tag),
                    _ => self.store.postpone(queue, *tag, now.wall_ms.saturating_add(delay_ms)),
                }
            }
            group.forget(consumer, tags);
        });
    }

    /// The consumer refuses these messages for good: they go to the dead-letter queue, oldest dead letters making room;
    /// from there they go nowhere.
    pub fn reject(&self, queue: &Destination, consumer: Consumer, tags: &[u64], now: Now) {
        for queued in tags.iter().filter_map(|tag| self.store.retake(queue, *tag)) {
            self.undertaker.bury(queue, &queued, Reason::Rejected);
        }
        self.with_group(queue, now, |group| group.forget(consumer, tags));
        self.hand_out_dead_letters(queue, now);
    }

    /// A message could not be written to the consumer now: it goes back, and nothing more is handed to the consumer
    /// until [`Dispatcher::resume`].
    pub fn pause(&self, queue: &Destination, consumer: Consumer, tag: u64, now: Now) {
        self.with_group(queue, now, |group| {
            group.set_paused(consumer, true);
            group.forget(consumer, &[tag]);
            self.store.give_back(queue, tag);
        });
    }

    /// The consumer can take messages again.
    pub fn resume(&self, queue: &Destination, consumer: Consumer, now: Now) {
        self.with_group(queue, now, |group| group.set_paused(consumer, false));
    }

    /// Up to `count` messages with tags above `after`, in order, whoever has them; for who only looks.
    pub fn browse(&self, queue: &Destination, after: u64, count: usize, ticket: Ticket) -> Soon<Look> {
        self.store.browse(queue, after, count, ticket)
    }

    /// Hands out what rested long enough or is due, and buries what has expired. To be called several times a second.
    pub fn tick(&self, now: Now) {
        let due = self.store.sweep(now.wall_ms, DUE_AT_ONCE);
        for (queue, queued) in &due.expired {
            self.undertaker.bury(queue, queued, Reason::Expired);
        }
        for of_one in due.expired.chunk_by(|(one, _), (other, _)| one == other) {
            self.hand_out_dead_letters(&of_one[0].0, now);
        }
        let restless: Vec<_> = self.restless.lock().iter().cloned().collect();
        for queue in due.ready.iter().chain(&restless) {
            self.hand_out(queue, now);
        }
    }

    fn hand_out_kept(&self, queue: &Destination, kept: Kept, now: Now) {
        if kept == Kept::Now {
            self.hand_out(queue, now);
        }
    }

    /// Hands out what can be: something is ready in the queue.
    pub fn hand_out(&self, queue: &Destination, now: Now) {
        let Some(group) = self.group(queue) else { return };
        let buried = self.pump(queue, &mut group.lock(), now);
        if buried {
            self.hand_out_dead_letters(queue, now);
        }
    }

    fn hand_out_dead_letters(&self, queue: &Destination, now: Now) {
        if let Some(dead) = dead_letters::queue_of(queue) {
            // Nothing is buried out of it: this goes no deeper.
            self.hand_out(&dead, now);
        }
    }

    fn group(&self, queue: &Destination) -> Option<Arc<Mutex<Group>>> {
        self.groups.lock().get(queue).cloned()
    }

    /// Changes the group, then hands out what can be. A group without consumers is dissolved.
    fn with_group(&self, queue: &Destination, now: Now, change: impl FnOnce(&mut Group)) {
        loop {
            let group = Arc::clone(self.groups.lock().entry(queue.clone()).or_default());
            let mut locked = group.lock();
            if locked.gone {
                // It left the map before its lock was free: the next look finds another one.
                continue;
            }
            let was_attended = !locked.members.is_empty();
            change(&mut locked);
            let is_attended = !locked.members.is_empty();
            if was_attended != is_attended {
                self.store.attend(queue, is_attended);
            }
            let buried = self.pump(queue, &mut locked, now);
            if locked.members.is_empty() {
                self.dissolve(queue, &group, &mut locked);
            }
            drop(locked);
            if buried {
                self.hand_out_dead_letters(queue, now);
            }
            return;
        }
    }

    fn dissolve(&self, queue: &Destination, group: &Arc<Mutex<Group>>, locked: &mut Group) {
        for tag in locked.resting.drain() {
            // It was refused and has reached nobody since.
            self.store.give_back(queue, tag);
        }
        self.note_rest(queue, locked);
        locked.gone = true;
        let mut groups = self.groups.lock();
        if groups.get(queue).is_some_and(|known| Arc::ptr_eq(known, group)) {
            groups.remove(queue);
        }
    }

    /// Hands out what can be. Whether something was buried instead.
    fn pump(&self, queue: &Destination, group: &mut Group, now: Now) -> bool {
        let mut buried = !group.resting.is_empty() && self.see_to_resting(queue, group, now);
        while let Some(next) = group.pick(|_| true) {
            let (member, queued) = match group.take_resting(next) {
                Some(found) => found,
                None => match self.store.take(queue) {
                    Some(queued) => (next, queued),
                    None => {
                        self.store.want(queue, group.credit());
                        break;
                    }
                },
            };
            match self.undertaker.end_of(queue, &queued, now.wall_ms) {
                None => self.hand(group, member, queued),
                Some(reason) => {
                    self.undertaker.bury(queue, &queued, reason);
                    buried = true;
                }
            }
        }
        self.note_rest(queue, group);
        buried
    }

    /// What rested long enough is for anybody. Whether something has expired over it.
    fn see_to_resting(&self, queue: &Destination, group: &mut Group, now: Now) -> bool {
        group.resting.ripen(now.mono);
        let expired = group.resting.take_expired(now.wall_ms);
        for queued in &expired {
            self.undertaker.bury(queue, queued, Reason::Expired);
        }
        !expired.is_empty()
    }

    fn note_rest(&self, queue: &Destination, group: &mut Group) {
        let restless = !group.resting.is_empty();
        if restless == group.restless {
            return;
        }
        group.restless = restless;
        let mut queues = self.restless.lock();
        if restless {
            queues.insert(queue.clone());
        } else {
            queues.remove(queue);
        }
    }

    fn hand(&self, group: &mut Group, member: usize, queued: Queued) {
        group.next = member + 1;
        let Consumer { connection, key } = group.members[member].consumer;
        let Queued { tag, message, deliveries, .. } = queued;
        group.members[member].handed += 1;
        let serial = group.members[member].handed;
        group.members[member].out.insert(tag, serial);
        self.inboxes
            .force(connection.worker, Item::Consume { to: connection, key, tag, message, deliveries });
    }
}

/// How long a refused message waits for another consumer before it is offered to the one that refused it, milliseconds.
pub const REST_MS: u64 = 1_000;

/// Messages whose time has come that one tick sees to: 10,000 a second.
pub const DUE_AT_ONCE: usize = 1_000;

#[cfg(test)]
mod tests;
