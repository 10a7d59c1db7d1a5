//! Work queues in this process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::backend::{QueueError, Queues, Taken};
use crate::model::{Destination, Limits, Message};

/// Queues of one node. A queue without messages is forgotten.
#[derive(Debug)]
pub struct MemoryQueues {
    queues: Mutex<ByName>,
    total_bytes: AtomicUsize,
    messages_max: usize,
    bytes_max: usize,
    queues_max: usize,
    total_bytes_max: usize,
}

type ByName = HashMap<Destination, Queue, RandomState>;

#[derive(Debug, Default)]
struct Queue {
    /// By tag, which rises with age: what comes back stands where it stood.
    ready: BTreeMap<u64, Entry>,
    out: BTreeMap<u64, Entry>,
    bytes: usize,
    last_tag: u64,
}

#[derive(Debug)]
struct Entry {
    message: Arc<Message>,
    redelivered: bool,
}

impl MemoryQueues {
    /// Queues within `limits` that hold `total_bytes_max` in all.
    pub fn new(limits: &Limits, total_bytes_max: usize) -> Self {
        Self {
            queues: Mutex::default(),
            total_bytes: AtomicUsize::new(0),
            messages_max: limits.queue_messages_max,
            bytes_max: limits.queue_bytes_max,
            queues_max: limits.queues_max,
            total_bytes_max,
        }
    }

    fn add(&self, queues: &mut ByName, name: &Destination, message: Arc<Message>) {
        let queue = match queues.get_mut(name) {
            Some(queue) => queue,
            None => queues.entry(name.clone()).or_default(),
        };
        queue.bytes += message.cost_bytes();
        self.total_bytes.fetch_add(message.cost_bytes(), Ordering::Relaxed);
        queue.last_tag += 1;
        queue.ready.insert(queue.last_tag, Entry { message, redelivered: false });
    }

    fn check(
        &self,
        queues: &ByName,
        name: &Destination,
        messages: usize,
        bytes: usize,
    ) -> Result<(), QueueError> {
        let (depth, held_bytes) = match queues.get(name) {
            Some(queue) => (queue.len(), queue.bytes),
            None if queues.len() >= self.queues_max => return Err(QueueError::Queues(self.queues_max)),
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
}

impl Queues for MemoryQueues {
    fn admit(&self, name: &Destination, messages: usize, bytes: usize) -> Result<(), QueueError> {
        self.check(&self.queues.lock(), name, messages, bytes)
    }

    fn put(&self, name: &Destination, message: Arc<Message>) -> Result<(), QueueError> {
        let mut queues = self.queues.lock();
        self.check(&queues, name, 1, message.cost_bytes())?;
        self.add(&mut queues, name, message);
        Ok(())
    }

    fn force(&self, name: &Destination, message: Arc<Message>) {
        self.add(&mut self.queues.lock(), name, message);
    }

    fn take(&self, name: &Destination) -> Option<Taken> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(name)?;
        let (tag, entry) = queue.ready.pop_first()?;
        let taken = Taken { tag, message: Arc::clone(&entry.message), redelivered: entry.redelivered };
        queue.out.insert(tag, entry);
        Some(taken)
    }

    fn release(&self, name: &Destination, tag: u64) {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(name) else { return };
        if let Some(entry) = queue.out.remove(&tag) {
            queue.ready.insert(tag, Entry { redelivered: true, ..entry });
        }
    }

    fn give_back(&self, name: &Destination, tag: u64) {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(name) else { return };
        if let Some(entry) = queue.out.remove(&tag) {
            queue.ready.insert(tag, entry);
        }
    }

    fn retake(&self, name: &Destination, tag: u64) -> Option<Taken> {
        let mut queues = self.queues.lock();
        let entry = queues.get_mut(name)?.out.get_mut(&tag)?;
        entry.redelivered = true;
        Some(Taken { tag, message: Arc::clone(&entry.message), redelivered: true })
    }

    fn settle(&self, name: &Destination, tag: u64) -> Option<Arc<Message>> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(name)?;
        let entry = queue.out.remove(&tag)?;
        queue.bytes -= entry.message.cost_bytes();
        self.total_bytes.fetch_sub(entry.message.cost_bytes(), Ordering::Relaxed);
        if queue.len() == 0 {
            queues.remove(name);
        }
        Some(entry.message)
    }

    fn len(&self) -> usize {
        self.queues.lock().len()
    }

    fn bytes(&self) -> usize {
        self.total_bytes.load(Ordering::Relaxed)
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.ready.len() + self.out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MessageId;
    use bytes::Bytes;

    fn queues() -> MemoryQueues {
        MemoryQueues::new(&Limits { queue_messages_max: 3, queues_max: 1, ..Limits::default() }, usize::MAX)
    }

    fn message(number: u64) -> Arc<Message> {
        Arc::new(Message {
            id: MessageId { node: 1, number },
            destination: Destination::internal("/queue/a"),
            timestamp_ms: 0,
            sender: None,
            headers: stompede_protocol::Headers::new(),
            body: Bytes::from_static(b"x"),
            text: true,
            position: None,
            numbered: false,
        })
    }

    fn take(queues: &MemoryQueues, name: &Destination) -> Option<(u64, u64, bool)> {
        queues.take(name).map(|t| (t.tag, t.message.id.number, t.redelivered))
    }

    #[test]
    fn what_comes_back_stands_before_everything_newer_in_its_order() {
        let (queues, name) = (queues(), Destination::internal("/queue/a"));
        for number in 1..=3 {
            queues.put(&name, message(number)).unwrap();
        }
        assert_eq!(take(&queues, &name), Some((1, 1, false)));
        assert_eq!(take(&queues, &name), Some((2, 2, false)));
        queues.release(&name, 2);
        queues.release(&name, 1);
        assert_eq!(take(&queues, &name), Some((1, 1, true)));
        assert_eq!(take(&queues, &name), Some((2, 2, true)));
        assert_eq!(take(&queues, &name), Some((3, 3, false)));
        queues.give_back(&name, 3);
        assert_eq!(take(&queues, &name), Some((3, 3, false)));
        assert_eq!(take(&queues, &name), None);
        for tag in 1..=3 {
            assert!(queues.settle(&name, tag).is_some());
            assert!(queues.settle(&name, tag).is_none());
        }
        assert!(queues.queues.lock().is_empty());
        assert_eq!(queues.bytes(), 0);
    }

    #[test]
    fn a_full_queue_refuses_and_so_does_one_queue_too_many() {
        let (queues, name) = (queues(), Destination::internal("/queue/a"));
        for number in 1..=3 {
            queues.put(&name, message(number)).unwrap();
        }
        queues.take(&name);
        assert_eq!(queues.put(&name, message(4)), Err(QueueError::Messages(3)));
        assert_eq!(queues.put(&Destination::internal("/queue/b"), message(4)), Err(QueueError::Queues(1)));
        queues.settle(&name, 1);
        queues.put(&name, message(4)).unwrap();
    }

    #[test]
    fn bytes_are_bounded_too() {
        let limits = Limits { queue_bytes_max: 1, ..Limits::default() };
        let (queues, name) = (MemoryQueues::new(&limits, usize::MAX), Destination::internal("/queue/a"));
        queues.put(&name, message(1)).unwrap();
        assert_eq!(queues.put(&name, message(2)), Err(QueueError::Bytes(1)));
    }

    #[test]
    fn all_queues_together_are_bounded_by_their_part_of_the_memory() {
        let (a, b) = (Destination::internal("/queue/a"), Destination::internal("/queue/b"));
        let room = 2 * message(1).cost_bytes();
        let queues = MemoryQueues::new(&Limits::default(), room);
        queues.put(&a, message(1)).unwrap();
        queues.put(&b, message(2)).unwrap();
        assert_eq!(queues.put(&a, message(3)), Err(QueueError::Store(room)));
        assert_eq!(queues.admit(&Destination::internal("/queue/c"), 1, 1), Err(QueueError::Store(room)));
        queues.take(&b);
        queues.settle(&b, 1);
        queues.put(&a, message(3)).unwrap();
    }
}
