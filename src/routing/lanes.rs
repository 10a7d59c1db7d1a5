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
    /// Since when the socket has taken no byte although some waited.
    blocked: Option<Millis>,
}

/// All lanes of a worker, by connection slot.
///
/// A connection is slow only while its *socket* refuses bytes. What waits in other outboxes waits for this worker's own
/// turn: that is the worker's backlog, and no consumer is to blame for it.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: Slab<Lane>,
    ready_bytes: usize,
    blocked_bytes: usize,
    blocked_count: usize,
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
        self.wake(slot);
    }

    /// Adds a delivery.
    pub fn push(&mut self, slot: u32, head: Bytes, tail: Option<Bytes>, overflow: Overflow, bytes_max: usize) -> Pushed {
        let lane = &mut self.lanes[slot as usize];
        let before = lane.outbox.bytes();
        // Without a refusing socket the limit would blame the consumer for the worker's own delay.
        let bytes_max = if lane.blocked.is_some() { bytes_max } else { usize::MAX };
        let pushed = lane.outbox.push(head, tail, overflow, bytes_max);
        self.changed(slot, before);
        self.wake(slot);
        pushed
    }

    /// The socket took `count` bytes.
    pub fn advance(&mut self, slot: u32, count: usize) {
        let before = self.lanes[slot as usize].outbox.bytes();
        self.lanes[slot as usize].outbox.advance(count);
        self.changed(slot, before);
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
        assert_eq!(lanes.backlog_bytes(), 0);
        assert_eq!(push(&mut lanes, slow, 60), Pushed::Full);
        lanes.advance(slow, 600);
        lanes.set_blocked(slow, None);
        assert_eq!(push(&mut lanes, slow, 60), Pushed::Taken);
        assert_eq!(lanes.total_bytes(), 60);
        lanes.close(slow);
        assert_eq!(lanes.total_bytes(), 0);
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
