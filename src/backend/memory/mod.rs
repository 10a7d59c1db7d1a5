//! The embedded default: everything in this process, nothing survives it.

mod few;
mod presence;
mod queues;
mod relay;

pub use presence::MemoryPresence;
pub use queues::MemoryQueues;
pub use relay::MemoryRelay;

use std::sync::Arc;

use super::Backend;
use crate::model::Limits;

/// A backend in this process, which may hold `memory_bytes_max`.
pub fn embedded(limits: &Limits, memory_bytes_max: usize) -> Backend {
    Backend {
        presence: Arc::new(MemoryPresence::new(limits.user_rooms_max)),
        queues: Arc::new(MemoryQueues::new(limits, memory_bytes_max / QUEUES_PART)),
        relay: Box::new(|sink| Arc::new(MemoryRelay::new(sink))),
    }
}

/// Of the process's memory, queues may hold one part in so many: what waits for consumers that never come leaves the rest
/// to those who are there.
const QUEUES_PART: usize = 2;
