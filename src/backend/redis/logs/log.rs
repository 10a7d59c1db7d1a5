//! One destination as this node has handed it on.

use std::collections::VecDeque;
use std::sync::Arc;

use stompede_protocol::Millis;

use super::readers::Reader;
use super::tail::{Budget, Tail};
use crate::backend::Sink;
use crate::model::{Answer, Destination, Message, Page, Position, Ticket};

/// One destination.
#[derive(Debug)]
pub(super) struct Log {
    /// Up to where messages have been handed on; `None` before it is known.
    pub(super) at: Option<Position>,
    /// Before that was known the bus was interrupted, and nobody has been told of it yet.
    pub(super) is_broken: bool,
    /// When a mark was asked for that will tell it.
    pub(super) mark_asked: Option<Millis>,
    /// Readers whose answer is on its way. While there are any, what is handed on is kept in `recent`.
    pub(super) readers: usize,
    pub(super) recent: VecDeque<Arc<Message>>,
    pub(super) recent_bytes: usize,
    /// Pages that others may be answered by are being read, and who waits for them.
    pub(super) reading: usize,
    pub(super) waiting: Vec<Reader>,
    /// What came last, for those who come back.
    pub(super) tail: Tail,
    /// Answers that wait for the bus.
    pub(super) parked: Vec<Parked>,
    /// Something is missing and is being read; what comes meanwhile waits in `recent`.
    pub(super) is_filling: bool,
    /// When something last came.
    pub(super) touched: Millis,
    /// The end as Redis has told it, and when: what does not come up to there is missing.
    pub(super) expected: Option<(u64, Millis)>,
}

/// A page on its way to a reader.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) ticket: Ticket,
    pub(super) page: Page,
    /// It has all that is kept.
    pub(super) is_whole: bool,
}

impl Log {
    /// One of which nothing is known.
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            at: None,
            is_broken: false,
            mark_asked: None,
            readers: 0,
            recent: VecDeque::new(),
            recent_bytes: 0,
            reading: 0,
            waiting: Vec::new(),
            tail: Tail::new(budget),
            parked: Vec::new(),
            is_filling: false,
            touched: Millis::default(),
            expected: None,
        }
    }

    /// Nothing up to there is known to be missing.
    pub(super) fn is_whole_up_to(&self, at: Position) -> bool {
        !self.is_filling && self.expected.is_none_or(|(expected, _)| at.offset >= expected)
    }

    /// Something came that nobody here wants: where the bus stands is not kept any more.
    pub(super) fn pass_over(&mut self) {
        if self.is_idle() {
            (self.at, self.expected, self.mark_asked) = (None, None, None);
            self.tail.forget();
        }
    }

    /// Somebody reads in Redis what others may be answered by, or it is about to be handed to him.
    pub(super) fn is_being_read(&self) -> bool {
        self.reading > 0 || self.at.is_none() && !self.parked.is_empty()
    }

    /// Where the bus stands, which is `here` if nothing has told it before.
    pub(super) fn begin_at(
        &mut self,
        here: Position,
        destination: &Destination,
        sink: &dyn Sink,
    ) -> Position {
        if self.at.is_none() && std::mem::take(&mut self.is_broken) {
            sink.gap(destination);
        }
        *self.at.get_or_insert(here)
    }

    /// Nobody says where the bus stands, so it is where those stand who have read. What is on its way to others still will be
    /// taken for something old: that something is missing they have to be told before.
    pub(super) fn begin_where_read(&mut self, sink: &dyn Sink, now: Millis) {
        let Some(newest) = self.parked.last().map(|parked| parked.page.end) else { return };
        let ends = self.parked.iter().map(|parked| parked.page.end).filter(|end| end.epoch == newest.epoch);
        self.at = ends.max_by_key(|end| end.offset);
        self.answer_parked(sink, now);
    }

    /// The message has been handed on.
    pub(super) fn pass(&mut self, message: Arc<Message>, position: Position) {
        self.at = Some(position);
        self.tail.push(&message);
        if self.readers > 0 {
            self.keep(message);
        }
    }

    pub(super) fn keep(&mut self, message: Arc<Message>) {
        self.recent_bytes += message.cost_bytes();
        self.recent.push_back(message);
        while self.recent_bytes > RECENT_BYTES_MAX || self.recent.len() > RECENT_MAX {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.cost_bytes();
        }
    }

    pub(super) fn forget_recent(&mut self) {
        (self.recent, self.recent_bytes) = (VecDeque::new(), 0);
    }

    /// Adds to a page what came by the bus beyond it. Where that is not all there any more it is no last page.
    pub(super) fn complete(&mut self, page: &mut Page, is_whole: bool, now: Millis) {
        let Some(at) = self.at else { return };
        let beyond = self.recent.iter().filter(|message| {
            message.position.is_some_and(|position| {
                position.epoch == at.epoch
                    && position.offset > page.end.offset
                    && position.offset <= at.offset
            })
        });
        let beyond: Vec<_> = beyond.cloned().collect();
        if beyond.len() as u64 == at.offset - page.end.offset {
            page.messages.extend(beyond);
            page.end = at;
            self.tail.adopt(page, is_whole, now);
        } else {
            page.joined = false;
        }
    }

    pub(super) fn end_reading(&mut self) {
        self.readers = self.readers.saturating_sub(1);
        if self.readers == 0 && !self.is_filling {
            self.forget_recent();
        }
    }

    /// Answers those who waited for the bus to come so far. Who was given something of another numbering reads on.
    pub(super) fn answer_parked(&mut self, sink: &dyn Sink, now: Millis) {
        let Some(at) = self.at else { return };
        let is_due = |page: &Page| page.end.epoch != at.epoch || page.end.offset <= at.offset;
        let due: Vec<_> = self.parked.extract_if(.., |parked| is_due(&parked.page)).collect();
        for Parked { ticket, mut page, is_whole } in due {
            match page.end.epoch == at.epoch {
                true => self.complete(&mut page, is_whole, now),
                false => page.joined = false,
            }
            sink.answer(ticket, Answer::Page(Ok(page)));
            self.end_reading();
        }
    }

    /// Hands on what came while something was missing. After which position something is missing still, if it is.
    pub(super) fn drain(&mut self, sink: &dyn Sink, now: Millis) -> Option<Position> {
        let waiting = std::mem::take(&mut self.recent);
        self.recent_bytes = 0;
        for message in waiting {
            let (Some(at), Some(position)) = (self.at, message.position) else { continue };
            if position.epoch != at.epoch {
                // Of the numbering before, where it does not count any more; of the next, if another look says so.
                self.expected = Some((at.offset + 1, now));
            } else if position.offset <= at.offset {
                if self.readers > 0 {
                    self.keep(message);
                }
            } else if position.offset > at.offset + 1 {
                self.is_filling = true;
                self.keep(message);
            } else {
                sink.force(&message);
                self.pass(message, position);
            }
        }
        if self.is_filling { self.at } else { None }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.readers == 0 && self.parked.is_empty() && !self.is_filling
    }
}

/// Messages of one destination that are kept while somebody reads; who comes too late for them reads another page.
const RECENT_MAX: usize = 4_096;

/// Bytes of those.
const RECENT_BYTES_MAX: usize = 4 << 20;
