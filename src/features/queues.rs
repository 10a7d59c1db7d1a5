//! Work queues: each message to one of this node's consumers, in turn, as far as their credit goes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use stompede_protocol::{Millis, SubscriptionKey};

use crate::backend::{QueueError, Queues, Taken};
use crate::model::{ConnectionId, Destination, Message};
use crate::routing::{Inboxes, Item};

use group::{Group, Member};

mod dead_letters;
mod group;
mod resting;

/// One subscription that takes from a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    /// Its connection.
    pub connection: ConnectionId,
    /// Its subscription there.
    pub key: SubscriptionKey,
}

/// Hands messages of queues to consumers.
#[derive(Debug)]
pub struct Dispatcher {
    store: Arc<dyn Queues>,
    inboxes: Arc<Inboxes>,
    /// Never locked while a group's lock is waited for: a group that dissolves locks it.
    groups: Mutex<HashMap<Destination, Arc<Mutex<Group>>, RandomState>>,
    /// Queues where something rests: only they have to be looked at as time passes.
    restless: Mutex<HashSet<Destination, RandomState>>,
}

impl Dispatcher {
    /// A dispatcher over `store`.
    pub fn new(store: Arc<dyn Queues>, inboxes: Arc<Inboxes>) -> Self {
        Self { store, inboxes, groups: Mutex::default(), restless: Mutex::default() }
    }

    /// Whether somebody on this node consumes from `queue`.
    pub fn has_consumers(&self, queue: &Destination) -> bool {
        self.group(queue).is_some_and(|group| !group.lock().members.is_empty())
    }

    /// Queues that somebody on this node consumes.
    pub fn consumed_queues(&self) -> usize {
        self.groups.lock().len()
    }

    /// Whether so many more messages of so many bytes in all have room.
    pub fn admit(&self, queue: &Destination, messages: usize, bytes: usize) -> Result<(), QueueError> {
        self.store.admit(queue, messages, bytes)
    }

    /// Puts a message into the queue and hands out what can be.
    pub fn publish(&self, queue: &Destination, message: Arc<Message>, now: Millis) -> Result<(), QueueError> {
        self.store.put(queue, message)?;
        self.hand_out(queue, now);
        Ok(())
    }

    /// As [`Dispatcher::publish`], room or not: for the rest of a transaction that has begun.
    pub fn publish_anyway(&self, queue: &Destination, message: Arc<Message>, now: Millis) {
        self.store.force(queue, message);
        self.hand_out(queue, now);
    }

    /// Adds a consumer that may have `credit` messages at once.
    pub fn subscribe(&self, queue: &Destination, consumer: Consumer, credit: usize, now: Millis) {
        self.with_group(queue, now, |group| group.members.push(Member::new(consumer, credit)));
    }

    /// Removes a consumer that `arrived` messages have reached. What it has goes back, and so does what is on its way to
    /// it, as never handed out; except what is `kept`: that may still be written, and is settled or given back one day.
    pub fn unsubscribe(
        &self,
        queue: &Destination,
        consumer: Consumer,
        arrived: u64,
        kept: &[u64],
        now: Millis,
    ) {
        self.with_group(queue, now, |group| {
            let Some(place) = group.place(consumer) else { return };
            for (tag, serial) in group.members.remove(place).out {
                if serial > arrived {
                    self.store.give_back(queue, tag);
                } else if !kept.contains(&tag) {
                    self.store.release(queue, tag);
                }
            }
        });
    }

    /// Messages that were never written come back.
    pub fn give_back(&self, queue: &Destination, consumer: Consumer, tags: &[u64], now: Millis) {
        self.with_group(queue, now, |group| {
            group.forget(consumer, tags);
            tags.iter().for_each(|tag| self.store.give_back(queue, *tag));
        });
    }

    /// The consumer is done with these messages.
    pub fn settle(&self, queue: &Destination, consumer: Consumer, tags: &[u64], now: Millis) {
        for tag in tags {
            self.store.settle(queue, *tag);
        }
        self.with_group(queue, now, |group| group.forget(consumer, tags));
    }

    /// The consumer refuses these messages: another one gets them first, and after [`REST_MS`] whoever is there.
    pub fn refuse(&self, queue: &Destination, consumer: Consumer, tags: &[u64], now: Millis) {
        self.with_group(queue, now, |group| {
            for taken in tags.iter().filter_map(|tag| self.store.retake(queue, *tag)) {
                group.resting.add(taken, consumer, now.after(REST_MS));
            }
            group.forget(consumer, tags);
        });
    }

    /// The consumer refuses these messages for good: they go to the dead-letter queue, oldest dead letters making room;
    /// from there they go nowhere. Returns how many messages are lost by that.
    pub fn reject(&self, queue: &Destination, consumer: Consumer, tags: &[u64], now: Millis) -> usize {
        let dead = dead_letters::queue_of(queue);
        let mut lost = 0;
        for tag in tags {
            let Some(message) = self.store.settle(queue, *tag) else { continue };
            lost += match &dead {
                Some(dead) => self.bury(dead, dead_letters::letter(&message, queue, dead), now),
                None => 1,
            };
        }
        self.with_group(queue, now, |group| group.forget(consumer, tags));
        lost
    }

    fn bury(&self, dead: &Destination, letter: Message, now: Millis) -> usize {
        let letter = Arc::new(letter);
        let mut lost = 0;
        while self.store.put(dead, Arc::clone(&letter)).is_err() {
            lost += 1;
            let oldest = self.store.take(dead).and_then(|taken| self.store.settle(dead, taken.tag));
            if oldest.is_none() {
                // All that is there is with consumers, so it is the new one that is lost.
                return lost;
            }
        }
        self.hand_out(dead, now);
        lost
    }

    /// A message could not be written to the consumer now: it goes back, and nothing more is handed to the consumer
    /// until [`Dispatcher::resume`].
    pub fn pause(&self, queue: &Destination, consumer: Consumer, tag: u64, now: Millis) {
        self.with_group(queue, now, |group| {
            group.set_paused(consumer, true);
            group.forget(consumer, &[tag]);
            self.store.give_back(queue, tag);
        });
    }

    /// The consumer can take messages again.
    pub fn resume(&self, queue: &Destination, consumer: Consumer, now: Millis) {
        self.with_group(queue, now, |group| group.set_paused(consumer, false));
    }

    /// Hands out what rested long enough. To be called several times a second.
    pub fn tick(&self, now: Millis) {
        let restless: Vec<_> = self.restless.lock().iter().cloned().collect();
        for queue in restless {
            self.hand_out(&queue, now);
        }
    }

    fn hand_out(&self, queue: &Destination, now: Millis) {
        if let Some(group) = self.group(queue) {
            self.pump(queue, &mut group.lock(), now);
        }
    }

    fn group(&self, queue: &Destination) -> Option<Arc<Mutex<Group>>> {
        self.groups.lock().get(queue).cloned()
    }

    /// Changes the group, then hands out what can be. A group without consumers is dissolved.
    fn with_group(&self, queue: &Destination, now: Millis, change: impl FnOnce(&mut Group)) {
        loop {
            let group = Arc::clone(self.groups.lock().entry(queue.clone()).or_default());
            let mut locked = group.lock();
            if locked.gone {
                // It left the map before its lock was free: the next look finds another one.
                continue;
            }
            change(&mut locked);
            self.pump(queue, &mut locked, now);
            if locked.members.is_empty() {
                self.dissolve(queue, &group, &mut locked);
            }
            return;
        }
    }

    fn dissolve(&self, queue: &Destination, group: &Arc<Mutex<Group>>, locked: &mut Group) {
        for tag in locked.resting.drain() {
            self.store.release(queue, tag);
        }
        self.note_rest(queue, locked);
        locked.gone = true;
        let mut groups = self.groups.lock();
        if groups.get(queue).is_some_and(|known| Arc::ptr_eq(known, group)) {
            groups.remove(queue);
        }
    }

    fn pump(&self, queue: &Destination, group: &mut Group, now: Millis) {
        group.resting.ripen(now);
        while let Some(next) = group.pick(|_| true) {
            if let Some((member, taken)) = group.take_resting(next) {
                self.hand(group, member, taken);
            } else if let Some(taken) = self.store.take(queue) {
                self.hand(group, next, taken);
            } else {
                break;
            }
        }
        self.note_rest(queue, group);
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

    fn hand(&self, group: &mut Group, member: usize, taken: Taken) {
        group.next = member + 1;
        let Consumer { connection, key } = group.members[member].consumer;
        let Taken { tag, message, redelivered } = taken;
        group.members[member].handed += 1;
        let serial = group.members[member].handed;
        group.members[member].out.insert(tag, serial);
        self.inboxes
            .force(connection.worker, Item::Consume { to: connection, key, tag, message, redelivered });
    }
}

/// How long a refused message waits for another consumer before it is offered to the one that refused it, milliseconds.
pub const REST_MS: u64 = 1_000;

#[cfg(test)]
mod tests;
