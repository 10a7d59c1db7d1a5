//! The adapters on disk, and what is there when they come back.

mod reopen;

use std::path::Path;
use std::sync::Arc;

use stompede::backend::disk::{Disk, DiskOptions, Fsync, OpenError};
use stompede::backend::{
    Backend, Bus, Cursors, Due, History, Journal, Kept, KnownKey, Memberships, QueueError, Queued, Queues,
    Sink,
};
use stompede::model::{
    Destination, DestinationRule, DestinationRules, Limits, Message, Pattern, Retention, Ticket,
};
use tempfile::TempDir;

use crate::history::Subject;
use crate::sink::Heard;

/// A store in a directory of its own, driven by whoever holds it.
pub(crate) struct Store {
    pub(crate) disk: Arc<Disk>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) queues: Arc<dyn Queues>,
    pub(crate) memberships: Arc<dyn Memberships>,
    pub(crate) cursors: Arc<dyn Cursors>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) known_keys: Vec<KnownKey>,
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
        let Bus { history, .. } = bus(sink);
        Ok(Self { disk, history, queues, memberships, cursors, journal, known_keys, _dir: None })
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

impl Subject for Store {
    fn history(&self) -> &dyn History {
        &*self.history
    }

    fn settles(&self) {
        self.settle();
    }
}

fn history(sink: Arc<dyn Sink>, age_ms_max: u64) -> Box<dyn Subject> {
    Box::new(Store::new(&Limits::default(), usize::MAX, age_ms_max, sink))
}

crate::history::judge!(history);

/// Queues whose messages are written at once.
struct Prompt(Store);

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.queues.fmt(f)
    }
}

impl Queues for Prompt {
    fn admit(&self, queue: &Destination, messages: usize, bytes: usize) -> Result<(), QueueError> {
        self.0.queues.admit(queue, messages, bytes)
    }

    fn put(&self, queue: &Destination, message: Arc<Message>, ticket: Ticket) -> Result<Kept, QueueError> {
        assert_eq!(self.0.queues.put(queue, message, ticket)?, Kept::Later);
        self.0.settle();
        Ok(Kept::Now)
    }

    fn force(&self, queue: &Destination, message: Arc<Message>, ticket: Ticket) -> Kept {
        assert_eq!(self.0.queues.force(queue, message, ticket), Kept::Later);
        self.0.settle();
        Kept::Now
    }

    fn take(&self, queue: &Destination) -> Option<Queued> {
        self.0.queues.take(queue)
    }

    fn release(&self, queue: &Destination, tag: u64) {
        self.0.queues.release(queue, tag);
    }

    fn give_back(&self, queue: &Destination, tag: u64) {
        self.0.queues.give_back(queue, tag);
    }

    fn retake(&self, queue: &Destination, tag: u64) -> Option<Queued> {
        self.0.queues.retake(queue, tag)
    }

    fn postpone(&self, queue: &Destination, tag: u64, due_ms: u64) {
        self.0.queues.postpone(queue, tag, due_ms);
    }

    fn settle(&self, queue: &Destination, tag: u64) -> Option<Arc<Message>> {
        self.0.queues.settle(queue, tag)
    }

    fn bury(&self, queue: &Destination, tag: u64, to: &Destination, letter: Arc<Message>) -> usize {
        self.0.queues.bury(queue, tag, to, letter)
    }

    fn sweep(&self, now_ms: u64, count: usize) -> Due {
        self.0.queues.sweep(now_ms, count)
    }

    fn browse(&self, queue: &Destination, after: u64, count: usize) -> Vec<Queued> {
        self.0.queues.browse(queue, after, count)
    }

    fn newest(&self, queue: &Destination) -> u64 {
        self.0.queues.newest(queue)
    }

    fn bytes(&self) -> usize {
        self.0.queues.bytes()
    }

    fn len(&self) -> usize {
        self.0.queues.len()
    }
}

fn queues(limits: &Limits, total_bytes_max: usize) -> Arc<dyn Queues> {
    // Of its memory a store gives half to queues.
    let memory_bytes_max = total_bytes_max.saturating_mul(2);
    Arc::new(Prompt(Store::new(limits, memory_bytes_max, u64::MAX, Arc::<Heard>::default())))
}

crate::queues::judge!(queues);

fn memberships(limits: &Limits) -> Arc<dyn Memberships> {
    Store::new(limits, usize::MAX, u64::MAX, Arc::<Heard>::default()).memberships
}

crate::memberships::judge!(memberships);

fn cursors(limits: &Limits) -> Arc<dyn Cursors> {
    Store::new(limits, usize::MAX, u64::MAX, Arc::<Heard>::default()).cursors
}

crate::cursors::judge!(cursors);
