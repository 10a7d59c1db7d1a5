//! A server from its start to its end.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::broker::{Broker, Link, Shown};
use crate::transport::tcp::{self, Plain};

use super::build::{Built, build};
use super::clock::Clock;
use super::config::Config;
use super::pool::Pool;
use super::shutdown::Signals;
use super::{ServerError, connection};

/// A server that is not running yet.
#[derive(Debug)]
pub struct Server {
    config: Config,
}

/// Where a running server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Ports {
    /// WebSocket, HTTP API and page.
    pub http: SocketAddr,
    /// STOMP over TCP.
    pub stomp: SocketAddr,
    /// STOMP over TLS, where there is a certificate.
    pub stomp_tls: Option<SocketAddr>,
}

/// A server that runs until it is told to stop.
#[derive(Debug)]
pub struct Running {
    config: Config,
    api: Runtime,
    broker: Arc<Broker>,
    pool: Arc<Pool>,
    ports: Ports,
}

impl Server {
    /// A server with this configuration.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Opens the ports and starts the workers.
    ///
    /// # Errors
    /// A port is taken, the configuration does not hold together, or the system gives no threads.
    pub fn start(self) -> Result<Running, ServerError> {
        let system = |what| move |source| ServerError::System { what, source };
        let config = self.config;
        let Built { broker, origins: _, workers } = build(&config)?;
        let api = Builder::new_multi_thread().worker_threads(API_THREADS).thread_name("api").enable_all().build();
        let api = api.map_err(system("start the API threads"))?;
        let clock = Clock::start();
        let pool = Pool::start(workers, &broker, clock, api.handle()).map_err(system("start the workers"))?;
        let pool = Arc::new(pool);
        let bind = |port: u16, flag| {
            let address = SocketAddr::new(config.listen, port);
            std::net::TcpListener::bind(address).map_err(|source| ServerError::Bind { address, flag, source })
        };
        let stomp = bind(config.stomp_port, "--stomp-port")?;
        let address = stomp.local_addr().map_err(system("read the address of a port"))?;
        let shared = Arc::clone(&pool);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = stomp.accept() {
                let _ = tcp::set_options(&stream);
                let _ = stream.set_nonblocking(true);
                shared.place(stream, |worker, stream| {
                    connection::serve(worker, stream, Plain, Link::Stream, Shown::Credentials(Box::default()), &[])
                });
            }
        });
        let ports = Ports { http: address, stomp: address, stomp_tls: None };
        if let Some(path) = &config.ports_file {
            write_ports(path, &ports).map_err(system("write the ports file"))?;
        }
        Ok(Running { config, api, broker, pool, ports })
    }
}

impl Running {
    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Waits for SIGTERM, SIGINT or `shutdown`, then ends in order. A second signal ends at once.
    pub fn wait(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { config, api, broker, pool, .. } = self;
        let _entered = api.enter();
        let mut signals = Signals::listen()?;
        let asked_by = api.block_on(signals.received(shutdown));
        tracing::info!(asked_by, connections = pool.load(), "shutting down");
        broker.drain();
        let window = Duration::from_millis(config.shutdown.window_ms);
        let deadline = Duration::from_millis(config.shutdown.deadline_ms);
        pool.drain(window, deadline);
        api.block_on(async {
            let gone = async {
                while pool.load() > 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                _ = signals.received(std::future::pending()) => {}
                _ = tokio::time::timeout(deadline, gone) => {}
            }
        });
        tracing::info!("shut down");
        Ok(())
    }
}

fn write_ports(path: &Path, ports: &Ports) -> std::io::Result<()> {
    // Whoever waits for the file must never read half of it.
    let partial = path.with_extension("partial");
    std::fs::write(&partial, serde_json::to_vec(ports)?)?;
    std::fs::rename(partial, path)
}

/// The API, Redis and what blocks run beside the workers.
const API_THREADS: usize = 2;

#[expect(dead_code, reason = "x")]
fn unused(_: IpAddr) {}
