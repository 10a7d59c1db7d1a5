//! Hashing passcodes: tens of milliseconds of processor time and megabytes of memory each, so a few at once in the whole
//! process, on threads of their own.
//!
//! The threads live as long as the server. On threads that come and go each hash would leave its memory in another
//! arena of the allocator, and a wave of logins would never be given back.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

type Work = Box<dyn FnOnce() + Send>;

/// The threads that hash. They end with its last clone.
#[derive(Clone)]
pub(crate) struct Hashing {
    turns: Arc<Semaphore>,
    work: mpsc::Sender<Work>,
}

/// The right to hash once, now.
pub(crate) struct Turn {
    permit: OwnedSemaphorePermit,
    work: mpsc::Sender<Work>,
}

impl Hashing {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (work, orders) = mpsc::channel();
        let orders = Arc::new(Mutex::new(orders));
        for number in 0..HASHES_AT_ONCE {
            let orders = Arc::clone(&orders);
            thread::Builder::new().name(format!("hash-{number}")).spawn(move || hash(&orders))?;
        }
        Ok(Self { turns: Arc::new(Semaphore::new(HASHES_AT_ONCE)), work })
    }

    /// Waits until one of the threads is free; first come, first served.
    pub(crate) async fn turn(&self) -> Turn {
        let permit = Arc::clone(&self.turns).acquire_owned();
        let permit = permit.await.unwrap_or_else(|_| unreachable!("nobody closes the semaphore"));
        Turn { permit, work: self.work.clone() }
    }
}

impl Turn {
    /// Runs `work` on the free thread, to its end even if nobody waits for it any more; `None` when it panicked.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let Self { permit, work: queue } = self;
        let work = move || {
            let _permit = permit;
            let _ = done.send(work());
        };
        queue.send(Box::new(work)).ok()?;
        answer.await.ok()
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashing").field("turns", &self.turns).finish_non_exhaustive()
    }
}

fn hash(orders: &Mutex<mpsc::Receiver<Work>>) {
    loop {
        let order = orders.lock().recv();
        // Nobody is left who could order more.
        let Ok(work) = order else { return };
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!("a fault of the broker while a passcode was hashed");
        }
    }
}

/// Passcodes hashed at once in the process.
pub(crate) const HASHES_AT_ONCE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[tokio::test]
    async fn all_work_is_done_by_the_same_few_threads_even_after_a_panic() {
        let hashing = Hashing::start().unwrap();
        let mut threads = HashSet::new();
        for number in 0..20 {
            let done = hashing.turn().await.run(move || {
                assert_ne!(number, 5, "a fault");
                thread::current().id()
            });
            let done = done.await;
            assert_eq!(done.is_none(), number == 5);
            threads.extend(done);
        }
        assert!(threads.len() <= HASHES_AT_ONCE, "{threads:?}");
    }

    #[tokio::test]
    async fn no_more_hash_at_once_than_there_are_threads() {
        let hashing = Hashing::start().unwrap();
        let turns = [hashing.turn().await, hashing.turn().await];
        assert_eq!(turns.len(), HASHES_AT_ONCE);
        assert_eq!(hashing.turns.available_permits(), 0);
        drop(turns);
        assert_eq!(hashing.turns.available_permits(), HASHES_AT_ONCE);
    }
}
