//! Where each destination's log stands.
//!
//! Only the thread that writes changes it. Readers see a message when it is published, and do not see what is removed from
//! the moment on in which its removal is about to be written.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use crate::model::{Destination, MessageId};

use super::tables;

/// What is known of one log without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Log {
    /// Everything from here on is there.
    pub(super) first: u64,
    /// Offset of the newest message that ever stood here.
    pub(super) last: u64,
    pub(super) count: u64,
    /// Bytes of its records.
    pub(super) bytes: u64,
    /// When the oldest message came, or before.
    pub(super) oldest_ms: u64,
    /// Identity of the newest message.
    pub(super) last_id: MessageId,
    /// What is known of the oldest messages, where some had to go.
    pub(super) head: Option<Box<Head>>,
}

/// The oldest messages of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) known: VecDeque<Known>,
    /// There are no others.
    pub(super) is_all: bool,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) offset: u64,
    pub(super) bytes: u32,
    pub(super) timestamp_ms: u64,
}

impl Log {
    /// An empty log whose first message comes after `last`.
    pub(super) fn new(last: u64) -> Self {
        let last_id = MessageId { node: 0, number: 0 };
        Self { first: last + 1, last, count: 0, bytes: 0, oldest_ms: 0, last_id, head: None }
    }

    /// Everything after this offset is there.
    pub(super) fn gone(&self) -> u64 {
        (self.first - 1).min(self.last)
    }

    /// Whether no offset between the first and the last was left out.
    pub(super) fn is_dense(&self) -> bool {
        self.last - self.gone() == self.count
    }

    /// As it is written.
    pub(super) fn encode(&self) -> Vec<u8> {
        let MessageId { node, number } = self.last_id;
        tables::numbers(&[self.first, self.last, self.count, self.bytes, self.oldest_ms, node, number])
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let [first, last, count, bytes, oldest_ms, node, number] = tables::parse_numbers(value)?;
        let is_sane = (1..=LAST_MAX).contains(&first) && last <= LAST_MAX && first <= last + 1;
        let last_id = MessageId { node, number };
        let log = Self { first, last, count, bytes, oldest_ms, last_id, head: None };
        (is_sane && count <= last + 1 - first).then_some(log)
    }
}

/// All logs.
#[derive(Debug)]
pub(super) struct Logs {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Greatest offset of the logs that were forgotten: one that begins anew repeats none of theirs.
    base: AtomicU64,
    bytes: AtomicU64,
    count: AtomicUsize,
    /// The shard that is looked through next.
    hand: AtomicUsize,
}

pub(super) type Shard = HashMap<Destination, Log, RandomState>;

impl Logs {
    pub(super) fn new(base: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            base: AtomicU64::new(base),
            bytes: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// The lock under which messages of `destination` are published.
    pub(super) fn lock(&self, destination: &Destination) -> MutexGuard<'_, Shard> {
        self.shards[self.hasher.hash_one(destination) as usize % SHARDS].lock()
    }

    /// The logs of one shard after the other, for who looks through all of them.
    pub(super) fn lock_next(&self) -> MutexGuard<'_, Shard> {
        self.shards[self.hand.fetch_add(1, Ordering::Relaxed) % SHARDS].lock()
    }

    /// Where a log stands; one that nothing is kept of is empty.
    pub(super) fn log(&self, destination: &Destination) -> Log {
        self.lock(destination).get(destination).cloned().unwrap_or_else(|| Log::new(self.base()))
    }

    /// A log is known from now on.
    pub(super) fn restore(&self, destination: Destination, log: Log) {
        self.bytes.fetch_add(log.bytes, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.lock(&destination).insert(destination, log);
    }

    /// What stands before `first` is not there for readers any more.
    pub(super) fn hide(&self, destination: &Destination, first: u64) {
        if let Some(log) = self.lock(destination).get_mut(destination) {
            log.first = first;
        }
    }

    /// The message at `offset` is there for readers; `hand_over` is called while they wait.
    pub(super) fn show(
        &self,
        destination: &Destination,
        log: &Log,
        offset: u64,
        id: MessageId,
        hand_over: impl FnOnce(),
    ) {
        let mut shard = self.lock(destination);
        let shown = shard.entry(destination.clone()).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            Log::new(log.first - 1)
        });
        (shown.last, shown.last_id) = (offset, id);
        shown.count += 1;
        hand_over();
    }

    /// Puts a log where it stands after a batch.
    pub(super) fn settle(&self, destination: Destination, log: Log) {
        self.bytes.fetch_add(log.bytes, Ordering::Relaxed);
        let before = self.lock(&destination).insert(destination, log);
        self.bytes.fetch_sub(before.as_ref().map_or(0, |log| log.bytes), Ordering::Relaxed);
        self.count.fetch_add(usize::from(before.is_none()), Ordering::Relaxed);
    }

    /// A log is known no more; one that begins anew goes on behind it.
    pub(super) fn forget(&self, destination: &Destination, log: &Log) {
        // Before, for whoever does not find it goes by the base.
        self.base.fetch_max(log.last, Ordering::Relaxed);
        if let Some(before) = self.lock(destination).remove(destination) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.bytes.fetch_sub(before.bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn base(&self) -> u64 {
        self.base.load(Ordering::Relaxed)
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// No log comes near it.
const LAST_MAX: u64 = u64::MAX / 2;

/// Destinations are spread over so many locks.
pub(super) const SHARDS: usize = 64;
