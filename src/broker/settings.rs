//! What the broker is built of, given by the server.

use std::fmt;
use std::sync::Arc;

use stompede_protocol::HeartBeat;

use crate::features::Rooms;
use crate::model::{DestinationRules, Encoders, Limits};
use crate::policy::{Access, Authenticator, Connections, UserRates};

pub use crate::model::Now;

/// Figures and names.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every limit.
    pub limits: Limits,
    /// What CONNECTED offers.
    pub heart_beat: HeartBeat,
    /// A WebSocket gets a ping this often, milliseconds.
    pub websocket_ping_ms: u64,
    /// A WebSocket that has not answered a ping for so long is gone, milliseconds.
    pub pong_ms: u64,
    /// Streams of server-sent events.
    pub events: EventSettings,
    /// Overflow rules.
    pub rules: DestinationRules,
    /// Names of rooms.
    pub rooms: Rooms,
    /// How long a user whose connection broke stays present, milliseconds.
    pub linger_ms: u64,
    /// Whether SUBSCRIBE to a room marks as read what is there.
    pub mark_read_on_subscribe: bool,
    /// Header `server` of CONNECTED.
    pub server_name: Box<str>,
    /// Bytes of buffers above which no SEND is read; queues may hold half as much besides.
    pub memory_bytes_max: usize,
}

/// Figures of streams of server-sent events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSettings {
    /// A stream gets a heart-beat this often, milliseconds.
    pub heart_beat_ms: u64,
    /// A stream that is so old ends, and its client comes again, milliseconds; `None` = never.
    pub age_ms_max: Option<u64>,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self { heart_beat_ms: 30_000, age_ms_max: None }
    }
}

/// What the server plugs in.
pub struct Parts {
    /// Figures and names.
    pub settings: Settings,
    /// Who is it.
    pub authenticator: Authenticator,
    /// Who may what.
    pub access: Access,
    /// Counts of connections.
    pub connections: Arc<Connections>,
    /// Rates of users.
    pub user_rates: Arc<UserRates>,
    /// How deliveries become bytes.
    pub encoders: Encoders,
    /// Number of workers.
    pub workers: usize,
    /// Identity of this process in message ids.
    pub node: u64,
    /// Unguessable numbers, for session ids and reply addresses.
    pub random: Box<dyn Fn() -> u128 + Send + Sync>,
    /// Nanoseconds since some moment, to see how long something takes.
    pub stopwatch: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("settings", &self.settings).finish_non_exhaustive()
    }
}
