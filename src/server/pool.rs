//! All workers, and which of them gets the next connection.

use std::io;
use std::net::TcpStream as StdTcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use crate::broker::Broker;
use crate::model::WorkerId;

use super::clock::Clock;
use super::faces::Faces;
use super::worker::{Worker, WorkerHandle};

/// The workers.
#[derive(Debug)]
pub(crate) struct Pool(Box<[WorkerHandle]>);

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
    ) -> io::Result<Self> {
        let hashing = Arc::new(Semaphore::new(HASHES_AT_ONCE));
        let ids = (0..count).map(|n| WorkerId(u8::try_from(n).unwrap_or(u8::MAX)));
        let start = |id| {
            WorkerHandle::start(
                id,
                Arc::clone(broker),
                clock,
                api.clone(),
                Arc::clone(&hashing),
                faces.clone(),
            )
        };
        ids.map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Connections of all workers.
    pub(crate) fn load(&self) -> usize {
        self.0.iter().map(WorkerHandle::load).sum()
    }

    /// Hands a socket to the least loaded worker, where `serve` runs until the connection has ended. `false` when that
    /// worker is too far behind to take it: the socket is closed.
    pub(crate) fn place<F, Fut>(&self, stream: StdTcpStream, serve: F) -> bool
    where
        F: FnOnce(Rc<Worker>, TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.begin(move |worker| {
            let stream = TcpStream::from_std(stream);
            async move {
                match stream {
                    Ok(stream) => serve(worker, stream).await,
                    Err(error) => tracing::warn!(%error, "an accepted socket could not be used"),
                }
            }
        })
    }

    /// Runs `serve` on the least loaded worker as a connection of it; `false` when that one is too far behind.
    pub(crate) fn begin<F, Fut>(&self, serve: F) -> bool
    where
        F: FnOnce(Rc<Worker>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.load()) else { return false };
        let counted = worker.count();
        let job = move |worker: &Rc<Worker>| {
            let served = serve(Rc::clone(worker));
            spawn_local(async move {
                served.await;
                drop(counted);
            });
        };
        worker.submit(Box::new(job)).is_ok()
    }

    /// Asks all connections to go, see [`Worker::drain`].
    pub(crate) fn drain(&self, window: Duration, deadline: Duration) {
        for worker in &self.0 {
            if worker.submit(Box::new(move |worker| worker.drain(window, deadline))).is_err() {
                tracing::error!("a worker is too far behind to be told of the shutdown");
            }
        }
    }

    /// Waits until every worker has ended.
    pub(crate) fn join(self) {
        self.0.into_iter().for_each(WorkerHandle::join);
    }
}

/// Passcodes hashed at once in the process; each takes tens of milliseconds and megabytes.
const HASHES_AT_ONCE: usize = 2;
