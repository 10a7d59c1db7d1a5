//! What is kept of one destination.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::backend::history::{Read, UNREAD_MAX};
use crate::backend::record;
use crate::model::{Destination, Place, Position, Reader, Retention, Start, Which};

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

    /// Forgets what stands up to `offset`; returns the bytes that are free by that.
    pub(super) fn trim(&mut self, offset: u64) -> usize {
        let before = self.bytes;
        while self.gone() < offset.min(self.last) {
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

    /// Everything after this offset is here.
    fn gone(&self) -> u64 {
        self.last - self.records.len() as u64
    }

    /// Reads as `wanted` says; this log's numbering is `epoch`.
    pub(super) fn read(&self, wanted: Read, epoch: u64) -> Found<'_> {
        let gone = self.gone();
        let (after, recovered) = match wanted.start {
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
            let full = found.records.len() >= wanted.messages_max || bytes + record.len() > wanted.bytes_max;
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

    /// Where the message stands that is meant.
    pub(super) fn find(&self, which: Which) -> Option<Place> {
        let gone = self.gone();
        let place = |offset: u64| {
            let index = offset.checked_sub(gone + 1).and_then(|index| usize::try_from(index).ok());
            let record = index.and_then(|index| self.records.get(index));
            Place { offset, id: record.and_then(|record| record::id(record).ok()) }
        };
        match which {
            Which::Last => (self.last > 0).then(|| place(self.last)),
            Which::At(offset) => (1..=self.last).contains(&offset).then(|| place(offset)),
            Which::Id(id) => {
                // Most ask for one of the newest.
                let index = self.records.iter().rposition(|record| record::id(record) == Ok(id))?;
                Some(place(gone + 1 + index as u64))
            }
        }
    }

    /// Messages of others that each reader has not read. One walk from the newest back serves them all.
    pub(super) fn count_unread(&self, readers: &[Reader]) -> Box<[u32]> {
        let mut counts = vec![0; readers.len()].into_boxed_slice();
        let mut by_place: Vec<usize> = (0..readers.len()).collect();
        by_place.sort_unstable_by_key(|reader| std::cmp::Reverse(readers[*reader].read));
        let mut own: HashMap<&str, u32, RandomState> = HashMap::default();
        let (mut seen, mut offset) = (0, self.last);
        let mut records = self.records.iter().rev();
        for reader in by_place {
            let Reader { user, read } = &readers[reader];
            let count = |own: &HashMap<&str, u32, RandomState>, seen: u32| {
                (seen - own.get(&**user).copied().unwrap_or(0)).min(UNREAD_MAX)
            };
            while offset > *read && count(&own, seen) < UNREAD_MAX {
                let Some(record) = records.next() else { break };
                offset -= 1;
                seen += 1;
                *own.entry(record::sender(record).unwrap_or("")).or_default() += 1;
            }
            counts[reader] = count(&own, seen);
        }
        counts
    }
}

/// Memory that a kept record takes, bytes: its own and its place in the log.
fn cost_bytes(record: &[u8]) -> usize {
    record.len() + size_of::<Box<[u8]>>()
}

/// A log keeps room for so many records.
const SLOTS_MIN: usize = 4;
