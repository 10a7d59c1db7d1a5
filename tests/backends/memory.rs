//! The adapters that die with the process.

use std::sync::Arc;

use stompede::backend::memory::{
    MemoryCursors, MemoryHistory, MemoryMemberships, MemoryQueues, MemoryRevocations,
};
use stompede::backend::{History, Memberships, Queues};
use stompede::model::Limits;

use crate::cursors::Devices;
use crate::revocations::Revoker;
use crate::sink::Heard;
use crate::subject::Subject;

fn queues(limits: &Limits, total_bytes_max: usize) -> Subject<dyn Queues> {
    Subject::new(Arc::default(), Arc::new(MemoryQueues::new(limits, total_bytes_max)), || ())
}

crate::queues::judge!(queues);

fn history(_age_ms_max: u64) -> Subject<dyn History> {
    let heard = Arc::<Heard>::default();
    let history = MemoryHistory::new(Arc::<Heard>::clone(&heard), usize::MAX);
    Subject::new(heard, Arc::new(history), || ())
}

crate::history::judge!(history);

fn memberships(limits: &Limits) -> Subject<dyn Memberships> {
    Subject::new(Arc::default(), Arc::new(MemoryMemberships::new(limits)), || ())
}

crate::memberships::judge!(memberships);

fn cursors(limits: &Limits) -> Devices {
    Devices::Told(Arc::new(MemoryCursors::new(limits)))
}

crate::cursors::judge!(cursors);

fn revocations() -> Revoker {
    let heard = Arc::<Heard>::default();
    let port = Arc::new(MemoryRevocations::new(Arc::<Heard>::clone(&heard)));
    Revoker { port, heard, work: Box::new(|| ()) }
}

crate::revocations::judge!(revocations);
