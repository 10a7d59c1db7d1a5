//! All workers, and which of them gets the next connection.

use std::future::ready;
use std::io;
use std::net::TcpStream as StdTcpStream;
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
use super::worker::{Job, Worker, WorkerHandle};

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

    /// Hands a socket to the least loaded worker, where what `serve` gives runs until the connection has ended. `false`
    /// when that worker is too far behind to take it: the socket is closed.
    pub(crate) fn place<F>(&self, stream: StdTcpStream, serve: F) -> bool
    where
        F: FnOnce(Rc<Worker>, TcpStream) -> Serving + Send + 'static,
    {
        self.begin(move |worker| match TcpStream::from_std(stream) {
            Ok(stream) => serve(worker, stream),
            Err(error) => {
                tracing::warn!(%error, "an accepted socket could not be used");
                Box::pin(ready(()))
            }
        })
    }

    /// Runs what `serve` gives on the least loaded worker as a connection of it; `false` when that one is too far behind.
    pub(crate) fn begin<F>(&self, serve: F) -> bool
    where
        F: FnOnce(Rc<Worker>) -> Serving + Send + 'static,
    {
        let Some(worker) = self.workers.iter().min_by_key(|worker| worker.load()) else { return false };
        let counted = worker.count();
        let job = move |worker: &Rc<Worker>| {
            // Boxed, for a task copies its future's size several times over.
            let served = serve(Rc::clone(worker));
            spawn_local(async move {
                served.await;
                drop(counted);
            });
        };
        worker.submit(Box::new(job)).is_ok()
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
