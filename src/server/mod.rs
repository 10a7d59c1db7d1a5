//! The process: what is built, plugged together and run.

pub mod cli;
pub mod config;
pub mod telemetry;

pub use config::Config;

use std::future::Future;

/// Why the server ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A port could not be opened.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address and port.
        address: std::net::SocketAddr,
        /// The flag that changes the port.
        flag: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs a broker until `shutdown` is ready.
pub fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
    let _ = (config, shutdown);
    Ok(())
}
