//! One destination as this node has handed it on.

use std::collections::VecDeque;
use std::sync::Arc;

use stompede_protocol::Millis;

use crate::backend::Sink;
use crate::model::{Answer, Message, Page, Position, Ticket};

/// One destination.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Up to where messages have been handed on; `None` before it is known.
    pub(super) at: Option<Position>,
    /// Readers whose answer is on its way. While there are any, what is handed on is kept in `recent`.
    pub(super) readers: usize,
    pub(super) recent: VecDeque<Arc<Message>>,
    pub(super) recent_bytes: usize,
    /// Answers that wait for the bus.
    pub(super) parked: Vec<(Ticket, Page)>,
    /// Something is missing and is being read; what comes meanwhile waits in `recent`.
    pub(super) is_filling: bool,
    /// When something last came.
    pub(super) touched: Millis,
    /// The end as Redis has told it, and when: what does not come up to there is missing.
    pub(super) expected: Option<(u64, Millis)>,
}

impl Log {
    /// The message has been handed on.
    pub(super) fn pass(&mut self, message: Arc<Message>, position: Position) {
        self.at = Some(position);
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
    pub(super) fn complete(&self, page: &mut Page) {
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
    pub(super) fn answer_parked(&mut self, sink: &dyn Sink) {
        let Some(at) = self.at else { return };
        let is_due = |page: &Page| page.end.epoch != at.epoch || page.end.offset <= at.offset;
        let due: Vec<_> = self.parked.extract_if(.., |(_, page)| is_due(page)).collect();
        for (ticket, mut page) in due {
            match page.end.epoch == at.epoch {
                true => self.complete(&mut page),
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
