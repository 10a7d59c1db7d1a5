//! The embedded default: everything in this process, nothing survives it.

mod presence;
mod queues;
mod relay;

pub use presence::MemoryPresence;
pub use queues::MemoryQueues;
pub use relay::MemoryRelay;

use std::sync::Arc;

use super::Backend;
use crate::model::Limits;

/// A backend in this process.
pub fn embedded(limits: &Limits) -> Backend {
    Backend {
        presence: Arc::new(MemoryPresence::new()),
        queues: Arc::new(MemoryQueues::new(limits)),
        relay: Box::new(|sink| Arc::new(MemoryRelay::new(sink))),
    }
}
