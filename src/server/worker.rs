//! A worker: one thread, one single-threaded runtime, one [`Shard`], and the connections it owns.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::{spawn_local, unconstrained};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::broker::{Broker, Now, Shard};
use crate::model::{CloseReason, WorkerId};

use super::calls::{Calls, Means};
use super::clock::{Clock, WorkerClock};
use super::faces::Faces;
use super::flusher::Flusher;
use super::http::Front;

/// Something for a worker to do on its own thread.
pub(crate) type Job = Box<dyn FnOnce(&Rc<Worker>) + Send>;

/// What a worker's tasks share. Lives on the worker's thread.
pub(crate) struct Worker {
    pub(crate) shard: RefCell<Shard>,
    /// Sockets are read into this, whoever they belong to: an idle connection holds no buffer.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    pub(crate) clock: WorkerClock,
    /// Writes for all connections.
    pub(super) flusher: Flusher,
    /// What would block.
    pub(super) calls: Calls,
    /// The HTTP face.
    front: Front,
    load: Arc<AtomicUsize>,
    /// Ends when the last connection has gone.
    draining: Cell<bool>,
    /// Ends at once.
    expired: Cell<bool>,
}

/// The other threads' end of a worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    jobs: mpsc::Sender<Job>,
    load: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl WorkerHandle {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub(crate) fn start(
        id: WorkerId,
        broker: Arc<Broker>,
        clock: Clock,
        api: Handle,
        means: Means,
        faces: Faces,
    ) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let load = Arc::new(AtomicUsize::new(0));
        let shared_load = Arc::clone(&load);
        let runtime = move || Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(format!("worker-{}", id.0)).spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let shard = Shard::new(id, broker, clock.now());
            let worker = Rc::new_cyclic(|this| Worker {
                front: faces.front(this, api),
                shard: RefCell::new(shard),
                scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
                clock: WorkerClock::new(clock),
                flusher: Flusher::default(),
                calls: Calls::new(means),
                load: shared_load,
                draining: Cell::new(false),
                expired: Cell::new(false),
            });
            let _ = ready.send(Ok(()));
            runtime.block_on(async move {
                // As a task it takes turns with the connections; as the blocked-on future it would go before them.
                let flusher = spawn_local(unconstrained(Rc::clone(&worker).flush()));
                let main = spawn_local(worker.run(inbox));
                if main.await.is_err() {
                    tracing::error!("a worker has ended by a fault, and its connections with it");
                }
                flusher.abort();
            });
        })?;
        started.recv().map_err(|_| io::Error::other("the worker thread ended at once"))??;
        Ok(Self { jobs, load, thread })
    }

    /// Connections of the worker, those just handed over included.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Counts a connection that is about to be handed over.
    pub(crate) fn count(&self) -> LoadGuard {
        self.load.fetch_add(1, Ordering::Relaxed);
        LoadGuard(Arc::clone(&self.load))
    }

    /// Whether this is that worker's.
    pub(crate) fn is(&self, worker: &Worker) -> bool {
        Arc::ptr_eq(&self.load, &worker.load)
    }

    /// Whether the worker has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.jobs.is_closed()
    }

    /// A place for something to do, if the worker is not too far behind.
    pub(crate) fn reserve(&self) -> Option<mpsc::Permit<'_, Job>> {
        self.jobs.try_reserve().ok()
    }

    /// Hands over something to do; gives it back when the worker is too far behind or gone.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Job> {
        self.jobs.try_send(job).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Hands over something to do as soon as there is room; a worker that is gone needs to do nothing.
    pub(crate) async fn tell(&self, job: Job) {
        let _ = self.jobs.send(job).await;
    }

    /// Ends the worker, with whatever connections are left, and waits until it has ended.
    pub(crate) fn join(self) {
        // This alone ends it, whether or not it was told to drain.
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("a worker ended by a panic");
        }
    }
}

/// Counts one connection on a worker while it lives.
#[derive(Debug)]
pub(crate) struct LoadGuard(Arc<AtomicUsize>);

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("load", &self.load).finish_non_exhaustive()
    }
}

impl Worker {
    // Every message asks several times.
    #[inline(never)]
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Whether the connections were asked to go: a later one is told so when it comes.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Connections, those just handed over included.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Counts a connection, or a session that has none of its own.
    pub(crate) fn count(&self) -> LoadGuard {
        self.load.fetch_add(1, Ordering::Relaxed);
        LoadGuard(Arc::clone(&self.load))
    }

    /// The HTTP face.
    pub(crate) fn front(&self) -> &Front {
        &self.front
    }

    /// Jobs, the inbox and time, until the last connection has ended after a drain.
    async fn run(self: Rc<Self>, mut jobs: mpsc::Receiver<Job>) {
        let mut ticks = interval(Duration::from_millis(TICK_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    self.clock.set();
                    let now = self.now();
                    self.shard.borrow_mut().tick(now);
                    self.shard.borrow().tally().busy_ns.set(busy_ns());
                    if self.expired.get() || self.draining.get() && self.load() == 0 {
                        return;
                    }
                }
                job = jobs.recv() => match job {
                    Some(job) => job(&self),
                    // The server has ended.
                    None => return,
                },
                () = self.inbox_filled() => {
                    let now = self.now();
                    self.shard.borrow_mut().drain(now);
                    // The connections just filled take their turn before the next one.
                    tokio::task::yield_now().await;
                }
            }
            self.see_to_calls();
        }
    }

    async fn inbox_filled(&self) {
        poll_fn(|context| {
            let ready = self.shard.borrow_mut().watch_inbox(context.waker());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Asks every connection to go, spread over `window` so that they do not all come back at once, and ends the worker
    /// when they are gone, at the latest after `deadline`.
    pub(crate) fn drain(self: &Rc<Self>, window: Duration, deadline: Duration) {
        let worker = Rc::clone(self);
        spawn_local(async move {
            let begin = Instant::now();
            let ids = worker.shard.borrow().ids();
            let count = u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1);
            for (turn, id) in ids.into_iter().enumerate() {
                sleep_until(begin + window / count * u32::try_from(turn).unwrap_or(u32::MAX)).await;
                let now = worker.now();
                worker.shard.borrow_mut().end_if_current(id, &CloseReason::ShuttingDown.into(), now);
            }
            sleep_until(begin + deadline).await;
            worker.expired.set(true);
        });
        self.draining.set(true);
    }
}

/// How long this thread's runtime has been at work, nanoseconds.
fn busy_ns() -> usize {
    let busy = Handle::current().metrics().worker_total_busy_duration(0);
    usize::try_from(busy.as_nanos()).unwrap_or(usize::MAX)
}

/// How often time is looked at, milliseconds.
const TICK_MS: u64 = 100;

/// Bytes read from a socket at a time.
const SCRATCH_BYTES: usize = 64 << 10;

/// Jobs that may wait for a worker; above, nobody hands it any.
const JOBS_MAX: usize = 4_096;
