//! What outlives the process: history, memberships, cursors and work queues in a directory.

use std::path::PathBuf;

mod error;
#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "the store in the directory is built upon it")
)]
mod guard;

pub use error::OpenError;

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
    /// Memory for what is read often.
    pub cache_bytes: u64,
    /// Opens a damaged store with what is left of it.
    pub accept_loss: bool,
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
