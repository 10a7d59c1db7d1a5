//! Work queues in this process.

mod burial;
mod moves;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::backend::{Attended, Attending, Due, Kept, Move, QueueError, Queues, Soon};
use crate::model::{Depth, Destination, Limits, Look, Message, Queued, Ticket};

use super::queue::{Queue, Rung};

/// Queues of one node. A queue without messages is forgotten.
#[derive(Debug)]
pub struct MemoryQueues {
    all: Mutex<All>,
    total_bytes: AtomicUsize,
    messages_max: usize,
    bytes_max: usize,
    queues_max: usize,
    total_bytes_max: usize,
}

/// Whether limits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend) enum Within {
    Limits,
    Nothing,
}

#[derive(Debug, Default)]
struct All {
    queues: HashMap<Destination, Queue, RandomState>,
    /// The first alarm of each queue that has one.
    alarms: Alarms,
    /// The highest tag of a queue that is forgotten: when it is there again, nobody must take what is new for what he has
    /// seen.
    tags_used: u64,
}

impl MemoryQueues {
    /// Queues within `limits` that hold `total_bytes_max` in all.
    pub fn new(limits: &Limits, total_bytes_max: usize) -> Self {
        Self {
            all: Mutex::default(),
            total_bytes: AtomicUsize::new(0),
            messages_max: limits.queue_messages_max,
            bytes_max: limits.queue_bytes_max,
            queues_max: limits.queues_max,
            total_bytes_max,
        }
    }

    /// Keeps a place for a message that can be taken after [`MemoryQueues::admit_reserved`]; its tag.
    pub(in crate::backend) fn reserve(
        &self,
        name: &Destination,
        message: Arc<Message>,
        limits: Within,
    ) -> Result<u64, QueueError> {
        let mut all = self.all.lock();
        if limits == Within::Limits {
            self.check(&all, name, 1, message.cost_bytes(), self.queues_max)?;
        }
        Ok(self.grow(&mut all, name, message.cost_bytes(), |queue| queue.reserve(message)))
    }

    /// The message of a reserved place is ready.
    pub(in crate::backend) fn admit_reserved(&self, name: &Destination, tag: u64) {
        self.all.lock().with(name, |queue| queue.admit(tag));
    }

    /// The message of a reserved place will not come.
    pub(in crate::backend) fn drop_reserved(&self, name: &Destination, tag: u64) {
        let mut all = self.all.lock();
        if let Some(message) = all.with(name, |queue| queue.give_up(tag)).flatten() {
            self.total_bytes.fetch_sub(message.cost_bytes(), Ordering::Relaxed);
            all.forget_empty(name);
        }
    }

    /// Adds a message of an earlier process, room or not.
    pub(in crate::backend) fn restore(
        &self,
        name: &Destination,
        tag: u64,
        message: Arc<Message>,
        deliveries: u32,
        due_ms: Option<u64>,
    ) {
        let bytes = message.cost_bytes();
        let restore = |queue: &mut Queue| queue.restore(tag, message, deliveries, due_ms);
        self.grow(&mut self.all.lock(), name, bytes, restore);
    }

    /// As [`Queues::give_back`]; how often it was handed out.
    pub(in crate::backend) fn given_back(&self, name: &Destination, tag: u64) -> Option<u32> {
        self.all.lock().with(name, |queue| queue.give_back(tag))?
    }

    /// As [`Queues::postpone`]; how often it was handed out.
    pub(in crate::backend) fn postponed(&self, name: &Destination, tag: u64, due_ms: u64) -> Option<u32> {
        self.all.lock().with(name, |queue| queue.postpone(tag, due_ms))?
    }

    fn add(&self, all: &mut All, name: &Destination, message: Arc<Message>) -> u64 {
        self.grow(all, name, message.cost_bytes(), |queue| queue.add(message))
    }

    fn grow<R>(
        &self,
        all: &mut All,
        name: &Destination,
        bytes: usize,
        grow: impl FnOnce(&mut Queue) -> R,
    ) -> R {
        self.total_bytes.fetch_add(bytes, Ordering::Relaxed);
        let All { queues, alarms, tags_used } = all;
        let queue = match queues.get_mut(name) {
            Some(queue) => queue,
            None => queues.entry(name.clone()).or_insert_with(|| Queue::new(*tags_used)),
        };
        with_alarm(alarms, name, queue, grow)
    }

    fn check(
        &self,
        all: &All,
        name: &Destination,
        messages: usize,
        bytes: usize,
        queues_max: usize,
    ) -> Result<(), QueueError> {
        let (depth, held_bytes) = match all.queues.get(name) {
            Some(queue) => (queue.len(), queue.bytes()),
            None if all.queues.len() >= queues_max => return Err(QueueError::Queues(queues_max)),
            None => (0, 0),
        };
        if depth + messages > self.messages_max {
            return Err(QueueError::Messages(self.messages_max));
        }
        // A single message of any legal size fits an empty queue.
        if depth + messages > 1 && held_bytes + bytes > self.bytes_max {
            return Err(QueueError::Bytes(self.bytes_max));
        }
        if self.bytes().saturating_add(bytes) > self.total_bytes_max {
            return Err(QueueError::Store(self.total_bytes_max));
        }
        Ok(())
    }

    fn end(&self, all: &mut All, name: &Destination, tag: u64) -> Option<Arc<Message>> {
        let message = all.with(name, |queue| queue.settle(tag))??;
        self.total_bytes.fetch_sub(message.cost_bytes(), Ordering::Relaxed);
        Some(message)
    }
}

impl Queues for MemoryQueues {
    fn admit(&self, name: &Destination, messages: usize, bytes: usize) -> Result<(), QueueError> {
        self.check(&self.all.lock(), name, messages, bytes, self.queues_max)
    }

    fn put(&self, name: &Destination, message: Arc<Message>, _: Ticket) -> Result<Kept, QueueError> {
        let mut all = self.all.lock();
        self.check(&all, name, 1, message.cost_bytes(), self.queues_max)?;
        self.add(&mut all, name, message);
        Ok(Kept::Now)
    }

    fn force(&self, name: &Destination, message: Arc<Message>, _: Ticket) -> Kept {
        self.add(&mut self.all.lock(), name, message);
        Kept::Now
    }

    fn take(&self, name: &Destination) -> Option<Queued> {
        let mut all = self.all.lock();
        let All { queues, alarms, .. } = &mut *all;
        let queue = queues.get_mut(name)?;
        // Most have no alarm, and this is what is asked most.
        if queue.alarm().is_none() { queue.take() } else { with_alarm(alarms, name, queue, Queue::take) }
    }

    fn release(&self, name: &Destination, tag: u64) {
        self.all.lock().with(name, |queue| queue.release(tag));
    }

    fn give_back(&self, name: &Destination, tag: u64) {
        self.given_back(name, tag);
    }

    fn retake(&self, name: &Destination, tag: u64) -> Option<Queued> {
        self.all.lock().with(name, |queue| queue.retake(tag))?
    }

    fn postpone(&self, name: &Destination, tag: u64, due_ms: u64) {
        self.postponed(name, tag, due_ms);
    }

    fn settle(&self, name: &Destination, tag: u64) -> Option<Arc<Message>> {
        let mut all = self.all.lock();
        // What is out has no alarm.
        let queue = all.queues.get_mut(name)?;
        let message = queue.settle(tag)?;
        let emptied = queue.len() == 0;
        self.total_bytes.fetch_sub(message.cost_bytes(), Ordering::Relaxed);
        if emptied {
            all.forget(name);
        }
        Some(message)
    }

    fn bury(&self, name: &Destination, tag: u64, to: &Destination, letter: Arc<Message>) -> usize {
        self.buried(name, tag, to, letter, |_| {}).map_or(0, |burial| burial.lost())
    }

    fn sweep(&self, now_ms: u64, count: usize) -> Due {
        let (mut all, mut due) = (self.all.lock(), Due::default());
        for _ in 0..count {
            let Some((_, name)) = all.alarms.first().filter(|(at, _)| *at <= now_ms).cloned() else { break };
            match all.with(&name, |queue| queue.ring(now_ms)).flatten() {
                Some(Rung::Expired(queued)) => due.expired.push((name, queued)),
                Some(Rung::Ready) if due.ready.last() != Some(&name) => due.ready.push(name),
                Some(Rung::Ready) | None => {}
            }
        }
        due
    }

    fn browse(&self, name: &Destination, after: u64, count: usize, _: Ticket) -> Soon<Look> {
        let all = self.all.lock();
        let look = |queue: &Queue| Look { listed: queue.browse(after, count), newest: queue.last_tag() };
        Soon::Now(all.queues.get(name).map_or_else(Look::default, look))
    }

    fn messages(&self) -> usize {
        self.all.lock().queues.values().map(Queue::len).sum()
    }

    fn depth(&self, name: &Destination, _: Ticket) -> Soon<Depth> {
        Soon::Now(self.depth_of(name))
    }

    fn names(&self, _: Ticket) -> Soon<Vec<Destination>> {
        Soon::Now(self.names_now())
    }

    fn purge(&self, name: &Destination, count: usize, _: Ticket) -> Soon<usize> {
        Soon::Now(self.purged(name, count, |_| {}))
    }

    fn transfer(&self, name: &Destination, moves: Vec<Move>, _: Ticket) -> Soon<usize> {
        Soon::Now(self.transferred(name, moves, |_, _, _, _| {}))
    }

    fn len(&self) -> usize {
        self.all.lock().queues.len()
    }

    /// Who consumes is this node's to know, and so are the keys.
    fn ask_attending(&self, _message: &Message, then: Attended) {
        then(Ok(Attending::Nobody));
    }

    fn bytes(&self) -> usize {
        self.total_bytes.load(Ordering::Relaxed)
    }
}

impl All {
    fn with<R>(&mut self, name: &Destination, change: impl FnOnce(&mut Queue) -> R) -> Option<R> {
        let queue = self.queues.get_mut(name)?;
        Some(with_alarm(&mut self.alarms, name, queue, change))
    }

    fn forget_empty(&mut self, name: &Destination) {
        if self.queues.get(name).is_some_and(|queue| queue.len() == 0) {
            self.forget(name);
        }
    }

    fn forget(&mut self, name: &Destination) {
        if let Some(queue) = self.queues.remove(name) {
            self.tags_used = self.tags_used.max(queue.last_tag());
        }
    }
}

/// Changes a queue, and its alarm with it.
fn with_alarm<R>(
    alarms: &mut Alarms,
    name: &Destination,
    queue: &mut Queue,
    change: impl FnOnce(&mut Queue) -> R,
) -> R {
    let before = queue.alarm();
    let result = change(queue);
    let after = queue.alarm();
    if before != after {
        before.map(|at| alarms.remove(&(at, name.clone())));
        after.map(|at| alarms.insert((at, name.clone())));
    }
    result
}

/// When, and of which queue.
type Alarms = BTreeSet<(u64, Destination)>;
