//! What happened how often, ready to be exported.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::CloseReason;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of the whole process. Labels are the rows of the reason table, never names that clients choose.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sessions that reached CONNECTED.
    pub sessions_opened: Counter,
    /// Connections that are gone.
    pub connections_closed: Counter,
    /// SEND frames that were accepted.
    pub messages_accepted: Counter,
    /// Deliveries put in an outbox.
    pub deliveries: Counter,
    /// Deliveries dropped by an overflow rule.
    pub deliveries_dropped: Counter,
    /// Dead letters that were dropped: the oldest of a full queue, and those that were rejected again.
    pub dead_letters_lost: Counter,
    /// SENDs that had to wait for room.
    pub sends_held: Counter,
    refusals: [Counter; CloseReason::ALL.len()],
    closes: [Counter; CloseReason::ALL.len()],
}

/// What the broker keeps at this moment, besides the connections themselves. When everybody has left and no message
/// waits in a queue, every number is 0 as soon as nobody lingers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Destinations and patterns that somebody subscribes.
    pub destinations: usize,
    /// Reply addresses that lead to a session.
    pub reply_addresses: usize,
    /// Queues that somebody consumes.
    pub consumed_queues: usize,
    /// Queues that hold messages.
    pub queues: usize,
    /// Rooms where somebody is present.
    pub rooms: usize,
    /// Rooms that are told counts.
    pub large_rooms: usize,
    /// Users with a session.
    pub online_users: usize,
    /// Users who have said a status.
    pub statuses: usize,
    /// Rows and statuses of sessions that broke and may come back.
    pub lingering: usize,
    /// Users with a connection whose sending is metered.
    pub metered_users: usize,
    /// Items in the inboxes of all workers.
    pub inbox_items: usize,
}

impl Counters {
    /// Something was refused for `reason`.
    pub fn refused(&self, reason: CloseReason) {
        self.refusals[reason.index()].add(1);
    }

    /// A session was ended for `reason`.
    pub fn closed(&self, reason: CloseReason) {
        self.closes[reason.index()].add(1);
    }

    /// Refusals for `reason`, those that ended the session included.
    pub fn refusals(&self, reason: CloseReason) -> u64 {
        self.refusals[reason.index()].value()
    }

    /// Sessions ended for `reason`.
    pub fn closes(&self, reason: CloseReason) -> u64 {
        self.closes[reason.index()].value()
    }
}
