//! Whether messages are taken, and why not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::DiskVitals;
use crate::model::StoreError;

/// The state of the store.
#[derive(Debug)]
pub(super) struct Health {
    /// Why nothing is written any more. There is no way back: what the disk has of the last batch is not known.
    broken: Mutex<Option<Broken>>,
    is_broken: AtomicBool,
    is_closed: AtomicBool,
    /// The file system has less free space than it should.
    is_short: AtomicBool,
    free_bytes_min: u64,
    log_bytes: AtomicU64,
    queue_bytes: AtomicU64,
    bytes_max: u64,
    /// Bytes that were free when it was last looked; `u64::MAX` before.
    free_bytes: AtomicU64,
    now_ms: AtomicU64,
}

#[derive(Debug)]
struct Broken {
    error: StoreError,
    why: String,
}

impl Health {
    pub(super) fn new(bytes_max: u64, free_bytes_min: u64, now_ms: u64) -> Self {
        Self {
            broken: Mutex::default(),
            is_broken: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_short: AtomicBool::new(false),
            free_bytes_min,
            log_bytes: AtomicU64::new(0),
            queue_bytes: AtomicU64::new(0),
            bytes_max,
            free_bytes: AtomicU64::new(u64::MAX),
            now_ms: AtomicU64::new(now_ms),
        }
    }

    /// Whether a message may be taken.
    pub(super) fn admits(&self) -> Result<(), StoreError> {
        if !self.is_open() {
            return Err(self.error());
        }
        if self.is_short.load(Ordering::Relaxed) || self.bytes() >= self.bytes_max {
            return Err(StoreError::Full);
        }
        Ok(())
    }

    /// The same in words for an operator.
    pub(super) fn told(&self) -> Result<(), String> {
        if let Some(broken) = &*self.broken.lock() {
            return Err(format!("the store on disk has failed, and a restart is needed: {}", broken.why));
        }
        if !self.is_open() {
            return Err("the store on disk is closed".to_owned());
        }
        if self.is_short.load(Ordering::Relaxed) {
            let least = self.free_bytes_min;
            return Err(format!("the disk is full: less than {least} bytes are free (data.free_bytes_min)"));
        }
        if self.bytes() >= self.bytes_max {
            return Err(format!("the store holds {} bytes, its limit (data.bytes_max)", self.bytes_max));
        }
        Ok(())
    }

    /// A batch could not be written.
    pub(super) fn fail(&self, error: &fjall::Error) {
        let is_full =
            matches!(error, fjall::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull);
        let kind = if is_full { StoreError::Full } else { StoreError::Unavailable };
        self.end(kind, &error.to_string());
    }

    /// Something else has failed without which nothing can be written.
    pub(super) fn break_down(&self, why: &str) {
        self.end(StoreError::Unavailable, why);
    }

    fn end(&self, error: StoreError, why: &str) {
        let mut broken = self.broken.lock();
        if broken.is_none() {
            tracing::error!(why, "the store on disk has failed: nothing more is written until a restart");
            *broken = Some(Broken { error, why: why.to_owned() });
            self.is_broken.store(true, Ordering::Relaxed);
        }
    }

    /// What is said to who wants to write.
    pub(super) fn error(&self) -> StoreError {
        self.broken.lock().as_ref().map_or(StoreError::Unavailable, |broken| broken.error)
    }

    /// Nothing more is taken.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        !self.is_broken() && !self.is_closed.load(Ordering::Relaxed)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// So many bytes are free on the file system.
    pub(super) fn finds_free(&self, free_bytes: u64) {
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        let is_short = free_bytes < self.free_bytes_min;
        if self.is_short.swap(is_short, Ordering::Relaxed) != is_short {
            let least = self.free_bytes_min;
            if is_short {
                tracing::warn!(free_bytes, least, "the disk is full: no messages are taken that are kept");
            } else {
                tracing::info!(free_bytes, "the disk has room again");
            }
        }
    }

    /// So many bytes are kept in logs.
    pub(super) fn holds(&self, log_bytes: u64) {
        self.log_bytes.store(log_bytes, Ordering::Relaxed);
    }

    /// So many bytes are kept in queues.
    pub(super) fn queues_hold(&self, queue_bytes: usize) {
        self.queue_bytes.store(queue_bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn tick(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Milliseconds since the Unix epoch, as of the last tick.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(super) fn vitals(&self) -> DiskVitals {
        let free = self.free_bytes.load(Ordering::Relaxed);
        DiskVitals {
            records: self.bytes(),
            records_max: self.bytes_max,
            free_min: self.free_bytes_min,
            free: (free != u64::MAX).then_some(free),
        }
    }

    fn bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed) + self.queue_bytes.load(Ordering::Relaxed)
    }
}
