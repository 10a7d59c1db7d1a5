//! A log while a batch changes it.

use std::collections::VecDeque;

use crate::backend::record;
use crate::model::{Destination, MessageId, Retention};

use super::changes::{Change, Changes};
use super::logs::{Head, Known, Log};
use super::tables::{Table, Tables, numbered};

/// What a batch makes of a log.
#[derive(Debug)]
pub(super) struct Working {
    pub(super) log: Log,
    /// Offset of the newest message that is written already.
    written: u64,
    /// Messages of this batch.
    fresh: Vec<Known>,
    /// Nothing is kept of it, and has not been for so long that it need not be known any more.
    pub(super) is_forgotten: bool,
}

/// Whose log it is, where it is read, and what becomes of it there.
pub(super) struct Site<'a> {
    pub(super) destination: &'a Destination,
    pub(super) tables: &'a Tables,
    pub(super) changes: &'a mut Changes,
}

/// Whether there is more to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    Some,
}

impl Working {
    pub(super) fn new(log: Log) -> Self {
        Self { written: log.last, log, fresh: Vec::new(), is_forgotten: false }
    }

    /// Adds a message at `offset`, after the newest one.
    pub(super) fn append(&mut self, offset: u64, bytes: u32, timestamp_ms: u64, id: MessageId) {
        self.is_forgotten = false;
        let log = &mut self.log;
        if log.count == 0 {
            log.first = offset;
            log.oldest_ms = timestamp_ms;
        }
        (log.last, log.last_id) = (offset, id);
        log.count += 1;
        log.bytes += u64::from(bytes);
        let known = Known { offset, bytes, timestamp_ms };
        self.fresh.push(known);
        if let Some(head) = log.head.as_mut().filter(|head| head.is_all) {
            head.is_all = head.known.len() < HEAD_MAX;
            if head.is_all {
                head.known.push_back(known);
            }
        }
    }

    /// Forgets what is too much, at most `count` messages.
    pub(super) fn keep_within(
        &mut self,
        retention: &Retention,
        count: usize,
        site: &mut Site<'_>,
    ) -> fjall::Result<Left> {
        for _ in 0..count {
            let Log { count, bytes, .. } = self.log;
            let is_over = count > retention.messages_max as u64 || bytes > retention.bytes_max as u64;
            // A single message of any legal size is kept.
            if count <= 1 || !is_over {
                return Ok(Left::Nothing);
            }
            self.drop_oldest(site)?;
        }
        Ok(Left::Some)
    }

    /// Forgets what came before `since_ms`, at most `count` messages; and the log, if nothing has come since.
    pub(super) fn expire(&mut self, since_ms: u64, count: usize, site: &mut Site<'_>) -> fjall::Result<Left> {
        for _ in 0..count {
            if self.log.oldest_ms >= since_ms {
                return Ok(Left::Nothing);
            }
            let Some(oldest) = self.oldest(site)? else {
                self.is_forgotten = true;
                return Ok(Left::Nothing);
            };
            // Until now it was only known that none is older.
            self.log.oldest_ms = oldest.timestamp_ms;
            if oldest.timestamp_ms < since_ms {
                self.drop_oldest(site)?;
            }
        }
        Ok(Left::Some)
    }

    /// Forgets what stands up to `offset`, at most `count` messages.
    pub(super) fn trim(&mut self, offset: u64, count: usize, site: &mut Site<'_>) -> fjall::Result<Left> {
        for _ in 0..count {
            if self.oldest(site)?.is_none_or(|oldest| oldest.offset > offset) {
                return Ok(Left::Nothing);
            }
            self.drop_oldest(site)?;
        }
        Ok(Left::Some)
    }

    fn drop_oldest(&mut self, site: &mut Site<'_>) -> fjall::Result<()> {
        let Some(oldest) = self.oldest(site)? else {
            // It is said to hold something and holds nothing: then it is empty.
            (self.log.count, self.log.bytes, self.log.first) = (0, 0, self.log.last + 1);
            return Ok(());
        };
        site.changes.push(Change::remove(Table::Messages, numbered(site.destination, oldest.offset)));
        let log = &mut self.log;
        log.first = oldest.offset + 1;
        log.count -= 1;
        log.bytes = log.bytes.saturating_sub(u64::from(oldest.bytes));
        log.oldest_ms = oldest.timestamp_ms;
        if let Some(head) = &mut log.head {
            head.known.pop_front();
        }
        Ok(())
    }

    /// The oldest message, read if it has to be.
    fn oldest(&mut self, site: &Site<'_>) -> fjall::Result<Option<Known>> {
        if self.log.count == 0 {
            return Ok(None);
        }
        let is_known = self.log.head.as_ref().is_some_and(|head| !head.known.is_empty());
        if !is_known {
            self.log.head = Some(Box::new(self.read_head(site)?));
        }
        Ok(self.log.head.as_ref().and_then(|head| head.known.front().copied()))
    }

    fn read_head(&self, site: &Site<'_>) -> fjall::Result<Head> {
        let mut known = VecDeque::new();
        if self.log.first <= self.written {
            let [first, last] =
                [self.log.first, self.written].map(|offset| numbered(site.destination, offset));
            for entry in site.tables.range(Table::Messages, &first, &last).take(HEAD_MAX) {
                let (key, value) = entry?;
                let offset = super::tables::parse_numbered(&key).map_or(0, |(_, offset, _)| offset);
                let timestamp_ms = record::timestamp_ms(&value).unwrap_or(0);
                known.push_back(Known { offset, bytes: value.len() as u32, timestamp_ms });
            }
        }
        let is_all = known.len() < HEAD_MAX;
        if is_all {
            let first = self.log.first;
            known.extend(self.fresh.iter().filter(|fresh| fresh.offset >= first));
        }
        Ok(Head { known, is_all })
    }
}

/// So many of the oldest messages of a log that is full are known: they are read together.
const HEAD_MAX: usize = 16;
