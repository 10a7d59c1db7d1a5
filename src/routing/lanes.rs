//! The outgoing side of all connections of one worker: outboxes, who must be woken, and how much waits for what.

mod recoveries;
mod slowness;

use std::cmp::Reverse;
use std::task::Waker;

use bytes::Bytes;
use slab::Slab;
use stompede_protocol::Millis;

use crate::model::Overflow;

use super::outbox::{Outbox, Pushed};

use recoveries::Recoveries;
use slowness::Outage;

/// The outgoing side of one connection.
#[derive(Debug, Default)]
pub struct Lane {
    /// What waits for the socket.
    pub outbox: Outbox,
    waker: Option<Waker>,
    /// The driver was woken and has not looked yet.
    woken: bool,
    /// It is on the list of those that have something to write.
    dirty: bool,
    /// Something was delivered to it.
    consumes: bool,
    /// Somebody wants to hear when bytes have left.
    heeded: bool,
    /// Its last word has been pushed: nothing may follow.
    sealed: bool,
    /// When the socket last took bytes.
    wrote: Millis,
    /// Since when the socket has taken no byte although some waited.
    blocked: Option<Millis>,
    /// Since when it has not caught up: the socket refused bytes and most of the limit has waited ever since.
    lagging: Option<Millis>,
    /// Bytes that the socket has taken since then.
    taken: u32,
    /// Publishers have waited for it since then.
    excused: bool,
    /// The number of the last outage in which it took bytes again.
    came_back_in: u32,
}

/// All lanes of a worker, by connection slot.
///
/// A connection is slow only while its *socket* refuses bytes. What waits in other outboxes waits for this worker's own
/// turn: that is the worker's backlog, and no consumer is to blame for it.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: Slab<Lane>,
    /// Slots that have something to write and whose socket is not known to refuse it.
    dirty: Vec<u32>,
    /// Called when the first slot becomes dirty.
    flusher: Option<Waker>,
    ready_bytes: usize,
    blocked_bytes: usize,
    blocked_count: usize,
    /// The most bytes that ever waited for one socket that took none.
    high_water: usize,
    /// Most connections are blocked.
    outage: Option<Outage>,
    /// How many there have been: the number of the last one.
    outages: u32,
    /// When last most had been blocked for long, and many of them took bytes again.
    relieved: Millis,
    /// Consumers lag for a common cause: publishers must give way.
    congested: bool,
    /// Lanes for which publishers wait, and until when.
    excused_count: usize,
    patient_until: Millis,
    /// How long sockets are blocked that do come back, and what is common among many of them, milliseconds.
    recoveries: Recoveries,
    common_ms: u64,
    /// How often it was looked for congestion since the last tick.
    looks: u8,
    /// The time of the last tick.
    now: Millis,
    /// Who has less than this waiting has caught up.
    caught_up_bytes: usize,
}

impl Lanes {
    /// Opens a lane; the slot is free for reuse after [`Lanes::close`].
    pub fn open(&mut self) -> u32 {
        self.lanes.insert(Lane::default()) as u32
    }

    /// Closes a lane and forgets what waited in it.
    pub fn close(&mut self, slot: u32) {
        self.set_blocked(slot, None);
        self.forget_lag(slot);
        let lane = self.lanes.remove(slot as usize);
        self.ready_bytes -= lane.outbox.bytes();
    }

    /// The lane, if the slot is in use.
    pub fn lane(&self, slot: u32) -> Option<&Lane> {
        self.lanes.get(slot as usize)
    }

    /// Bytes that wait for this worker's turn. Blocked bytes join in when most connections are blocked at once: then
    /// not they are slow but what they share, and only publishers can give way.
    pub fn backlog_bytes(&self) -> usize {
        self.ready_bytes + if self.most_are_blocked() { self.blocked_bytes } else { 0 }
    }

    /// Bytes in all outboxes.
    pub fn total_bytes(&self) -> usize {
        self.ready_bytes + self.blocked_bytes
    }

    /// Bytes in outboxes whose socket takes none.
    pub fn blocked_bytes(&self) -> usize {
        self.blocked_bytes
    }

    /// Lanes whose socket takes no bytes.
    pub fn blocked(&self) -> usize {
        self.blocked_count
    }

    /// The most bytes that ever waited in one of them.
    pub fn high_water(&self) -> usize {
        self.high_water
    }

    /// The slots whose socket refuses bytes, the fullest outbox first.
    pub fn blocked_by_size(&self) -> Vec<u32> {
        let blocked = self.lanes.iter().filter(|(_, lane)| lane.blocked.is_some());
        let mut slots: Vec<_> =
            blocked.map(|(slot, lane)| (Reverse(lane.outbox.bytes()), slot as u32)).collect();
        slots.sort_unstable();
        slots.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Adds the broker's own frame.
    pub fn push_control(&mut self, slot: u32, frame: Bytes) {
        if self.is_sealed(slot) {
            return;
        }
        let before = self.lanes[slot as usize].outbox.bytes();
        self.lanes[slot as usize].outbox.push_control(frame);
        self.changed(slot, before);
        self.soil(slot);
    }

    /// What is pushed from now on is thrown away: a WebSocket's close frame is the last that may be sent (RFC 6455, 5.5.1).
    pub fn seal(&mut self, slot: u32) {
        self.lanes[slot as usize].sealed = true;
    }

    /// Whether nothing that is pushed will be sent.
    pub fn is_sealed(&self, slot: u32) -> bool {
        self.lanes.get(slot as usize).is_none_or(|lane| lane.sealed)
    }

    /// Adds a delivery.
    pub fn push(
        &mut self,
        slot: u32,
        head: Bytes,
        tail: Option<Bytes>,
        overflow: Overflow,
        bytes_max: usize,
    ) -> Pushed {
        let lane = &self.lanes[slot as usize];
        if lane.sealed {
            return Pushed::Taken;
        }
        let (before, wanted) = (lane.outbox.bytes(), head.len() + tail.as_ref().map_or(0, Bytes::len));
        // Without a refusing socket the limit would blame the consumer for the worker's own delay.
        let mut limit = if lane.blocked.is_some() { bytes_max } else { usize::MAX };
        if before > 0 && before + wanted > limit && overflow == Overflow::Close {
            limit = self.lenient_limit(slot, before + wanted, bytes_max);
        }
        let lane = &mut self.lanes[slot as usize];
        lane.consumes = true;
        let pushed = lane.outbox.push(head, tail, overflow, limit);
        self.changed(slot, before);
        self.soil(slot);
        pushed
    }

    /// The socket took `count` bytes. Whether somebody wants to hear of it, see [`Lanes::heed`].
    #[inline(always)]
    pub fn advance(&mut self, slot: u32, count: usize, now: Millis) -> bool {
        let before = self.lanes[slot as usize].outbox.bytes();
        let lane = &mut self.lanes[slot as usize];
        lane.outbox.advance(count);
        lane.wrote = now;
        // Somebody who takes a few bytes whenever he likes is no measure for others.
        let took_some = count >= self.caught_up_bytes / SOME_PART || lane.outbox.is_empty();
        let came_back = lane.blocked.filter(|_| took_some);
        if lane.lagging.is_some() {
            lane.taken = lane.taken.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            // With so much taken, all that waited when it began to lag has left: what waits now is a new lag.
            let renewed = lane.taken as usize >= self.caught_up_bytes * RENEWED_PARTS;
            if lane.outbox.bytes() <= self.caught_up_bytes || renewed {
                self.forget_lag(slot);
            }
        }
        if let Some(since) = came_back {
            self.came_back(slot, now.since(since));
        }
        self.changed(slot, before);
        self.set_blocked(slot, None);
        self.lanes[slot as usize].heeded
    }

    /// Whether somebody wants to hear when bytes of this lane have left.
    pub fn heed(&mut self, slot: u32, heeded: bool) {
        self.lanes[slot as usize].heeded = heeded;
    }

    /// When the socket last took bytes; 0 before.
    pub fn wrote_at(&self, slot: u32) -> Millis {
        self.lanes[slot as usize].wrote
    }

    /// Registers who is woken when the first slot has something to write; `true` when one has already.
    pub fn watch_dirty(&mut self, waker: &Waker) -> bool {
        if !self.flusher.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.flusher = Some(waker.clone());
        }
        !self.dirty.is_empty()
    }

    /// Exchanges the list of slots that have something to write for `emptied`. Each is to be shown to
    /// [`Lanes::begin_flush`]; until then it is not listed again, however much is added.
    pub fn swap_dirty(&mut self, emptied: &mut Vec<u32>) {
        std::mem::swap(&mut self.dirty, emptied);
    }

    /// Whether `slot` has still something to write that its socket is not known to refuse.
    pub fn begin_flush(&mut self, slot: u32) -> bool {
        let Some(lane) = self.lanes.get_mut(slot as usize).filter(|lane| lane.dirty) else { return false };
        lane.dirty = false;
        lane.blocked.is_none() && !lane.outbox.is_empty()
    }

    /// Drops what has not begun to leave; see [`Outbox::abandon`].
    pub fn abandon(&mut self, slot: u32) -> u64 {
        let before = self.lanes[slot as usize].outbox.bytes();
        let kept = self.lanes[slot as usize].outbox.abandon();
        self.changed(slot, before);
        kept
    }

    /// The socket refuses bytes since `since`, or takes them again.
    pub fn set_blocked(&mut self, slot: u32, since: Option<Millis>) {
        let lane = &mut self.lanes[slot as usize];
        let (bytes, was_blocked) = (lane.outbox.bytes(), lane.blocked.is_some());
        lane.blocked = since;
        lane.lagging = lane.lagging.or(since);
        if was_blocked == since.is_some() {
            return;
        }
        if was_blocked {
            self.blocked_bytes -= bytes;
            self.ready_bytes += bytes;
            self.blocked_count -= 1;
        } else {
            self.ready_bytes -= bytes;
            self.blocked_bytes += bytes;
            self.blocked_count += 1;
            self.high_water = self.high_water.max(bytes);
        }
        self.watch_outage();
    }

    /// Since when the socket refuses bytes.
    pub fn blocked_since(&self, slot: u32) -> Option<Millis> {
        self.lanes[slot as usize].blocked
    }

    /// The driver has seen to everything, and wants `waker` called when there is something new.
    pub fn watch(&mut self, slot: u32, waker: &Waker) {
        let lane = &mut self.lanes[slot as usize];
        lane.woken = false;
        if !lane.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            lane.waker = Some(waker.clone());
        }
    }

    /// Wakes the driver unless it is awake already.
    pub fn wake(&mut self, slot: u32) {
        let lane = &mut self.lanes[slot as usize];
        if !lane.woken {
            lane.woken = true;
            if let Some(waker) = &lane.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Lists the lane for the flusher. A blocked one is written by its own driver, once its socket takes bytes again.
    #[inline(always)]
    fn soil(&mut self, slot: u32) {
        let lane = &mut self.lanes[slot as usize];
        if lane.dirty || lane.blocked.is_some() {
            return;
        }
        lane.dirty = true;
        self.dirty.push(slot);
        if self.dirty.len() == 1
            && let Some(flusher) = &self.flusher
        {
            flusher.wake_by_ref();
        }
    }

    /// Number of lanes.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    #[inline(always)]
    fn changed(&mut self, slot: u32, before: usize) {
        let lane = &self.lanes[slot as usize];
        let sum = if lane.blocked.is_some() {
            self.high_water = self.high_water.max(lane.outbox.bytes());
            &mut self.blocked_bytes
        } else {
            &mut self.ready_bytes
        };
        *sum = *sum + lane.outbox.bytes() - before;
    }
}

/// This part of what counts as caught up is more than a trickle when taken at once.
const SOME_PART: usize = 16;

/// Eight times the limit, which is the most that may have waited, in parts of what has caught up, a quarter of it.
const RENEWED_PARTS: usize = 4 * slowness::LENIENCY;

#[cfg(test)]
mod tests;
