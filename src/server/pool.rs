//! All workers, and which of them gets the next connection.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::spawn_local;

use crate::broker::Broker;
use crate::model::WorkerId;

use super::calls::Means;
use super::clock::Clock;
use super::faces::Faces;
use super::hashing::Hashing;
use super::http::Serving;
use super::keyring::Keyring;
use super::worker::{Job, LoadGuard, Worker, WorkerHandle};

/// The workers.
#[derive(Debug)]
pub(crate) struct Pool {
    workers: Box<[WorkerHandle]>,
    hashing: Hashing,
}

impl Pool {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub(crate) fn start(
        count: usize,
        broker: &Arc<Broker>,
        clock: Clock,
        api: &Handle,
        faces: &Faces,
        keyring: &Arc<Keyring>,
    ) -> io::Result<Self> {
        let hashing = Hashing::start()?;
        let ids = (0..count).map(|n| WorkerId(u8::try_from(n).unwrap_or(u8::MAX)));
        let start = |id| {
            let means = Means { hashing: hashing.clone(), keyring: Arc::clone(keyring) };
            WorkerHandle::start(id, Arc::clone(broker), clock, api.clone(), means, faces.clone())
        };
        let workers = ids.map(start).collect::<io::Result<_>>()?;
        Ok(Self { workers, hashing })
    }

    /// The threads that hash passcodes.
    pub(crate) fn hashing(&self) -> &Hashing {
        &self.hashing
    }

    /// Connections of all workers.
    pub(crate) fn load(&self) -> usize {
        self.workers.iter().map(WorkerHandle::load).sum()
    }

    /// Has a socket of the worker `here` served by what `serve` gives until the connection has ended: by the least loaded
    /// worker if it is not too far behind to take it; where there are many connections, only if it has clearly less to do.
    pub(crate) fn place<F>(&self, here: &Rc<Worker>, stream: TcpStream, serve: F)
    where
        F: FnOnce(Rc<Worker>, TcpStream) -> Serving + Send + 'static,
    {
        let fits = |other: &&WorkerHandle| {
            let least = other.load();
            !other.is(here) && (least < EXACT_BELOW || here.load() > least + least / SLACK_PARTS)
        };
        let other = self.least_loaded().filter(fits);
        let Some((other, place)) = other.and_then(|other| Some((other, other.reserve()?))) else {
            return run(here, here.count(), |worker| serve(worker, stream));
        };
        let counted = other.count();
        // The other worker's runtime knows nothing of it yet.
        match stream.into_std() {
            Ok(stream) => place.send(Box::new(move |worker| match TcpStream::from_std(stream) {
                Ok(stream) => run(worker, counted, |worker| serve(worker, stream)),
                Err(error) => unusable(&error),
            })),
            Err(error) => unusable(&error),
        }
    }

    /// Runs what `serve` gives on the least loaded worker as a connection of it; `false` when that one is too far behind.
    pub(crate) fn begin<F>(&self, serve: F) -> bool
    where
        F: FnOnce(Rc<Worker>) -> Serving + Send + 'static,
    {
        let Some(worker) = self.least_loaded() else { return false };
        let counted = worker.count();
        worker.submit(Box::new(move |worker| run(worker, counted, serve))).is_ok()
    }

    /// Of those that are there: a worker that has ended by a fault would have the least to do for ever.
    fn least_loaded(&self) -> Option<&WorkerHandle> {
        self.workers.iter().filter(|worker| !worker.is_gone()).min_by_key(|worker| worker.load())
    }

    #[cfg(test)]
    pub(crate) fn loads(&self) -> Vec<usize> {
        self.workers.iter().map(WorkerHandle::load).collect()
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Hands the worker number `n` something to do; gives it back when that is too far behind.
    pub(crate) fn submit(&self, n: usize, job: Job) -> Result<(), Job> {
        self.workers[n].submit(job)
    }

    /// Asks all connections to go, see [`Worker::drain`].
    pub(crate) async fn drain(&self, window: Duration, deadline: Duration) {
        let job = || -> Job { Box::new(move |worker| worker.drain(window, deadline)) };
        // One that is far behind must not keep the others from hearing of it.
        let behind = self.workers.iter().filter_map(|worker| Some((worker, worker.submit(job()).err()?)));
        let behind: Vec<_> = behind.collect();
        for (worker, job) in behind {
            worker.tell(job).await;
        }
    }

    /// Ends the workers, with whatever connections are left.
    pub(crate) fn join(self) {
        self.workers.into_iter().for_each(WorkerHandle::join);
    }
}

/// Runs what `serve` gives as a connection of `worker`, on its thread.
fn run(worker: &Rc<Worker>, counted: LoadGuard, serve: impl FnOnce(Rc<Worker>) -> Serving) {
    // Boxed, for a task copies its future's size several times over.
    let served = serve(Rc::clone(worker));
    spawn_local(async move {
        served.await;
        drop(counted);
    });
}

fn unusable(error: &io::Error) {
    tracing::warn!(%error, "an accepted socket could not be used");
}

/// Connections of a worker up to which each goes where there are fewest.
const EXACT_BELOW: usize = 256;

/// Above, a worker keeps what it has accepted while it has no more than one part in so many more to do than the least loaded:
/// handing over costs both.
const SLACK_PARTS: usize = 16;
