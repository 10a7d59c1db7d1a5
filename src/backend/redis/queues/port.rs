//! What the dispatcher sees.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{RedisQueues, Task};
use crate::backend::{Attended, Due, Kept, Move, QueueError, Queues, Soon, record};
use crate::model::{Depth, Destination, Look, Message, Queued, Ticket};

/// The port of a node's queues.
#[derive(Debug)]
pub(in crate::backend::redis) struct QueuesPort(pub(in crate::backend::redis) Arc<RedisQueues>);

impl Queues for QueuesPort {
    /// How much is there is known only where it is put.
    fn admit(&self, _: &Destination, _: usize, _: usize) -> Result<(), QueueError> {
        Ok(())
    }

    fn put(&self, queue: &Destination, message: Arc<Message>, ticket: Ticket) -> Result<Kept, QueueError> {
        self.0.put(queue, &message, ticket)?;
        Ok(Kept::Later)
    }

    fn force(&self, queue: &Destination, message: Arc<Message>, ticket: Ticket) -> Kept {
        self.0.put_anyway(queue, &message, ticket);
        Kept::Later
    }

    fn take(&self, queue: &Destination) -> Option<Queued> {
        let now = self.0.now();
        self.0.with(queue, |_, local| {
            let taken = local.take();
            if taken.is_none() {
                local.asked = now;
                local.wanted = local.wanted.max(1);
            }
            taken
        })
    }

    fn want(&self, queue: &Destination, count: usize) {
        self.0.with_known(queue, |_, local| local.wanted = count);
    }

    fn release(&self, queue: &Destination, tag: u64) {
        let now = self.0.now();
        self.0.with_known(queue, |_, local| local.release(tag, now));
    }

    fn give_back(&self, queue: &Destination, tag: u64) {
        let now = self.0.now();
        self.0.with_known(queue, |_, local| local.give_back(tag, now));
    }

    fn retake(&self, queue: &Destination, tag: u64) -> Option<Queued> {
        self.0.with_known(queue, |_, local| local.retake(tag))?
    }

    fn postpone(&self, queue: &Destination, tag: u64, due_ms: u64) {
        let ledger = &self.0.ledger;
        self.0.with_known(queue, |_, local| local.postpone(tag, due_ms, || ledger.open()));
    }

    fn settle(&self, queue: &Destination, tag: u64) -> Option<Arc<Message>> {
        let ledger = &self.0.ledger;
        self.0.with_known(queue, |_, local| local.settle(tag, || ledger.open()))?
    }

    /// How many are lost by it is told to the log, when it is known.
    fn bury(&self, queue: &Destination, tag: u64, to: &Destination, letter: Arc<Message>) -> usize {
        let this = &self.0;
        let call = this.with_known(queue, |caller, local| {
            local.bury(tag)?;
            let letter = record::encode(&letter).into_vec().into();
            Some(caller.bury(queue, tag, to, letter, &this.bounds))
        });
        if let Some(call) = call.flatten() {
            let entry = this.ledger.open();
            this.do_task(Task::Bury { queue: queue.clone(), tag, to: to.clone(), entry, call });
        }
        0
    }

    fn sweep(&self, now_ms: u64, count: usize) -> Due {
        self.0.sweep(now_ms, count)
    }

    fn browse(&self, queue: &Destination, after: u64, count: usize, ticket: Ticket) -> Soon<Look> {
        self.0.browse(queue, after, count, ticket);
        Soon::Later
    }

    fn depth(&self, queue: &Destination, ticket: Ticket) -> Soon<Depth> {
        self.0.depth(queue, ticket);
        Soon::Later
    }

    fn names(&self, ticket: Ticket) -> Soon<Vec<Destination>> {
        self.0.names(ticket);
        Soon::Later
    }

    fn purge(&self, queue: &Destination, count: usize, ticket: Ticket) -> Soon<usize> {
        self.0.purge(queue, count, ticket);
        Soon::Later
    }

    fn transfer(&self, queue: &Destination, moves: Vec<Move>, ticket: Ticket) -> Soon<usize> {
        self.0.transfer(queue, &moves, ticket);
        Soon::Later
    }

    fn attend(&self, queue: &Destination, is_attended: bool) {
        self.0.attend(queue, is_attended);
    }

    fn ask_attending(&self, message: &Message, then: Attended) {
        self.0.ask_attending(message, then);
    }

    fn may_be_attended_elsewhere(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed) + self.0.posts.bytes()
    }

    fn messages(&self) -> usize {
        self.0.state.lock().queues.values().map(|local| local.messages()).sum()
    }

    fn len(&self) -> usize {
        self.0.state.lock().queues.values().filter(|local| local.has_messages()).count()
    }
}
