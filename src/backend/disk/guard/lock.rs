//! One process at a time.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::{OpenError, files};

/// The system's lock on a file of the directory. It goes with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock and leaves our number in the file, so that others can name who has it.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] if another has it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(NAME);
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(files::at(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { dir: dir.to_owned(), holder: holder(&file) });
            }
            Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
        }
        let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(files::at(&path))?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nobody has it now. If that cannot be written, whoever has it next writes over it.
        let _ = self.file.set_len(0);
    }
}

/// The number of the process that has the lock, if it got as far as writing it.
fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_DIGITS_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The file's name.
pub(super) const NAME: &str = "lock";

/// Of a `u32`.
const PID_DIGITS_MAX: u64 = 10;
