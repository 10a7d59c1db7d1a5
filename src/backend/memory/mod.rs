//! The embedded default: everything in this process, nothing survives it.

mod presence;
mod queues;
mod relay;

pub use presence::MemoryPresence;
pub use queues::MemoryQueues;
pub use relay::MemoryRelay;
