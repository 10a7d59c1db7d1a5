//! What the database beneath does not see to itself: the store is never silently reset, cut, opened twice, or opened by
//! an older program.
//!
//! ```text
//! DIR/stompede.store   says that this is a store, of which format, and which one
//! DIR/lock             held while a process has the store; holds its number
//! DIR/witness          what a process has promised: the last batch that was acknowledged, and how the process ended
//! DIR/db/              the database's own directory
//! ```
//!
//! The database makes a new one where its version file is missing, cuts a journal at the first length that it cannot
//! make sense of, never opens again where the last batch was torn, and misses no journal and no keyspace that somebody
//! removed. So before it may open anything, [`Guard::enter`] looks at all that it would read, compares it with what the
//! witness says was acknowledged, and tells what a crash leaves behind from what a broken disk does:
//!
//! ```text
//! torn:    batches up to the last acknowledged one are whole, behind them something that is none, behind that nothing
//! damaged: anything else that is not whole
//! ```
//!
//! A torn end is cut off, as nobody was told of it. Damage is an error that names the file, and nothing is changed,
//! unless the loss is accepted. The order of a life is
//!
//! ```text
//! enter -> (open the database) -> check_opened -> note, note, ... -> (close the database) -> leave
//!                                       | MayHaveLost
//!                                       +-> (write a new epoch, sync) -> settle_loss
//! ```
//!
//! What is written to disk before it is acted upon: the witness says "lost" before a journal is cut, and says so until
//! [`Guard::settle_loss`]. So a crash in between repeats the alarm and never swallows it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{Fsync, OpenError};

mod batches;
mod database;
mod files;
mod inspection;
mod journals;
mod lock;
mod marker;
#[cfg(test)]
mod tests;
mod witness;

use inspection::{Inspection, Repair};
use lock::Lock;
use marker::{Contents, Marker};
use witness::{Witness, WitnessFile};

pub(super) use batches::BATCH_KEY;

/// Keeps a directory for this process, and its promises across processes.
///
/// Dropping it gives the directory back without a word: the next process will see that this one was killed.
#[derive(Debug)]
pub(super) struct Guard {
    dir: PathBuf,
    /// What the witness on disk says now.
    witness: Witness,
    file: WitnessFile,
    /// How the last process ended, as far as known now.
    end: End,
    /// The highest number in the journals: the database must have found it there, too.
    seen: u64,
    /// Whether batches may be missing without an error.
    accept_loss: bool,
    /// Held for as long as the guard lives; after everything else it is let go.
    _lock: Lock,
}

/// What [`Guard::enter`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entered {
    /// The store's own number, for life.
    pub(super) id: u128,
    /// Nothing was ever kept in it: it was made now, or its making was cut short.
    pub(super) is_new: bool,
    /// How the last process ended, before the database itself was looked at: [`Guard::check_opened`] has the last word.
    pub(super) end: End,
    /// The last batch that is known to have been acknowledged; 0 is none.
    pub(super) known_batch: u64,
}

/// How the last process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It left, with everything synced. A new store begins with it.
    Clean,
    /// It did not leave, but all that it acknowledged is there.
    Killed,
    /// What it acknowledged may be missing: power was lost in mode [`Fsync::Interval`], or a loss was accepted. Whoever
    /// relied on the store must be told: change the epoch, sync, then call [`Guard::settle_loss`]. Until then every
    /// start says so again.
    MayHaveLost,
}

impl Guard {
    /// Takes `dir` for this process, makes it a store if it is empty or missing, and sees to it that the database in
    /// [`Guard::db_dir`] may be opened.
    ///
    /// `fsync` is the mode of this process, `fresh_id` the number of a store that is made now. With `accept_loss`
    /// damage is no error: what is broken is cut off or made anew, and the end is [`End::MayHaveLost`].
    ///
    /// # Errors
    ///
    /// Every [`OpenError`]. Except that the lock file may be there, nothing in a directory that was not empty is then
    /// changed; [`OpenError::Io`] alone may come in the midst of changes, all of which can be repeated.
    pub(super) fn enter(
        dir: &Path,
        fsync: Fsync,
        accept_loss: bool,
        fresh_id: u128,
    ) -> Result<(Self, Entered), OpenError> {
        // Before the lock: in a directory of others not even that file is to be made.
        Contents::of(dir)?;
        files::make_dir(dir)?;
        let lock = Lock::take(dir)?;
        let mut inspection = Inspection::new(accept_loss);
        // Again, for a process that had the lock before us may have made the store meanwhile.
        let before = match Contents::of(dir)? {
            Contents::Nothing => {
                // The witness goes first: a marker without one is damage.
                let witness = Witness::of_new_store(fresh_id);
                WitnessFile::replace(dir, &witness)?;
                Marker { id: fresh_id }.write(dir)?;
                witness
            }
            Contents::Store => past(dir, fresh_id, &mut inspection)?,
        };
        let is_new = database::inspect(&db_dir(dir), before.keyspaces, &mut inspection)?;
        let mut witness = before.clone();
        witness.begin_run(fsync);
        let mut seen = 0;
        if !is_new {
            let journals = journals::read(&db_dir(dir))?;
            seen = journals::newest(&journals).unwrap_or(0);
            witness.journals_from = journals::judge(&db_dir(dir), &journals, &before, &mut inspection)?;
            if !before.clean {
                // The witness is about to speak of our mode; what a run in a laxer mode left in the system's cache
                // must then be as safe as it says.
                journals::sync(&journals)?;
            }
        }
        let end = inspection.end_of(&before);
        witness.loss = end == End::MayHaveLost;
        let file = WitnessFile::replace(dir, &witness)?;
        inspection.repair()?;
        let entered = Entered { id: witness.id, is_new, end, known_batch: before.batch };
        Ok((Self { dir: dir.to_owned(), witness, file, end, seen, accept_loss, _lock: lock }, entered))
    }

    /// Where the database is to be opened.
    pub(super) fn db_dir(&self) -> PathBuf {
        db_dir(&self.dir)
    }

    /// Compares the opened database, in which all keyspaces were opened or made, with what was promised and with what
    /// stands in its journals. `found_batch` is the number that it holds under [`BATCH_KEY`]. From here on numbers go on
    /// from there.
    ///
    /// # Errors
    ///
    /// [`OpenError::Damaged`] if acknowledged batches are missing, unless the end was [`End::MayHaveLost`] or the loss
    /// is accepted; [`OpenError::Io`] if the witness cannot be written.
    pub(super) fn check_opened(&mut self, found_batch: Option<u64>) -> Result<End, OpenError> {
        let found = found_batch.unwrap_or(0);
        let promised = if self.end == End::MayHaveLost { 0 } else { self.witness.batch };
        let expected = promised.max(self.seen);
        if found < expected {
            let mut inspection = Inspection::new(self.accept_loss);
            inspection.fault(self.db_dir(), batches_missing(found + 1, expected))?;
            self.end = End::MayHaveLost;
        }
        self.witness.loss = self.end == End::MayHaveLost;
        self.witness.batch = found;
        self.witness.keyspaces = database::whole_keyspaces(&self.db_dir())?;
        let written = self.file.write(&self.witness).and_then(|()| self.file.sync());
        written.map_err(files::at(self.file.path()))?;
        Ok(self.end)
    }

    /// Remembers that everything up to `batch` is about to be acknowledged. In mode [`Fsync::Always`] it must have been
    /// synced. Survives the end of the process; costs one write of 80 bytes and no sync.
    ///
    /// # Errors
    ///
    /// What the system says. Nothing may then be acknowledged.
    pub(super) fn note(&mut self, batch: u64) -> io::Result<()> {
        self.witness.batch = batch;
        self.file.write(&self.witness)
    }

    /// Those who relied on the store will be told of the loss: `batch`, which is synced, has changed the epoch.
    ///
    /// # Errors
    ///
    /// What the system says; the next start will then speak of the loss again.
    pub(super) fn settle_loss(&mut self, batch: u64) -> io::Result<()> {
        self.witness.loss = false;
        self.note(batch)?;
        self.file.sync()
    }

    /// Ends well: the database is closed, and everything up to `batch` is synced.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ResourceBusy`] if the database is still open, for it could then change its files later; else
    /// what the system says. The next start will in both cases take us for killed.
    pub(super) fn leave(mut self, batch: u64) -> io::Result<()> {
        match File::open(self.db_dir().join(database::LOCK)).map(|lock| lock.try_lock()) {
            Ok(Err(TryLockError::WouldBlock)) => return Err(io::ErrorKind::ResourceBusy.into()),
            Ok(Err(TryLockError::Error(source))) => return Err(source),
            // Never opened.
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(source),
            Ok(Ok(())) => {
                self.witness.journals_from =
                    journals::unbroken_from(&self.db_dir()).map_err(io::Error::other)?;
            }
        }
        self.witness.clean = true;
        self.note(batch)?;
        self.file.sync()
    }
}

/// What the marker and the witness of a store say of it.
fn past(dir: &Path, fresh_id: u128, inspection: &mut Inspection) -> Result<Witness, OpenError> {
    let witness = WitnessFile::read(dir)?;
    let marker = match Marker::read(dir)? {
        Ok(marker) => marker,
        Err(what) => {
            inspection.fault(dir.join(marker::NAME), what)?;
            let marker = Marker { id: witness.as_ref().map_or(fresh_id, |witness| witness.id) };
            inspection.plan(Repair::Write { path: dir.join(marker::NAME), bytes: marker.encode() });
            marker
        }
    };
    match witness {
        Ok(witness) if witness.id == marker.id => Ok(witness),
        Ok(_) => {
            inspection.fault(dir.join(witness::NAME), "it belongs to another store".to_owned())?;
            Ok(Witness::of_unknown_past(marker.id))
        }
        Err(what) => {
            inspection.fault(dir.join(witness::NAME), what)?;
            Ok(Witness::of_unknown_past(marker.id))
        }
    }
}

fn db_dir(dir: &Path) -> PathBuf {
    dir.join(DB)
}

fn batches_missing(from: u64, to: u64) -> String {
    if from == to { format!("batch {to} is missing") } else { format!("batches {from} to {to} are missing") }
}

/// The name of the database's directory.
const DB: &str = "db";
