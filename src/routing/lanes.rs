//! The outgoing side of all connections of one worker: outboxes, who must be woken, and how much waits for what.

use std::task::Waker;

use bytes::Bytes;
use slab::Slab;
use stompede_protocol::Millis;

use crate::model::Overflow;

use super::outbox::{Outbox, Pushed};

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
    /// Somebody wants to hear when bytes have left.
    heeded: bool,
    /// When the socket last took bytes.
    wrote: Millis,
    /// Since when the socket has taken no byte although some waited.
    blocked: Option<Millis>,
    /// Since when it has not caught up: the socket refused bytes and most of the limit has waited ever since.
    lagging: Option<Millis>,
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
    /// Consumers lag for a common cause: publishers must give way.
    congested: bool,
    /// It was looked for congestion since the last tick.
    looked: bool,
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
        let common = self.blocked_count * 2 > self.lanes.len();
        self.ready_bytes + if common { self.blocked_bytes } else { 0 }
    }

    /// Bytes in all outboxes.
    pub fn total_bytes(&self) -> usize {
        self.ready_bytes + self.blocked_bytes
    }

    /// Of the connections whose socket refuses bytes, the slot with the fullest outbox.
    pub fn fullest_blocked(&self) -> Option<u32> {
        let blocked = self.lanes.iter().filter(|(_, lane)| lane.blocked.is_some());
        blocked.max_by_key(|(_, lane)| lane.outbox.bytes()).map(|(slot, _)| slot as u32)
    }

    /// Adds the broker's own frame.
    pub fn push_control(&mut self, slot: u32, frame: Bytes) {
        let before = self.lanes[slot as usize].outbox.bytes();
        self.lanes[slot as usize].outbox.push_control(frame);
        self.changed(slot, before);
        self.soil(slot);
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
        let (before, wanted) = (lane.outbox.bytes(), head.len() + tail.as_ref().map_or(0, Bytes::len));
        // Without a refusing socket the limit would blame the consumer for the worker's own delay.
        let mut limit = if lane.blocked.is_some() { bytes_max } else { usize::MAX };
        if before > 0 && before + wanted > limit && overflow == Overflow::Close {
            limit = self.lenient_limit(slot, bytes_max);
        }
        let pushed = self.lanes[slot as usize].outbox.push(head, tail, overflow, limit);
        self.changed(slot, before);
        self.soil(slot);
        pushed
    }

    /// The socket took `count` bytes. Whether somebody wants to hear of it, see [`Lanes::heed`].
    pub fn advance(&mut self, slot: u32, count: usize, now: Millis) -> bool {
        let before = self.lanes[slot as usize].outbox.bytes();
        let lane = &mut self.lanes[slot as usize];
        lane.outbox.advance(count);
        lane.wrote = now;
        if lane.outbox.bytes() <= self.caught_up_bytes {
            lane.lagging = None;
        }
        let heeded = lane.heeded;
        self.changed(slot, before);
        self.set_blocked(slot, None);
        heeded
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

    /// Whether publishers must wait: for this worker's turn, or because many consumers lag at once.
    pub fn is_backlogged(&self, backlog_bytes_max: usize) -> bool {
        self.congested || self.backlog_bytes() > backlog_bytes_max
    }

    /// Looks again whether consumers lag for a common cause. To be called several times a second.
    pub fn tick(&mut self, now: Millis, outbox_bytes_max: usize) {
        self.now = now;
        self.looked = false;
        self.caught_up_bytes = outbox_bytes_max / 4;
        // Once begun it lasts until they have caught up well below the mark at which it began.
        self.congested = self.congested && self.many_lag(outbox_bytes_max / 4);
    }

    /// An outbox is full. A consumer that reads nothing is slow and must go. When many that do read lag at once, it is
    /// what they share: the machine, the network. Then nobody is blamed, and publishing stops until they have caught
    /// up. The first of them are met before that shows, since the system buffers more for one than for another: so who
    /// reads, and has not lagged for long, is given several times the limit.
    fn lenient_limit(&mut self, slot: u32, outbox_bytes_max: usize) -> usize {
        if !self.congested && !self.looked {
            self.looked = true;
            self.congested = self.many_lag(outbox_bytes_max / 2);
        }
        if self.congested {
            return usize::MAX;
        }
        let lane = &self.lanes[slot as usize];
        let lags_lately = lane.lagging.is_none_or(|since| self.now.since(since) <= LAG_MS_MAX);
        let lenient = if self.reads(lane) && lags_lately { LENIENCY } else { 1 };
        outbox_bytes_max.saturating_mul(lenient)
    }

    /// Whether the socket has taken bytes lately.
    fn reads(&self, lane: &Lane) -> bool {
        lane.blocked.is_none_or(|since| self.now.since(since) <= PROGRESS_MS)
    }

    /// Whether many connections with more than `bytes_min` waiting still take bytes. Who lags for long counts only
    /// while most do: a few cannot hold up publishers for good.
    fn many_lag(&self, bytes_min: usize) -> bool {
        let lags = |lane: &&Lane| lane.outbox.bytes() > bytes_min;
        let reads = |lane: &&Lane| self.reads(lane);
        let (mut lately, mut all) = (0, 0);
        for lane in self.lanes.iter().map(|(_, lane)| lane).filter(lags).filter(reads) {
            let Some(since) = lane.lagging else { continue };
            all += usize::from(self.now.since(since) <= COMMON_LAG_MS_MAX);
            lately += usize::from(self.now.since(since) <= LAG_MS_MAX);
        }
        all >= MANY_MIN && (all * 2 >= self.lanes.len() || lately * MANY_SHARE >= self.lanes.len())
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
        let bytes = lane.outbox.bytes();
        match (lane.blocked.is_some(), since.is_some()) {
            (false, true) => {
                self.ready_bytes -= bytes;
                self.blocked_bytes += bytes;
                self.blocked_count += 1;
            }
            (true, false) => {
                self.blocked_bytes -= bytes;
                self.ready_bytes += bytes;
                self.blocked_count -= 1;
            }
            _ => {}
        }
        lane.blocked = since;
        lane.lagging = lane.lagging.or(since);
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

    fn changed(&mut self, slot: u32, before: usize) {
        let lane = &self.lanes[slot as usize];
        let sum = if lane.blocked.is_some() { &mut self.blocked_bytes } else { &mut self.ready_bytes };
        *sum = *sum + lane.outbox.bytes() - before;
    }
}

/// A socket that took bytes so lately belongs to somebody who reads, milliseconds.
const PROGRESS_MS: u64 = 1_000;

/// A consumer that reads but lags since lately may have so many times the limit waiting.
const LENIENCY: usize = 8;

/// Who lags for longer counts only together with most others, milliseconds.
const LAG_MS_MAX: u64 = 10_000;

/// Nobody holds up publishers for longer, however many they are, milliseconds.
const COMMON_LAG_MS_MAX: u64 = 60_000;

/// Fewer lagging consumers than this are slow, never congested.
const MANY_MIN: usize = 4;

/// One connection in so many that lags is many.
const MANY_SHARE: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn push(lanes: &mut Lanes, slot: u32, bytes: usize) -> Pushed {
        lanes.push(slot, Bytes::from(vec![0; bytes]), None, Overflow::Close, 100)
    }

    #[test]
    fn a_connection_is_slow_only_while_its_socket_refuses() {
        let mut lanes = Lanes::default();
        let (slow, _other, _third) = (lanes.open(), lanes.open(), lanes.open());
        for _ in 0..10 {
            assert_eq!(push(&mut lanes, slow, 60), Pushed::Taken);
        }
        assert_eq!(lanes.backlog_bytes(), 600);
        lanes.set_blocked(slow, Some(Millis(5)));
        lanes.tick(Millis(1_006), 100);
        assert_eq!(lanes.backlog_bytes(), 0);
        assert_eq!(push(&mut lanes, slow, 60), Pushed::Full);
        lanes.advance(slow, 600, Millis(1_006));
        lanes.set_blocked(slow, None);
        assert_eq!(push(&mut lanes, slow, 60), Pushed::Taken);
        assert_eq!(lanes.total_bytes(), 60);
        lanes.close(slow);
        assert_eq!(lanes.total_bytes(), 0);
    }

    #[test]
    fn a_common_cause_stops_publishing_and_closes_nobody() {
        let mut lanes = Lanes::default();
        let slots: Vec<u32> = (0..10).map(|_| lanes.open()).collect();
        lanes.tick(Millis(1_000), 100);
        for slot in &slots[..5] {
            push(&mut lanes, *slot, 90);
            lanes.set_blocked(*slot, Some(Millis(900)));
        }
        assert_eq!(push(&mut lanes, slots[0], 20), Pushed::Taken);
        assert!(lanes.is_backlogged(usize::MAX));
        for slot in &slots[..5] {
            let bytes = lanes.lane(*slot).unwrap().outbox.bytes();
            lanes.advance(*slot, bytes - 20, Millis(1_000));
            lanes.set_blocked(*slot, Some(Millis(1_000)));
        }
        lanes.tick(Millis(1_100), 100);
        assert!(!lanes.is_backlogged(usize::MAX));
    }

    #[test]
    fn who_does_not_read_at_all_is_slow_however_many_they_are() {
        let mut lanes = Lanes::default();
        let slots: Vec<u32> = (0..10).map(|_| lanes.open()).collect();
        lanes.tick(Millis(2_500), 100);
        for slot in &slots {
            push(&mut lanes, *slot, 90);
            lanes.set_blocked(*slot, Some(Millis(1_000)));
        }
        assert_eq!(push(&mut lanes, slots[0], 20), Pushed::Full);
    }

    #[test]
    fn a_few_who_read_but_lag_are_given_more_room_for_a_while() {
        let mut lanes = Lanes::default();
        let slots: Vec<u32> = (0..3).map(|_| lanes.open()).collect();
        for slot in &slots {
            push(&mut lanes, *slot, 90);
            lanes.set_blocked(*slot, Some(Millis(0)));
        }
        assert_eq!(push(&mut lanes, slots[0], 100 * LENIENCY - 90), Pushed::Taken);
        assert_eq!(push(&mut lanes, slots[0], 1), Pushed::Full);
        lanes.set_blocked(slots[1], None);
        lanes.set_blocked(slots[1], Some(Millis(LAG_MS_MAX)));
        lanes.tick(Millis(LAG_MS_MAX + 1), 100);
        assert_eq!(push(&mut lanes, slots[1], 20), Pushed::Full);
    }

    #[test]
    fn when_most_are_blocked_their_bytes_are_everybodys_backlog() {
        let mut lanes = Lanes::default();
        let slots: Vec<u32> = (0..3).map(|_| lanes.open()).collect();
        for slot in &slots {
            push(&mut lanes, *slot, 50);
        }
        lanes.set_blocked(slots[0], Some(Millis(1)));
        assert_eq!(lanes.backlog_bytes(), 100);
        lanes.set_blocked(slots[1], Some(Millis(1)));
        assert_eq!(lanes.backlog_bytes(), 150);
    }
}
