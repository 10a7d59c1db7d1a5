//! How many connections got through their handshakes.

use crate::broker::counters::Counter;

/// Of the whole process; a connection touches it once or twice in its life.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// TLS.
    pub(super) tls: Outcome,
    /// From HTTP to WebSocket.
    pub(super) websocket: Outcome,
    /// Headers of the PROXY protocol.
    pub(super) proxy: Outcome,
}

/// How a kind of handshake ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) ok: Counter,
    pub(super) failed: Counter,
}
