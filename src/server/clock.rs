//! The only place that reads the clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use stompede_protocol::Millis;

use crate::broker::Now;

/// Both clocks of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic side begins now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What both show.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: Millis(millis(self.start.elapsed())), wall_ms: millis(wall) }
    }

    /// The monotonic side, finer; for durations.
    pub(crate) fn nanoseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
