//! What outlives the process: history, memberships, cursors and work queues in a directory.
//!
//! ```text
//!  workers ---> line ---> writer ---> one batch, one fsync ---> logs, queues ---> sink
//!     |                                      |
//!     |                                   tables
//!     |                                      |
//!     +-------> questions ------------> readers ----------------------------> sink
//! ```
//!
//! What is done is put in a line, in order. One thread takes all that waits, makes a batch of it and commits it; only
//! then are messages handed to subscribers and consumers, and receipts given. While it waits for the disk the next batch
//! gathers, so that the more is sent, the more messages share one fsync.
//!
//! What is small is in memory as well and is read there: memberships, cursors, where each log stands, and the messages of
//! work queues, which memory bounds. The messages of history are on disk alone.
//!
//! The database is [fjall](https://docs.rs/fjall): ARCHITECTURE.md says why, and what it was measured against. What it
//! does not notice the guard does: a second process, a newer format, batches that are missing.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::backend::memory::{
    MemoryCursors, MemoryMemberships, MemoryPresence, MemoryQueues, MemoryRelay, QUEUES_PART, RevocationList,
};
use crate::backend::{Alone, Backend, Bus, Journal, Kept, Sink};
use crate::model::{Answer, DestinationRules, Limits, StoreError, Ticket};

mod changes;
mod cursors;
mod error;
mod guard;
mod health;
mod history;
mod keys;
mod line;
mod logs;
mod memberships;
mod numbering;
mod open;
mod questions;
mod queues;
mod reader;
mod revocations;
mod stripes;
mod tables;
mod working;
mod writer;

pub use error::OpenError;

use cursors::DiskCursors;
use health::Health;
use history::DiskHistory;
use line::{Line, Order};
use logs::Logs;
use memberships::DiskMemberships;
use questions::Questions;
use queues::DiskQueues;
use reader::Reader;
use revocations::DiskRevocations;
use writer::Writer;

/// Where and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOptions {
    /// The directory; made if it is not there.
    pub dir: PathBuf,
    /// When what is written is safe.
    pub fsync: Fsync,
    /// Bytes of all records; more are refused.
    pub bytes_max: u64,
    /// Bytes that must be free on the file system; with less nothing more is taken.
    pub free_bytes_min: u64,
    /// Memory for what is read often, bytes.
    pub cache_bytes: u64,
    /// Opens a damaged store with what is left of it.
    pub accept_loss: bool,
}

/// What operators see of the store on disk, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskVitals {
    /// Of all records.
    pub records: u64,
    /// Of all records at most.
    pub records_max: u64,
    /// With less free nothing more is taken.
    pub free_min: u64,
    /// Free on the file system, as it was last looked at; nothing before that.
    pub free: Option<u64>,
}

/// When what is written is safe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is answered: it survives the loss of power. Many messages share one fsync.
    #[default]
    Always,
    /// Now and then: what was answered survives the end of the process, the last moments do not survive the loss of power.
    Interval,
}

/// An open store. It has no threads of its own: whoever opens it drives it.
pub struct Disk {
    line: Arc<Line>,
    logs: Arc<Logs>,
    questions: Arc<Questions>,
    reader: Arc<Reader>,
    health: Arc<Health>,
    writer: Mutex<Writer>,
    sink: OnceLock<Arc<dyn Sink>>,
    revoked: Arc<RevocationList>,
    dir: PathBuf,
    fsync: Fsync,
}

impl Disk {
    /// What publishes, into the one sink.
    fn bus(&self, sink: Arc<dyn Sink>) -> Bus {
        let sink = Arc::clone(self.sink.get_or_init(|| sink));
        let history = DiskHistory {
            sink: Arc::clone(&sink),
            line: Arc::clone(&self.line),
            logs: Arc::clone(&self.logs),
            questions: Arc::clone(&self.questions),
            reader: Arc::clone(&self.reader),
            health: Arc::clone(&self.health),
        };
        let control = Arc::new(Alone::new(Arc::clone(&sink)));
        let revocations = DiskRevocations {
            known: Arc::clone(&self.revoked),
            sink: Arc::clone(&sink),
            line: Arc::clone(&self.line),
            order: Mutex::default(),
        };
        let relay = Arc::new(MemoryRelay::new(sink));
        Bus { relay, history: Arc::new(history), control, revocations: Arc::new(revocations) }
    }

    /// Waits until there is something to write, and writes it. `false` when the store is closed and all is written. For one
    /// thread.
    pub fn write(&self) -> bool {
        let Some(orders) = self.line.wait() else { return false };
        self.write_orders(orders);
        true
    }

    /// As [`Disk::write`] without waiting. Whether there was something to write.
    pub fn write_now(&self) -> bool {
        let orders = self.line.take();
        let has_some = !orders.is_empty();
        if has_some {
            self.write_orders(orders);
        }
        has_some
    }

    fn write_orders(&self, orders: Vec<Order>) {
        if let Some(sink) = self.sink.get() {
            self.writer.lock().write(orders, &**sink);
        }
    }

    /// Waits for a question and answers it; `false` when the store is closed and all are answered. For a few threads.
    pub fn read(&self) -> bool {
        let Some(asked) = self.questions.wait() else { return false };
        self.answer(asked);
        true
    }

    /// As [`Disk::read`] without waiting. Whether there was a question.
    pub fn read_now(&self) -> bool {
        let asked = self.questions.take();
        let has_some = asked.is_some();
        asked.into_iter().for_each(|asked| self.answer(asked));
        has_some
    }

    fn answer(&self, asked: questions::Asked) {
        if let Some(sink) = self.sink.get() {
            self.reader.answer(asked, &**sink);
        }
    }

    /// What waits to be written.
    pub fn orders(&self) -> usize {
        self.line.len()
    }

    /// Who waits to read.
    pub fn questions(&self) -> usize {
        self.questions.len()
    }

    /// How the store is, in figures.
    pub fn vitals(&self) -> DiskVitals {
        self.health.vitals()
    }

    /// What is to be done now and then: looks at the free space, and with [`Fsync::Interval`] makes safe what was written.
    pub fn look_after(&self) {
        match rustix::fs::statvfs(&self.dir) {
            Ok(found) => self.health.finds_free(found.f_bavail.saturating_mul(found.f_frsize)),
            Err(error) => tracing::warn!(dir = %self.dir.display(), %error, "the free space cannot be read"),
        }
        if self.fsync == Fsync::Interval
            && !self.health.is_broken()
            && let Err(error) = self.reader.tables.sync()
        {
            self.health.fail(&error);
        }
    }

    /// No message is taken any more, and nothing is waited for: [`Disk::write`] and [`Disk::read`] end when they have done
    /// what there is.
    pub fn close(&self) {
        self.health.close();
        self.line.close();
        self.questions.close();
    }

    /// A thread has failed: what waits is refused, and so is what comes.
    pub fn abandon(&self) {
        self.health.break_down("a fault of the broker");
        self.close();
        self.line.abandon();
        while self.write_now() {}
        while self.read_now() {}
    }

    /// The end was in order: all that was given is written and safe. After [`Disk::close`], when nobody writes any more.
    pub fn finish(&self) {
        while self.write_now() {}
        self.writer.lock().finish();
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("dir", &self.dir).field("health", &self.health).finish_non_exhaustive()
    }
}

/// When what is done is safe.
#[derive(Debug)]
struct DiskJournal(Arc<Disk>);

impl Journal for DiskJournal {
    fn sync(&self, ticket: Ticket) -> Kept {
        let Self(disk) = self;
        match (disk.health.is_open(), disk.sink.get()) {
            (false, Some(sink)) => sink.answer(ticket, Answer::Synced(Err(StoreError::Unavailable))),
            _ => disk.line.push(Order::Sync(ticket)),
        }
        Kept::Later
    }

    fn as_one(&self, act: &mut dyn FnMut()) {
        self.0.line.gather(act);
    }

    fn is_late(&self) -> bool {
        true
    }

    fn admits(&self) -> Result<(), StoreError> {
        self.0.health.admits()
    }

    fn health(&self) -> Result<(), String> {
        self.0.health.told()
    }

    fn tick(&self, now_ms: u64) {
        self.0.health.tick(now_ms);
    }
}
