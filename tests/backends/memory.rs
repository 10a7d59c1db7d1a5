//! The adapters that die with the process.

use std::sync::Arc;

use stompede::backend::memory::{MemoryCursors, MemoryHistory, MemoryMemberships, MemoryQueues};
use stompede::backend::{Cursors, History, Memberships, Queues, Sink};
use stompede::model::Limits;

use crate::history::Subject;

fn queues(limits: &Limits, total_bytes_max: usize) -> Arc<dyn Queues> {
    Arc::new(MemoryQueues::new(limits, total_bytes_max))
}

crate::queues::judge!(queues);

struct AtOnce(MemoryHistory);

impl Subject for AtOnce {
    fn history(&self) -> &dyn History {
        &self.0
    }

    fn settles(&self) {}
}

fn history(sink: Arc<dyn Sink>, _age_ms_max: u64) -> Box<dyn Subject> {
    Box::new(AtOnce(MemoryHistory::new(sink, usize::MAX)))
}

crate::history::judge!(history);

fn memberships(limits: &Limits) -> Arc<dyn Memberships> {
    Arc::new(MemoryMemberships::new(limits))
}

crate::memberships::judge!(memberships);

fn cursors(limits: &Limits) -> Arc<dyn Cursors> {
    Arc::new(MemoryCursors::new(limits))
}

crate::cursors::judge!(cursors);
