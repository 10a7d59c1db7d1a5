//! What comes due with time.

use stompede_protocol::Millis;

use crate::broker::peer::Peer;
use crate::broker::peer::timers::Fate;
use crate::broker::settings::Now;
use crate::model::{CloseReason, ConnectionId, WorkerId};

use super::Shard;

impl Shard {
    /// To be called about every 100 ms.
    pub fn tick(&mut self, now: Now) {
        self.lanes.tick(now.mono, self.broker.settings().limits.outbox_bytes_max);
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(now.mono, &mut due);
        for (slot, serial) in due.drain(..) {
            let id = ConnectionId { worker: self.worker, slot, serial };
            if self.is_current(id) {
                self.timeout(slot, now);
            }
        }
        self.due = due;
        if self.worker == WorkerId(0) {
            self.broker.tick(now);
        }
        self.guard_memory(now);
        self.retry_held(now);
        self.drain(now);
    }

    fn timeout(&mut self, slot: u32, now: Now) {
        let mut fate = Fate::Lives;
        // An entry that a sooner one has replaced: it would be renewed beside the other, for ever.
        if self.peer(slot).is_some_and(|peer| peer.scheduled > now.mono) {
            return;
        }
        self.with(slot, now, |peer, env| {
            peer.scheduled = Millis(u64::MAX);
            if peer.deadline(env) <= env.now.mono {
                fate = peer.handle_timeout(env);
            }
        });
        if fate == Fate::Dead && !self.dead.contains(&slot) {
            self.dead.push(slot);
            self.lanes.wake(slot);
        }
    }

    /// Above the limit no SEND is read. What is too much is taken from blocked outboxes, the fullest first, as many as it
    /// takes: publishers are not to wait for those who do not read.
    fn guard_memory(&mut self, now: Now) {
        if !self.report_memory() {
            return;
        }
        for slot in self.lanes.blocked_by_size() {
            if self.peer(slot).is_none_or(Peer::is_closing) {
                continue;
            }
            self.tally.refused(CloseReason::SlowConsumer);
            self.with(slot, now, |peer, env| peer.too_slow(env));
            if !self.report_memory() {
                return;
            }
        }
    }

    /// Whether all together hold more than they may.
    fn report_memory(&self) -> bool {
        let inbox_bytes = self.broker.inboxes().of(self.worker).bytes();
        let bytes = self.lanes.total_bytes() + self.peer_bytes + inbox_bytes;
        self.tally.outbox_bytes.set(self.lanes.total_bytes());
        self.tally.blocked_bytes.set(self.lanes.blocked_bytes());
        self.tally.blocked_connections.set(self.lanes.blocked());
        self.tally.outbox_high_water.set(self.lanes.high_water());
        self.broker.report(self.worker, bytes, self.table.len())
    }
}
