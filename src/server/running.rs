//! A server from its start to its end.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::broker::Broker;

use super::acceptor::{BindError, Door, Face, Listener};
use super::api::Api;
use super::build::{Built, Keeper, build};
use super::config::{Config, Tls};
use super::doorman::Doorman;
use super::embed::{HASHES_MAX, PoolHost};
use super::faces::{Extra, Faces};
use super::http::{BadTemplate, Endpoint, OriginCheck, Router, SharedEndpoint, Status, Template, router};
use super::pool::Pool;
use super::shutdown::{Closing, Signals};
use super::status::BrokerStatus;
use super::storekeeper::{PATIENCE, Storekeeper};
use super::{ServerError, stomp, system, tls};

/// A server that is not running yet.
pub struct Server {
    config: Config,
    built: Built,
    extras: Vec<Extra>,
}

/// Where a running server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Ports {
    /// WebSocket, HTTP API and page; https and wss where there is a certificate.
    pub http: SocketAddr,
    /// STOMP over TCP.
    pub stomp: SocketAddr,
    /// STOMP over TLS, where there is a certificate.
    pub stomp_tls: Option<SocketAddr>,
}

/// A server that runs until it is told to stop. Dropped, it ends at once, without a word to anybody; only what was to be
/// written to the data directory is written still.
pub struct Running {
    config: Config,
    api: Api,
    status: Arc<BrokerStatus>,
    broker: Arc<Broker>,
    pool: Arc<Pool>,
    ports: Ports,
    /// Becomes true when nothing new is accepted any more.
    closing: watch::Sender<bool>,
    listening: JoinSet<()>,
    /// The last to go: until then what the others do may be written.
    keeper: Keeper,
}

impl Server {
    /// A server with this configuration.
    ///
    /// # Errors
    /// The configuration does not hold together, the data directory cannot be opened, or the system gives no threads for it.
    pub fn new(config: Config) -> Result<Self, ServerError> {
        let built = build(&config)?;
        Ok(Self { config, built, extras: Vec::new() })
    }

    /// The broker, for programs that publish and subscribe themselves once the server runs.
    pub fn broker(&self) -> Arc<Broker> {
        Arc::clone(&self.built.broker)
    }

    /// Serves WebSockets at `path` by `endpoint`; `{name}` in the path is a parameter. Pages of other origins are
    /// refused as at `/ws`.
    ///
    /// # Errors
    /// The path is no template.
    pub fn mount(
        mut self,
        path: &str,
        endpoint: impl Endpoint + Send + Sync + 'static,
    ) -> Result<Self, BadTemplate> {
        let path = Template::parse(path)?;
        let endpoint = SharedEndpoint(Arc::new(endpoint));
        self.extras.push(Extra { path, origins: OriginCheck::Configured, endpoint });
        Ok(self)
    }

    /// Opens the ports and starts the workers.
    ///
    /// # Errors
    /// A port is taken, a certificate is not usable, or the system gives no threads.
    pub fn start(self) -> Result<Running, ServerError> {
        let Self { config, built, extras } = self;
        let Built { broker, clock, origins, callers, workers, keeper } = built;
        let callers = Arc::new(callers);
        let http_tls = certificate(&config.tls, Face::Http)?;
        let stomp_tls = certificate(&config.tls, Face::Stomp)?;
        let listeners = bind(&config, http_tls.is_some())?;
        let api = Api::start().map_err(system("start the API threads"))?;
        let status = Arc::new(BrokerStatus::new(Arc::clone(&broker), keeper.store()));
        let asked: Arc<dyn Status> = Arc::<BrokerStatus>::clone(&status);
        let faces = Faces {
            stomp: Template::parse(STOMP_PATH).map_err(|error| ServerError::Config(error.to_string()))?,
            compression: config.websocket.compression,
            extras,
            origins: Arc::new(origins),
            callers: Arc::clone(&callers),
            router: router(asked, Router::new()),
        };
        let pool = Pool::start(workers, &broker, clock, api.handle(), &faces);
        let pool = Arc::new(pool.map_err(system("start the workers"))?);
        let hashes = Arc::new(Semaphore::new(HASHES_MAX));
        let host = PoolHost { pool: Arc::downgrade(&pool), api: api.handle().clone(), hashes };
        broker.host_by(Arc::new(host));
        let (closing, closed) = watch::channel(false);
        let doorman = Doorman {
            pool: Arc::clone(&pool),
            http_tls,
            stomp_tls,
            callers,
            closing: Closing::new(closed.clone()),
        };
        let ports = ports_of(&listeners);
        let listening = listen(api.handle(), listeners, &Arc::new(doorman), &closed);
        if let Some(path) = &config.ports_file {
            write_ports(path, &ports).map_err(system("write the ports file"))?;
        }
        let data = config.data.dir.as_deref().map(|dir| tracing::field::display(dir.display()));
        tracing::info!(
            http = %ports.http, stomp = %ports.stomp, stomp_tls = ?ports.stomp_tls, workers, data, "listening"
        );
        Ok(Running { config, api, status, broker, pool, ports, closing, listening, keeper })
    }
}

impl Running {
    /// Serves STOMP over WebSocket on a stream that the program brought up itself, past its handshake: a pipe in this
    /// process, a Unix socket. CONNECT decides who it is. `false` when the least loaded worker is too far behind to take
    /// it.
    pub fn serve_websocket<S>(&self, stream: S) -> bool
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.pool.begin(move |worker| Box::pin(stomp::serve_websocket(&worker, stream)))
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The broker, for programs that publish and subscribe themselves.
    pub fn broker(&self) -> Arc<Broker> {
        Arc::clone(&self.broker)
    }

    /// Waits for SIGTERM, SIGINT or `shutdown`, then ends in order: says that it is not ready, waits the grace, stops
    /// accepting, asks the connections to go, lets them take what waits for them, writes what is still to be written. A
    /// second signal ends at once.
    ///
    /// During the grace everything works as before, new sessions included: a load balancer sends clients until it has
    /// asked for readiness again, and one that finds the door closed has lost a request that another node could serve.
    ///
    /// Blocks the calling thread and must not be called from async code; there use `spawn_blocking`.
    ///
    /// # Errors
    /// The system lets us listen to no signals.
    pub fn wait(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { config, api, status, broker, pool, closing, mut listening, keeper, .. } = self;
        let entered = api.handle().enter();
        let mut signals = Signals::listen()?;
        let asked_by = api.handle().block_on(signals.received(shutdown));
        tracing::info!(asked_by, connections = pool.load(), "shutting down");
        status.leave();
        let in_order = async {
            sleep(Duration::from_millis(config.shutdown.grace_ms)).await;
            broker.drain();
            closing.send_replace(true);
            while listening.join_next().await.is_some() {}
            let window = Duration::from_millis(config.shutdown.window_ms);
            let deadline = window + Duration::from_millis(config.shutdown.deadline_ms);
            let gone = async {
                pool.drain(window, deadline).await;
                while pool.load() > 0 {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            let _ = timeout(deadline, gone).await;
        };
        let ended = api.handle().block_on(async {
            tokio::select! {
                () = in_order => true,
                asked_by = signals.received(std::future::pending()) => {
                    tracing::warn!(asked_by, connections = pool.load(), "asked again: ending at once");
                    false
                }
            }
        });
        tracing::info!(connections_left = pool.load(), "shut down");
        drop(entered);
        if let Some(pool) = Arc::into_inner(pool).filter(|_| ended) {
            pool.join();
        }
        match keeper {
            Keeper::Nobody => {}
            Keeper::Disk(storekeeper) => {
                let deadline = Duration::from_millis(config.shutdown.deadline_ms);
                let patience = if ended { deadline.max(PATIENCE) } else { PATIENCE };
                api.handle().block_on(put_away(storekeeper, patience, &mut signals));
            }
            Keeper::Shared(courier) => drop(courier),
        }
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("ports", &self.ports).finish_non_exhaustive()
    }
}

fn certificate(tls: &Tls, face: Face) -> Result<Option<Arc<ServerConfig>>, ServerError> {
    let settings = match (&tls.cert, &tls.key) {
        (Some(certificate), Some(key)) => {
            tls::TlsSettings::Files { certificate: certificate.clone(), key: key.clone() }
        }
        _ if tls.self_signed => tls::TlsSettings::SelfSigned,
        _ => return Ok(None),
    };
    Ok(Some(tls::config(&settings, face)?))
}

fn bind(config: &Config, tls: bool) -> Result<Vec<Listener>, ServerError> {
    let mut doors = vec![
        (config.http_port, "--http-port", Door { face: Face::Http, tls }),
        (config.stomp_port, "--stomp-port", Door { face: Face::Stomp, tls: false }),
    ];
    if tls {
        doors.push((config.stomp_tls_port, "--stomp-tls-port", Door { face: Face::Stomp, tls }));
    }
    let bind = |(port, flag, door)| {
        let bound = Listener::bind(SocketAddr::new(config.listen, port), door);
        bound.map_err(|BindError { address, source, .. }| ServerError::Bind { address, flag, source })
    };
    doors.into_iter().map(bind).collect()
}

fn ports_of(listeners: &[Listener]) -> Ports {
    let of = |face, tls: Option<bool>| {
        let fits = |door: Door| door.face == face && tls.is_none_or(|tls| door.tls == tls);
        listeners.iter().find(|listener| fits(listener.door())).map(Listener::local_addr)
    };
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    Ports {
        http: of(Face::Http, None).unwrap_or(nowhere),
        stomp: of(Face::Stomp, Some(false)).unwrap_or(nowhere),
        stomp_tls: of(Face::Stomp, Some(true)),
    }
}

fn listen(
    api: &Handle,
    listeners: Vec<Listener>,
    doorman: &Arc<Doorman>,
    closed: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut listening = JoinSet::new();
    for listener in listeners {
        let (doorman, closed, address) = (Arc::clone(doorman), closed.clone(), listener.local_addr());
        let accept = async move {
            if let Err(error) = listener.accept(doorman, closed).await {
                tracing::error!(%address, %error, "the port accepts no more connections");
            }
        };
        listening.spawn_on(accept, api);
    }
    listening
}

/// Ends the store. Whoever asks again gets it sooner, but what was taken is not thrown away for it.
async fn put_away(storekeeper: Storekeeper, patience: Duration, signals: &mut Signals) {
    let mut closed = spawn_blocking(move || storekeeper.close(patience));
    tokio::select! {
        biased;
        _ = &mut closed => {}
        asked_by = signals.received(std::future::pending()) => {
            tracing::warn!(asked_by, "asked again while the disk is written");
            let _ = timeout(PATIENCE, closed).await;
        }
    }
}

fn write_ports(path: &Path, ports: &Ports) -> std::io::Result<()> {
    // Whoever waits for the file must never read half of it.
    let partial = path.with_extension("partial");
    std::fs::write(&partial, serde_json::to_vec(ports)?)?;
    std::fs::rename(partial, path)
}

/// Where STOMP over WebSocket is served.
const STOMP_PATH: &str = "/ws";
