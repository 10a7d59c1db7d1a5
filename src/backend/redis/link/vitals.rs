//! How the way to Redis is, in figures.

use std::time::{Duration, Instant};

use super::line::Line;
use crate::model::Counter;

/// What operators see of the way to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vitals {
    /// Servers on which something of ours lies.
    pub servers: usize,
    /// Of these, servers that orders can be sent to.
    pub servers_for_orders: usize,
    /// Of these, servers whose channels are heard.
    pub servers_for_channels: usize,
    /// How often a connection for orders has come about.
    pub dialled_for_orders: u64,
    /// How often a connection for channels has.
    pub dialled_for_channels: u64,
    /// How long the last canary was on its way, through the slowest server.
    pub round_trip: Option<Duration>,
    /// How long ago the last canary left that came back, through the server that was proven longest ago. Nothing while one of
    /// them is not proven at all.
    pub proven_ago: Option<Duration>,
    /// Orders that wait or are on their way.
    pub orders: usize,
    /// What they hold, bytes.
    pub order_bytes: usize,
}

/// How often connections have come about.
#[derive(Debug, Default)]
pub(super) struct Dialled {
    pub(super) for_orders: Counter,
    pub(super) for_channels: Counter,
}

impl Line {
    /// Looks at every server.
    pub(super) fn measure(&self) -> Vitals {
        let now = Instant::now();
        let state = self.state.lock();
        let owners = || state.servers.values().filter(|server| server.is_owner);
        let proven_ago = owners().map(|server| server.proven.map(|proven| now - proven));
        Vitals {
            servers: owners().count(),
            servers_for_orders: owners().filter(|server| server.commands.trouble.is_none()).count(),
            servers_for_channels: owners().filter(|server| server.bus.trouble.is_none()).count(),
            dialled_for_orders: self.dialled.for_orders.value(),
            dialled_for_channels: self.dialled.for_channels.value(),
            round_trip: owners().filter_map(|server| server.round_trip).max(),
            proven_ago: proven_ago.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()),
            orders: state.lanes.len(),
            order_bytes: state.lanes.bytes(),
        }
    }
}
