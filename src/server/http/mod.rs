//! The HTTP face of a worker: HTTP/1.1 over the bare stream.
//!
//! A WebSocket stays on the worker that accepted it: after the handshake its stream is taken back from hyper and given
//! to an [`Endpoint`]. Every other request is answered on the API runtime by an axum router, which never touches what
//! workers own.

mod mount;
mod page;
mod router;
mod template;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderName, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tower::ServiceExt;

use super::acceptor::{Door, Face};
use super::callers::Callers;
use super::misdirected;
use super::shutdown::Closing;
use super::socket::Socket;
use crate::model::Refusal;
use crate::policy::Origins;
use crate::policy::quota::AddressGuard;
use crate::transport::websocket::{deflate, handshake};

pub use axum::Router;
pub use mount::{Endpoint, Mount, OriginCheck, SharedEndpoint, UpgradeRequest, Upgraded};
pub(super) use router::too_many_connections;
use router::too_many_requests;
pub use router::{Status, problem, router};
pub use template::{BadTemplate, Params, Template};

/// Bounds of the HTTP face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// From the first moment to a complete request head, and from one request to the next.
    pub head_max: Duration,
    /// Request line and headers, bytes.
    pub head_bytes_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// From a complete request head to its answer.
    pub answer_max: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            head_max: Duration::from_secs(10),
            head_bytes_max: 16 << 10,
            headers_max: 100,
            answer_max: Duration::from_secs(30),
        }
    }
}

/// Where a request comes from; the router finds it among the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client: the other end of the TCP connection, or whom a trusted proxy there speaks for.
    pub remote: IpAddr,
    /// Whether the connection is encrypted here.
    pub tls: bool,
}

/// The HTTP face of one worker.
pub struct Front {
    settings: HttpSettings,
    mounts: Vec<Mount>,
    origins: Arc<Origins>,
    callers: Arc<Callers>,
    router: Router,
    api: tokio::runtime::Handle,
}

/// What an upgrade leaves.
pub struct Served {
    /// What goes on with the connection.
    pub serving: Serving,
    /// Counts it as its client's, where a proxy said in the request who that is.
    pub share: Option<AddressGuard>,
}

/// A stream on its way from hyper to an endpoint.
struct Handover {
    endpoint: Rc<dyn Endpoint>,
    request: UpgradeRequest,
    stream: OnUpgrade,
    share: Option<AddressGuard>,
}

/// What goes on with a connection, in little memory.
pub type Serving = Pin<Box<dyn Future<Output = ()>>>;

impl Front {
    /// WebSocket endpoints at `mounts`, the first that fits counts; everything else goes to `router` on `api`.
    pub fn new(
        settings: HttpSettings,
        mounts: Vec<Mount>,
        origins: Arc<Origins>,
        callers: Arc<Callers>,
        router: Router,
        api: tokio::runtime::Handle,
    ) -> Self {
        Self { settings, mounts, origins, callers, router, api }
    }

    /// Answers requests to the end of the connection, or to the upgrade: then it gives what goes on with the stream. When
    /// `closing` is ready, the request under way is answered and the connection then closed; an endpoint gets `closing`
    /// and sees to it itself.
    ///
    /// # Errors
    /// The stream broke or the peer sent no valid HTTP. Nobody needs to act on it.
    pub async fn serve(
        &self,
        socket: Socket,
        remote: IpAddr,
        closing: Closing,
    ) -> io::Result<Option<Served>> {
        let handover = self.converse(socket, remote, closing.announced()).await?;
        let Some(Handover { endpoint, request, stream, share }) = handover else { return Ok(None) };
        let upgraded = stream.await.map_err(io::Error::other)?;
        let Ok(parts) = upgraded.downcast::<TokioIo<Socket>>() else {
            return Err(io::Error::other("the upgraded stream is not the accepted one"));
        };
        // A copy of what little it is: hyper's buffer of many kilobytes would live as long as the connection.
        let (stream, read_ahead) = (parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf));
        let upgraded = Upgraded { stream, read_ahead, request, closing };
        Ok(Some(Served { serving: endpoint.serve(upgraded), share }))
    }

    async fn converse(
        &self,
        socket: Socket,
        remote: IpAddr,
        closing: impl Future<Output = ()>,
    ) -> io::Result<Option<Handover>> {
        let peer = Peer { remote, tls: socket.is_tls() };
        let door = Door { face: Face::Http, tls: peer.tls };
        let mut closing = pin!(closing);
        let admitted = tokio::select! {
            admitted = tokio::time::timeout(self.settings.head_max, misdirected::admit(socket, door, remote)) => admitted??,
            () = &mut closing => None,
        };
        let Some(socket) = admitted else { return Ok(None) };
        let handover = RefCell::new(None);
        let service = service_fn(|request| self.answer(request, peer, &handover));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_max)
            .max_headers(self.settings.headers_max)
            .max_header_size(self.settings.head_bytes_max);
        let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service).with_upgrades());
        let result = tokio::select! {
            result = &mut connection => result,
            () = closing => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        result.map_err(io::Error::other)?;
        Ok(handover.take())
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        handover: &RefCell<Option<Handover>>,
    ) -> Result<Response<Body>, Infallible> {
        let (peer, share) = match self.identify(&request, peer) {
            Ok(identified) => identified,
            Err(refusal) => return Ok(too_many_requests(&refusal)),
        };
        let path = request.uri().path();
        let found = self.mounts.iter().find_map(|mount| Some((mount, mount.path.matches(path)?)));
        let Some((mount, params)) = found else {
            let answer = self.forward(request, peer).await;
            drop(share);
            return Ok(answer);
        };
        Ok(match self.upgrade(mount, params, request, peer) {
            Ok((response, accepted)) => {
                handover.replace(Some(Handover { share, ..accepted }));
                response
            }
            Err(refused) => *refused,
        })
    }

    /// Who asks. One connection of a proxy carries the requests of many, so each counts as its client's, an upgrade to the
    /// end of the connection, any other until it is answered.
    fn identify(
        &self,
        request: &Request<Incoming>,
        peer: Peer,
    ) -> Result<(Peer, Option<AddressGuard>), Refusal> {
        let values = request.headers().get_all(FORWARDED_FOR).iter();
        let forwarded = values.map(|value| value.to_str().unwrap_or(NO_ADDRESS));
        match self.callers.identify(peer.remote, forwarded) {
            Ok(None) => Ok((peer, None)),
            Ok(Some((remote, share))) => Ok((Peer { remote, ..peer }, Some(share))),
            Err((remote, refusal)) => {
                tracing::info!(%remote, reason = refusal.reason.code(), "refused: {}", refusal.message);
                Err(refusal)
            }
        }
    }

    fn upgrade(
        &self,
        mount: &Mount,
        params: Params,
        mut request: Request<Incoming>,
        peer: Peer,
    ) -> Result<(Response<Body>, Handover), Box<Response<Body>>> {
        let stream = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let upgrade = handshake::check(&parts.method, parts.version, &parts.headers)
            .map_err(|refused| Box::new(refused.answer()))?;
        let subprotocol = handshake::choose(&parts.headers, mount.endpoint.subprotocols());
        let deflate = mount.endpoint.accepts_deflate().then(|| deflate::negotiate(&parts.headers)).flatten();
        let request = UpgradeRequest::new(&parts, params, subprotocol, deflate.is_some(), peer);
        if mount.origins == OriginCheck::Configured {
            // A value that is no text is no origin we know, and must not pass for a missing one.
            let named = parts.headers.contains_key(ORIGIN);
            let origin = request.origin.as_deref().or(named.then_some(""));
            self.origins.check(origin, request.host.as_deref(), peer.tls).map_err(|refused| {
                tracing::warn!(remote = %peer.remote, path = %request.path, "refused: {refused}");
                Box::new(problem(StatusCode::FORBIDDEN, &refused.to_string()))
            })?;
        }
        let response = upgrade.with_deflate(deflate).answer(subprotocol);
        Ok((response, Handover { endpoint: Rc::clone(&mount.endpoint), request, stream, share: None }))
    }

    /// Answers on the API runtime; a client that leaves ends the work done for it.
    async fn forward(&self, mut request: Request<Incoming>, peer: Peer) -> Response<Body> {
        request.extensions_mut().insert(peer);
        let answer = tokio::time::timeout(self.settings.answer_max, self.router.clone().oneshot(request));
        let mut task = AbortOnDrop(self.api.spawn(answer));
        match (&mut task.0).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(_elapsed)) => problem(StatusCode::SERVICE_UNAVAILABLE, "The answer took too long."),
            Err(failed) => {
                if failed.is_panic() {
                    tracing::error!(%failed, "a request failed");
                }
                problem(StatusCode::INTERNAL_SERVER_ERROR, "The broker failed.")
            }
        }
    }
}

/// What proxies say of who asked them.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// In place of a value that is no text.
const NO_ADDRESS: &str = "?";

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
