//! The HTTP face of a worker: HTTP/1.1 over the bare stream.
//!
//! A WebSocket stays on the worker that serves it from its first byte: after the handshake its stream is given to an
//! [`Endpoint`], taken back from hyper where hyper had it at all. Every other request is answered on the API runtime by an
//! axum router, which never touches what workers own.

mod admin;
pub(in crate::server) mod api;
mod aside;
pub(in crate::server) mod client;
mod console;
mod mount;
mod page;
mod router;
pub mod sockjs;
mod sse;
mod takeover;
mod template;
mod upgrade;

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
use hyper::header::UPGRADE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioTimer;
use tokio::time::timeout;

use super::acceptor::{Door, Face};
use super::callers::Callers;
use super::misdirected;
use super::shutdown::Closing;
use super::socket::Socket;
use crate::model::Refusal;
use crate::policy::Origins;
use crate::policy::quota::AddressGuard;

pub(in crate::server) use admin::admin_router;
pub use admin::{AdminDoor, Scrape};
pub use axum::Router;
pub use mount::{Endpoint, Mount, OriginCheck, SharedEndpoint, UpgradeRequest, Upgraded};
pub use router::{Status, problem, router};
use router::{too_many_connections, too_many_requests};
use sockjs::{Around, Cut, Place, SockJsMount};
pub use sse::{DESTINATIONS_MAX, Opening, StreamEndpoint, StreamPath, StreamRequest, Streams};
use takeover::Watched;
pub use template::{BadTemplate, Params, Template};
use upgrade::Identified;

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
    streams: Option<Streams>,
    sockjs: Vec<SockJsMount>,
}

/// What an upgrade leaves.
pub struct Served {
    /// What goes on with the connection.
    pub serving: Serving,
    /// Counts it as its client's, where a proxy said in the request who that is.
    pub share: Option<AddressGuard>,
}

/// A stream on its way from hyper to what goes on with it.
struct Handover {
    to: Heir,
    share: Option<AddressGuard>,
}

/// What goes on with a stream.
enum Heir {
    /// A WebSocket endpoint, after the handshake was answered.
    Endpoint(Rc<dyn Endpoint>, Box<UpgradeRequest>, OnUpgrade),
    /// A stream of events, which begins in place of an answer.
    Events(sse::Begun),
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
        Self { settings, mounts, origins, callers, router, api, streams: None, sockjs: Vec::new() }
    }

    /// Serves streams of events, too.
    #[must_use]
    pub fn with_streams(self, streams: Streams) -> Self {
        Self { streams: Some(streams), ..self }
    }

    /// Serves SockJS, too.
    #[must_use]
    pub(in crate::server) fn with_sockjs(self, sockjs: Vec<SockJsMount>) -> Self {
        Self { sockjs, ..self }
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
        let peer = Peer { remote, tls: socket.is_tls() };
        let Some((mut socket, first)) = self.admit(socket, peer, &closing).await? else { return Ok(None) };
        let identified = match self.upgrade_at_once(&first, peer) {
            Ok(begun) => return Ok(Some(begun.go_on(socket, closing).await?)),
            Err(identified) => RefCell::new(identified),
        };
        socket.unread(first);
        // Boxed: it needs far more than what comes before it, which is most often all.
        let Some((handover, taken)) = Box::pin(self.converse(socket, peer, &closing, identified)).await?
        else {
            return Ok(None);
        };
        let Handover { to, share } = handover;
        let serving = match (to, taken) {
            (Heir::Endpoint(endpoint, request, upgrading), _) => {
                let upgraded = upgrading.await.map_err(io::Error::other)?;
                let Ok(parts) = upgraded.downcast::<Watched>() else {
                    return Err(io::Error::other("the upgraded stream is not the accepted one"));
                };
                // A copy of what little it is: hyper's buffer of many kilobytes would live as long as the connection.
                let (stream, read_ahead) = (parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf));
                endpoint.serve(Upgraded { stream, read_ahead, request: *request, closing })
            }
            (Heir::Events(begun), Some(stream)) => begun.serve(stream),
            // It ended before its stream could begin.
            (Heir::Events(_), None) => return Ok(None),
        };
        Ok(Some(Served { serving, share }))
    }

    /// The whole answer to a connection that is one too many, of which `first` was looked at.
    pub(super) fn turn_away(&self, first: &[u8], remote: IpAddr, refusal: &Refusal) -> Bytes {
        let peer = Peer { remote, tls: false };
        let streams = self.streams.as_ref();
        let answer = streams.and_then(|streams| streams.turn_away(first, peer, &self.origins, refusal));
        answer.unwrap_or_else(|| too_many_connections(refusal))
    }

    /// The first bytes of who speaks HTTP, beside the stream that they were read from.
    async fn admit(
        &self,
        socket: Socket,
        peer: Peer,
        announced: &Closing,
    ) -> io::Result<Option<(Socket, Bytes)>> {
        let door = Door { face: Face::Http, tls: peer.tls };
        let admitted = timeout(self.settings.head_max, misdirected::admit(socket, door, peer.remote));
        tokio::select! {
            admitted = admitted => admitted?,
            () = announced.announced() => Ok(None),
        }
    }

    async fn converse(
        &self,
        socket: Socket,
        peer: Peer,
        announced: &Closing,
        identified: RefCell<Option<Identified>>,
    ) -> io::Result<Option<(Handover, Option<Socket>)>> {
        let closing = pin!(announced.announced());
        let (handover, cut) = (RefCell::new(None), Cut::default());
        let service = service_fn(|request| {
            let identified = identified.take().unwrap_or_else(|| self.identify(request.headers(), peer));
            self.answer(request, (peer, identified), &handover, (announced, &cut))
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_max)
            .max_headers(self.settings.headers_max)
            .max_header_size(self.settings.head_bytes_max);
        let is_wanted = || matches!(&*handover.borrow(), Some(Handover { to: Heir::Events(_), .. }));
        let taken =
            takeover::serve(&http, socket, service, closing, is_wanted, |context| cut.poll(context)).await?;
        Ok(handover.take().map(|handover| (handover, taken)))
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        (peer, identified): (Peer, Identified),
        handover: &RefCell<Option<Handover>>,
        (closing, cut): (&Closing, &Cut),
    ) -> Result<Response<Body>, Infallible> {
        let streams = self.streams.as_ref();
        let stream = streams.and_then(|streams| Some((streams, streams.find(request.uri())?)));
        let (peer, share) = match identified {
            Ok(identified) => identified,
            Err((remote, refusal)) => {
                tracing::info!(%remote, reason = refusal.reason.code(), "refused: {}", refusal.message);
                let put_off = |(streams, _): &(&Streams, _)| {
                    streams.put_off(request.headers(), peer, &self.origins, &refusal)
                };
                return Ok(stream.as_ref().map_or_else(|| too_many_requests(&refusal), put_off));
            }
        };
        if let Some((streams, (path, params))) = stream {
            let (parts, _) = request.into_parts();
            return match streams.begin((path, &params), &parts, peer, &self.origins) {
                Ok(begun) => {
                    handover.replace(Some(Handover { to: Heir::Events(begun), share }));
                    // The connection is about to be taken, and this with it.
                    std::future::pending().await
                }
                Err(refused) => Ok(*refused),
            };
        }
        let path = request.uri().path();
        let mut found = self.mount_at(path);
        let below = self.sockjs.iter().find_map(|mount| Some((mount, mount.place(path)?)));
        // A WebSocket at the base itself is another endpoint's.
        let below = below.filter(|_| found.is_none() || !request.headers().contains_key(UPGRADE));
        if let Some((mount, place)) = below {
            match mount.upgrade(place, &request) {
                Some(Ok(mount)) => found = Some((mount, Params::default())),
                Some(Err(refused)) => {
                    self.callers.handshakes.websocket.failed.add(1);
                    return Ok(refused);
                }
                None => {
                    let (parts, body) = request.into_parts();
                    let place = mount.place(parts.uri.path()).unwrap_or(Place::Nowhere);
                    let (origins, callers, answer_max) =
                        (&self.origins, &self.callers, self.settings.answer_max);
                    let around = Around { peer, share, origins, callers, closing, cut, answer_max };
                    return Ok(mount.answer(place, &parts, body, around).await);
                }
            }
        }
        let Some((mount, params)) = found else {
            let answer_max = self.settings.answer_max;
            let answer = aside::answer(&self.api, self.router.clone(), request, peer, answer_max).await;
            drop(share);
            return Ok(answer);
        };
        let stream = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        Ok(match self.agree(mount, params, &parts, peer) {
            Ok((response, request)) => {
                self.callers.handshakes.websocket.ok.add(1);
                let to = Heir::Endpoint(Rc::clone(&mount.endpoint), Box::new(request), stream);
                handover.replace(Some(Handover { to, share }));
                response
            }
            Err(declined) => {
                self.callers.handshakes.websocket.failed.add(1);
                declined.answer(peer, parts.uri.path())
            }
        })
    }
}
