//! The thread that works for Redis.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::backend::redis::Redis;

/// Has everything done that this instance has to do with Redis. Dropped, it ends that in order: what waits is sent, for a
/// moment.
pub(super) struct Courier {
    redis: Arc<Redis>,
    /// Disconnected once the thread has ended.
    gone: Receiver<Infallible>,
}

impl Courier {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread, or no event queue.
    pub(super) fn start(
        redis: Arc<Redis>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (proof, gone) = sync_channel(0);
        thread::Builder::new().name("stompede-redis".to_owned()).spawn(move || {
            runtime.block_on(work);
            drop(proof);
        })?;
        Ok(Self { redis, gone })
    }
}

impl Courier {
    /// What it works for.
    pub(super) fn redis(&self) -> &Arc<Redis> {
        &self.redis
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.redis.close();
        if self.gone.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("not everything that was for Redis has been sent");
        }
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("redis", &self.redis).finish_non_exhaustive()
    }
}

/// What waits at the end has so long.
const PATIENCE: Duration = Duration::from_secs(3);
