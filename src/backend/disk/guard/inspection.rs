//! What is wrong with a store, and what is to be done about it once everything has been looked at.

use std::fs::{self, File};
use std::path::PathBuf;

use super::files;
use super::witness::Witness;
use super::{End, OpenError};

/// Gathers what must be changed, so that nothing is before all is known.
#[derive(Debug)]
pub(super) struct Inspection {
    accept_loss: bool,
    /// There was damage, and it was accepted.
    lost: bool,
    repairs: Vec<Repair>,
}

/// A change without which the database would not open, or would make things worse.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repair {
    /// Takes what stands behind `bytes` off a file.
    Cut {
        /// A journal.
        path: PathBuf,
        /// What is whole.
        bytes: u64,
    },
    /// Writes a file anew.
    Write {
        /// The file.
        path: PathBuf,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Takes away a directory with all that is in it.
    Remove {
        /// The directory.
        path: PathBuf,
    },
}

impl Inspection {
    /// Nothing found yet.
    pub(super) fn new(accept_loss: bool) -> Self {
        Self { accept_loss, lost: false, repairs: Vec::new() }
    }

    /// Something that was kept is not there any more.
    ///
    /// # Errors
    ///
    /// [`OpenError::Damaged`], unless losses are accepted: then the caller goes on with what is left.
    pub(super) fn fault(&mut self, path: PathBuf, what: String) -> Result<(), OpenError> {
        if !self.accept_loss {
            return Err(OpenError::Damaged { path, what });
        }
        self.lost = true;
        Ok(())
    }

    /// Leaves a change for later.
    pub(super) fn plan(&mut self, repair: Repair) {
        self.repairs.push(repair);
    }

    /// How the process ended that left `before`, now that everything was looked at.
    pub(super) fn end_of(&self, before: &Witness) -> End {
        if self.lost { End::MayHaveLost } else { before.end() }
    }

    /// Makes the changes. Any of them may be made twice.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn repair(self) -> Result<(), OpenError> {
        for repair in self.repairs {
            match repair {
                Repair::Cut { path, bytes } => {
                    let cut = File::options().write(true).open(&path).and_then(|file| {
                        file.set_len(bytes)?;
                        file.sync_all()
                    });
                    cut.map_err(files::at(&path))?;
                }
                Repair::Write { path, bytes } => {
                    if let (Some(dir), Some(name)) =
                        (path.parent(), path.file_name().and_then(|n| n.to_str()))
                    {
                        files::replace(dir, name, &bytes)?;
                    }
                }
                Repair::Remove { path } => fs::remove_dir_all(&path).map_err(files::at(&path))?,
            }
        }
        Ok(())
    }
}
