//! Those who read: they answer questions from the tables.
//!
//! An answer that reaches the end of a log is handed over while nothing is published there: what it does not contain comes
//! behind it. It is read before, without that lock; under it only what was published meanwhile, which is still in memory.

use std::sync::Arc;

use crate::backend::history::{Question, Read, UNREAD_MAX};
use crate::backend::{Sink, record};
use crate::model::{
    Answer, Destination, DestinationRules, Message, Page, Place, Position, Start, StoreError, Ticket, Which,
};

use super::logs::{Log, Logs};
use super::numbering::Numbering;
use super::questions::Asked;
use super::tables::{Table, Tables, numbered, parse_numbered};

/// Answers questions.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) tables: Tables,
    pub(super) logs: Arc<Logs>,
    pub(super) numbering: Numbering,
    pub(super) rules: DestinationRules,
}

/// What was read of a log.
#[derive(Debug)]
struct Pages {
    messages: Vec<Arc<Message>>,
    bytes: usize,
    /// Offset up to which it was read.
    end: u64,
    /// No more may be read for one answer.
    is_full: bool,
}

impl Reader {
    /// How old messages of a destination may be, milliseconds.
    pub(super) fn age_ms_max(&self, destination: &Destination) -> u64 {
        // What no rule keeps any more goes in time, not at once: the rule may come back.
        self.rules.history(destination).map_or(FORSAKEN_MS, |retention| retention.age_ms_max)
    }

    /// Nothing goes that is younger, milliseconds.
    pub(super) fn shortest_age_ms(&self) -> u64 {
        self.rules.shortest_age_ms().map_or(FORSAKEN_MS, |age_ms| age_ms.min(FORSAKEN_MS))
    }

    /// The answer where nothing is kept.
    pub(super) fn answer_nothing(&self, destination: &Destination, question: &Question, base: u64) -> Answer {
        match question {
            Question::Read(wanted) | Question::Resume(_, wanted) => {
                let log = Log::new(base);
                let (after, recovered) = self.start(&log, wanted.start, destination).unwrap_or((base, false));
                let read = Pages { messages: Vec::new(), bytes: 0, end: after, is_full: false };
                Answer::Page(Ok(self.page(destination, after, recovered, read, true)))
            }
            Question::Find(_) => Answer::Found(Ok(None)),
            Question::Count(readers) => Answer::Unread(Ok(vec![0; readers.len()].into())),
        }
    }

    /// Answers a question.
    pub(super) fn answer(&self, asked: Asked, sink: &dyn Sink) {
        let Asked { destination, question, ticket, now_ms } = asked;
        let answer = match question {
            Question::Read(wanted) | Question::Resume(_, wanted) => {
                match self.read(&destination, wanted, now_ms, ticket, sink) {
                    Ok(()) => return,
                    Err(error) => Answer::Page(Err(told(&destination, &error))),
                }
            }
            Question::Find(which) => Answer::Found(
                self.find(&destination, which, now_ms).map_err(|error| told(&destination, &error)),
            ),
            Question::Count(readers) => {
                let counts =
                    readers.iter().map(|reader| self.unread(&destination, &reader.user, reader.read, now_ms));
                let counts: fjall::Result<Box<[u32]>> = counts.collect();
                Answer::Unread(counts.map_err(|error| told(&destination, &error)))
            }
        };
        sink.answer(ticket, answer);
    }

    /// Reads a page and hands it over.
    fn read(
        &self,
        destination: &Destination,
        wanted: Read,
        now_ms: u64,
        ticket: Ticket,
        sink: &dyn Sink,
    ) -> fjall::Result<()> {
        for attempt in 1.. {
            let mut log = self.logs.log(destination);
            self.skip_old(destination, &mut log, now_ms)?;
            let (after, recovered) = self.start(&log, wanted.start, destination)?;
            let mut read = Pages { messages: Vec::new(), bytes: 0, end: after, is_full: false };
            self.read_on(destination, &mut read, log.last, wanted)?;
            let shard = self.logs.lock(destination);
            let now = shard.get(destination);
            if now.is_some_and(|now| now.gone() > after && now.first > log.first) && attempt < ATTEMPTS_MAX {
                // What was read may have lost its beginning meanwhile.
                continue;
            }
            let last = now.map_or(log.last, |now| now.last);
            self.read_on(destination, &mut read, last, wanted)?;
            let joined = !read.is_full;
            // Whoever reads from where a busy log loses its oldest is told that something is missing.
            let recovered = recovered && now.is_none_or(|now| now.gone() <= after || now.first <= log.first);
            let page = self.page(destination, after, recovered, read, joined);
            // Still under the lock: the next message comes behind the answer.
            sink.answer(ticket, Answer::Page(Ok(page)));
            break;
        }
        Ok(())
    }

    /// What is too old is not there.
    fn skip_old(&self, destination: &Destination, log: &mut Log, now_ms: u64) -> fjall::Result<()> {
        let since_ms = now_ms.saturating_sub(self.age_ms_max(destination));
        if log.oldest_ms >= since_ms || log.gone() >= log.last {
            return Ok(());
        }
        for entry in self.between(destination, log.gone(), log.last) {
            let (offset, record) = entry?;
            if record::timestamp_ms(&record).is_ok_and(|timestamp_ms| timestamp_ms >= since_ms) {
                log.first = offset;
                return Ok(());
            }
        }
        log.first = log.last + 1;
        Ok(())
    }

    /// The offset after which it is read, and whether nothing is missing before.
    fn start(&self, log: &Log, start: Start, destination: &Destination) -> fjall::Result<(u64, bool)> {
        let gone = log.gone();
        Ok(match start {
            Start::Since(Some(Position { epoch, offset }), _)
                if epoch == self.numbering.epoch(destination) && offset <= log.last =>
            {
                (offset.max(gone), offset >= gone)
            }
            Start::Since(_, count) => (self.last_but(destination, log, count)?, false),
            Start::Last(count) => (self.last_but(destination, log, count)?, true),
            Start::After(offset) => (offset.clamp(gone, log.last), offset >= gone && offset <= log.last),
        })
    }

    /// The offset before the last `count` messages.
    fn last_but(&self, destination: &Destination, log: &Log, count: usize) -> fjall::Result<u64> {
        let count = count as u64;
        if count >= log.count {
            return Ok(log.gone());
        }
        if log.is_dense() {
            return Ok(log.last.saturating_sub(count).max(log.gone()));
        }
        let mut after = log.last;
        for entry in self.between(destination, log.gone(), log.last).rev().take(count as usize) {
            after = entry?.0 - 1;
        }
        Ok(after)
    }

    /// Reads on up to `last`, as far as one answer may have.
    fn read_on(
        &self,
        destination: &Destination,
        read: &mut Pages,
        last: u64,
        wanted: Read,
    ) -> fjall::Result<()> {
        if read.is_full || read.end >= last {
            return Ok(());
        }
        let epoch = self.numbering.epoch(destination);
        for entry in self.between(destination, read.end, last) {
            let (offset, record) = entry?;
            let is_full =
                read.messages.len() >= wanted.messages_max || read.bytes + record.len() > wanted.bytes_max;
            if is_full && !read.messages.is_empty() {
                read.is_full = true;
                return Ok(());
            }
            let message = record::decode(&record, destination, Position { epoch, offset });
            let message = message.map_err(|_| fjall::Error::Unrecoverable)?;
            read.messages.push(Arc::new(message));
            read.bytes += record.len();
            read.end = offset;
        }
        read.end = last;
        Ok(())
    }

    fn page(
        &self,
        destination: &Destination,
        after: u64,
        recovered: bool,
        read: Pages,
        joined: bool,
    ) -> Page {
        let epoch = self.numbering.epoch(destination);
        let position = |offset| Position { epoch, offset };
        let Pages { messages, end, .. } = read;
        Page { messages, recovered, after: position(after), end: position(end), joined }
    }

    /// Where the message stands that is meant.
    fn find(&self, destination: &Destination, which: Which, now_ms: u64) -> fjall::Result<Option<Place>> {
        let mut log = self.logs.log(destination);
        self.skip_old(destination, &mut log, now_ms)?;
        match which {
            Which::Last => Ok((log.last > 0).then_some(Place { offset: log.last, id: Some(log.last_id) })),
            Which::At(offset) => {
                let record = self.tables.get(Table::Messages, &numbered(destination, offset))?;
                let id = record.filter(|_| offset > log.gone()).and_then(|record| record::id(&record).ok());
                Ok((1..=log.last).contains(&offset).then_some(Place { offset, id }))
            }
            Which::Id(id) => {
                // Most ask for one of the newest.
                for entry in self.between(destination, log.gone(), log.last).rev() {
                    let (offset, record) = entry?;
                    if record::id(&record) == Ok(id) {
                        return Ok(Some(Place { offset, id: Some(id) }));
                    }
                }
                Ok(None)
            }
        }
    }

    /// Messages of others after `read`.
    fn unread(&self, destination: &Destination, user: &str, read: u64, now_ms: u64) -> fjall::Result<u32> {
        let mut log = self.logs.log(destination);
        self.skip_old(destination, &mut log, now_ms)?;
        let mut count = 0;
        for entry in self.between(destination, read.max(log.gone()), log.last).rev() {
            let (_, record) = entry?;
            count += u32::from(record::sender(&record).is_ok_and(|sender| sender != user));
            if count >= UNREAD_MAX {
                break;
            }
        }
        Ok(count)
    }

    /// Offsets and records after `after`, up to `last`.
    fn between(
        &self,
        destination: &Destination,
        after: u64,
        last: u64,
    ) -> impl DoubleEndedIterator<Item = fjall::Result<(u64, fjall::Slice)>> + use<> {
        let (first, last) = (numbered(destination, after.saturating_add(1)), numbered(destination, last));
        let range = (first <= last).then(|| self.tables.range(Table::Messages, &first, &last));
        range.into_iter().flatten().map(|entry| {
            let (key, record) = entry?;
            Ok((parse_numbered(&key).map_or(0, |(_, offset, _)| offset), record))
        })
    }
}

fn told(destination: &Destination, error: &fjall::Error) -> StoreError {
    tracing::error!(%destination, %error, "what is kept cannot be read");
    StoreError::Unavailable
}

/// A page is read anew so often where its beginning goes meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// What no rule keeps any more goes after so long, milliseconds: 30 days.
const FORSAKEN_MS: u64 = 30 * 24 * 3_600 * 1_000;
