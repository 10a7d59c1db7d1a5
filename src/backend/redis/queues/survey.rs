//! What is asked of queues from outside, and what operators do to them.

use std::sync::Arc;

use parking_lot::Mutex;
use redis::Value;

use super::RedisQueues;
use super::calls::{self, Call, read_names, read_number};
use crate::backend::redis::keys::Partition;
use crate::backend::redis::link::{Doubt, Fault};
use crate::backend::redis::relay::{idempotency_key, store_error};
use crate::backend::redis::scripts;
use crate::backend::{Attended, Attending, Move, record};
use crate::model::{Answer, Depth, Destination, Message, StoreError, Ticket};

/// Something that is asked of many, put together when the last has answered.
#[derive(Debug)]
struct Gathering<T> {
    left: usize,
    found: Result<T, StoreError>,
}

impl RedisQueues {
    pub(super) fn ask_attending(self: &Arc<Self>, message: &Message, then: Attended) {
        let queue = &message.destination;
        let known = idempotency_key(&self.hub, Partition::of_destination(queue.as_str()), message);
        let call = self.state.lock().caller(&self.hub).attended(queue, known);
        self.run(call, Doubt::Repeat, move |_, reply| {
            then(told(reply, |reply| match read_number(reply)? {
                0 => Some(Attending::Nobody),
                1 => Some(Attending::Somebody),
                _ => Some(Attending::Done),
            }));
        });
    }

    pub(super) fn depth(self: &Arc<Self>, queue: &Destination, ticket: Ticket) {
        let call = self.state.lock().caller(&self.hub).depth(queue);
        let queue = queue.clone();
        self.run(call, Doubt::Repeat, move |this, reply| {
            let depth = told(reply, |reply| depth(reply, &queue));
            this.tell(ticket, Answer::Depth(depth));
        });
    }

    pub(super) fn names(self: &Arc<Self>, ticket: Ticket) {
        let gathering =
            Arc::new(Mutex::new(Gathering { left: Partition::all().count(), found: Ok(Vec::new()) }));
        for partition in Partition::all() {
            let keys = vec![self.hub.keys.single(partition, "queues")];
            let call = Call { partition, script: &scripts::QUEUE_NAMES, keys, args: Vec::new() };
            let gathering = Arc::clone(&gathering);
            self.run(call, Doubt::Repeat, move |this, reply| {
                let names = told(reply, |reply| match reply {
                    Value::Array(names) => read_names(names),
                    _ => None,
                });
                let whole = gathering.lock().add(names, |found, mut names| found.append(&mut names));
                if let Some(mut names) = whole {
                    if let Ok(names) = &mut names {
                        names.sort_unstable();
                    }
                    this.tell(ticket, Answer::Queues(names));
                }
            });
        }
    }

    pub(super) fn purge(self: &Arc<Self>, queue: &Destination, count: usize, ticket: Ticket) {
        let call = self.state.lock().caller(&self.hub).purge(queue, count);
        self.run(call, Doubt::Tell, move |this, reply| {
            let purged = told(reply, |reply| read_number(reply).map(|count| count as usize));
            this.tell(ticket, Answer::Removed(purged));
        });
    }

    pub(super) fn transfer(self: &Arc<Self>, queue: &Destination, moves: &[Move], ticket: Ticket) {
        if moves.is_empty() {
            return self.tell(ticket, Answer::Removed(Ok(0)));
        }
        let gathering = Arc::new(Mutex::new(Gathering { left: moves.len(), found: Ok(0) }));
        for Move { tag, to, message } in moves {
            let record = record::encode(message).into_vec().into();
            let call = self.state.lock().caller(&self.hub).transfer(queue, *tag, to, record, &self.bounds);
            let gathering = Arc::clone(&gathering);
            self.run(call, Doubt::Tell, move |this, reply| {
                let moved = told(reply, |reply| read_number(reply).map(|count| count as usize));
                let whole = gathering.lock().add(moved, |found, moved| *found += moved);
                if let Some(moved) = whole {
                    this.tell(ticket, Answer::Removed(moved));
                }
            });
        }
    }

    fn tell(&self, ticket: Ticket, answer: Answer) {
        if let Some(sink) = self.hub.sink() {
            sink.answer(ticket, answer);
        }
    }
}

impl<T: Default> Gathering<T> {
    /// One has answered; all together if it was the last.
    fn add<P>(
        &mut self,
        part: Result<P, StoreError>,
        join: impl FnOnce(&mut T, P),
    ) -> Option<Result<T, StoreError>> {
        match (part, &mut self.found) {
            (Ok(part), Ok(found)) => join(found, part),
            (Err(error), found) => *found = Err(error),
            (Ok(_), Err(_)) => {}
        }
        self.left -= 1;
        (self.left == 0).then(|| std::mem::replace(&mut self.found, Ok(T::default())))
    }
}

fn told<T>(reply: Result<Value, Fault>, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, StoreError> {
    let reply = reply.map_err(|fault| store_error(&fault))?;
    if calls::is_buried(&reply) {
        return Err(StoreError::Unavailable);
    }
    read(&reply).ok_or(StoreError::Unavailable)
}

fn depth(reply: &Value, queue: &Destination) -> Option<Depth> {
    let Value::Array(parts) = reply else { return None };
    let [messages, out, bytes, Value::BulkString(oldest)] = &parts[..] else { return None };
    let oldest = record::decode_unplaced(oldest, queue).ok();
    Some(Depth {
        messages: read_number(messages)? as usize,
        out: read_number(out)? as usize,
        bytes: read_number(bytes)? as usize,
        oldest_ms: oldest.map(|message| message.timestamp_ms),
    })
}
