//! Writes what waits for sockets, without waking the tasks of their connections.
//!
//! A delivery to a thousand connections would otherwise wake a thousand tasks, each of which has little to do but to
//! write. The flusher is one task among those of its worker: its turn comes after those that were ready before it, so
//! what a burst of publishes adds to an outbox leaves in one system call.

use std::cell::RefCell;
use std::future::poll_fn;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::task::Poll;

use crate::broker::Now;

use super::worker::Worker;

/// A connection whose socket can be written without its task.
pub(super) trait Flush {
    /// Writes what waits, as much as the socket takes; `false` when the connection's own task must go on. `now` may be
    /// some writes old.
    fn flush_now(&mut self, now: Now) -> bool;
}

/// The connections of one worker, by slot.
#[derive(Default)]
pub(super) struct Flusher {
    lines: RefCell<Vec<Option<Line>>>,
}

/// A connection, for as long as its own task has it.
type Line = Weak<RefCell<dyn Flush>>;

impl Flusher {
    pub(super) fn register(&self, slot: u32, line: Weak<RefCell<dyn Flush>>) {
        let mut lines = self.lines.borrow_mut();
        if lines.len() <= slot as usize {
            lines.resize_with(slot as usize + 1, || None);
        }
        lines[slot as usize] = Some(line);
    }

    pub(super) fn forget(&self, slot: u32) {
        if let Some(line) = self.lines.borrow_mut().get_mut(slot as usize) {
            *line = None;
        }
    }

    fn line(&self, slot: u32) -> Option<Rc<RefCell<dyn Flush>>> {
        self.lines.borrow().get(slot as usize)?.as_ref()?.upgrade()
    }
}

impl Worker {
    /// Flushes for as long as the worker lives. To be polled without tokio's budget, which is meant for tasks that serve
    /// one connection.
    pub(super) async fn flush(self: Rc<Self>) {
        let mut slots = Vec::new();
        let mut has_waited = false;
        loop {
            poll_fn(|context| {
                let ready = self.shard.borrow_mut().watch_dirty(context.waker());
                has_waited |= !ready;
                if ready { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            self.shard.borrow_mut().swap_dirty(&mut slots);
            for some in slots.chunks(FLUSHES_AT_ONCE) {
                // A turn given up costs a look at all sockets, so only where there is more than fits into one.
                if !take(&mut has_waited) {
                    tokio::task::yield_now().await;
                }
                self.flush_some(some);
            }
            slots.clear();
            if slots.capacity() > KEPT_SLOTS {
                slots = Vec::new();
            }
        }
    }

    #[inline(always)]
    fn flush_some(&self, slots: &[u32]) {
        for some in slots.chunks(FLUSHES_A_LOOK) {
            let now = self.now();
            for slot in some {
                let begun = self.shard.borrow_mut().begin_flush(*slot);
                let Some(line) = self.flusher.line(*slot).filter(|_| begun) else { continue };
                let flushed = catch_unwind(AssertUnwindSafe(|| line.borrow_mut().flush_now(now)));
                // A fault ends the connection, not the flusher: its own task will meet it again.
                if !flushed.unwrap_or(false) {
                    self.shard.borrow_mut().wake(*slot);
                }
            }
        }
    }
}

/// Writes before others get their turn: some hundred microseconds. What they publish leaves together with what waits for
/// the sockets that are still to be written, so a large room under load has fewer, larger writes.
const FLUSHES_AT_ONCE: usize = 128;

/// Writes from one look at the clock to the next: a quarter of a turn.
const FLUSHES_A_LOOK: usize = 32;

/// Capacity that the list of slots may keep.
const KEPT_SLOTS: usize = 16 << 10;
