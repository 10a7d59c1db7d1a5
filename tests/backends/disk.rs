//! The adapters on disk, and what is there when they come back.

mod reopen;

use std::path::Path;
use std::sync::Arc;

use stompede::backend::disk::{Disk, DiskOptions, Fsync, OpenError};
use stompede::backend::{
    Backend, Bus, Cursors, History, Journal, KnownKey, Memberships, Queues, Revocations, Sink,
};
use stompede::model::{DestinationRule, DestinationRules, Limits, Pattern, Retention};
use tempfile::TempDir;

use crate::cursors::Devices;
use crate::revocations::Revoker;
use crate::sink::Heard;
use crate::subject::Subject;

/// A store in a directory of its own, driven by whoever holds it.
pub(crate) struct Store {
    pub(crate) disk: Arc<Disk>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) queues: Arc<dyn Queues>,
    pub(crate) memberships: Arc<dyn Memberships>,
    pub(crate) cursors: Arc<dyn Cursors>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) known_keys: Vec<KnownKey>,
    pub(crate) revocations: Arc<dyn Revocations>,
    _dir: Option<TempDir>,
}

impl Store {
    fn new(limits: &Limits, memory_bytes_max: usize, age_ms_max: u64, sink: Arc<dyn Sink>) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let mut store =
            Self::open(&options(dir.path()), limits, memory_bytes_max, age_ms_max, sink).expect("it opens");
        store._dir = Some(dir);
        store
    }

    fn open(
        options: &DiskOptions,
        limits: &Limits,
        memory_bytes_max: usize,
        age_ms_max: u64,
        sink: Arc<dyn Sink>,
    ) -> Result<Self, OpenError> {
        let retention = Retention { messages_max: 100, bytes_max: usize::MAX, age_ms_max };
        let pattern = Pattern::parse("/topic/**").expect("a pattern");
        let rule = DestinationRule { pattern, overflow: None, history: Some(retention), offline: None };
        let rules = DestinationRules::new(vec![rule]);
        let (disk, backend) = Disk::open(options, limits, &rules, memory_bytes_max, 0, 7)?;
        let Backend { queues, memberships, cursors, journal, known_keys, bus, .. } = backend;
        let Bus { history, revocations, .. } = bus(sink);
        Ok(Self { disk, history, queues, memberships, cursors, journal, known_keys, revocations, _dir: None })
    }

    fn settle(&self) {
        while self.disk.write_now() || self.disk.read_now() {}
    }
}

fn options(dir: &Path) -> DiskOptions {
    DiskOptions {
        dir: dir.to_owned(),
        fsync: Fsync::Interval,
        bytes_max: u64::MAX,
        free_bytes_min: 0,
        cache_bytes: 1 << 20,
        accept_loss: false,
    }
}

/// One port of a store, before its judge.
fn subject<P: ?Sized>(store: Store, heard: Arc<Heard>, port: fn(&Store) -> &Arc<P>) -> Subject<P> {
    let port = Arc::clone(port(&store));
    Subject::new(heard, port, move || store.settle())
}

fn history(age_ms_max: u64) -> Subject<dyn History> {
    let heard = Arc::<Heard>::default();
    let store = Store::new(&Limits::default(), usize::MAX, age_ms_max, Arc::<Heard>::clone(&heard));
    subject(store, heard, |store| &store.history)
}

crate::history::judge!(history);

fn queues(limits: &Limits, total_bytes_max: usize) -> Subject<dyn Queues> {
    // Of its memory a store gives half to queues.
    let memory_bytes_max = total_bytes_max.saturating_mul(2);
    let heard = Arc::<Heard>::default();
    let store = Store::new(limits, memory_bytes_max, u64::MAX, Arc::<Heard>::clone(&heard));
    subject(store, heard, |store| &store.queues)
}

crate::queues::judge!(queues);

fn memberships(limits: &Limits) -> Subject<dyn Memberships> {
    let heard = Arc::<Heard>::default();
    let store = Store::new(limits, usize::MAX, u64::MAX, Arc::<Heard>::clone(&heard));
    subject(store, heard, |store| &store.memberships)
}

crate::memberships::judge!(memberships);

fn cursors(limits: &Limits) -> Devices {
    Devices::Told(Store::new(limits, usize::MAX, u64::MAX, Arc::<Heard>::default()).cursors)
}

crate::cursors::judge!(cursors);

fn revocations() -> Revoker {
    let heard = Arc::<Heard>::default();
    let store = Store::new(&Limits::default(), usize::MAX, u64::MAX, Arc::<Heard>::clone(&heard));
    let port = Arc::clone(&store.revocations);
    Revoker { port, heard, work: Box::new(move || store.settle()) }
}

crate::revocations::judge!(revocations);
