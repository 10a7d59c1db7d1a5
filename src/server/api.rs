//! The runtime beside the workers: the HTTP API, the admin port, what programs in the process do.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime. Dropping it does not wait for what runs on it, so it may be dropped anywhere: a runtime itself may not
/// be dropped inside async code.
#[derive(Debug)]
pub(super) struct Api {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Api {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub(super) fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("api").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

const THREADS: usize = 2;
