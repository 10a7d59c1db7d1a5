//! The database's directory: what must be there before the database may open it.
//!
//! ```text
//! DIR/db/version               without it the database makes a new one
//! DIR/db/lock                  its own lock
//! DIR/db/<n>.jnl               journals
//! DIR/db/keyspaces/<n>/current points to the keyspace's tables; without it the database deletes the keyspace.
//!                              <n> = 0 holds the names of the others: without it the database deletes them all
//! ```

use std::fs;
use std::io;
use std::path::Path;

use super::inspection::{Inspection, Repair};
use super::{OpenError, files, journals};

/// Looks at `db`, which had `keyspaces_before` whole keyspaces when it was last opened, or 0 if it never was. The answer
/// is whether the database will be made anew.
///
/// # Errors
///
/// [`OpenError::Damaged`], unless losses are accepted; what the system says.
pub(super) fn inspect(
    db: &Path,
    keyspaces_before: u32,
    inspection: &mut Inspection,
) -> Result<bool, OpenError> {
    let version = match fs::read(db.join(VERSION)) {
        Ok(version) => Some(version),
        Err(source) if source.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(OpenError::Io { path: db.join(VERSION), source }),
    };
    let is_made = version.is_some() || !is_unfinished(db)?;
    if !is_made {
        if keyspaces_before > 0 {
            inspection.fault(db.to_owned(), "all that was in it is gone".to_owned())?;
        }
        // Half a database is one that can neither be opened nor made.
        if db.is_dir() {
            inspection.plan(Repair::Remove { path: db.to_owned() });
        }
        return Ok(true);
    }
    if version.as_deref() != Some(VERSION_BYTES) {
        let what = version.map_or("it is missing", |_| "it does not say what it should");
        inspection.fault(db.join(VERSION), what.to_owned())?;
        inspection.plan(Repair::Write { path: db.join(VERSION), bytes: VERSION_BYTES.to_vec() });
    }
    let keyspaces = whole_keyspaces(db)?;
    if keyspaces < keyspaces_before {
        let what = format!("of {keyspaces_before} keyspaces {keyspaces} are left");
        inspection.fault(db.join(KEYSPACES), what)?;
    }
    Ok(false)
}

/// How many keyspaces the database has that it will not take for unfinished.
///
/// # Errors
///
/// [`OpenError::Damaged`] if there is a directory that the database would not bear; what the system says.
pub(super) fn whole_keyspaces(db: &Path) -> Result<u32, OpenError> {
    let dir = db.join(KEYSPACES);
    let mut whole = 0;
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(OpenError::Io { path: dir, source }),
    };
    for entry in entries {
        let entry = entry.map_err(files::at(&dir))?;
        let path = entry.path();
        if entry.file_type().map_err(files::at(&path))?.is_file() {
            continue;
        }
        if entry.file_name().to_str().is_none_or(|name| name.parse::<u64>().is_err()) {
            let what = "it is no keyspace of the database: move it elsewhere".to_owned();
            return Err(OpenError::Damaged { path, what });
        }
        whole += u32::from(path.join(CURRENT).is_file());
    }
    Ok(whole)
}

/// Whether a database without version is none yet: there is only what is made before the version is, and it is empty.
fn is_unfinished(db: &Path) -> Result<bool, OpenError> {
    let entries = match fs::read_dir(db) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(source) => return Err(OpenError::Io { path: db.to_owned(), source }),
    };
    for entry in entries {
        let entry = entry.map_err(files::at(db))?;
        let path = entry.path();
        let is_empty = match entry.file_name().to_str() {
            Some(LOCK) => Ok(true),
            Some(KEYSPACES) => fs::read_dir(&path).map(|mut keyspaces| keyspaces.next().is_none()),
            Some(FIRST_JOURNAL) => journals::content(&path).map(|content| content.is_empty()),
            _ => Ok(false),
        };
        if !is_empty.map_err(files::at(&path))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The database's own lock, in its directory.
pub(super) const LOCK: &str = "lock";

const VERSION: &str = "version";

/// What the version file holds.
const VERSION_BYTES: &[u8] = b"FJL\x03";

const KEYSPACES: &str = "keyspaces";

const CURRENT: &str = "current";

const FIRST_JOURNAL: &str = "0.jnl";
