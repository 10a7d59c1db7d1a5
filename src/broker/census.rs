//! What the broker keeps, and what memory that takes.

use std::sync::atomic::Ordering;

use super::door::Broker;

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
    /// Subscriptions that consume them.
    pub consumers: usize,
    /// Queues that hold messages.
    pub queues: usize,
    /// Messages in them, waiting, handed out or postponed; of a store that is shared, those that this node has fetched.
    pub queue_messages: usize,
    /// Rooms where somebody is present.
    pub rooms: usize,
    /// Rooms that are told counts.
    pub large_rooms: usize,
    /// Destinations of which messages are kept.
    pub histories: usize,
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

/// Memory of buffers and queues, by what holds it, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Outboxes, inboxes, unfinished frames.
    pub connections: usize,
    /// Work queues.
    pub queues: usize,
    /// What is kept of topics and user queues.
    pub history: usize,
    /// Who belongs to which room.
    pub memberships: usize,
    /// Up to where devices have taken what was kept for them.
    pub cursors: usize,
    /// Idempotency keys.
    pub idempotency: usize,
}

impl Held {
    /// All of it.
    pub fn total(&self) -> usize {
        let Self { connections, queues, history, memberships, cursors, idempotency } = self;
        connections + queues + history + memberships + cursors + idempotency
    }
}

impl Broker {
    /// What is kept at this moment.
    pub fn census(&self) -> Census {
        Census {
            destinations: self.directory.len(),
            reply_addresses: self.replies.len(),
            consumed_queues: self.queues.consumed_queues(),
            consumers: self.queues.consumers(),
            queues: self.queue_store.len(),
            queue_messages: self.queue_store.messages(),
            rooms: self.attendance.rooms(),
            large_rooms: self.attendance.large_rooms(),
            histories: self.history.len(),
            online_users: self.attendance.online(),
            statuses: self.attendance.statuses(),
            lingering: self.attendance.lingering(),
            metered_users: self.parts.user_rates.len(),
            inbox_items: self.inboxes.workers().map(|worker| self.inboxes.of(worker).len()).sum(),
        }
    }

    /// Bytes in buffers and queues of the whole process.
    pub fn held_bytes(&self) -> usize {
        self.held().total()
    }

    /// The same, by what holds them.
    pub fn held(&self) -> Held {
        Held {
            connections: self.worker_loads.iter().map(|load| load.bytes.load(Ordering::Relaxed)).sum(),
            queues: self.queue_store.bytes(),
            history: self.history.bytes(),
            memberships: self.memberships.bytes(),
            cursors: self.cursors.bytes(),
            idempotency: self.idempotency.bytes(),
        }
    }
}
