//! The ports of a server: opened, listened to, written down.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;

use super::acceptor::{BindError, Door, Face, Listener};
use super::config::{Config, Tls};
use super::doorman::{Doorman, Post};
use super::worker::Worker;
use super::{ServerError, tls};

/// Where a running server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Ports {
    /// WebSocket, HTTP API and page; https and wss where there is a certificate.
    pub http: SocketAddr,
    /// STOMP over TCP.
    pub stomp: SocketAddr,
    /// STOMP over TLS, where there is a certificate.
    pub stomp_tls: Option<SocketAddr>,
    /// Metrics, health and readiness, if there is a port for them.
    pub admin: Option<SocketAddr>,
}

pub(super) fn certificate(tls: &Tls, face: Face) -> Result<Option<Arc<ServerConfig>>, ServerError> {
    let settings = match (&tls.cert, &tls.key) {
        (Some(certificate), Some(key)) => {
            tls::TlsSettings::Files { certificate: certificate.clone(), key: key.clone() }
        }
        _ if tls.self_signed => tls::TlsSettings::SelfSigned,
        _ => return Ok(None),
    };
    Ok(Some(tls::config(&settings, face)?))
}

pub(super) fn bind(config: &Config, tls: bool) -> Result<Vec<Listener>, ServerError> {
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

pub(super) fn ports_of(listeners: &[Listener]) -> Ports {
    let of = |face, tls: Option<bool>| {
        let fits = |door: Door| door.face == face && tls.is_none_or(|tls| door.tls == tls);
        listeners.iter().find(|listener| fits(listener.door())).map(Listener::local_addr)
    };
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    Ports {
        http: of(Face::Http, None).unwrap_or(nowhere),
        stomp: of(Face::Stomp, Some(false)).unwrap_or(nowhere),
        stomp_tls: of(Face::Stomp, Some(true)),
        admin: None,
    }
}

/// Has workers accept at the ports until `closed`. What is given back ends once nobody accepts any more.
///
/// # Errors
/// The system gives no more file descriptors.
pub(super) fn listen(
    listeners: Vec<Listener>,
    doorman: &Arc<Doorman>,
    closed: &watch::Receiver<bool>,
) -> io::Result<mpsc::Receiver<Infallible>> {
    let (open, listening) = mpsc::channel(1);
    for listener in listeners {
        for n in 0..doorman.pool.workers().min(ACCEPTING_MAX) {
            let (listener, placing) = (listener.share()?, Arc::clone(doorman));
            let (closed, open) = (closed.clone(), open.clone());
            let job = move |worker: &Rc<Worker>| {
                let address = listener.local_addr();
                let post = Post { worker: Rc::clone(worker), doorman: placing };
                spawn_local(async move {
                    if let Err(error) = listener.accept(post, closed).await {
                        tracing::error!(%address, %error, "a worker accepts no more connections at the port");
                    }
                    drop(open);
                });
            };
            let begun = doorman.pool.submit(n, Box::new(job));
            begun.map_err(|_job| io::Error::other("a worker does not begin"))?;
        }
    }
    Ok(listening)
}

pub(super) fn write_ports(path: &Path, ports: &Ports) -> std::io::Result<()> {
    // Whoever waits for the file must never read half of it.
    let partial = path.with_extension("partial");
    std::fs::write(&partial, serde_json::to_vec(ports)?)?;
    std::fs::rename(partial, path)
}

/// Workers that accept. Each that has nothing to do is woken for each connection, and all but one in vain; the others get
/// theirs from these.
const ACCEPTING_MAX: usize = 4;
