//! Why a directory cannot be opened.

use std::io;
use std::path::PathBuf;

/// Why a directory cannot be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system does not let us.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by {}", dir.display(), holder.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Its process, if it has left its number.
        holder: Option<u32>,
    },
    /// There are files in it, and they are not ours.
    #[error("{} holds other files than a stompede store", dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
    },
    /// A newer stompede wrote it.
    #[error("{} has store format {found}, and this version knows formats up to {known}: use a newer stompede", path.display())]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that we know.
        known: u32,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {what}. Bring it back from a copy, or start once with --accept-loss to go on without what is lost", path.display())]
    Damaged {
        /// The file, or the directory that lacks one.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}
