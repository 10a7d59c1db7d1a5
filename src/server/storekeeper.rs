//! The threads of a store on disk, and the order in which they end: told by a drop, proved by a drop.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::backend::disk::Disk;

/// Has the store worked at. Dropped, it closes the store, and waits a moment until everything is written.
pub(super) struct Storekeeper {
    disk: Arc<Disk>,
    /// Ends the caretaker.
    leave: SyncSender<()>,
    /// Disconnected once the last thread has gone and the store has ended.
    gone: Receiver<Infallible>,
    patience: Duration,
}

/// Every thread holds it while it works; the last one to go ends the store.
struct Shift {
    disk: Arc<Disk>,
    /// A thread failed: what it held was perhaps not written, so the end is not in order.
    failed: AtomicBool,
    _proof: SyncSender<Infallible>,
}

impl Storekeeper {
    /// Starts the threads; the store is looked after every so often.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(disk: Arc<Disk>, every: Duration) -> io::Result<Self> {
        let (proof, gone) = sync_channel(0);
        let (leave, left) = sync_channel(1);
        let shift = Shift { disk: Arc::clone(&disk), failed: AtomicBool::new(false), _proof: proof };
        let shift = Arc::new(shift);
        // Whatever has begun ends with it, if the next thread is not to be had.
        let keeper = Self { disk, leave, gone, patience: PATIENCE };
        begin("stompede-disk", &shift, Disk::write)?;
        for number in 0..READERS {
            begin(&format!("disk-read-{number}"), &shift, Disk::read)?;
        }
        begin("disk-care", &shift, move |disk| {
            let stays = left.recv_timeout(every) == Err(RecvTimeoutError::Timeout);
            if stays {
                disk.look_after();
            }
            stays
        })?;
        Ok(keeper)
    }

    /// The store.
    pub(super) fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Closes the store: nothing more is taken. Waits for up to `patience` until everything is written.
    pub(super) fn close(mut self, patience: Duration) {
        self.patience = patience;
    }
}

impl Drop for Storekeeper {
    fn drop(&mut self) {
        // Full: it was told already. Disconnected: it has gone already.
        let _ = self.leave.try_send(());
        self.disk.close();
        if self.gone.recv_timeout(self.patience) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                waited_ms = self.patience.as_millis(),
                "the disk did not take in time what was still to be written"
            );
        }
    }
}

impl fmt::Debug for Storekeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storekeeper").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl Shift {
    /// Works until there is nothing more to do. A store of which a thread has failed is closed: it says no, where it would
    /// else never answer.
    fn work(&self, mut turn: impl FnMut(&Disk) -> bool) {
        let worked = catch_unwind(AssertUnwindSafe(|| while turn(&self.disk) {}));
        if worked.is_err() {
            tracing::error!(
                thread = thread::current().name(),
                "a fault of the broker: the store on disk takes no more messages until the next start"
            );
            self.failed.store(true, Ordering::Relaxed);
            self.disk.abandon();
        }
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        if !self.failed.load(Ordering::Relaxed) {
            self.disk.finish();
        }
    }
}

fn begin(name: &str, shift: &Arc<Shift>, turn: impl FnMut(&Disk) -> bool + Send + 'static) -> io::Result<()> {
    let shift = Arc::clone(shift);
    thread::Builder::new().name(name.to_owned()).spawn(move || shift.work(turn)).map(drop)
}

/// Threads that read: one that waits for a slow disk should not keep the other readers waiting.
const READERS: usize = 2;

/// How long the end waits for the disk where nobody said for how long: with a disk that works it takes milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::backend::disk::{DiskOptions, Fsync};
    use crate::model::{DestinationRules, Limits};

    fn open(dir: &std::path::Path) -> Arc<Disk> {
        let options = DiskOptions {
            dir: dir.to_owned(),
            fsync: Fsync::Always,
            bytes_max: 1 << 30,
            free_bytes_min: 0,
            cache_bytes: 1 << 20,
            accept_loss: false,
        };
        Disk::open(&options, &Limits::default(), &DestinationRules::default(), 1 << 30, 0, 7).unwrap().0
    }

    #[test]
    fn dropped_it_has_ended_the_threads_at_once_however_seldom_they_look() {
        let directory = tempfile::tempdir().unwrap();
        let disk = open(directory.path());
        let keeper = Storekeeper::start(Arc::clone(&disk), Duration::from_secs(600)).unwrap();
        let begin = Instant::now();
        keeper.close(Duration::from_secs(600));
        assert!(begin.elapsed() < Duration::from_secs(300));
        assert_eq!(Arc::strong_count(&disk), 1, "a thread still has it");
    }

    #[test]
    fn a_thread_that_fails_closes_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let disk = open(directory.path());
        let (proof, gone) = sync_channel(0);
        let shift = Shift { disk: Arc::clone(&disk), failed: AtomicBool::new(false), _proof: proof };
        shift.work(|_| panic!("a fault"));
        assert!(shift.failed.load(Ordering::Relaxed));
        assert!(!disk.read(), "it goes on");
        drop(shift);
        assert_eq!(gone.recv(), Err(std::sync::mpsc::RecvError));
    }
}
