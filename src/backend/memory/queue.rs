//! One work queue in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Depth, Queued};
use crate::model::{Message, expiry};

/// Messages by tag, which rises with age: what comes back stands where it stood.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: BTreeMap<u64, Entry>,
    out: BTreeMap<u64, Entry>,
    /// What has a place and is not safe yet; most stores have none.
    reserved: BTreeMap<u64, Entry>,
    /// Most queues never have one.
    timed: Option<Box<Timed>>,
    bytes: usize,
    last_tag: u64,
}

/// What waits for its time.
#[derive(Debug, Default)]
struct Timed {
    postponed: BTreeMap<u64, Entry>,
    /// When something happens to what is not out, and its tag: a postponed message is due, or one expires.
    alarms: BTreeSet<(u64, u64)>,
}

#[derive(Debug)]
struct Entry {
    message: Arc<Message>,
    /// How often it was handed out, this time included while it is out.
    deliveries: u32,
    expires_ms: Option<u64>,
}

/// What an alarm brought.
pub(super) enum Rung {
    Ready,
    Expired(Queued),
}

impl Queue {
    /// An empty queue, whose tags are above `tags_used`.
    pub(super) fn new(tags_used: u64) -> Self {
        Self { last_tag: tags_used, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        let postponed = self.timed.as_ref().map_or(0, |timed| timed.postponed.len());
        self.ready.len() + self.out.len() + self.reserved.len() + postponed
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn last_tag(&self) -> u64 {
        self.last_tag
    }

    /// When [`Queue::ring`] has something to do, milliseconds since the Unix epoch.
    pub(super) fn alarm(&self) -> Option<u64> {
        self.timed.as_ref()?.alarms.first().map(|(at, _)| *at)
    }

    pub(super) fn add(&mut self, message: Arc<Message>) -> u64 {
        self.bytes += message.cost_bytes();
        self.last_tag += 1;
        let expires_ms = message.expires_ms();
        self.make_ready(self.last_tag, Entry { message, deliveries: 0, expires_ms });
        self.last_tag
    }

    /// Keeps a place at the end for a message that is not ready before [`Queue::admit`].
    pub(super) fn reserve(&mut self, message: Arc<Message>) -> u64 {
        self.bytes += message.cost_bytes();
        self.last_tag += 1;
        let expires_ms = message.expires_ms();
        let entry = Entry { message, deliveries: 0, expires_ms };
        self.reserved.insert(self.last_tag, entry);
        self.last_tag
    }

    pub(super) fn admit(&mut self, tag: u64) {
        if let Some(entry) = self.reserved.remove(&tag) {
            self.make_ready(tag, entry);
        }
    }

    /// The message will never be ready.
    pub(super) fn give_up(&mut self, tag: u64) -> Option<Arc<Message>> {
        let message = self.reserved.remove(&tag)?.message;
        self.bytes -= message.cost_bytes();
        Some(message)
    }

    /// Adds a message of an earlier process.
    pub(super) fn restore(&mut self, tag: u64, message: Arc<Message>, deliveries: u32, due_ms: Option<u64>) {
        self.bytes += message.cost_bytes();
        self.last_tag = self.last_tag.max(tag);
        let expires_ms = message.expires_ms();
        let entry = Entry { message, deliveries, expires_ms };
        match due_ms {
            Some(due_ms) => self.put_off(tag, entry, due_ms),
            None => self.make_ready(tag, entry),
        }
    }

    pub(super) fn take(&mut self) -> Option<Queued> {
        let (tag, entry) = self.ready.pop_first()?;
        if let (Some(at), Some(timed)) = (entry.alarm(), &mut self.timed) {
            timed.alarms.remove(&(at, tag));
        }
        Some(self.hand_out(tag, entry))
    }

    pub(super) fn release(&mut self, tag: u64) {
        if let Some(entry) = self.out.remove(&tag) {
            self.make_ready(tag, entry);
        }
    }

    /// How often it was handed out.
    pub(super) fn give_back(&mut self, tag: u64) -> Option<u32> {
        let entry = self.out.remove(&tag)?;
        let deliveries = entry.deliveries - 1;
        self.make_ready(tag, Entry { deliveries, ..entry });
        Some(deliveries)
    }

    pub(super) fn retake(&mut self, tag: u64) -> Option<Queued> {
        let entry = self.out.remove(&tag)?;
        Some(self.hand_out(tag, entry))
    }

    /// How often it was handed out.
    pub(super) fn postpone(&mut self, tag: u64, due_ms: u64) -> Option<u32> {
        let entry = self.out.remove(&tag)?;
        let deliveries = entry.deliveries;
        self.put_off(tag, entry, due_ms);
        Some(deliveries)
    }

    fn put_off(&mut self, tag: u64, entry: Entry, due_ms: u64) {
        let at = entry.alarm().map_or(due_ms, |expires| due_ms.min(expires));
        let timed = self.timed.get_or_insert_default();
        timed.alarms.insert((at, tag));
        timed.postponed.insert(tag, entry);
    }

    #[inline]
    pub(super) fn settle(&mut self, tag: u64) -> Option<Arc<Message>> {
        let message = self.out.remove(&tag)?.message;
        self.bytes -= message.cost_bytes();
        Some(message)
    }

    /// The first thing that has come due until `now_ms`.
    pub(super) fn ring(&mut self, now_ms: u64) -> Option<Rung> {
        self.alarm().filter(|at| *at <= now_ms)?;
        let timed = self.timed.as_mut()?;
        let (_, tag) = timed.alarms.pop_first()?;
        let entry = timed.postponed.remove(&tag).or_else(|| self.ready.remove(&tag))?;
        if expiry::is_past(entry.expires_ms, now_ms) {
            return Some(Rung::Expired(self.hand_out(tag, entry)));
        }
        self.make_ready(tag, entry);
        Some(Rung::Ready)
    }

    pub(super) fn depth(&self) -> Depth {
        let postponed = self.timed.as_ref().and_then(|timed| timed.postponed.first_key_value());
        let first =
            [self.ready.first_key_value(), self.out.first_key_value(), postponed].into_iter().flatten();
        let oldest = first.min_by_key(|(tag, _)| **tag).map(|(_, entry)| entry.message.timestamp_ms);
        Depth { messages: self.len(), out: self.out.len(), bytes: self.bytes, oldest_ms: oldest }
    }

    /// Takes out a message that is with nobody.
    pub(super) fn remove(&mut self, tag: u64) -> Option<Arc<Message>> {
        let (entry, is_postponed) = match self.ready.remove(&tag) {
            Some(entry) => (entry, false),
            None => (self.timed.as_mut()?.postponed.remove(&tag)?, true),
        };
        if let Some(timed) = &mut self.timed {
            match entry.alarm() {
                // When it was due is not kept beside it.
                _ if is_postponed => timed.alarms.retain(|(_, of)| *of != tag),
                Some(at) => drop(timed.alarms.remove(&(at, tag))),
                None => {}
            }
        }
        self.bytes -= entry.message.cost_bytes();
        Some(entry.message)
    }

    /// Tags of up to `count` messages that are with nobody.
    pub(super) fn free(&self, count: usize) -> Vec<u64> {
        let postponed = self.timed.iter().flat_map(|timed| timed.postponed.keys());
        self.ready.keys().chain(postponed).take(count).copied().collect()
    }

    pub(super) fn browse(&self, after: u64, count: usize) -> Vec<Queued> {
        let of = |entries: &BTreeMap<u64, Entry>, taken: u32| -> Vec<Queued> {
            let above = entries.range(after.saturating_add(1)..).take(count);
            above.map(|(tag, entry)| entry.queued(*tag, entry.deliveries - taken)).collect()
        };
        let postponed = self.timed.as_ref().map_or_else(Vec::new, |timed| of(&timed.postponed, 0));
        let mut found = [of(&self.ready, 0), of(&self.out, 1), postponed].concat();
        found.sort_unstable_by_key(|queued| queued.tag);
        found.truncate(count);
        found
    }

    #[inline]
    fn make_ready(&mut self, tag: u64, entry: Entry) {
        if let Some(at) = entry.alarm() {
            self.timed.get_or_insert_default().alarms.insert((at, tag));
        }
        self.ready.insert(tag, entry);
    }

    #[inline]
    fn hand_out(&mut self, tag: u64, mut entry: Entry) -> Queued {
        let queued = entry.queued(tag, entry.deliveries);
        entry.deliveries = entry.deliveries.saturating_add(1);
        self.out.insert(tag, entry);
        queued
    }
}

impl Entry {
    /// When it has expired.
    fn alarm(&self) -> Option<u64> {
        self.expires_ms.map(|at| at.saturating_add(1))
    }

    fn queued(&self, tag: u64, deliveries: u32) -> Queued {
        Queued { tag, message: Arc::clone(&self.message), deliveries, expires_ms: self.expires_ms }
    }
}
