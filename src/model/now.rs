//! What time it is, told from outside.

use stompede_protocol::Millis;

/// Both clocks, read once for everything that happens together.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic, for deadlines.
    pub mono: Millis,
    /// Milliseconds since the Unix epoch, for people, tokens, and what outlives the process.
    pub wall_ms: u64,
}

impl Now {
    /// Seconds since the Unix epoch.
    pub fn wall_s(self) -> u64 {
        self.wall_ms / 1_000
    }
}
