//! Every number that bounds something, with its unit, its default and its reason.

use serde::{Deserialize, Serialize};

/// Limits of the broker; each can be set in the configuration under `[limits]` by the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest body of a frame, bytes; at most [`BODY_BYTES_CEILING`].
    pub body_bytes_max: usize,
    /// Most headers of a frame.
    pub headers_max: usize,
    /// Command line and headers of a frame together, bytes.
    pub head_bytes_max: usize,
    /// Everything a connection may send before CONNECTED, bytes.
    pub unconnected_bytes_max: usize,
    /// From accept to CONNECT, milliseconds.
    pub connect_ms_max: u64,
    /// Open subscriptions of a connection.
    pub subscriptions_max: usize,
    /// Deliveries of one subscription that wait for an ACK; more are held back.
    pub unacked_max: usize,
    /// Open transactions of a connection.
    pub transactions_max: usize,
    /// Frames held in one transaction, bytes.
    pub transaction_bytes_max: usize,
    /// What waits for one connection's socket, bytes; then the destination's overflow rule decides.
    pub outbox_bytes_max: usize,
    /// A socket that takes no byte for so long is closed, milliseconds.
    pub write_ms_max: u64,
    /// SEND frames of a connection per second, on average; 0 = no limit.
    pub sends_per_second: u32,
    /// SEND frames a connection may send at once.
    pub sends_burst: u32,
    /// SEND frames of a user per second over all connections; 0 = no limit.
    pub user_sends_per_second: u32,
    /// Connections of one user; 0 = no limit.
    pub user_connections_max: u32,
    /// Connections from one IP address; 0 = no limit.
    pub address_connections_max: u32,
    /// Connections of the whole process; 0 = only the operating system limits them.
    pub connections_max: usize,
    /// Messages waiting in one work queue.
    pub queue_messages_max: usize,
    /// Bytes waiting in one work queue.
    pub queue_bytes_max: usize,
    /// Work queues that exist at once; an empty one without consumers does not count.
    pub queues_max: usize,
    /// Reply addresses (`/temp-queue` names and open requests) of one session.
    pub replies_max: usize,
    /// How long a SEND to `/app` waits for a handler, and any SEND for a part that is not available, milliseconds.
    pub hold_ms_max: u64,
    /// Messages that wait in a worker's inbox.
    pub inbox_messages_max: usize,
    /// Bytes that wait in a worker's inbox.
    pub inbox_bytes_max: usize,
    /// Bytes that wait for a worker's own turn; above, it stops reading publishers until half of it is left.
    pub backlog_bytes_max: usize,
    /// Members listed in one answer.
    pub members_listed_max: usize,
    /// Rooms in which one user is present, in all his sessions together.
    pub user_rooms_max: usize,
}

/// `body_bytes_max` cannot be set higher: 64 MiB.
pub const BODY_BYTES_CEILING: usize = 64 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            headers_max: 100,
            head_bytes_max: 16 << 10,
            unconnected_bytes_max: 16 << 10,
            connect_ms_max: 10_000,
            subscriptions_max: 128,
            unacked_max: 1_000,
            transactions_max: 16,
            transaction_bytes_max: 1 << 20,
            outbox_bytes_max: 1 << 20,
            write_ms_max: 10_000,
            sends_per_second: 100,
            sends_burst: 200,
            user_sends_per_second: 500,
            user_connections_max: 20,
            address_connections_max: 200,
            connections_max: 0,
            queue_messages_max: 10_000,
            queue_bytes_max: 64 << 20,
            queues_max: 10_000,
            replies_max: 128,
            hold_ms_max: 10_000,
            inbox_messages_max: 16_384,
            inbox_bytes_max: 16 << 20,
            backlog_bytes_max: 32 << 20,
            members_listed_max: 1_000,
            user_rooms_max: 1_000,
        }
    }
}

impl Limits {
    /// The part that the protocol crate enforces.
    pub fn protocol(&self) -> stompede_protocol::Limits {
        stompede_protocol::Limits {
            head_bytes_max: self.head_bytes_max,
            headers_max: self.headers_max,
            body_bytes_max: self.body_bytes_max,
            unconnected_bytes_max: self.unconnected_bytes_max,
            connect_ms_max: self.connect_ms_max,
            // One more than the broker refuses, so that it can refuse it without ending the session.
            subscriptions_max: self.subscriptions_max.saturating_add(1),
            unacked_max: self.unacked_max,
            transactions_max: self.transactions_max,
            transaction_bytes_max: self.transaction_bytes_max,
            ..stompede_protocol::Limits::default()
        }
    }
}
