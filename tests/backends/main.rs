//! The behaviour of the ports of `backend/`, and every adapter before the same judge.

mod queues;

use std::sync::Arc;

use stompede::backend::Queues;
use stompede::backend::memory::MemoryQueues;
use stompede::model::Limits;

mod memory {
    use super::*;

    fn queues(limits: &Limits, total_bytes_max: usize) -> Arc<dyn Queues> {
        Arc::new(MemoryQueues::new(limits, total_bytes_max))
    }

    crate::queues::judge!(queues);
}
