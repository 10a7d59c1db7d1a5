//! Cursors of user queues, in this process.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::backend::{Cursor, Cursors};
use crate::model::{Destination, Limits};

/// Cursors of one node.
#[derive(Debug)]
pub struct MemoryCursors {
    shards: Box<[Mutex<Queues>]>,
    hasher: RandomState,
    devices_max: usize,
    queues_max: usize,
    queues: AtomicUsize,
    /// The shard that is looked through next.
    hand: AtomicUsize,
}

type Queues = HashMap<Destination, Vec<Entry>, RandomState>;

#[derive(Debug)]
struct Entry {
    device: Box<str>,
    /// Everything up to here was taken; 0 before the first.
    offset: u64,
    seen_ms: u64,
}

impl MemoryCursors {
    /// No cursors yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            devices_max: limits.devices_of_user_max,
            queues_max: limits.offline_queues_max,
            queues: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    fn with<T>(&self, queue: &Destination, act: impl FnOnce(&mut Vec<Entry>) -> T) -> Option<T> {
        let mut shard = self.shards[self.hasher.hash_one(queue) as usize % SHARDS].lock();
        if let Some(cursors) = shard.get_mut(queue) {
            return Some(act(cursors));
        }
        // One queue more is not remembered: its messages are kept until they are too many or too old.
        if self.queues.load(Ordering::Relaxed) >= self.queues_max {
            return None;
        }
        self.queues.fetch_add(1, Ordering::Relaxed);
        Some(act(shard.entry(queue.clone()).or_default()))
    }

    /// The cursor of `device`; where there are too many, it takes the place of the one that was not seen for the longest,
    /// which `forget` is told.
    fn of<'a>(
        &self,
        cursors: &'a mut Vec<Entry>,
        device: &str,
        now_ms: u64,
        forget: &mut dyn FnMut(&str),
    ) -> &'a mut Entry {
        let known = cursors.iter().position(|cursor| *cursor.device == *device);
        let place = known.unwrap_or_else(|| {
            if cursors.len() >= self.devices_max.max(1) {
                let oldest = cursors.iter().enumerate().min_by_key(|(_, cursor)| cursor.seen_ms);
                let oldest = oldest.map_or(0, |(place, _)| place);
                forget(&cursors.swap_remove(oldest).device);
            }
            cursors.push(Entry { device: device.into(), offset: 0, seen_ms: now_ms });
            cursors.len() - 1
        });
        cursors[place].seen_ms = now_ms;
        &mut cursors[place]
    }

    /// As [`Cursors::begin`], and 0 for a device that has taken nothing; `None` if it is not remembered. `forget` is told
    /// which device had to go for it.
    pub(in crate::backend) fn begun(
        &self,
        queue: &Destination,
        device: &str,
        now_ms: u64,
        forget: &mut dyn FnMut(&str),
    ) -> Option<u64> {
        self.with(queue, |cursors| self.of(cursors, device, now_ms, forget).offset)
    }

    /// As [`Cursors::advance`]; `None` if the device is not remembered.
    pub(in crate::backend) fn advanced(
        &self,
        queue: &Destination,
        device: &str,
        offset: u64,
        now_ms: u64,
        forget: &mut dyn FnMut(&str),
    ) -> Option<Taken> {
        self.with(queue, |cursors| {
            let cursor = self.of(cursors, device, now_ms, forget);
            cursor.offset = cursor.offset.max(offset);
            let by_device = cursor.offset;
            let by_all = cursors.iter().map(|cursor| cursor.offset).min().unwrap_or(0);
            Taken { by_device, by_all }
        })
    }

    /// As [`Cursors::tick`]; `forget` is told what had to go.
    pub(in crate::backend) fn forget_unseen(&self, seen_ms: u64, forget: &mut dyn FnMut(&Destination, &str)) {
        let turn = self.hand.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shards[turn].lock();
        let before = shard.len();
        shard.retain(|queue, cursors| {
            cursors.retain(|cursor| {
                let is_seen = cursor.seen_ms >= seen_ms;
                if !is_seen {
                    forget(queue, &cursor.device);
                }
                is_seen
            });
            !cursors.is_empty()
        });
        self.queues.fetch_sub(before - shard.len(), Ordering::Relaxed);
    }

    /// A cursor of an earlier process.
    pub(in crate::backend) fn restore(&self, queue: &Destination, device: &str, offset: u64, seen_ms: u64) {
        self.advanced(queue, device, offset, seen_ms, &mut |_| {});
    }
}

/// Up to where a queue was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend) struct Taken {
    pub(in crate::backend) by_device: u64,
    pub(in crate::backend) by_all: u64,
}

impl Cursors for MemoryCursors {
    fn begin(&self, queue: &Destination, device: &str, now_ms: u64) -> Cursor {
        Cursor::At(self.begun(queue, device, now_ms, &mut |_| {}).filter(|offset| *offset > 0))
    }

    fn advance(&self, queue: &Destination, device: &str, offset: u64, now_ms: u64) -> Option<u64> {
        Some(self.advanced(queue, device, offset, now_ms, &mut |_| {}).map_or(0, |taken| taken.by_all))
    }

    fn tick(&self, seen_ms: u64) {
        self.forget_unseen(seen_ms, &mut |_, _| {});
    }

    fn len(&self) -> usize {
        self.queues.load(Ordering::Relaxed)
    }
}

/// Queues are spread over so many locks.
const SHARDS: usize = 256;
