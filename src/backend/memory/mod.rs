//! The embedded default: everything in this process, nothing survives it.

mod cursors;
mod few;
mod history;
mod memberships;
mod presence;
mod queue;
mod queues;
mod relay;
mod revocations;

pub use cursors::MemoryCursors;
pub use history::MemoryHistory;
pub use memberships::MemoryMemberships;
pub use presence::MemoryPresence;
pub(super) use presence::Standing;
pub use queues::MemoryQueues;
pub(super) use queues::Within;
pub use relay::MemoryRelay;
pub use revocations::MemoryRevocations;
pub(super) use revocations::RevocationList;

use std::sync::Arc;

use super::{Alone, Backend, Bus, Unkept, Unshared};
use crate::model::Limits;

/// A backend in this process, which may hold `memory_bytes_max`.
pub fn embedded(limits: &Limits, memory_bytes_max: usize) -> Backend {
    Backend {
        presence: Arc::new(MemoryPresence::new(limits.user_rooms_max)),
        cursors: Arc::new(MemoryCursors::new(limits)),
        memberships: Arc::new(MemoryMemberships::new(limits)),
        queues: Arc::new(MemoryQueues::new(limits, memory_bytes_max / QUEUES_PART)),
        claims: Arc::new(Unshared),
        journal: Arc::new(Unkept),
        known_keys: Vec::new(),
        bus: Box::new(move |sink| Bus {
            control: Arc::new(Alone::new(Arc::clone(&sink))),
            revocations: Arc::new(MemoryRevocations::new(Arc::clone(&sink))),
            relay: Arc::new(MemoryRelay::new(Arc::clone(&sink))),
            history: Arc::new(MemoryHistory::new(sink, memory_bytes_max / HISTORY_PART)),
        }),
    }
}

/// Of the process's memory, history may hold one part in so many: the oldest of it makes room.
const HISTORY_PART: usize = 4;

/// Of the process's memory, queues may hold one part in so many: what waits for consumers that never come leaves the rest
/// to those who are there.
pub(super) const QUEUES_PART: usize = 2;
