//! Up to where this node has handed on each destination that keeps messages, and what follows from that.
//!
//! Messages come by the bus, pages of what is kept by another connection. Under the lock of a destination's log the two are
//! put together: an answer to a reader waits until everything that it contains has come by the bus as well, and is completed
//! by what came beyond, so that in the inbox of his worker nothing is missing behind it and nothing comes twice. An offset that
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
use crate::model::{Answer, Destination, DestinationRules, Full, Page, Position, Ticket};

mod log;

use self::log::Log;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Logs {
    hub: Arc<Hub>,
    rules: DestinationRules,
    shards: Box<[Mutex<Shard>]>,
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

impl Logs {
    pub(super) fn new(hub: Arc<Hub>, rules: DestinationRules) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { hub, rules, shards }
    }

    /// Somebody here wants the destination from now on.
    pub(super) fn follow(&self, destination: &Destination) {
        if self.rules.history(destination).is_some() {
            self.shard(destination).lock().entry(destination.clone()).or_default();
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
        if !sink.is_heard(destination) {
            return Ok(Step::Done);
        }
        let mut shard = self.shard(destination).lock();
        let log = shard.entry(destination.clone()).or_default();
        log.touched = (self.hub.clock)().mono;
        let Ok(message) = record::decode(record, destination, position) else {
            sink.gap(destination);
            return Ok(Step::Done);
        };
        let before = Position { offset: position.offset.saturating_sub(1), ..position };
        let at = log.at.unwrap_or(before);
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
        log.answer_parked(&**sink);
        Ok(Step::Done)
    }

    /// A reader is about to ask: what comes from now on is kept until he is answered.
    pub(super) fn begin_reading(&self, destination: &Destination) {
        self.shard(destination).lock().entry(destination.clone()).or_default().readers += 1;
    }

    /// A reader's page has come; he is answered now, or when the bus has brought what the page has. After which position that
    /// is to be read, if it will not come by itself.
    pub(super) fn hand_over(
        &self,
        destination: &Destination,
        ticket: Ticket,
        mut page: Page,
    ) -> Option<Position> {
        let sink = self.hub.sink()?;
        let mut shard = self.shard(destination).lock();
        let log = shard.entry(destination.clone()).or_default();
        if !page.joined {
            sink.answer(ticket, Answer::Page(Ok(page)));
            log.end_reading();
            return None;
        }
        let at = *log.at.get_or_insert(page.end);
        if at.epoch != page.end.epoch {
            log.parked.push((ticket, page));
            return (!std::mem::replace(&mut log.is_filling, true)).then_some(at);
        }
        if at.offset < page.end.offset {
            log.expected = Some((page.end.offset, (self.hub.clock)().mono));
            log.parked.push((ticket, page));
            return None;
        }
        log.complete(&mut page);
        sink.answer(ticket, Answer::Page(Ok(page)));
        log.end_reading();
        None
    }

    /// A reader will not be answered by a page.
    pub(super) fn give_up_reading(&self, destination: &Destination) {
        if let Some(log) = self.shard(destination).lock().get_mut(destination) {
            log.end_reading();
        }
    }

    /// Messages may have been lost on the way: after which position they are to be read. `None`: that is not known, or nothing
    /// is kept, and its subscribers have been told.
    pub(super) fn missed(&self, destination: &Destination) -> Option<Position> {
        let mut shard = self.shard(destination).lock();
        match shard.get_mut(destination).and_then(|log| Some((log.at?, log))) {
            Some((at, log)) => (!std::mem::replace(&mut log.is_filling, true)).then_some(at),
            None => {
                self.hub.sink().into_iter().for_each(|sink| sink.gap(destination));
                None
            }
        }
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
        let mut end = if is_other { page.after.offset } else { at.offset };
        for message in &page.messages {
            let Some(position) = message.position.filter(|position| position.offset > end) else { continue };
            // As many as a page has, and the next is asked for only then.
            sink.force(message);
            end = position.offset;
        }
        log.at = Some(Position { epoch: page.end.epoch, offset: end.max(page.end.offset) });
        if !page.joined {
            return log.at;
        }
        log.is_filling = false;
        let next = log.drain(&**sink, now);
        log.answer_parked(&**sink);
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

    /// Destinations that nobody here wants any more are forgotten; of the others, those whose turn it is to be compared with
    /// Redis, and those that miss something, with the position after which to read.
    pub(super) fn tick(&self, turn: usize, now: Millis) -> (Vec<Destination>, Vec<(Destination, Position)>) {
        let (mut compare, mut fill) = (Vec::new(), Vec::new());
        let Some(sink) = self.hub.sink() else { return (compare, fill) };
        for (place, shard) in self.shards.iter().enumerate() {
            shard.lock().retain(|destination, log| {
                let is_matched = || sink.wants_patterns() && now.since(log.touched) < MATCHED_MS;
                if log.is_idle() && !sink.is_wanted(destination) && !is_matched() {
                    return false;
                }
                if let (Some(at), Some((expected, since))) = (log.at, log.expected) {
                    if at.offset >= expected {
                        log.expected = None;
                    } else if now.since(since) >= OVERDUE_MS && !log.is_filling {
                        (log.is_filling, log.expected) = (true, None);
                        fill.push((destination.clone(), at));
                    }
                }
                if place % TURNS == turn % TURNS {
                    compare.push(destination.clone());
                }
                true
            });
        }
        (compare, fill)
    }

    /// Destinations that are followed.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
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
