//! WebSocket endpoints: where they are, and what they are handed.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use axum::extract::Query;
use bytes::Bytes;
use hyper::header::{self, HeaderName};
use hyper::http::request::Parts;

use super::Peer;
use super::template::{Params, Template};
use crate::server::shutdown::Closing;
use crate::server::socket::Socket;

/// What runs on a connection once it has become a WebSocket.
///
/// It runs on the worker thread that serves the connection and may hold what cannot leave that thread; one worker
/// serves many connections, so it must not block. A closure `Fn(Upgraded) -> Future` is an endpoint without
/// subprotocols.
///
/// [`Connection`](crate::transport::websocket::Connection) makes messages of what it gets.
pub trait Endpoint {
    /// The subprotocols it speaks, the preferred one first.
    fn subprotocols(&self) -> &[&str] {
        &[]
    }

    /// Whether messages may be compressed (permessage-deflate) where the client offers it. Then
    /// [`UpgradeRequest::deflate`] says so, and what is read must go through
    /// [`Deflated`](crate::transport::websocket::Deflated).
    fn accepts_deflate(&self) -> bool {
        false
    }

    /// Serves one connection until its end; the stream is closed when it is dropped.
    fn serve(&self, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()>>>;
}

impl<F, T> Endpoint for F
where
    F: Fn(Upgraded) -> T,
    T: Future<Output = ()> + 'static,
{
    fn serve(&self, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(self(upgraded))
    }
}

/// An endpoint at a path.
#[derive(Clone)]
pub struct Mount {
    /// Where.
    pub path: Template,
    /// Who may come: browsers name the page they act for.
    pub origins: OriginCheck,
    /// What serves it.
    pub endpoint: Rc<dyn Endpoint>,
}

/// Whether the header `Origin` is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginCheck {
    /// By the configured origins, as everything that acts for a signed-in user must.
    Configured,
    /// Not at all: the endpoint is open to any page on the web.
    Skipped,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Upgraded {
    /// The stream, past the handshake.
    pub stream: Socket,
    /// What a hasty client sent behind its request; it belongs before what the stream gives.
    pub read_ahead: Bytes,
    /// The request that was upgraded.
    pub request: UpgradeRequest,
    /// When the server ends its connections.
    pub closing: Closing,
}

/// What a handshake said. `Debug` leaves out the query and the authorization, which carry tokens.
#[derive(Clone)]
pub struct UpgradeRequest {
    /// The path, percent-encoded as it came.
    pub path: Box<str>,
    /// The parameters of the path.
    pub params: Params,
    /// What followed the question mark.
    pub query: Option<Box<str>>,
    /// The header `Authorization`.
    pub authorization: Option<Box<str>>,
    /// The header `Origin`: the page that a browser acts for.
    pub origin: Option<Box<str>>,
    /// The header `Host`.
    pub host: Option<Box<str>>,
    /// The subprotocol that was agreed on.
    pub subprotocol: Option<Box<str>>,
    /// permessage-deflate was agreed on.
    pub deflate: bool,
    /// The client: the other end of the TCP connection, or whom a trusted proxy there speaks for.
    pub remote: IpAddr,
    /// Whether the connection is encrypted here.
    pub tls: bool,
}

impl UpgradeRequest {
    pub(super) fn new(
        parts: &Parts,
        params: Params,
        subprotocol: Option<&str>,
        deflate: bool,
        peer: Peer,
    ) -> Self {
        let text =
            |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(Into::into);
        Self {
            path: parts.uri.path().into(),
            params,
            query: parts.uri.query().map(Into::into),
            authorization: text(header::AUTHORIZATION),
            origin: text(header::ORIGIN),
            host: text(header::HOST),
            subprotocol: subprotocol.map(Into::into),
            deflate,
            remote: peer.remote,
            tls: peer.tls,
        }
    }
}

impl UpgradeRequest {
    /// The first value of `name` in the query, decoded; `None` when the query is not well-formed.
    pub fn query_value(&self, name: &str) -> Option<Box<str>> {
        let uri = format!("/?{}", self.query.as_deref()?).parse().ok()?;
        let Query(pairs) = Query::<Vec<(Box<str>, Box<str>)>>::try_from_uri(&uri).ok()?;
        pairs.into_iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }
}

impl fmt::Debug for UpgradeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeRequest")
            .field("path", &self.path)
            .field("origin", &self.origin)
            .field("subprotocol", &self.subprotocol)
            .field("deflate", &self.deflate)
            .field("remote", &self.remote)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// An endpoint that all workers share.
#[derive(Clone)]
pub struct SharedEndpoint(pub Arc<dyn Endpoint + Send + Sync>);

impl Endpoint for SharedEndpoint {
    fn subprotocols(&self) -> &[&str] {
        self.0.subprotocols()
    }

    fn accepts_deflate(&self) -> bool {
        self.0.accepts_deflate()
    }

    fn serve(&self, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()>>> {
        self.0.serve(upgraded)
    }
}
