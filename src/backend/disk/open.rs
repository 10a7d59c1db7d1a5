//! From a directory to an open store.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::backend::{Queues, Unshared};
use crate::model::Destination;

use super::changes::{Change, Changes};
use super::guard::{BATCH_KEY, End, Entered, Guard};
use super::keys::{self, Keys};
use super::logs::Log;
use super::numbering::Numbering;
use super::tables::{LOG, NUMBERING_KEY, STORE_KEY, Table};
use super::*;

impl Disk {
    /// Opens the directory and brings back what is kept in it: the store, and a backend on it for one broker. `random` is
    /// used once for a new store or after a loss; `now_ms` is milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Another process has it, it is damaged, it is another program's.
    pub fn open(
        options: &DiskOptions,
        limits: &Limits,
        rules: &DestinationRules,
        memory_bytes_max: usize,
        now_ms: u64,
        random: u128,
    ) -> Result<(Arc<Self>, Backend), OpenError> {
        let DiskOptions { dir, fsync, .. } = options;
        let (mut guard, entered) = Guard::enter(dir, *fsync, options.accept_loss, random)?;
        let database = guard.db_dir();
        let fault = |error| unreadable(&database, &error);
        let tables = tables::Tables::open(&database, options.cache_bytes).map_err(fault)?;
        let batch = tables.get(Table::State, BATCH_KEY).map_err(fault)?;
        let batch = batch.and_then(|value| tables::parse_numbers(&value)).map(|[number]| number);
        let end = guard.check_opened(batch)?;
        let known = Known { tables: &tables, path: &database, accept_loss: options.accept_loss };
        let (numbering, batch) = known.check(&entered, end, batch, random)?;
        if end == End::MayHaveLost {
            let settled = guard.settle_loss(batch);
            settled.map_err(|source| OpenError::Io { path: dir.clone(), source })?;
        }
        let (line, health) =
            (Arc::<Line>::default(), Health::new(options.bytes_max, options.free_bytes_min, now_ms));
        let logs = Logs::new(numbering.base);
        known.load_logs(&logs)?;
        let queues = Arc::new(MemoryQueues::new(limits, memory_bytes_max / QUEUES_PART));
        queues::load(&tables, &queues, &line, &known)?;
        let memberships = MemoryMemberships::new(limits);
        memberships::load(&tables, &memberships, &known)?;
        let cursors = MemoryCursors::new(limits);
        cursors::load(&tables, &cursors, &known)?;
        let revoked = Arc::new(revocations::load(&tables, &known)?);
        let known_keys = keys::load(&tables, now_ms).map_err(fault)?;
        let (logs, health) = (Arc::new(logs), Arc::new(health));
        health.holds(logs.bytes());
        health.queues_hold(queues.bytes());
        tracing::info!(
            dir = %dir.display(), logs = logs.len(), bytes = logs.bytes(), queues = queues.len(),
            ended = ?end, "the store on disk is open"
        );
        let reader =
            Reader { tables: tables.clone(), logs: Arc::clone(&logs), numbering, rules: rules.clone() };
        let writer = Writer {
            tables,
            fsync: *fsync,
            line: Arc::clone(&line),
            logs: Arc::clone(&logs),
            queues: Arc::clone(&queues),
            health: Arc::clone(&health),
            numbering,
            keys: Keys::default(),
            guard: Some(guard),
            batch,
        };
        let disk = Arc::new(Self {
            line: Arc::clone(&line),
            logs,
            questions: Arc::default(),
            reader: Arc::new(reader),
            health: Arc::clone(&health),
            writer: Mutex::new(writer),
            sink: OnceLock::new(),
            revoked,
            dir: dir.clone(),
            fsync: *fsync,
        });
        disk.look_after();
        let bus = Arc::clone(&disk);
        let backend = Backend {
            // Who is there is there no more when the process has ended.
            presence: Arc::new(MemoryPresence::new(limits.user_rooms_max)),
            cursors: Arc::new(DiskCursors::new(cursors, Arc::clone(&line))),
            memberships: Arc::new(DiskMemberships::new(memberships, Arc::clone(&line))),
            queues: Arc::new(DiskQueues { inner: queues, line, health }),
            journal: Arc::new(DiskJournal(Arc::clone(&disk))),
            claims: Arc::new(Unshared),
            known_keys,
            bus: Box::new(move |sink| bus.bus(sink)),
        };
        Ok((disk, backend))
    }
}

/// What stands in the tables of an open database.
pub(super) struct Known<'a> {
    tables: &'a tables::Tables,
    path: &'a Path,
    accept_loss: bool,
}

impl Known<'_> {
    /// Checks whose tables they are; a new store's get their name. The numbering, and the number of the last batch.
    fn check(
        &self,
        entered: &Entered,
        end: End,
        batch: Option<u64>,
        random: u128,
    ) -> Result<(Numbering, u64), OpenError> {
        let (number, seed) = (batch.unwrap_or(0), random as u64);
        let id = entered.id.to_le_bytes().to_vec();
        if batch.is_none() {
            let numbering = Numbering::new(seed);
            let tables = Table::ALL.into_iter();
            let mut changes: Changes =
                tables.map(|table| Change::put(table, STORE_KEY.to_vec(), id.clone())).collect();
            changes.push(Change::put(Table::State, NUMBERING_KEY.to_vec(), numbering.encode()));
            self.tables.commit(changes, 1, Fsync::Always).map_err(|error| self.fault(&error))?;
            return Ok((numbering, 1));
        }
        let mut changes = Changes::default();
        for table in Table::ALL {
            let found = self.tables.get(table, STORE_KEY).map_err(|error| self.fault(&error))?;
            if found.is_none_or(|found| *found != *id) {
                self.lacks(&format!("the table {table:?} is missing or another store's"))?;
                changes.push(Change::put(table, STORE_KEY.to_vec(), id.clone()));
            }
        }
        let numbering = self.tables.get(Table::State, NUMBERING_KEY).map_err(|error| self.fault(&error))?;
        let numbering = match numbering.and_then(|value| Numbering::decode(&value)) {
            Some(numbering) => numbering,
            None => {
                self.lacks("the numbering is missing")?;
                Numbering::new(seed)
            }
        };
        if end != End::MayHaveLost {
            return Ok((numbering, number));
        }
        tracing::warn!("what was acknowledged last may be lost: clients that resume are told");
        let mut last = 0;
        self.each_log(|_, log| last = last.max(log.last))?;
        let numbering = numbering.renewed(seed, last);
        changes.push(Change::put(Table::State, NUMBERING_KEY.to_vec(), numbering.encode()));
        let written = self.tables.commit(changes, number + 1, Fsync::Always);
        written.map_err(|error| self.fault(&error))?;
        Ok((numbering, number + 1))
    }

    fn load_logs(&self, logs: &Logs) -> Result<(), OpenError> {
        self.each_log(|name, log| logs.restore(Destination::internal(name), log))
    }

    fn each_log(&self, mut visit: impl FnMut(&str, Log)) -> Result<(), OpenError> {
        for entry in self.tables.prefix(Table::State, &[LOG]) {
            let (key, value) = entry.map_err(|error| self.fault(&error))?;
            let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
            match (name, Log::decode(&value)) {
                (Some(name), Some(log)) => visit(name, log),
                _ => self.lacks(&format!("the entry {} of a log is none", key.escape_ascii()))?,
            }
        }
        Ok(())
    }

    /// Something is not as it was written: no reason to stop where losses are accepted.
    pub(super) fn lacks(&self, what: &str) -> Result<(), OpenError> {
        if self.accept_loss {
            tracing::warn!(path = %self.path.display(), what, "a loss is accepted");
            return Ok(());
        }
        Err(OpenError::Damaged { path: self.path.to_owned(), what: what.to_owned() })
    }

    pub(super) fn fault(&self, error: &fjall::Error) -> OpenError {
        unreadable(self.path, error)
    }
}

fn unreadable(path: &Path, error: &fjall::Error) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what: error.to_string() }
}
