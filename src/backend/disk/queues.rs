//! Work queues: as in memory, and on disk what brings them back.
//!
//! A message is ready when it is written. What consumers do with it takes effect at once and is written behind: after a
//! crash it may be handed out once more.

use std::sync::Arc;

use crate::backend::memory::{MemoryQueues, Within};
use crate::backend::{Attended, Due, Kept, Move, QueueError, Queues, Soon, record};
use crate::model::{Depth, Destination, Look, Message, Position, Queued, Ticket};

use super::OpenError;
use super::changes::Change;
use super::health::Health;
use super::line::{Line, Order};
use super::open::Known;
use super::tables::{self, Table, Tables, numbered};

/// Queues that outlive the process.
#[derive(Debug)]
pub(super) struct DiskQueues {
    pub(super) inner: Arc<MemoryQueues>,
    pub(super) line: Arc<Line>,
    pub(super) health: Arc<Health>,
}

impl DiskQueues {
    fn enqueue(
        &self,
        queue: &Destination,
        message: Arc<Message>,
        ticket: Ticket,
        limits: Within,
    ) -> Result<Kept, QueueError> {
        let tag = self.inner.reserve(queue, Arc::clone(&message), limits)?;
        self.health.queues_hold(self.inner.bytes());
        self.line.push(Order::Enqueue { queue: queue.clone(), tag, message, ticket });
        Ok(Kept::Later)
    }

    fn write(&self, change: Change) {
        self.line.push(Order::Change(change));
    }
}

impl Queues for DiskQueues {
    fn admit(&self, queue: &Destination, messages: usize, bytes: usize) -> Result<(), QueueError> {
        self.health.admits().map_err(QueueError::Unkept)?;
        self.inner.admit(queue, messages, bytes)
    }

    fn put(&self, queue: &Destination, message: Arc<Message>, ticket: Ticket) -> Result<Kept, QueueError> {
        self.health.admits().map_err(QueueError::Unkept)?;
        self.line.room_for(ticket.connection.worker).map_err(|_| QueueError::Busy)?;
        self.enqueue(queue, message, ticket, Within::Limits)
    }

    fn force(&self, queue: &Destination, message: Arc<Message>, ticket: Ticket) -> Kept {
        self.enqueue(queue, message, ticket, Within::Nothing).unwrap_or(Kept::Later)
    }

    fn take(&self, queue: &Destination) -> Option<Queued> {
        let queued = self.inner.take(queue)?;
        self.write(state(queue, queued.tag, queued.deliveries.saturating_add(1), None));
        Some(queued)
    }

    fn release(&self, queue: &Destination, tag: u64) {
        // That it was taken is written.
        self.inner.release(queue, tag);
    }

    fn give_back(&self, queue: &Destination, tag: u64) {
        if let Some(deliveries) = self.inner.given_back(queue, tag) {
            self.write(state(queue, tag, deliveries, None));
        }
    }

    fn retake(&self, queue: &Destination, tag: u64) -> Option<Queued> {
        let queued = self.inner.retake(queue, tag)?;
        self.write(state(queue, queued.tag, queued.deliveries.saturating_add(1), None));
        Some(queued)
    }

    fn postpone(&self, queue: &Destination, tag: u64, due_ms: u64) {
        if let Some(deliveries) = self.inner.postponed(queue, tag, due_ms) {
            self.write(state(queue, tag, deliveries, Some(due_ms)));
        }
    }

    fn settle(&self, queue: &Destination, tag: u64) -> Option<Arc<Message>> {
        let message = self.inner.settle(queue, tag)?;
        self.health.queues_hold(self.inner.bytes());
        self.line.push_all(removed(queue, tag));
        Some(message)
    }

    fn bury(&self, queue: &Destination, tag: u64, to: &Destination, letter: Arc<Message>) -> usize {
        let record = record::encode(&letter).into_vec();
        let buried = self.inner.buried(queue, tag, to, letter, |burial| {
            let lost = burial.lost.iter().flat_map(|lost| removed(to, *lost));
            let change = |tag| Change::put(Table::Work, key(to, tag, MESSAGE), record);
            let added = burial.tag.map(|tag| Order::Change(change(tag)));
            self.line.push_all(removed(queue, tag).into_iter().chain(lost).chain(added));
        });
        self.health.queues_hold(self.inner.bytes());
        buried.map_or(0, |burial| burial.lost())
    }

    fn sweep(&self, now_ms: u64, count: usize) -> Due {
        self.inner.sweep(now_ms, count)
    }

    fn browse(&self, queue: &Destination, after: u64, count: usize, ticket: Ticket) -> Soon<Look> {
        self.inner.browse(queue, after, count, ticket)
    }

    fn depth(&self, name: &Destination, _: Ticket) -> Soon<Depth> {
        Soon::Now(self.inner.depth_of(name))
    }

    fn names(&self, _: Ticket) -> Soon<Vec<Destination>> {
        Soon::Now(self.inner.names_now())
    }

    fn purge(&self, queue: &Destination, count: usize, _: Ticket) -> Soon<usize> {
        let purged = self.inner.purged(queue, count, |tag| self.line.push_all(removed(queue, tag)));
        self.health.queues_hold(self.inner.bytes());
        Soon::Now(purged)
    }

    fn transfer(&self, queue: &Destination, moves: Vec<Move>, _: Ticket) -> Soon<usize> {
        let transferred = self.inner.transferred(queue, moves, |tag, to, fresh, message| {
            let added = Order::Change(entry(to, fresh, message));
            // Neither without the other: one batch has them.
            self.line.push_all(removed(queue, tag).into_iter().chain([added]));
        });
        self.health.queues_hold(self.inner.bytes());
        Soon::Now(transferred)
    }

    fn ask_attending(&self, message: &Message, then: Attended) {
        self.inner.ask_attending(message, then);
    }

    fn bytes(&self) -> usize {
        self.inner.bytes()
    }

    fn messages(&self) -> usize {
        self.inner.messages()
    }

    fn len(&self) -> usize {
        self.inner.len()
    }
}

/// Brings back what an earlier process had.
pub(super) fn load(
    tables: &Tables,
    queues: &MemoryQueues,
    line: &Line,
    known: &Known<'_>,
) -> Result<(), OpenError> {
    let mut message: Option<(Destination, u64, Arc<Message>)> = None;
    let restore = |message: &mut Option<(Destination, u64, Arc<Message>)>, state: Option<(u32, u64)>| {
        if let Some((queue, tag, message)) = message.take() {
            let (deliveries, due_ms) = state.unwrap_or_default();
            queues.restore(&queue, tag, message, deliveries, Some(due_ms).filter(|due_ms| *due_ms > 0));
        }
    };
    for found in tables.prefix(Table::Work, b"/") {
        let (key, value) = found.map_err(|error| known.fault(&error))?;
        let damaged = || known.lacks(&format!("the entry {} of a work queue is none", key.escape_ascii()));
        let Some((name, tag, kind)) = tables::parse_numbered(&key) else {
            damaged()?;
            continue;
        };
        match kind {
            MESSAGE => {
                restore(&mut message, None);
                let queue = Destination::internal(name);
                let Ok(decoded) = record::decode(&value, &queue, Position { epoch: 0, offset: 0 }) else {
                    damaged()?;
                    continue;
                };
                message = Some((queue, tag, Arc::new(Message { position: None, ..decoded })));
            }
            // Without a message it was written behind the message's end.
            _ if message.as_ref().is_none_or(|(queue, of, _)| *of != tag || queue.as_str() != name) => {
                line.push(Order::Change(Change::remove(Table::Work, key.to_vec())));
            }
            _ => {
                let Some([deliveries, due_ms]) = tables::parse_numbers(&value) else {
                    damaged()?;
                    continue;
                };
                restore(&mut message, Some((deliveries as u32, due_ms)));
            }
        }
    }
    restore(&mut message, None);
    Ok(())
}

/// A message in a queue.
pub(super) fn entry(queue: &Destination, tag: u64, message: &Message) -> Change {
    Change::put(Table::Work, key(queue, tag, MESSAGE), record::encode(message).into_vec())
}

/// How often a message was handed out, and when it is due.
fn state(queue: &Destination, tag: u64, deliveries: u32, due_ms: Option<u64>) -> Change {
    let value = tables::numbers(&[deliveries.into(), due_ms.unwrap_or(0)]);
    Change::put(Table::Work, key(queue, tag, STATE), value)
}

fn removed(queue: &Destination, tag: u64) -> [Order; 2] {
    [MESSAGE, STATE].map(|kind| Order::Change(Change::remove(Table::Work, key(queue, tag, kind))))
}

fn key(queue: &Destination, tag: u64, kind: &[u8]) -> Vec<u8> {
    [&*numbered(queue, tag), kind].concat()
}

const MESSAGE: &[u8] = b"m";
const STATE: &[u8] = b"s";
