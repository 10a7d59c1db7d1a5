//! Asking the process to end.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::ServerError;

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// The moment from which the server ends its connections: what the handlers of mounted endpoints listen to.
#[derive(Debug, Clone)]
pub struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Announced when `closing` becomes true or its sender is dropped.
    pub fn new(closing: watch::Receiver<bool>) -> Self {
        Self(closing)
    }

    /// Ready once the server ends its connections. A handler then says so (a WebSocket by close code 1012) and returns;
    /// whoever stays longer than `shutdown.deadline_ms` is cut off. May be dropped at any await.
    pub async fn announced(&self) {
        // Without a sender nobody is left who could announce it.
        let _ = self.0.clone().wait_for(|closing| *closing).await;
    }
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
