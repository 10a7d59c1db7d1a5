//! Every bound of the protocol, named, with its unit.

/// What one connection may ask for. Memory of a connection is bounded by the sum of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head: command line, header lines and the blank line, as they come over the wire.
    pub head_bytes_max: usize,
    /// Header lines of one frame, repeated ones included.
    pub headers_max: usize,
    /// Bytes of a body, without the NUL.
    pub body_bytes_max: usize,
    /// STOMP bytes that a connection may send before CONNECTED: a stranger is given this much and no more.
    pub unconnected_bytes_max: usize,
    /// Milliseconds from the session's start until its CONNECT frame is complete.
    pub connect_ms_max: u64,
    /// Subscriptions open at a time.
    pub subscriptions_max: usize,
    /// Bytes of a subscription's id: it is written into each MESSAGE.
    pub subscription_id_bytes_max: usize,
    /// Deliveries of one subscription that wait for their ACK.
    pub unacked_max: usize,
    /// Transactions open at a time.
    pub transactions_max: usize,
    /// Bytes of memory that one transaction may hold: bodies, heads and our own book-keeping.
    pub transaction_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * 1024,
            headers_max: 100,
            body_bytes_max: 1024 * 1024,
            unconnected_bytes_max: 16 * 1024,
            connect_ms_max: 10_000,
            subscriptions_max: 128,
            subscription_id_bytes_max: 256,
            unacked_max: 1_000,
            transactions_max: 16,
            transaction_bytes_max: 1024 * 1024,
        }
    }
}
