//! The port for operators: where it is, and for how long.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::ServerError;
use super::acceptor::{Door, Face, Listener};
use super::config::{AdminPort, Config};
use super::http::api::Api;
use super::http::{AdminDoor, Scrape, Status, admin_router};
use super::metrics::Metrics;
use super::status::BrokerStatus;

/// The port, bound if there is to be one.
pub(super) struct Admin {
    listener: Option<Listener>,
    has_console: bool,
}

/// What the port asks. It answers until this is dropped; that what is asked ends in order, it holds nothing of it itself.
pub(super) struct Watched {
    _status: Arc<BrokerStatus>,
    _metrics: Arc<Metrics>,
    /// Dropped, nobody is accepted any more.
    _end: watch::Sender<bool>,
}

/// The process, while it lives.
struct Asked(Weak<BrokerStatus>);

impl Admin {
    /// Binds the port.
    ///
    /// # Errors
    /// It is taken, or the address is not ours.
    pub(super) fn bind(config: &Config) -> Result<Self, ServerError> {
        let has_console = config.admin.console;
        let AdminPort::On(port) = config.admin.port else { return Ok(Self { listener: None, has_console }) };
        let address = SocketAddr::new(config.admin.listen, port);
        match Listener::bind(address, Door { face: Face::Http, tls: false }) {
            Ok(listener) => Ok(Self { listener: Some(listener), has_console }),
            Err(error) => Err(ServerError::Bind { address, flag: ADMIN_FLAG, source: error.source }),
        }
    }

    /// Where it is.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(Listener::local_addr)
    }

    /// Answers there from now on.
    pub(super) fn open(
        self,
        api: &Handle,
        status: Arc<BrokerStatus>,
        metrics: Metrics,
        requests: Weak<Api>,
    ) -> Watched {
        let metrics = Arc::new(metrics);
        let asked = Arc::downgrade(&metrics);
        let scrape: Scrape = Arc::new(move || asked.upgrade().map(|metrics| metrics.page()));
        let router = admin_router(
            Arc::new(Asked(Arc::downgrade(&status))),
            scrape,
            self.has_console.then_some(requests),
        );
        let (end, ended) = watch::channel(false);
        if let Some(listener) = self.listener {
            let (door, address) = (AdminDoor::new(router, api.clone()), listener.local_addr());
            api.spawn(async move {
                if let Err(error) = listener.accept(door, ended).await {
                    tracing::error!(%address, %error, "the admin port accepts no more connections");
                }
            });
        }
        Watched { _status: status, _metrics: metrics, _end: end }
    }
}

impl Status for Asked {
    fn healthy(&self) -> Result<(), String> {
        self.0.upgrade().map_or_else(|| Err(GONE.into()), |status| status.healthy())
    }

    fn ready(&self) -> Result<(), String> {
        self.0.upgrade().map_or_else(|| Err(GONE.into()), |status| status.ready())
    }

    fn info(&self) -> serde_json::Value {
        self.0.upgrade().map_or(serde_json::Value::Null, |status| status.info())
    }
}

/// Sets the port.
pub(super) const ADMIN_FLAG: &str = "--admin-port";

/// The process has ended but for the last answers.
const GONE: &str = "shut down";
