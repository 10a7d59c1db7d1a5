//! Asking the process to end.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServerError;

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, ServerError> {
        let listen =
            |kind| signal(kind).map_err(|source| ServerError::System { what: "listen for signals", source });
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for the next signal, or for `other`.
    pub(super) async fn received(&mut self, other: impl Future<Output = ()>) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = other => "the embedding program",
        }
    }
}
