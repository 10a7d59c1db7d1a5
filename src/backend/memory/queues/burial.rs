//! Dead letters, for which the oldest make room.

use std::sync::Arc;

use crate::model::{Destination, Message};

use super::{All, MemoryQueues, Queue};

/// What has become of a dead letter and of those that made room for it.
#[derive(Debug, Default)]
pub(in crate::backend) struct Burial {
    /// The letter's tag, if it could be put there.
    pub(in crate::backend) tag: Option<u64>,
    /// Tags of the others.
    pub(in crate::backend) lost: Vec<u64>,
}

impl Burial {
    /// How many messages are lost.
    pub(in crate::backend) fn lost(&self) -> usize {
        self.lost.len() + usize::from(self.tag.is_none())
    }
}

impl MemoryQueues {
    /// As [`Queues::bury`](crate::backend::Queues::bury); what has become of everything, told to `note` before anybody else
    /// can change it. `None` where `tag` is not taken.
    pub(in crate::backend) fn buried(
        &self,
        name: &Destination,
        tag: u64,
        to: &Destination,
        letter: Arc<Message>,
        note: impl FnOnce(&Burial),
    ) -> Option<Burial> {
        let mut all = self.all.lock();
        self.end(&mut all, name, tag)?;
        // A queue that has just become empty makes room for the other one.
        let emptied = all.queues.get(name).is_some_and(|queue| queue.len() == 0);
        let burial = self.squeeze(&mut all, to, letter, self.queues_max + usize::from(emptied));
        all.forget_empty(name);
        // Before anybody can take the letter.
        note(&burial);
        Some(burial)
    }

    /// Puts `letter` into `to`, where the oldest make room.
    fn squeeze(&self, all: &mut All, to: &Destination, letter: Arc<Message>, queues_max: usize) -> Burial {
        let mut burial = Burial::default();
        while self.check(all, to, 1, letter.cost_bytes(), queues_max).is_err() {
            let oldest = all.with(to, Queue::take).flatten().map(|oldest| oldest.tag);
            match oldest.filter(|oldest| self.end(all, to, *oldest).is_some()) {
                Some(oldest) => burial.lost.push(oldest),
                None => {
                    // All that is there is with consumers, so it is the new one that is lost.
                    all.forget_empty(to);
                    return burial;
                }
            }
        }
        burial.tag = Some(self.add(all, to, letter));
        burial
    }
}
