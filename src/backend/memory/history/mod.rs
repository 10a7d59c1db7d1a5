//! History in this process. A destination of which nothing is kept any more is forgotten.
//!
//! The lock of a destination's shard is the order of its messages: under it one is numbered, handed to the workers and
//! kept, and an answer to a reader is put into the inbox of his worker. So what the answer does not contain comes behind
//! it, and nothing comes twice.

mod records;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use slab::Slab;

use crate::backend::history::{Appended, History, Patience, Question, Unappended};
use crate::backend::{Inbound, Sink, record};
use crate::model::{Answer, Destination, Message, Page, Position, Retention, StoreError, Ticket};

use records::{Found, Log};

/// History of one node.
#[derive(Debug)]
pub struct MemoryHistory {
    sink: Arc<dyn Sink>,
    shards: Box<[Mutex<Shard>]>,
    /// Also makes the epochs, which are this process's own.
    hasher: RandomState,
    bytes: AtomicUsize,
    bytes_max: usize,
    /// The shard that is looked through next.
    hand: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    names: HashMap<Destination, usize, RandomState>,
    logs: Slab<Log>,
    /// Greatest offset of the logs that were forgotten: one that begins anew repeats none of theirs.
    base: u64,
    /// The log that is looked at next.
    hand: usize,
}

impl MemoryHistory {
    /// An empty history that hands messages to `sink` and holds `bytes_max` in all.
    pub fn new(sink: Arc<dyn Sink>, bytes_max: usize) -> Self {
        Self {
            sink,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            bytes: AtomicUsize::new(0),
            bytes_max,
            hand: AtomicUsize::new(0),
        }
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        &self.shards[hash as usize % SHARDS]
    }

    /// Forgets messages until all fit, nearly the oldest first: of a few destinations the one whose oldest message is
    /// the oldest loses it.
    fn make_room(&self) {
        let mut in_vain = 0;
        while in_vain < SHARDS && self.bytes.load(Ordering::Relaxed) > self.bytes_max {
            let turn = self.hand.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let freed = self.shards[turn].lock().drop_oldest_of_some();
            self.bytes.fetch_sub(freed, Ordering::Relaxed);
            in_vain = if freed == 0 { in_vain + 1 } else { 0 };
        }
    }
}

impl History for MemoryHistory {
    fn append(
        &self,
        message: &mut Arc<Message>,
        retention: &Retention,
        patience: Patience,
        _: Ticket,
    ) -> Result<Appended, Unappended> {
        let destination = message.destination.clone();
        let cost_bytes = message.cost_bytes();
        let epoch = self.hasher.hash_one(&destination);
        let mut locked = self.shard(epoch).lock();
        let shard = &mut *locked;
        let position = Position { epoch, offset: shard.last(&destination) + 1 };
        let mut make = || {
            if let Some(message) = Arc::get_mut(message) {
                message.place(position);
            }
            Arc::clone(message)
        };
        match patience {
            Patience::Wait(worker) => {
                let from = Some(worker);
                self.sink.accept(Inbound { destination: &destination, cost_bytes, from, make: &mut make })?;
            }
            Patience::None => self.sink.force(&make()),
        }
        let grown = shard.log(&destination).push(record::encode(message), retention, message.timestamp_ms);
        let before = self.bytes.fetch_add(grown.cast_unsigned(), Ordering::Relaxed);
        drop(locked);
        if before.wrapping_add_signed(grown) > self.bytes_max {
            self.make_room();
        }
        Ok(Appended::Now(position))
    }

    fn ask(&self, destination: &Destination, question: Question, ticket: Ticket, now_ms: u64) {
        let epoch = self.hasher.hash_one(destination);
        let mut shard = self.shard(epoch).lock();
        if let Some(log) = shard.names.get(destination).copied() {
            let freed = shard.logs[log].expire(now_ms);
            self.bytes.fetch_sub(freed, Ordering::Relaxed);
        }
        let none;
        let log = match shard.names.get(destination) {
            Some(log) => &shard.logs[*log],
            None => {
                none = Log::new(destination.clone(), shard.base);
                &none
            }
        };
        let answer = match question {
            Question::Read(wanted) | Question::Resume(_, wanted) => {
                Answer::Page(page(&log.read(wanted, epoch), destination, epoch))
            }
            Question::Find(which) => Answer::Found(Ok(log.find(which))),
            Question::Count(readers) => Answer::Unread(Ok(log.count_unread(&readers))),
        };
        // Still under the lock: the next message comes behind the answer.
        self.sink.answer(ticket, answer);
    }

    fn trim(&self, destination: &Destination, offset: u64) {
        let mut shard = self.shard(self.hasher.hash_one(destination)).lock();
        let Some(log) = shard.names.get(destination).copied() else { return };
        let freed = shard.logs[log].trim(offset);
        shard.forget_if_empty(log);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    fn last(&self, destination: &Destination) -> u64 {
        self.shard(self.hasher.hash_one(destination)).lock().last(destination)
    }

    fn tick(&self, now_ms: u64) {
        let turn = self.hand.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let freed = self.shards[turn].lock().expire(now_ms);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().logs.len()).sum()
    }
}

impl Shard {
    /// Offset of the newest message of `destination`.
    fn last(&self, destination: &Destination) -> u64 {
        self.names.get(destination).map_or(self.base, |log| self.logs[*log].last())
    }

    fn log(&mut self, destination: &Destination) -> &mut Log {
        let index = match self.names.get(destination) {
            Some(index) => *index,
            None => {
                let index = self.logs.insert(Log::new(destination.clone(), self.base));
                self.names.insert(destination.clone(), index);
                index
            }
        };
        &mut self.logs[index]
    }

    /// Forgets what is too old of some logs, and logs that are empty by that; returns the bytes that are free.
    fn expire(&mut self, now_ms: u64) -> usize {
        let mut freed = 0;
        for _ in 0..LOGS_A_TICK.min(self.logs.len()) {
            let Some(index) = self.next_log() else { break };
            freed += self.logs[index].expire(now_ms);
            self.forget_if_empty(index);
        }
        freed
    }

    fn drop_oldest_of_some(&mut self) -> usize {
        let some: [Option<usize>; CANDIDATES] = std::array::from_fn(|_| self.next_log());
        let oldest = some.into_iter().flatten().min_by_key(|index| self.logs[*index].oldest_ms());
        let Some(index) = oldest else { return 0 };
        let freed = self.logs[index].drop_oldest();
        self.forget_if_empty(index);
        freed
    }

    /// The logs in turn.
    fn next_log(&mut self) -> Option<usize> {
        let next = (0..self.logs.capacity())
            .map(|step| (self.hand + step) % self.logs.capacity())
            .find(|index| self.logs.contains(*index))?;
        self.hand = next + 1;
        Some(next)
    }

    fn forget_if_empty(&mut self, index: usize) {
        if self.logs[index].is_empty() {
            let log = self.logs.remove(index);
            self.names.remove(&log.destination);
            self.base = self.base.max(log.last());
        }
    }
}

fn page(found: &Found<'_>, destination: &Destination, epoch: u64) -> Result<Page, StoreError> {
    let message = |(offset, record): &(u64, &[u8])| {
        let decoded = record::decode(record, destination, Position { epoch, offset: *offset });
        decoded.map(Arc::new).map_err(|_| StoreError::Unavailable)
    };
    Ok(Page {
        messages: found.records.iter().map(message).collect::<Result<_, _>>()?,
        recovered: found.recovered,
        after: Position { epoch, offset: found.after },
        end: Position { epoch, offset: found.end },
        joined: found.is_end,
    })
}

/// Destinations are spread over so many locks.
const SHARDS: usize = 64;

/// Logs that are looked through for what is too old, at a time.
const LOGS_A_TICK: usize = 1_024;

/// Of so many logs the one with the oldest message loses it, where all together are too large.
const CANDIDATES: usize = 8;

#[cfg(test)]
mod tests;
