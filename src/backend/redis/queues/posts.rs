//! Putting messages into queues, and the wait for somebody who handles them.
//!
//! What is sent to `/app/...` where nobody on any node handles it waits for a while, and everything that follows it there
//! behind it: the first is put again now and then, the others when that has been taken. Redis holds back what was sent
//! before this was known here.
//!
//! ```text
//!   put --> Redis --- kept, refused --> answered
//!            | ^
//!    nobody  | |  the first again, or all once that was taken
//!            v |
//!          waiting --- too long --> answered: no handler
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use redis::Value;
use stompede_protocol::Millis;

use super::RedisQueues;
use super::calls::{self, Caller};
use crate::backend::redis::keys::{PARTITIONS, Partition};
use crate::backend::redis::link::{Doubt, Fault, HOLD_MS, Order};
use crate::backend::redis::relay::{idempotency_key, store_error};
use crate::backend::{QueueError, record};
use crate::model::{Answer, Destination, Message, StoreError, Ticket, WorkerId};

/// What is being put.
#[derive(Debug)]
pub(super) struct Posts {
    /// The last sequence of each partition. Locked while the link takes the order: sequences come to Redis in order.
    sequences: Box<[Mutex<u64>]>,
    /// By queue. Locked while the link takes an order for such a queue, so that none overtakes what waits.
    lines: Mutex<HashMap<Destination, Line, RandomState>>,
    /// The last turn that was given.
    turns: AtomicU64,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
}

/// What waits for somebody who handles it; while there is one, nothing is put there but its first.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Post>,
    /// The first is put again just now.
    is_trying: bool,
}

/// A message on its way into a queue.
#[derive(Debug, Clone)]
struct Post {
    queue: Destination,
    record: Bytes,
    expires_ms: Option<u64>,
    /// Where it is noted that it was accepted.
    known: Option<String>,
    ticket: Ticket,
    within: Within,
    /// The how many-th it is for a queue that must be handled; 0 = for another.
    turn: u64,
    since: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Limits,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Again,
}

impl RedisQueues {
    pub(super) fn put(
        self: &Arc<Self>,
        queue: &Destination,
        message: &Message,
        ticket: Ticket,
    ) -> Result<(), QueueError> {
        let post = self.new_post(queue, message, ticket, Within::Limits);
        if needs_handler(queue) {
            self.put_in_line(post);
            return Ok(());
        }
        self.send(post, Attempt::First, Some(ticket.connection.worker)).map_err(|_| QueueError::Busy)
    }

    pub(super) fn put_anyway(self: &Arc<Self>, queue: &Destination, message: &Message, ticket: Ticket) {
        let post = self.new_post(queue, message, ticket, Within::Nothing);
        if needs_handler(queue) {
            self.put_in_line(post);
        } else {
            // Without a worker it is always taken.
            let _ = self.send(post, Attempt::First, None);
        }
    }

    /// Tries again where somebody here handles the queue now.
    pub(super) fn retry(self: &Arc<Self>, queue: &Destination) {
        let first = self.posts.lines.lock().get_mut(queue).and_then(Line::next_attempt);
        if let Some(first) = first {
            self.posts.note_gone(&first);
            let _ = self.send(first, Attempt::Again, None);
        }
    }

    /// Refuses what has waited too long, and tries the others again.
    pub(super) fn retry_all(self: &Arc<Self>, now: Millis) {
        if self.posts.waiting.load(Ordering::Acquire) == 0 {
            return;
        }
        let (mut late, mut again) = (Vec::new(), Vec::new());
        self.posts.lines.lock().retain(|_, line| {
            let is_late = |post: &Post| now.since(post.since) >= HOLD_MS;
            while let Some(first) = line.waiting.first_entry().filter(|first| is_late(first.get())) {
                late.push(first.remove());
            }
            again.extend(line.next_attempt());
            line.is_trying || !line.waiting.is_empty()
        });
        late.sort_unstable_by_key(|post| post.turn);
        again.sort_unstable_by_key(|post: &Post| post.turn);
        for post in late {
            self.posts.note_gone(&post);
            self.answer(&post, Err(StoreError::NoHandler));
        }
        for post in again {
            self.posts.note_gone(&post);
            let _ = self.send(post, Attempt::Again, None);
        }
    }

    fn new_post(&self, queue: &Destination, message: &Message, ticket: Ticket, within: Within) -> Post {
        let partition = Partition::of_destination(queue.as_str());
        Post {
            queue: queue.clone(),
            record: record::encode(message).into_vec().into(),
            expires_ms: message.expires_ms(),
            known: idempotency_key(&self.hub, partition, message),
            ticket,
            within,
            turn: 0,
            since: self.now(),
        }
    }

    fn put_in_line(self: &Arc<Self>, mut post: Post) {
        let lines = self.posts.lines.lock();
        post.turn = self.posts.next_turn();
        if !lines.contains_key(&post.queue) {
            // What the link may call at once must not need this lock: a fault of a first attempt does not.
            let _ = self.send(post, Attempt::First, None);
            return;
        }
        drop(lines);
        self.wait(post, Attempt::First);
    }

    /// Puts a message to those that wait, if they are not too many, or it was one of them.
    fn wait(&self, post: Post, attempt: Attempt) {
        let is_full = self.posts.waiting.load(Ordering::Acquire) >= WAITING_MAX
            || self.posts.waiting_bytes.load(Ordering::Acquire) >= WAITING_BYTES_MAX;
        if is_full && attempt == Attempt::First {
            return self.answer(&post, Err(StoreError::NoHandler));
        }
        self.posts.waiting.fetch_add(1, Ordering::AcqRel);
        self.posts.waiting_bytes.fetch_add(post.record.len(), Ordering::AcqRel);
        let mut lines = self.posts.lines.lock();
        lines.entry(post.queue.clone()).or_default().waiting.insert(post.turn, post);
    }

    /// Sends what waited, now that somebody handles it.
    fn release_line(self: &Arc<Self>, queue: &Destination) {
        let mut lines = self.posts.lines.lock();
        let Some(line) = lines.remove(queue) else { return };
        for post in line.waiting.into_values() {
            self.posts.note_gone(&post);
            let _ = self.send(post, Attempt::First, None);
        }
    }

    /// Sends a message; with a worker only if there is room, of which that is told then.
    fn send(self: &Arc<Self>, post: Post, attempt: Attempt, from: Option<WorkerId>) -> Result<(), ()> {
        let caller = Caller { keys: &self.hub.keys, incarnation: self.hub.incarnation() };
        let Post { queue, record, expires_ms, known, within, turn, .. } = &post;
        let flags = match (within, *turn, attempt) {
            (Within::Limits, 0, _) => "",
            (Within::Nothing, 0, _) => "f",
            (Within::Limits, _, Attempt::First) => "h",
            (Within::Nothing, _, Attempt::First) => "fh",
            (Within::Limits, _, Attempt::Again) => "r",
            (Within::Nothing, _, Attempt::Again) => "fr",
        };
        let mut call = caller.put(queue, known.clone(), flags, *expires_ms, record.clone(), &self.bounds);
        let Some(link) = self.hub.link() else {
            self.answer(&post, Err(StoreError::Unavailable));
            return Ok(());
        };
        let mut last = self.posts.sequences[usize::from(call.partition.0)].lock();
        calls::number_put(&mut call, *last + 1);
        let this = Arc::clone(self);
        self.running.fetch_add(1, Ordering::AcqRel);
        let then = Box::new(move |reply| {
            this.put_done(post, attempt, &reply);
            this.running.fetch_sub(1, Ordering::AcqRel);
        });
        let calls::Call { partition, script, keys, args } = call;
        let order = Order { partition, script, keys, args, doubt: Doubt::Repeat, then };
        match from {
            None => link.force(order),
            Some(worker) => {
                if link.send(order, Some(worker)).is_err() {
                    self.running.fetch_sub(1, Ordering::AcqRel);
                    return Err(());
                }
            }
        }
        *last += 1;
        Ok(())
    }

    fn put_done(self: &Arc<Self>, post: Post, attempt: Attempt, reply: &Result<Value, Fault>) {
        let result = match reply {
            Ok(Value::BulkString(code)) => match &code[..] {
                b"k" => Ok(()),
                b"h" => return self.put_off(post, attempt),
                _ => Err(StoreError::QueueFull),
            },
            Ok(_) => Err(StoreError::Unavailable),
            Err(fault) => Err(store_error(fault)),
        };
        if attempt == Attempt::Again {
            if reply.is_ok() {
                self.release_line(&post.queue);
            } else if let Some(line) = self.posts.lines.lock().get_mut(&post.queue) {
                line.is_trying = false;
            }
        }
        if result.is_ok() {
            // Whoever is attending is called; others here may have asked in vain.
            self.with_known(&post.queue, |_, local| local.stir_unattended());
            if let Some(at_ms) = post.expires_ms {
                let partition = Partition::of_destination(post.queue.as_str());
                self.state.lock().note_alarm(partition, at_ms.saturating_add(1));
            }
        }
        self.answer(&post, result);
    }

    /// Nobody handles it yet.
    fn put_off(&self, post: Post, attempt: Attempt) {
        let queue = post.queue.clone();
        self.wait(post, attempt);
        if attempt == Attempt::Again
            && let Some(line) = self.posts.lines.lock().get_mut(&queue)
        {
            line.is_trying = false;
        }
    }

    fn answer(&self, post: &Post, result: Result<(), StoreError>) {
        if let Some(sink) = self.hub.sink() {
            sink.answer(post.ticket, Answer::Queued(post.queue.clone(), result));
        }
    }
}

impl Posts {
    /// Bytes of messages that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn note_gone(&self, post: &Post) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.waiting_bytes.fetch_sub(post.record.len(), Ordering::AcqRel);
    }
}

impl Line {
    /// The first, if it is not being put already. It waits no more meanwhile.
    fn next_attempt(&mut self) -> Option<Post> {
        if self.is_trying {
            return None;
        }
        let first = self.waiting.pop_first()?.1;
        self.is_trying = true;
        Some(first)
    }
}

impl Default for Posts {
    fn default() -> Self {
        Self {
            sequences: (0..PARTITIONS).map(|_| Mutex::default()).collect(),
            lines: Mutex::default(),
            turns: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
        }
    }
}

fn needs_handler(queue: &Destination) -> bool {
    queue.as_str().starts_with("/app/")
}

/// Messages that wait for somebody who handles them; more are refused at once.
const WAITING_MAX: usize = 1_024;

/// Bytes of those messages, though a last one may be longer.
const WAITING_BYTES_MAX: usize = 8 << 20;
