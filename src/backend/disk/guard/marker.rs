//! The file that makes a directory a store: a few lines that a person can read.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::{DB, OpenError, files, lock, witness};

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    /// The store's number, for life.
    pub(super) id: u128,
}

/// What a directory is, judged by the names in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// No store yet, and nothing of others.
    Nothing,
    /// A store, be it damaged.
    Store,
}

impl Marker {
    /// The marker of `dir`, or what is wrong with it.
    ///
    /// # Errors
    ///
    /// [`OpenError::Newer`] if it has a format that we do not know, [`OpenError::Io`].
    pub(super) fn read(dir: &Path) -> Result<Result<Self, String>, OpenError> {
        let path = dir.join(NAME);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Err("it is missing".to_owned()));
            }
            Err(source) => return Err(OpenError::Io { path, source }),
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let format = match (lines.next(), lines.next()) {
            (Some(TITLE), Some(format)) => {
                format.strip_prefix("format ").and_then(|number| number.parse().ok())
            }
            _ => None,
        };
        match format {
            // Of a newer format we know the first two lines alone.
            Some(found) if found > FORMAT => Err(OpenError::Newer { path, found, known: FORMAT }),
            Some(FORMAT) => {
                let id = lines.next().and_then(|line| line.strip_prefix("id ")).and_then(parse_id);
                let marker = id.map(|id| Self { id }).filter(|marker| marker.encode() == bytes);
                Ok(marker.ok_or_else(|| "its number cannot be read".to_owned()))
            }
            _ => Ok(Err("it does not begin as the marker of a store does".to_owned())),
        }
    }

    /// Writes it, durably.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn write(self, dir: &Path) -> Result<(), OpenError> {
        files::replace(dir, NAME, &self.encode()).map(drop)
    }

    /// The file's text.
    pub(super) fn encode(self) -> Vec<u8> {
        format!("{TITLE}\nformat {FORMAT}\nid {:032x}\n", self.id).into_bytes()
    }
}

impl Contents {
    /// Looks at `dir`, which may be missing.
    ///
    /// # Errors
    ///
    /// [`OpenError::Foreign`] if the directory is that of others.
    pub(super) fn of(dir: &Path) -> Result<Self, OpenError> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Self::Nothing),
            Err(source) => return Err(OpenError::Io { path: dir.to_owned(), source }),
        };
        let (mut strangers, mut witness, mut database) = (false, false, false);
        for entry in entries {
            let name = entry.map_err(files::at(dir))?.file_name();
            match name.to_str() {
                Some(NAME) => return Ok(Self::Store),
                Some(witness::NAME) => witness = true,
                Some(DB) => database = true,
                Some(name) if LEFT_BEHIND.contains(&name) || is_fresh(name) => {}
                _ => strangers = true,
            }
        }
        match (witness, database, strangers) {
            // The marker is made before the database: somebody has removed it.
            (true, true, _) => Ok(Self::Store),
            (_, false, false) => Ok(Self::Nothing),
            _ => Err(OpenError::Foreign { dir: dir.to_owned() }),
        }
    }
}

/// One of our files, caught while it was being written.
fn is_fresh(name: &str) -> bool {
    name.strip_suffix(files::FRESH).is_some_and(|name| [NAME, witness::NAME].contains(&name))
}

fn parse_id(digits: &str) -> Option<u128> {
    let all_hex = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u128::from_str_radix(digits, 16).ok().filter(|_| all_hex)
}

/// The file's name.
pub(super) const NAME: &str = "stompede.store";

/// Its first line.
const TITLE: &str = "stompede store";

/// The newest format that we know, and the one that we write.
const FORMAT: u32 = 1;

/// Of a marker no more than that is read; ours has 65 bytes.
const BYTES_MAX: u64 = 4096;

/// What may stand in a directory that is no store yet: a lock of somebody who got no further, and what file systems
/// put at their root.
const LEFT_BEHIND: [&str; 2] = [lock::NAME, "lost+found"];
