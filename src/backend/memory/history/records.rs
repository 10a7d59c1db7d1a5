//! What is kept of one destination.

use std::collections::VecDeque;

use crate::backend::history::Question;
use crate::backend::record;
use crate::model::{Destination, Position, Retention, Start};

/// Records, oldest first, numbered without a gap.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) destination: Destination,
    records: VecDeque<Box<[u8]>>,
    /// Offset of the newest message that ever stood here.
    last: u64,
    bytes: usize,
    age_ms_max: u64,
}

/// What is read of a log.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// Offset and record.
    pub(super) records: Vec<(u64, &'a [u8])>,
    pub(super) recovered: bool,
    /// Offset after which it begins.
    pub(super) after: u64,
    /// Offset up to which it was read.
    pub(super) end: u64,
    pub(super) is_end: bool,
}

impl Log {
    /// An empty log whose first message comes after `last`.
    pub(super) fn new(destination: Destination, last: u64) -> Self {
        Self { destination, records: VecDeque::new(), last, bytes: 0, age_ms_max: u64::MAX }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// When the oldest message came.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.records.front().and_then(|record| record::timestamp_ms(record).ok())
    }

    /// Adds the next message; returns by how many bytes the log has grown or shrunk.
    pub(super) fn push(&mut self, record: Box<[u8]>, retention: &Retention, now_ms: u64) -> isize {
        let before = self.bytes;
        self.age_ms_max = retention.age_ms_max;
        self.bytes += cost_bytes(&record);
        self.records.push_back(record);
        self.last += 1;
        // A single message of any legal size is kept.
        while self.records.len() > 1
            && (self.records.len() > retention.messages_max || self.bytes > retention.bytes_max)
        {
            self.drop_oldest();
        }
        self.expire(now_ms);
        self.bytes.cast_signed() - before.cast_signed()
    }

    /// Forgets what is too old; returns the bytes that are free by that.
    pub(super) fn expire(&mut self, now_ms: u64) -> usize {
        let before = self.bytes;
        while self.oldest_ms().is_some_and(|oldest_ms| now_ms.saturating_sub(oldest_ms) > self.age_ms_max) {
            self.drop_oldest();
        }
        before - self.bytes
    }

    /// Forgets the oldest message; returns the bytes that are free by that.
    pub(super) fn drop_oldest(&mut self) -> usize {
        let freed = self.records.pop_front().map_or(0, |record| cost_bytes(&record));
        self.bytes -= freed;
        if self.records.capacity() > 4 * self.records.len().max(SLOTS_MIN) {
            self.records.shrink_to(2 * self.records.len());
        }
        freed
    }

    fn last_but(&self, count: usize) -> u64 {
        self.last.saturating_sub(count as u64)
    }

    /// Reads as `question` says; this log's numbering is `epoch`.
    pub(super) fn find(&self, question: Question, epoch: u64) -> Found<'_> {
        // Everything after this offset is here.
        let gone = self.last - self.records.len() as u64;
        let (after, recovered) = match question.start {
            Start::Since(Some(Position { epoch: theirs, offset }), _)
                if theirs == epoch && offset <= self.last =>
            {
                (offset.max(gone), offset >= gone)
            }
            Start::Since(_, count) => (self.last_but(count).max(gone), false),
            Start::Last(count) => (self.last_but(count).max(gone), true),
            Start::After(offset) => (offset.clamp(gone, self.last), offset >= gone && offset <= self.last),
        };
        let mut found = Found { records: Vec::new(), recovered, after, end: after, is_end: false };
        let mut bytes = 0;
        for record in self.records.range((after - gone) as usize..) {
            let full =
                found.records.len() >= question.messages_max || bytes + record.len() > question.bytes_max;
            if full && !found.records.is_empty() {
                return found;
            }
            bytes += record.len();
            found.end += 1;
            found.records.push((found.end, record));
        }
        found.is_end = true;
        found
    }
}

/// Memory that a kept record takes, bytes: its own and its place in the log.
fn cost_bytes(record: &[u8]) -> usize {
    record.len() + size_of::<Box<[u8]>>()
}

/// A log keeps room for so many records.
const SLOTS_MIN: usize = 4;
