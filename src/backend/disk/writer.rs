//! The one who writes: takes what waits, makes a batch of it, and tells everybody when it is safe.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::backend::memory::MemoryQueues;
use crate::backend::{Sink, record};
use crate::model::{Answer, Destination, Message, Position, Retention, StoreError, Ticket};

use super::changes::{Change, Changes};
use super::guard::Guard;
use super::health::Health;
use super::keys::Keys;
use super::line::{Line, Order, Word};
use super::logs::Logs;
use super::numbering::Numbering;
use super::tables::{LOG, NUMBERING_KEY, Table, Tables, named, numbered};
use super::working::{Left, Site, Working};
use super::{Fsync, queues};

/// Writes what waits in the line.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) tables: Tables,
    pub(super) fsync: Fsync,
    pub(super) line: Arc<Line>,
    pub(super) logs: Arc<Logs>,
    pub(super) queues: Arc<MemoryQueues>,
    pub(super) health: Arc<Health>,
    pub(super) numbering: Numbering,
    pub(super) keys: Keys,
    /// `None` when the end was told.
    pub(super) guard: Option<Guard>,
    /// Number of the last batch.
    pub(super) batch: u64,
}

/// What is written together.
#[derive(Debug, Default)]
struct Batch {
    changes: Changes,
    logs: HashMap<Destination, Working, RandomState>,
    effects: Vec<Effect>,
}

/// What happens when it is safe.
#[derive(Debug)]
enum Effect {
    Publish(Arc<Message>, Position, Ticket),
    Admit { queue: Destination, tag: u64, ticket: Ticket },
    Tell(Ticket),
    Say(Word),
}

impl Writer {
    /// Writes orders and tells what has become of them.
    pub(super) fn write(&mut self, orders: Vec<Order>, sink: &dyn Sink) {
        let mut batch = Batch::default();
        orders.into_iter().for_each(|order| self.add(&mut batch, order));
        self.keys.forget_old(&self.tables, self.health.now_ms(), &mut batch.changes);
        let written = self.commit(&mut batch);
        if let Err(error) = &written {
            self.health.fail(error);
        }
        self.conclude(batch, written.map_err(|_| self.health.error()), sink);
        for worker in self.line.relieved() {
            sink.tell_room(worker);
        }
    }

    /// The end was in order, unless the store is broken.
    pub(super) fn finish(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        let synced = if self.health.is_broken() { None } else { Some(self.tables.sync()) };
        // Others may hold the store a moment longer, and somebody may want the directory again.
        self.tables.close();
        let left = match synced {
            Some(Ok(())) => guard.leave(self.batch).map_err(|error| error.to_string()),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(()),
        };
        if let Err(error) = left {
            tracing::error!(error, "the data directory could not be left in order");
        }
    }

    fn add(&mut self, batch: &mut Batch, order: Order) {
        match order {
            Order::Append { message, retention, ticket } => {
                self.append(batch, message, &retention, ticket);
            }
            Order::Trim { destination, offset } => {
                let Batch { changes, logs, .. } = batch;
                let log = working(logs, &self.logs, &destination);
                let mut site = Site { destination: &destination, tables: &self.tables, changes };
                let trimmed = log.trim(offset, REMOVED_AT_ONCE, &mut site);
                if told(&destination, trimmed) == Some(Left::Some) {
                    self.line.push(Order::Trim { destination, offset });
                }
            }
            Order::Expire { destination, since_ms } => {
                let Batch { changes, logs, .. } = batch;
                let log = working(logs, &self.logs, &destination);
                let mut site = Site { destination: &destination, tables: &self.tables, changes };
                let expired = log.expire(since_ms, REMOVED_AT_ONCE, &mut site);
                if told(&destination, expired) == Some(Left::Some) {
                    self.line.push(Order::Expire { destination, since_ms });
                }
            }
            Order::Enqueue { queue, tag, message, ticket } => {
                batch.changes.push(queues::entry(&queue, tag, &message));
                self.keys.note(&message, self.batch + 1, &mut batch.changes);
                batch.effects.push(Effect::Admit { queue, tag, ticket });
            }
            Order::Change(change) => batch.changes.push(change),
            Order::Sync(ticket) => batch.effects.push(Effect::Tell(ticket)),
            Order::Tell(word) => batch.effects.push(Effect::Say(word)),
        }
    }

    fn append(
        &mut self,
        batch: &mut Batch,
        mut message: Arc<Message>,
        retention: &Retention,
        ticket: Ticket,
    ) {
        let destination = message.destination.clone();
        let Batch { changes, logs, effects } = batch;
        let log = working(logs, &self.logs, &destination);
        let offset = log.log.last.max(self.numbering.floor) + 1;
        let position = Position { epoch: self.numbering.epoch(&destination), offset };
        // Whoever sent it may still hold it.
        Arc::make_mut(&mut message).place(position);
        let record = record::encode(&message).into_vec();
        log.append(offset, record.len() as u32, message.timestamp_ms, message.id);
        changes.push(Change::put(Table::Messages, numbered(&destination, offset), record));
        let since_ms = message.timestamp_ms.saturating_sub(retention.age_ms_max);
        let mut site = Site { destination: &destination, tables: &self.tables, changes };
        let kept = log.keep_within(retention, REMOVED_AT_ONCE, &mut site);
        if told(&destination, kept).is_some() {
            told(&destination, log.expire(since_ms, REMOVED_AT_ONCE, &mut site));
        }
        self.keys.note(&message, self.batch + 1, changes);
        effects.push(Effect::Publish(message, position, ticket));
    }

    fn commit(&mut self, batch: &mut Batch) -> fjall::Result<()> {
        if self.health.is_broken() {
            return Err(fjall::Error::Poisoned);
        }
        let mut base = self.logs.base();
        for (destination, working) in &batch.logs {
            let key = named(LOG, destination.as_str());
            if working.is_forgotten {
                base = base.max(working.log.last);
                batch.changes.push(Change::remove(Table::State, key));
            } else {
                batch.changes.push(Change::put(Table::State, key, working.log.encode()));
            }
        }
        if base > self.logs.base() {
            self.numbering.base = base;
            batch.changes.push(Change::put(Table::State, NUMBERING_KEY.to_vec(), self.numbering.encode()));
        }
        if batch.changes.is_empty() {
            return Ok(());
        }
        // What is removed must not be looked for.
        for (destination, working) in &batch.logs {
            self.logs.hide(destination, working.log.first);
        }
        self.tables.commit(std::mem::take(&mut batch.changes), self.batch + 1, self.fsync)?;
        self.batch += 1;
        let noted = self.guard.as_mut().map_or(Ok(()), |guard| guard.note(self.batch));
        noted.map_err(fjall::Error::Io)
    }

    fn conclude(&self, batch: Batch, written: Result<(), StoreError>, sink: &dyn Sink) {
        for effect in batch.effects {
            match (effect, written) {
                (Effect::Publish(message, position, ticket), Ok(())) => {
                    let destination = &message.destination;
                    if let Some(working) = batch.logs.get(destination) {
                        self.logs.show(destination, &working.log, position.offset, message.id, || {
                            sink.force(&message)
                        });
                    }
                    sink.answer(ticket, Answer::Stored(Ok(position)));
                }
                (Effect::Publish(_, _, ticket), Err(error)) => {
                    sink.answer(ticket, Answer::Stored(Err(error)));
                }
                (Effect::Admit { queue, tag, ticket }, written) => {
                    match written {
                        Ok(()) => self.queues.admit_reserved(&queue, tag),
                        Err(_) => self.queues.drop_reserved(&queue, tag),
                    }
                    sink.answer(ticket, Answer::Queued(queue, written));
                }
                (Effect::Tell(ticket), written) => sink.answer(ticket, Answer::Synced(written)),
                (Effect::Say(Word(done)), written) => done(written),
            }
        }
        if written.is_ok() {
            for (destination, working) in batch.logs {
                let Working { log, is_forgotten, .. } = working;
                if is_forgotten {
                    self.logs.forget(&destination, &log);
                } else {
                    self.logs.settle(destination, log);
                }
            }
        }
        self.health.holds(self.logs.bytes());
    }
}

/// The log as this batch has it.
fn working<'a>(
    batch: &'a mut HashMap<Destination, Working, RandomState>,
    logs: &Logs,
    destination: &Destination,
) -> &'a mut Working {
    match batch.entry(destination.clone()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(Working::new(logs.log(destination))),
    }
}

/// What cannot be read cannot be removed: it stays, and that is no reason to keep nothing else.
fn told(destination: &Destination, removed: fjall::Result<Left>) -> Option<Left> {
    let told = |error: &fjall::Error| tracing::error!(%destination, %error, "old messages cannot be removed");
    removed.inspect_err(told).ok()
}

/// Messages of one log that one order removes.
const REMOVED_AT_ONCE: usize = 1_000;
