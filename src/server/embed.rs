//! Programs in the same process, see [`Handle`](crate::broker::Handle).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::broker::{Host, Link, Shown, Transport};
use crate::model::{CloseReason, Principal, Refusal};
use crate::transport::memory::Pipe;
use crate::transport::tcp::Plain;

use super::connection::{self, Visitor};
use super::keyring::Keyring;
use super::pool::Pool;

/// Lets programs in by a pipe to one of the workers.
pub(super) struct PoolHost {
    /// Weak: the broker, which the workers hold, holds this.
    pool: Weak<Pool>,
    api: Handle,
    /// Bounds the hashes that wait.
    hashes: Arc<Semaphore>,
    keyring: Arc<Keyring>,
    /// Bounds who waits for keys.
    readers: Arc<Semaphore>,
}

impl PoolHost {
    pub(super) fn new(pool: &Arc<Pool>, api: &Handle, keyring: Arc<Keyring>) -> Self {
        Self {
            pool: Arc::downgrade(pool),
            api: api.clone(),
            hashes: Arc::new(Semaphore::new(HASHES_MAX)),
            keyring,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
        }
    }
}

impl Host for PoolHost {
    fn attach(&self, principal: Principal, stream: Pipe) -> Result<(), Refusal> {
        let pool = self.pool.upgrade().ok_or(CloseReason::ShuttingDown)?;
        let placed = pool.begin(move |worker| {
            let shown = Shown::Vouched(Box::new(principal));
            let transport = Transport::Embedded;
            let visitor = Visitor { link: Link::Stream, transport, shown, accepted: worker.now() };
            Box::pin(connection::serve(&worker, stream, Plain, visitor, &[]))
        });
        if placed { Ok(()) } else { Err(CloseReason::Unavailable.into()) }
    }

    fn hash(
        &self,
        work: Box<dyn FnOnce() + Send>,
    ) -> Result<Pin<Box<dyn Future<Output = ()> + Send>>, Refusal> {
        let pool = self.pool.upgrade().ok_or(CloseReason::ShuttingDown)?;
        let waiting = Arc::clone(&self.hashes).try_acquire_owned().map_err(|_| CloseReason::Unavailable)?;
        let hashing = pool.hashing().clone();
        Ok(Box::pin(async move {
            hashing.turn().await.run(work).await;
            drop(waiting);
        }))
    }

    fn look_up(&self, source: usize) -> Result<Pin<Box<dyn Future<Output = ()> + Send>>, Refusal> {
        let waiting = Arc::clone(&self.readers).try_acquire_owned().map_err(|_| CloseReason::Unavailable)?;
        let keyring = Arc::clone(&self.keyring);
        Ok(Box::pin(async move {
            keyring.look_up(source).await;
            drop(waiting);
        }))
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.api.spawn(task);
    }
}

impl fmt::Debug for PoolHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolHost")
    }
}

/// Hashes for programs that may wait at once.
const HASHES_MAX: usize = 64;

/// Requests of programs that may wait for keys at once.
const READERS_MAX: usize = 1_024;
