//! The latest messages of a destination, for those who come back.
//!
//! When an instance is lost, everybody who was in a room there asks the others for what he missed, and all ask for the same.
//! So what one reader was given stays for a while, what comes after it is added, and who asks meanwhile is answered without
//! a look into Redis: what is read there grows with the rooms of a node, not with their readers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stompede_protocol::Millis;

use crate::backend::Read;
use crate::model::{Message, Page, Position, Retention, Start};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Tail {
    budget: Arc<Budget>,
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    /// What follows this offset is here, up to where the log stands.
    after: u64,
    /// Nothing that is kept stands before it.
    is_whole: bool,
    /// Until when it is kept: for some time after somebody has read.
    until: Option<Millis>,
}

/// Bytes of all tails of the node.
#[derive(Debug, Default)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tail {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            messages: VecDeque::new(),
            bytes: 0,
            after: 0,
            is_whole: false,
            until: None,
        }
    }

    /// A reader was given this page, which ends where the log stands; it may be all that is kept.
    pub(super) fn adopt(&mut self, page: &Page, is_whole: bool, now: Millis) {
        let is_more = self.until.is_none() || page.after.offset < self.after;
        self.until = Some(now.after(KEPT_MS));
        if !is_more {
            return;
        }
        self.clear();
        self.after = page.after.offset;
        self.is_whole = is_whole;
        let mut end = self.after;
        for message in &page.messages {
            let offset = message.position.map_or(end, |position| position.offset);
            if offset != end + 1 {
                // Numbers have jumped, as they do where a primary was replaced.
                self.clear();
                self.after = offset.saturating_sub(1);
            }
            end = offset;
            self.add(Arc::clone(message));
            if self.until.is_none() {
                return;
            }
        }
        if end != page.end.offset {
            self.forget();
        }
    }

    /// The next message has been handed on.
    pub(super) fn push(&mut self, message: &Arc<Message>) {
        if self.until.is_some() {
            self.add(Arc::clone(message));
        }
    }

    /// Something is missing: what was here does not lead to where the log stands.
    pub(super) fn forget(&mut self) {
        self.clear();
        self.until = None;
    }

    /// Forgets what nobody has asked for lately.
    pub(super) fn tick(&mut self, now: Millis) {
        if self.until.is_some_and(|until| until <= now) {
            self.forget();
        }
    }

    /// What a reader asks for, if all of it is here; `at` is where the log stands.
    pub(super) fn page(&mut self, at: Position, read: &Read, kept: &Retention, now_ms: u64) -> Option<Page> {
        let good_ms = now_ms.saturating_sub(kept.age_ms_max);
        while self.messages.front().is_some_and(|oldest| oldest.timestamp_ms < good_ms)
            || self.messages.len() > kept.messages_max
            || !self.messages.is_empty() && self.bytes > kept.bytes_max
        {
            self.drop_oldest();
        }
        let count = match read.start {
            Start::Since(Some(Position { epoch, offset }), _) => {
                let count = at.offset.checked_sub(offset).filter(|_| epoch == at.epoch)?;
                // Who has everything needs nothing that is kept.
                (count == 0 || self.until.is_some() && offset >= self.after).then_some(count)?
            }
            Start::Last(count) => {
                let here = self.until.map(|_| self.messages.len())?;
                let count = if self.is_whole { count.min(here) } else { count };
                (count <= here).then_some(count as u64)?
            }
            Start::Since(None, _) | Start::After(_) => return None,
        };
        let count = usize::try_from(count).ok().filter(|count| *count <= self.messages.len())?;
        let messages: Vec<_> = self.messages.range(self.messages.len() - count..).cloned().collect();
        let bytes: usize = messages.iter().map(|message| message.cost_bytes()).sum();
        if count > read.messages_max || bytes > read.bytes_max {
            return None;
        }
        let first = messages.first().and_then(|message| message.position);
        let after = first.map_or(at.offset, |first| first.offset.saturating_sub(1));
        Some(Page {
            messages,
            recovered: true,
            after: Position { offset: after, ..at },
            end: at,
            joined: true,
        })
    }

    fn add(&mut self, message: Arc<Message>) {
        let bytes = message.cost_bytes();
        if self.budget.0.fetch_add(bytes, Ordering::Relaxed) + bytes > ALL_BYTES_MAX {
            self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
            return self.forget();
        }
        self.bytes += bytes;
        self.messages.push_back(message);
        while self.messages.len() > MESSAGES_MAX || self.bytes > BYTES_MAX {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.messages.pop_front() else { return };
        let bytes = oldest.cost_bytes();
        self.bytes -= bytes;
        self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
        self.after = oldest.position.map_or(self.after, |position| position.offset);
        self.is_whole = false;
    }

    fn clear(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
        (self.messages, self.bytes, self.is_whole) = (VecDeque::new(), 0, false);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Messages of one tail.
const MESSAGES_MAX: usize = 256;

/// Bytes of one tail.
const BYTES_MAX: usize = 256 << 10;

/// Bytes of all tails of a node.
const ALL_BYTES_MAX: usize = 64 << 20;

/// A tail is kept for so long after somebody was given a page of Redis's, milliseconds: clients that lost an instance come
/// back within it.
const KEPT_MS: u64 = 30_000;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use stompede_protocol::Headers;

    use super::*;
    use crate::model::{Destination, MessageId};

    const KEPT: Retention = Retention { messages_max: 1_000, bytes_max: usize::MAX, age_ms_max: 1_000 };
    const EPOCH: u64 = 7;

    fn message(offset: u64, bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            id: MessageId { node: 1, number: offset },
            destination: Destination::internal("/topic/chat/a"),
            timestamp_ms: offset,
            sender: None,
            headers: Headers::new(),
            body: Bytes::from(vec![b'x'; bytes]),
            text: true,
            position: Some(at(offset)),
            numbered: false,
        })
    }

    fn at(offset: u64) -> Position {
        Position { epoch: EPOCH, offset }
    }

    fn page(offsets: std::ops::RangeInclusive<u64>) -> Page {
        Page {
            recovered: true,
            after: at(offsets.start() - 1),
            end: at(*offsets.end()),
            joined: true,
            messages: offsets.map(|offset| message(offset, 10)).collect(),
        }
    }

    fn asked(tail: &mut Tail, end: u64, start: Start, now_ms: u64) -> Option<Vec<u64>> {
        let read = Read { start, messages_max: 100, bytes_max: usize::MAX, is_followed: true };
        let page = tail.page(at(end), &read, &KEPT, now_ms)?;
        assert_eq!((page.recovered, page.joined, page.end), (true, true, at(end)));
        Some(page.messages.iter().map(|message| message.position.unwrap().offset).collect())
    }

    #[test]
    fn what_one_has_read_and_what_came_after_it_answers_others() {
        let mut tail = Tail::new(&Arc::default());
        let since = |offset| Start::Since(Some(at(offset)), 0);
        assert_eq!(asked(&mut tail, 9, since(9), 0), Some(vec![]), "who has everything needs nothing");
        assert_eq!(asked(&mut tail, 9, since(8), 0), None);
        assert_eq!(asked(&mut tail, 9, Start::Last(1), 0), None);
        tail.push(&message(9, 10));
        assert_eq!(asked(&mut tail, 9, since(8), 0), None, "nobody has read");
        tail.adopt(&page(5..=9), false, Millis(0));
        tail.push(&message(10, 10));
        assert_eq!(asked(&mut tail, 10, since(7), 0), Some(vec![8, 9, 10]));
        assert_eq!(asked(&mut tail, 10, since(4), 0), Some(vec![5, 6, 7, 8, 9, 10]));
        assert_eq!(asked(&mut tail, 10, since(3), 0), None, "the fourth is not here");
        assert_eq!(asked(&mut tail, 10, since(11), 0), None, "we do not know of the eleventh");
        let strange = Start::Since(Some(Position { epoch: EPOCH + 1, offset: 9 }), 0);
        assert_eq!(asked(&mut tail, 10, strange, 0), None);
        assert_eq!(asked(&mut tail, 10, Start::Last(2), 0), Some(vec![9, 10]));
        assert_eq!(asked(&mut tail, 10, Start::Last(7), 0), None);
        tail.adopt(&page(1..=10), true, Millis(0));
        assert_eq!(
            asked(&mut tail, 10, Start::Last(50), 0).map(|all| all.len()),
            Some(10),
            "there are no more"
        );
        assert_eq!(asked(&mut tail, 10, since(2), 1_004), None, "the third is too old");
        assert_eq!(asked(&mut tail, 10, since(3), 1_004), Some((4..=10).collect()));
    }

    #[test]
    fn numbers_that_jump_are_not_taken_for_all_there_is() {
        let mut tail = Tail::new(&Arc::default());
        let mut jumped = page(5..=9);
        jumped.messages.remove(1);
        tail.adopt(&jumped, true, Millis(0));
        assert_eq!(asked(&mut tail, 9, Start::Since(Some(at(5)), 0), 0), None);
        assert_eq!(asked(&mut tail, 9, Start::Since(Some(at(6)), 0), 0), Some(vec![7, 8, 9]));
        let mut short = page(1..=9);
        short.end = at(20);
        tail.forget();
        tail.adopt(&short, true, Millis(0));
        assert_eq!(asked(&mut tail, 20, Start::Since(Some(at(8)), 0), 0), None);
    }

    #[test]
    fn it_is_bounded_and_gives_back_what_it_took() {
        let budget = Arc::<Budget>::default();
        let mut tail = Tail::new(&budget);
        tail.adopt(&page(1..=9), true, Millis(0));
        for offset in 10..=1_000 {
            tail.push(&message(offset, 10));
        }
        assert_eq!(tail.messages.len(), MESSAGES_MAX);
        tail.push(&message(1_001, BYTES_MAX / 2));
        assert!(tail.bytes <= BYTES_MAX && budget.bytes() == tail.bytes);
        assert_eq!(asked(&mut tail, 1_001, Start::Since(Some(at(1_000)), 0), 0), Some(vec![1_001]));
        tail.tick(Millis(KEPT_MS - 1));
        assert!(budget.bytes() > 0);
        tail.tick(Millis(KEPT_MS));
        assert_eq!((budget.bytes(), tail.messages.len()), (0, 0));
        // Where all tails together have too much, one has nothing.
        budget.0.store(ALL_BYTES_MAX - 100, Ordering::Relaxed);
        tail.adopt(&page(1_001..=1_009), false, Millis(0));
        assert_eq!(asked(&mut tail, 1_009, Start::Last(1), 0), None);
        assert_eq!(budget.bytes(), ALL_BYTES_MAX - 100);
        budget.0.store(0, Ordering::Relaxed);
        tail.adopt(&page(1_001..=1_009), false, Millis(0));
        drop(tail);
        assert_eq!(budget.bytes(), 0);
    }
}
