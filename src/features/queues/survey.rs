//! What is asked of queues from outside, and what operators do to them.

use std::sync::Arc;

use parking_lot::Mutex;

#[cfg(doc)]
use crate::backend::Queues;
use crate::backend::{Attended, Attending, Move, Soon};
use crate::model::{Depth, Destination, Message, Now, Ticket};

use super::{Dispatcher, Group};

impl Dispatcher {
    /// Who sees to a message just now, on this node or another; `then` is told, perhaps before this returns.
    pub fn ask_attending(&self, message: &Message, then: Attended) {
        if self.has_members(&message.destination) {
            then(Ok(Attending::Somebody));
        } else {
            self.store.ask_attending(message, then);
        }
    }

    /// As [`Queues::names`].
    pub fn names(&self, ticket: Ticket) -> Soon<Vec<Destination>> {
        self.store.names(ticket)
    }

    /// As [`Queues::depth`].
    pub fn depth(&self, queue: &Destination, ticket: Ticket) -> Soon<Depth> {
        self.store.depth(queue, ticket)
    }

    /// As [`Queues::purge`].
    pub fn purge(&self, queue: &Destination, count: usize, ticket: Ticket) -> Soon<usize> {
        self.store.purge(queue, count, ticket)
    }

    /// As [`Queues::transfer`]; hands out what can be where the messages stand now.
    pub fn transfer(&self, queue: &Destination, moves: Vec<Move>, ticket: Ticket, now: Now) -> Soon<usize> {
        let mut targets: Vec<_> = moves.iter().map(|each| each.to.clone()).collect();
        targets.dedup();
        let transferred = self.store.transfer(queue, moves, ticket);
        targets.iter().for_each(|target| self.hand_out(target, now));
        transferred
    }

    /// Queues that somebody on this node consumes, with how many do.
    pub fn consumers_by_queue(&self) -> Vec<(Destination, usize)> {
        let groups: Vec<_> =
            self.groups.lock().iter().map(|(queue, group)| (queue.clone(), Arc::clone(group))).collect();
        let count = |(queue, group): (Destination, Arc<Mutex<Group>>)| (queue, group.lock().members.len());
        groups.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
    }
}
