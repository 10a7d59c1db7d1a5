//! Writes that survive the loss of power, and errors that name what was touched.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use super::OpenError;

/// Makes the error of an operation on `path` one of opening.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// Makes `dir`, and its parents, where they are missing.
///
/// # Errors
///
/// What the system says.
pub(super) fn make_dir(dir: &Path) -> Result<(), OpenError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(at(dir))?;
    // Every ancestor may be new: an entry is safe once the directory that holds it is.
    for parent in dir.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        if sync_dir(parent).is_err() {
            // We may not be allowed to look, but then we have not made anything there.
            break;
        }
    }
    Ok(())
}

/// Writes a whole file so that after a crash either the old or the new one is there.
///
/// # Errors
///
/// What the system says.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<File, OpenError> {
    let (path, fresh) = (dir.join(name), dir.join(format!("{name}{FRESH}")));
    let write = || {
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        sync_dir(dir)?;
        Ok(file)
    };
    write().map_err(at(&path))
}

/// Makes the names in `dir` safe.
///
/// # Errors
///
/// What the system says.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The end of a file's name while it is being written.
pub(super) const FRESH: &str = ".new";
