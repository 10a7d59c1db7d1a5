//! What the drivers of connections are told to write, and tell of it.

use std::task::Waker;

use crate::broker::settings::Now;
use crate::routing::Outbox;

use super::Shard;

impl Shard {
    /// What waits for the socket of `slot`.
    pub fn outbox(&self, slot: u32) -> Option<&Outbox> {
        self.lanes.lane(slot).map(|lane| &lane.outbox)
    }

    /// The socket took `count` bytes.
    pub fn wrote(&mut self, slot: u32, count: usize, now: Now) {
        self.tally.bytes_sent.count(count);
        if self.lanes.advance(slot, count, now.mono) {
            self.with(slot, now, |peer, env| peer.wrote(env));
        }
        if self.over && !self.lanes.is_backlogged(self.backlog_bytes_max() / 2) {
            self.over = false;
            self.retry_held(now);
            self.drain(now);
        }
    }

    /// The socket refuses bytes.
    pub fn blocked(&mut self, slot: u32, now: Now) {
        if self.lanes.blocked_since(slot).is_none() {
            self.lanes.set_blocked(slot, Some(now.mono));
            self.with(slot, now, |_, _| {});
        }
    }

    /// The driver looks at the connection now; `waker` is called when there is something new.
    pub fn watch(&mut self, slot: u32, waker: &Waker) {
        self.lanes.watch(slot, waker);
    }

    /// Registers who is woken when a connection has something to write; `true` when one has already.
    pub fn watch_dirty(&mut self, waker: &Waker) -> bool {
        self.lanes.watch_dirty(waker)
    }

    /// Exchanges the list of slots that have something to write for `emptied`, see [`Shard::begin_flush`].
    pub fn swap_dirty(&mut self, emptied: &mut Vec<u32>) {
        self.lanes.swap_dirty(emptied);
    }

    /// Whether `slot`, taken from the list of [`Shard::swap_dirty`], is to be written now.
    pub fn begin_flush(&mut self, slot: u32) -> bool {
        self.lanes.begin_flush(slot)
    }

    /// The driver of `slot` has to look at it.
    pub fn wake(&mut self, slot: u32) {
        self.lanes.wake(slot);
    }
}
