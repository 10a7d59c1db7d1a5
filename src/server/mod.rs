//! The process: what is built, plugged together and run.

pub mod acceptor;
mod admin;
mod api;
mod build;
pub mod callers;
mod calls;
pub mod cli;
mod clock;
pub mod config;
mod connection;
mod courier;
mod doorman;
mod embed;
mod faces;
mod fetch;
mod flusher;
mod handshakes;
mod hashing;
mod hooks;
pub mod http;
mod keyring;
mod metrics;
pub mod misdirected;
mod pool;
mod ports;
mod proxied;
mod reach;
mod running;
mod shutdown;
pub mod socket;
mod sockjs;
mod sse;
mod status;
mod stomp;
mod storekeeper;
pub mod telemetry;
pub mod tls;
mod trust;
mod worker;

pub use acceptor::{Accepted, Door, Face, Listener, Placement};
pub use callers::Callers;
pub use config::Config;
pub use ports::Ports;
pub use running::{Running, Server};
pub use shutdown::Closing;
pub use socket::Socket;

use std::future::Future;

/// Why the server ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A port could not be opened.
    #[error("cannot listen on {address} ({flag}): {source}")]
    Bind {
        /// The address and port.
        address: std::net::SocketAddr,
        /// The flag that changes the port.
        flag: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration holds together less well than its check thought.
    #[error("the configuration cannot be used: {0}")]
    Config(String),
    /// The data directory cannot be opened.
    #[error("cannot open the data directory: {0}")]
    Data(#[from] crate::backend::disk::OpenError),
    /// Redis is there and cannot be used.
    #[error("cannot use Redis: {0}")]
    Redis(#[from] crate::backend::redis::StartError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// A thread, an event queue or a file could not be had.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs a broker until it is asked to end by SIGTERM, SIGINT or `shutdown`.
pub fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
    Server::new(config)?.start()?.wait(shutdown)
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> ServerError {
    move |source| ServerError::System { what, source }
}
