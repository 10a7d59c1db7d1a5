//! Programs in the same process, see [`Handle`](crate::broker::Handle).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::broker::{Host, Link, Shown};
use crate::model::{CloseReason, Principal, Refusal};
use crate::transport::memory::Pipe;
use crate::transport::tcp::Plain;

use super::connection::{self, Visitor};
use super::pool::Pool;

/// Lets programs in by a pipe to one of the workers.
pub(super) struct PoolHost {
    /// Weak: the broker, which the workers hold, holds this.
    pub(super) pool: Weak<Pool>,
    pub(super) api: Handle,
    /// Bounds the hashes that wait.
    pub(super) hashes: Arc<Semaphore>,
}

impl Host for PoolHost {
    fn attach(&self, principal: Principal, stream: Pipe) -> Result<(), Refusal> {
        let pool = self.pool.upgrade().ok_or(CloseReason::ShuttingDown)?;
        let placed = pool.begin(move |worker| {
            let shown = Shown::Vouched(Box::new(principal));
            let visitor = Visitor { link: Link::Stream, shown, accepted: worker.now() };
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
pub(super) const HASHES_MAX: usize = 64;
