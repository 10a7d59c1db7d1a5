//! A server from its start to its end.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::broker::Broker;

use super::acceptor::Face;
use super::admin::{Admin, Watched};
use super::api::Api;
use super::build::{Built, Keeper, build, hooks, keyring, random};
use super::config::Config;
use super::doorman::Doorman;
use super::embed::PoolHost;
use super::faces::{Extra, Faces, SockJsExtra, SockJsStomp};
use super::http::api;
use super::http::sockjs::{Conversation, Peers, SockJsSettings};
use super::http::{BadTemplate, Endpoint, OriginCheck, SharedEndpoint, Status, Template, router};
use super::metrics::Metrics;
use super::pool::Pool;
use super::ports::{Ports, bind, certificate, listen, ports_of, write_ports};
use super::shutdown::{Closing, Signals};
use super::status::BrokerStatus;
use super::storekeeper::{PATIENCE, Storekeeper};
use super::{ServerError, reach, stomp, system};

/// A server that is not running yet.
pub struct Server {
    config: Config,
    built: Built,
    extras: Vec<Extra>,
    sockjs_extras: Vec<SockJsExtra>,
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
    trial_key: Option<String>,
    /// Becomes true when nothing new is accepted any more.
    closing: watch::Sender<bool>,
    /// Ends when nobody accepts any more.
    listening: mpsc::Receiver<Infallible>,
    /// Dropped at the very end: operators see it go.
    _admin: Watched,
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
        Ok(Self { config, built, extras: Vec::new(), sockjs_extras: Vec::new() })
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

    /// Serves SockJS below `base`: `handler` is called for each session, on the worker that it came to, and must not block.
    /// Pages of other origins are refused as at `/ws`.
    ///
    /// # Errors
    /// The base is no path.
    pub fn mount_sockjs<T>(
        mut self,
        base: &str,
        settings: SockJsSettings,
        handler: impl Fn(Conversation) -> T + Send + Sync + 'static,
    ) -> Result<Self, BadTemplate>
    where
        T: Future<Output = ()> + 'static,
    {
        Template::parse(base)?;
        self.sockjs_extras.push(SockJsExtra {
            base: base.into(),
            settings: Arc::new(settings),
            handler: Arc::new(move |conversation| Box::pin(handler(conversation))),
            table: Arc::default(),
        });
        Ok(self)
    }

    /// Opens the ports and starts the workers.
    ///
    /// # Errors
    /// A port is taken, a certificate is not usable, or the system gives no threads.
    pub fn start(self) -> Result<Running, ServerError> {
        let Self { config, built, extras, sockjs_extras } = self;
        let Built { broker, clock, origins, api_keys, trial_key, callers, workers, keeper, claims } = built;
        let callers = Arc::new(callers);
        let http_tls = certificate(&config.tls, Face::Http)?;
        let stomp_tls = certificate(&config.tls, Face::Stomp)?;
        let listeners = bind(&config, http_tls.is_some())?;
        let admin = Admin::bind(&config)?;
        let api = Api::start().map_err(system("start the API threads"))?;
        let status = Arc::new(BrokerStatus::new(Arc::clone(&broker), keeper.store()));
        let asked: Arc<dyn Status> = Arc::<BrokerStatus>::clone(&status);
        let requests = api::Api::new(Arc::clone(&broker), clock, api_keys, config.api.clone());
        let ports = ports_of(&listeners);
        let address = reach::told(&config, ports.http);
        let faces = Faces {
            peers: Peers::new(claims, address.as_deref(), random(), api.handle()),
            stomp: Template::parse(STOMP_PATH).map_err(|error| ServerError::Config(error.to_string()))?,
            compression: config.websocket.compression,
            extras,
            origins: Arc::new(origins),
            callers: Arc::clone(&callers),
            router: router(asked, requests.router()),
            sockjs: config.sockjs.enabled.then(|| SockJsStomp {
                base: STOMP_PATH,
                settings: Arc::new(config.sockjs.settings(config.limits.unconnected_bytes_max)),
                table: Arc::default(),
            }),
            sockjs_extras,
            streams: config.sse.streams().map_err(|problem| ServerError::Config(problem.fault))?,
        };
        let keyring = keyring(&config, &broker, api.handle())?;
        let hooks = hooks(&config, &broker, clock, api.handle())?;
        let pool = Pool::start(workers, &broker, clock, api.handle(), &faces, &keyring);
        let pool = Arc::new(pool.map_err(system("start the workers"))?);
        broker.host_by(Arc::new(PoolHost::new(&pool, api.handle(), keyring)));
        hooks.tell(&broker);
        let (closing, closed) = watch::channel(false);
        let doorman = Doorman {
            pool: Arc::clone(&pool),
            http_tls,
            stomp_tls,
            callers: Arc::clone(&callers),
            closing: Closing::new(closed.clone()),
        };
        let ports = Ports { admin: admin.address(), ..ports };
        let listening =
            listen(listeners, &Arc::new(doorman), &closed).map_err(system("listen at the ports"))?;
        let metrics = Metrics::new(&broker, callers, Arc::clone(&status), hooks, &keeper);
        let admin = admin.open(api.handle(), Arc::clone(&status), metrics, Arc::downgrade(&requests));
        if let Some(path) = &config.ports_file {
            write_ports(path, &ports).map_err(system("write the ports file"))?;
        }
        let data = config.data.dir.as_deref().map(|dir| tracing::field::display(dir.display()));
        tracing::info!(
            http = %ports.http, stomp = %ports.stomp, stomp_tls = ?ports.stomp_tls, admin = ?ports.admin,
            workers, data, "listening"
        );
        Ok(Running {
            config,
            api,
            status,
            broker,
            pool,
            ports,
            trial_key,
            closing,
            listening,
            _admin: admin,
            keeper,
        })
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

    /// In development mode, a key of the HTTP API that is good while the server runs.
    pub fn trial_key(&self) -> Option<&str> {
        self.trial_key.as_deref()
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
            // A worker that does not come round must not keep the others from hearing of it.
            let _ = timeout(PORTS_CLOSE_MAX, listening.recv()).await;
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
        if ended {
            // Who accepts has the workers in hand.
            let _ = api.handle().block_on(async { timeout(PATIENCE, listening.recv()).await });
            match Arc::into_inner(pool) {
                Some(pool) => pool.join(),
                None => tracing::warn!("a worker does not end, and is left behind"),
            }
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

/// How long it is waited for the ports to be closed before connections are asked to go.
const PORTS_CLOSE_MAX: Duration = Duration::from_secs(1);

/// Where STOMP over WebSocket is served.
const STOMP_PATH: &str = "/ws";
