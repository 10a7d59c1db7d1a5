//! Readers of what is kept: who reads it in Redis, and who is answered by what another has read.

use super::log::{Log, Parked};
use super::{Logs, OVERDUE_MS};
use crate::backend::Read;
use crate::model::{Answer, Destination, Page, Position, Start, Ticket};

/// Somebody who asks for what is kept.
#[derive(Debug, Clone, Copy)]
pub(in crate::backend::redis) struct Reader {
    pub(in crate::backend::redis) read: Read,
    pub(in crate::backend::redis) ticket: Ticket,
    /// When he asked, milliseconds since the Unix epoch.
    pub(in crate::backend::redis) now_ms: u64,
}

/// What is to be done for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::redis) enum Turn {
    /// Nothing: he has been answered by what is here.
    Answered,
    /// Nothing yet: somebody reads the same at this moment.
    Waits,
    /// To read in Redis, and to say when that is done, for others may wait for it.
    Reads,
}

impl Logs {
    /// By the bus: everything up to `position` has come before. Who waited and has to read himself.
    pub(in crate::backend::redis) fn hear_mark(
        &self,
        destination: &Destination,
        position: Position,
    ) -> Vec<Reader> {
        let Some(sink) = self.hub.sink() else { return Vec::new() };
        let mut shard = self.shard(destination).lock();
        let Some(log) = shard.get_mut(destination).filter(|log| log.at.is_none()) else { return Vec::new() };
        log.begin_at(position, destination, &**sink);
        log.answer_parked(&**sink, (self.hub.clock)().mono);
        self.release(log, destination)
    }

    /// Whether the next page is to be read with a mark, for want of which nobody could say where the bus stands.
    pub(in crate::backend::redis) fn wants_mark(&self, destination: &Destination) -> bool {
        let now = (self.hub.clock)().mono;
        let mut shard = self.shard(destination).lock();
        let Some(log) = shard.get_mut(destination).filter(|log| log.at.is_none()) else { return false };
        let is_due = log.mark_asked.is_none_or(|since| now.since(since) >= OVERDUE_MS);
        if is_due {
            log.mark_asked = Some(now);
        }
        is_due
    }

    /// A reader is about to ask: what comes from now on is kept until he is answered.
    pub(in crate::backend::redis) fn begin_reading(&self, destination: &Destination) {
        self.open(&mut self.shard(destination).lock(), destination).readers += 1;
    }

    /// A reader's page has come; he is answered now, or when the bus has brought what the page has. After which position that
    /// is to be read, if it will not come by itself.
    pub(in crate::backend::redis) fn hand_over(
        &self,
        destination: &Destination,
        Reader { read, ticket, .. }: Reader,
        page: Page,
    ) -> Option<Position> {
        let sink = self.hub.sink()?;
        let mut shard = self.shard(destination).lock();
        let log = self.open(&mut shard, destination);
        if !page.joined {
            sink.answer(ticket, Answer::Page(Ok(page)));
            log.end_reading();
            return None;
        }
        let is_whole = matches!(read.start, Start::Last(count) if page.messages.len() < count);
        let (now, end) = ((self.hub.clock)().mono, page.end);
        log.parked.push(Parked { ticket, page, is_whole });
        match log.at {
            // What the page has may be on its way to others here: it is heard, or the mark that stands behind it.
            None => {
                log.expected.get_or_insert((end.offset, now));
            }
            Some(at) if at.epoch != end.epoch => {
                return (!std::mem::replace(&mut log.is_filling, true)).then_some(at);
            }
            Some(at) if at.offset < end.offset => log.expected = Some((end.offset, now)),
            Some(_) => log.answer_parked(&**sink, now),
        }
        None
    }

    /// A reader will not be answered by a page.
    pub(in crate::backend::redis) fn give_up_reading(&self, destination: &Destination) {
        if let Some(log) = self.shard(destination).lock().get_mut(destination) {
            log.end_reading();
        }
    }

    /// A reader who has begun: how he comes to his answer.
    pub(in crate::backend::redis) fn take_turn(&self, destination: &Destination, reader: Reader) -> Turn {
        let mut shard = self.shard(destination).lock();
        let log = self.open(&mut shard, destination);
        if self.answer_here(log, destination, &reader) {
            return Turn::Answered;
        }
        if log.is_being_read() && log.waiting.len() < WAITING_MAX {
            log.waiting.push(reader);
            return Turn::Waits;
        }
        log.reading += 1;
        Turn::Reads
    }

    /// What [`Turn::Reads`] asked for is done, well or not. Who waited for it and has to read himself.
    pub(in crate::backend::redis) fn end_turn(&self, destination: &Destination) -> Vec<Reader> {
        let mut shard = self.shard(destination).lock();
        let Some(log) = shard.get_mut(destination) else { return Vec::new() };
        log.reading = log.reading.saturating_sub(1);
        self.release(log, destination)
    }

    /// Answers those who waited by what is here. Who has to read himself, unless somebody still reads.
    pub(super) fn release(&self, log: &mut Log, destination: &Destination) -> Vec<Reader> {
        let mut waiting = std::mem::take(&mut log.waiting);
        waiting.retain(|reader| !self.answer_here(log, destination, reader));
        if log.is_being_read() {
            log.waiting = std::mem::take(&mut waiting);
        }
        waiting
    }

    fn answer_here(&self, log: &mut Log, destination: &Destination, reader: &Reader) -> bool {
        let (Some(sink), Some(kept)) = (self.hub.sink(), self.rules.history(destination)) else {
            return false;
        };
        let Some(at) = log.at.filter(|at| log.is_whole_up_to(*at)) else { return false };
        let Some(page) = log.tail.page(at, &reader.read, kept, reader.now_ms) else { return false };
        sink.answer(reader.ticket, Answer::Page(Ok(page)));
        log.end_reading();
        true
    }
}

impl Reader {
    /// Whether what another is given may answer him. What is taken from a user's queue is for one of his devices.
    pub(in crate::backend::redis) fn is_like_others(&self, destination: &Destination) -> bool {
        self.read.is_followed
            && !destination.is_of_user()
            && matches!(self.read.start, Start::Since(Some(_), _) | Start::Last(_))
    }
}

/// Readers of one destination that wait for another's page.
const WAITING_MAX: usize = 4_096;
