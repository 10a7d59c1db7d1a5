//! Up to where this node has handed on each destination that keeps messages, and what follows from that.
//!
//! Messages come by the bus, pages of what is kept by another connection. Under the lock of a destination's log the two are
//! put together: an answer to a reader waits until everything that it contains has come by the bus as well, and is completed
//! by what came beyond, so that in the inbox of his worker nothing is missing behind it and nothing comes twice. Where the bus
//! has brought nothing yet, nobody knows what of a page is on its way to those who listened before: the reading itself then
//! publishes a *mark*, which comes by the bus behind all that the page may have, and says where that was. An offset that
//! jumps, or that stands in Redis and does not come, is filled from what is kept; what is not kept any more is told.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use stompede_protocol::Millis;

use super::hub::Hub;
use super::keys::Partition;
use crate::backend::{Inbound, record};
use crate::model::{Destination, DestinationRules, Full, Page, Position};

mod log;
mod readers;
mod tail;

use self::log::Log;
use self::tail::Budget;

pub(super) use self::readers::{Reader, Turn};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Logs {
    hub: Arc<Hub>,
    rules: DestinationRules,
    shards: Box<[Mutex<Shard>]>,
    /// Of what is kept of destinations for those who come back.
    budget: Arc<Budget>,
}

type Shard = HashMap<Destination, Log, RandomState>;

/// What a message that came calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Done,
    /// To read what is missing after this position.
    Fill(Position),
}

/// What destinations call for with time.
#[derive(Debug, Default)]
pub(super) struct Care {
    /// Their turn it is to be compared with Redis.
    pub(super) compare: Vec<Destination>,
    /// They miss something, which is to be read after that position.
    pub(super) fill: Vec<(Destination, Position)>,
    /// Readers who waited for another's page, and have to read their own.
    pub(super) read: Vec<(Destination, Reader)>,
}

impl Logs {
    pub(super) fn new(hub: Arc<Hub>, rules: DestinationRules) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { hub, rules, shards, budget: Arc::default() }
    }

    /// Somebody here wants the destination from now on.
    pub(super) fn follow(&self, destination: &Destination) {
        if self.rules.history(destination).is_some() {
            self.open(&mut self.shard(destination).lock(), destination);
        }
    }

    /// A message has come by the bus.
    pub(super) fn hear(
        &self,
        destination: &Destination,
        position: Position,
        record: &Bytes,
    ) -> Result<Step, Full> {
        let Some(sink) = self.hub.sink() else { return Ok(Step::Done) };
        let mut shard = self.shard(destination).lock();
        if !sink.is_heard(destination) {
            // Who comes next must not take what was handed on before for all there is.
            shard.get_mut(destination).into_iter().for_each(Log::pass_over);
            return Ok(Step::Done);
        }
        let log = self.open(&mut shard, destination);
        let now = (self.hub.clock)();
        log.touched = now.mono;
        let Ok(message) = record::decode(record, destination, position) else {
            self.hub.counted.unknown.add(1);
            sink.gap(destination);
            return Ok(Step::Done);
        };
        let before = Position { offset: position.offset.saturating_sub(1), ..position };
        let at = log.begin_at(before, destination, &**sink);
        let is_same = at.epoch == position.epoch;
        if is_same && position.offset <= at.offset {
            return Ok(Step::Done);
        }
        // Where numbers began anew, too, what came before this one is read.
        if log.is_filling || !is_same || position.offset > at.offset + 1 {
            log.keep(Arc::new(message));
            let begins = !std::mem::replace(&mut log.is_filling, true);
            return Ok(if begins { Step::Fill(at) } else { Step::Done });
        }
        let message = Arc::new(message);
        let cost_bytes = message.cost_bytes();
        sink.accept(Inbound { destination, cost_bytes, from: None, make: &mut || Arc::clone(&message) })?;
        log.pass(message, position);
        log.answer_parked(&**sink, now.mono);
        if !log.waiting.is_empty() {
            let left = self.release(log, destination);
            // At the next tick they read themselves.
            log.waiting.extend(left);
        }
        Ok(Step::Done)
    }

    /// Messages may have been lost, of which [`Logs::missed`] will be told later.
    pub(super) fn interrupted(&self, destination: &Destination) {
        if let Some(log) = self.shard(destination).lock().get_mut(destination) {
            log.is_broken = log.at.is_none();
        }
    }

    /// Messages may have been lost on the way: after which position they are to be read. `None`: that is not known, or nothing
    /// is kept, and its subscribers have been told.
    pub(super) fn missed(&self, destination: &Destination) -> Option<Position> {
        let mut shard = self.shard(destination).lock();
        let log = shard.get_mut(destination);
        if let Some(sink) = self.hub.sink()
            && log.as_ref().is_none_or(|log| log.at.is_none())
        {
            sink.gap(destination);
        }
        let log = log?;
        log.is_broken = false;
        if log.at.is_none() {
            log.begin_where_read(&**self.hub.sink()?, (self.hub.clock)().mono);
        }
        let at = log.at?;
        (!std::mem::replace(&mut log.is_filling, true)).then_some(at)
    }

    /// A page of what was missing has come. From which position on the next is to be read, if that was not all.
    pub(super) fn fill(&self, destination: &Destination, page: &Page) -> Option<Position> {
        let now = (self.hub.clock)().mono;
        let sink = self.hub.sink()?;
        let mut shard = self.shard(destination).lock();
        let log = shard.get_mut(destination)?;
        let at = log.at.unwrap_or(page.after);
        let is_other = at.epoch != page.end.epoch;
        if is_other || !page.recovered {
            sink.gap(destination);
        }
        log.tail.forget();
        self.hub.counted.fills.add(1);
        let mut end = if is_other { page.after.offset } else { at.offset };
        for message in &page.messages {
            let Some(position) = message.position.filter(|position| position.offset > end) else { continue };
            // As many as a page has, and the next is asked for only then.
            sink.force(message);
            self.hub.counted.filled.add(1);
            end = position.offset;
        }
        log.at = Some(Position { epoch: page.end.epoch, offset: end.max(page.end.offset) });
        if !page.joined {
            return log.at;
        }
        log.is_filling = false;
        let next = log.drain(&**sink, now);
        log.answer_parked(&**sink, now);
        next
    }

    /// What was missing cannot be read now; it is tried again.
    pub(super) fn give_up_filling(&self, destination: &Destination) {
        let now = (self.hub.clock)().mono;
        if let Some(log) = self.shard(destination).lock().get_mut(destination) {
            log.is_filling = false;
            log.expected = log.at.map(|at| (at.offset + 1, now));
        }
    }

    /// Redis says where the log ends.
    pub(super) fn verify(&self, destination: &Destination, end: Position) {
        let now = (self.hub.clock)().mono;
        let mut shard = self.shard(destination).lock();
        let Some(log) = shard.get_mut(destination) else { return };
        // Who has heard nothing yet may have that end on its way by the bus: it must not be taken for something old.
        let Some(at) = log.at else { return };
        if log.expected.is_none() {
            // Where numbers began anew it is read at the next turn, whatever they are.
            log.expected = match at.epoch == end.epoch {
                true => (at.offset < end.offset).then_some((end.offset, now)),
                false => Some((at.offset + 1, now)),
            };
        }
    }

    /// Destinations that nobody here wants any more are forgotten; what the others call for, by name.
    pub(super) fn tick(&self, turn: usize, now: Millis) -> Care {
        let mut care = Care::default();
        let Some(sink) = self.hub.sink() else { return care };
        for (place, shard) in self.shards.iter().enumerate() {
            shard.lock().retain(|destination, log| {
                let is_matched = || sink.wants_patterns() && now.since(log.touched) < MATCHED_MS;
                if log.is_idle() && !sink.is_wanted(destination) && !is_matched() {
                    return false;
                }
                log.tail.tick(now);
                match (log.at, log.expected) {
                    (Some(at), Some((expected, _))) if at.offset >= expected => log.expected = None,
                    (_, Some((_, since))) if now.since(since) < OVERDUE_MS => {}
                    (None, Some(_)) => {
                        sink.gap(destination);
                        (log.is_broken, log.expected) = (false, None);
                        log.begin_where_read(&**sink, now);
                    }
                    (Some(at), Some(_)) if !log.is_filling => {
                        (log.is_filling, log.expected) = (true, None);
                        care.fill.push((destination.clone(), at));
                    }
                    (Some(_), Some(_)) | (_, None) => {}
                }
                if place % TURNS == turn % TURNS {
                    care.compare.push(destination.clone());
                }
                if !log.is_being_read() {
                    let left = self.release(log, destination);
                    care.read.extend(left.into_iter().map(|reader| (destination.clone(), reader)));
                }
                true
            });
        }
        care.compare.sort_unstable();
        care.fill.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        // Stable: those of one destination stay in the order in which they asked.
        care.read.sort_by(|(one, _), (other, _)| one.cmp(other));
        care
    }

    /// Destinations that are followed.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Bytes of what is kept for those who come back.
    pub(super) fn bytes(&self) -> usize {
        self.budget.bytes()
    }

    fn open<'a>(&self, shard: &'a mut Shard, destination: &Destination) -> &'a mut Log {
        shard.entry(destination.clone()).or_insert_with(|| Log::new(&self.budget))
    }

    fn shard(&self, destination: &Destination) -> &Mutex<Shard> {
        // By the partition, that it is known when a destination's turn is.
        &self.shards[usize::from(Partition::of_destination(destination.as_str()).0) % SHARDS]
    }
}

/// Destinations are spread over so many locks.
const SHARDS: usize = 64;

/// A tenth of the destinations is compared with Redis each second.
const TURNS: usize = 10;

/// A destination that only patterns want is followed for so long after its last message, milliseconds.
const MATCHED_MS: u64 = 60_000;

/// What stands in Redis for so long and has not come is missing, milliseconds.
const OVERDUE_MS: u64 = 1_000;

#[cfg(test)]
mod tests;
