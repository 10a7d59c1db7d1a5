//! What operators do to queues, and ask of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::Move;
use crate::model::{Depth, Destination, Message};

use super::{All, MemoryQueues};

impl MemoryQueues {
    /// As [`Queues::depth`](crate::backend::Queues::depth).
    pub(in crate::backend) fn depth_of(&self, name: &Destination) -> Depth {
        self.all.lock().queues.get(name).map_or_else(Depth::default, super::Queue::depth)
    }

    /// As [`Queues::names`](crate::backend::Queues::names).
    pub(in crate::backend) fn names_now(&self) -> Vec<Destination> {
        let mut names: Vec<_> = self.all.lock().queues.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// As [`Queues::purge`](crate::backend::Queues::purge); `note` is told the tag of each.
    pub(in crate::backend) fn purged(
        &self,
        name: &Destination,
        count: usize,
        mut note: impl FnMut(u64),
    ) -> usize {
        let mut all = self.all.lock();
        let tags = all.queues.get(name).map_or_else(Vec::new, |queue| queue.free(count));
        let mut purged = 0;
        for tag in tags {
            if self.remove(&mut all, name, tag).is_some() {
                purged += 1;
                note(tag);
            }
        }
        all.forget_empty(name);
        purged
    }

    /// As [`Queues::transfer`](crate::backend::Queues::transfer); `note` is told the old tag, and the new one where it is.
    pub(in crate::backend) fn transferred(
        &self,
        name: &Destination,
        moves: Vec<Move>,
        mut note: impl FnMut(u64, &Destination, u64, &Message),
    ) -> usize {
        let mut all = self.all.lock();
        let mut transferred = 0;
        for Move { tag, to, message } in moves {
            if self.check(&all, &to, 1, message.cost_bytes(), self.queues_max).is_err()
                || self.remove(&mut all, name, tag).is_none()
            {
                continue;
            }
            let fresh = self.add(&mut all, &to, Arc::clone(&message));
            note(tag, &to, fresh, &message);
            transferred += 1;
        }
        all.forget_empty(name);
        transferred
    }

    fn remove(&self, all: &mut All, name: &Destination, tag: u64) -> Option<Arc<Message>> {
        let message = all.with(name, |queue| queue.remove(tag))??;
        self.total_bytes.fetch_sub(message.cost_bytes(), Ordering::Relaxed);
        Some(message)
    }
}
