//! From HTTP to WebSocket: who may, and what is answered.
//!
//! Nearly every handshake comes whole in the first bytes of its connection. Such a one is answered here, past hyper: its state of
//! a connection, which the upgrade would throw away at once, costs more than the handshake itself. Whatever is not that,
//! and whatever is refused, is left to hyper, and so answered in one place.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use axum::body::Body;
use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use tokio::io::AsyncWriteExt;

use super::mount::{Endpoint, Mount, OriginCheck, UpgradeRequest, Upgraded};
use super::router::problem;
use super::template::Params;
use super::{Front, Peer, Served};
use crate::model::Refusal;
use crate::policy::origin::OriginRefused;
use crate::policy::quota::AddressGuard;
use crate::server::shutdown::Closing;
use crate::server::socket::Socket;
use crate::transport::websocket::{deflate, handshake};

/// A handshake that came whole and is good.
pub(super) struct AtOnce {
    answer: Vec<u8>,
    endpoint: Rc<dyn Endpoint>,
    request: UpgradeRequest,
    share: Option<AddressGuard>,
}

/// Who asks, and his count; or why he gets no answer.
pub(super) type Identified = Result<(Peer, Option<AddressGuard>), (IpAddr, Refusal)>;

/// Why a request is not upgraded.
pub(super) enum Declined {
    Handshake(handshake::Refused),
    Origin(OriginRefused),
}

impl Front {
    /// The handshake that `first`, all that was read so far, is from its beginning to its end; else who asks, as far as that
    /// was looked at: it counts, so it is asked once for each request.
    pub(super) fn upgrade_at_once(&self, first: &[u8], peer: Peer) -> Result<AtOnce, Option<Identified>> {
        let Some(parts) = self.handshake_in(first) else { return Err(None) };
        let Some((mount, params)) = self.mount_at(parts.uri.path()) else { return Err(None) };
        let (peer, share) = self.identify(&parts.headers, peer).map_err(|refused| Some(Err(refused)))?;
        let agreed = self.agree(mount, params, &parts, peer).ok();
        let written = agreed.and_then(|(answer, request)| Some((handshake::written(&answer)?, request)));
        let Some((answer, request)) = written else { return Err(Some(Ok((peer, share)))) };
        self.callers.handshakes.websocket.ok.add(1);
        Ok(AtOnce { answer, endpoint: Rc::clone(&mount.endpoint), request, share })
    }

    /// A whole request for an upgrade after which nothing else is asked on the connection.
    fn handshake_in(&self, first: &[u8]) -> Option<Parts> {
        if !first.starts_with(b"GET ") || first.len() > self.settings.head_bytes_max {
            return None;
        }
        let parts = handshake::parse(first)?;
        let names = |name: HeaderName| parts.headers.contains_key(name);
        let is_plain = names(UPGRADE)
            && ![CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].into_iter().any(names)
            && !handshake::says_close(&parts.headers)
            && parts.headers.len() <= self.settings.headers_max
            && self.streams.as_ref().is_none_or(|streams| streams.find(&parts.uri).is_none());
        is_plain.then_some(parts)
    }

    /// The endpoint at a path, the first that fits.
    pub(super) fn mount_at(&self, path: &str) -> Option<(&Mount, Params)> {
        self.mounts.iter().find_map(|mount| Some((mount, mount.path.matches(path)?)))
    }

    /// Who asks. One connection of a proxy carries the requests of many, so each counts as its client's, an upgrade to the
    /// end of the connection, any other until it is answered.
    pub(super) fn identify(&self, headers: &HeaderMap, peer: Peer) -> Identified {
        let relayed = self.sockjs.first().and_then(|mount| mount.recognise(headers));
        if let Some(peer) = relayed {
            let share = self.callers.share(peer.remote).map_err(|refusal| (peer.remote, refusal))?;
            return Ok((peer, share));
        }
        let values = headers.get_all(FORWARDED_FOR).iter();
        let forwarded = values.map(|value| value.to_str().unwrap_or(NO_ADDRESS));
        Ok(match self.callers.identify(peer.remote, forwarded)? {
            None => (peer, None),
            Some((remote, share)) => (Peer { remote, ..peer }, Some(share)),
        })
    }

    /// The answer to a handshake for `mount`, and what it said.
    pub(super) fn agree(
        &self,
        mount: &Mount,
        params: Params,
        parts: &Parts,
        peer: Peer,
    ) -> Result<(Response<Body>, UpgradeRequest), Declined> {
        let upgrade =
            handshake::check(&parts.method, parts.version, &parts.headers).map_err(Declined::Handshake)?;
        let subprotocol = handshake::choose(&parts.headers, mount.endpoint.subprotocols());
        let deflate = mount.endpoint.accepts_deflate().then(|| deflate::negotiate(&parts.headers)).flatten();
        let request = UpgradeRequest::new(parts, params, subprotocol, deflate.is_some(), peer);
        if mount.origins == OriginCheck::Configured {
            // A value that is no text is no origin we know, and must not pass for a missing one.
            let named = parts.headers.contains_key(ORIGIN);
            let origin = request.origin.as_deref().or(named.then_some(""));
            self.origins.check(origin, request.host.as_deref(), peer.tls).map_err(Declined::Origin)?;
        }
        Ok((upgrade.with_deflate(deflate).answer(subprotocol), request))
    }
}

impl AtOnce {
    /// Answers the handshake; what goes on with the connection.
    ///
    /// # Errors
    /// The stream broke.
    pub(super) async fn go_on(self, mut stream: Socket, closing: Closing) -> io::Result<Served> {
        stream.write_all(&self.answer).await?;
        stream.flush().await?;
        let upgraded = Upgraded { stream, read_ahead: Bytes::new(), request: self.request, closing };
        Ok(Served { serving: self.endpoint.serve(upgraded), share: self.share })
    }
}

impl Declined {
    pub(super) fn answer(self, peer: Peer, path: &str) -> Response<Body> {
        match self {
            Self::Handshake(refused) => refused.answer(),
            Self::Origin(refused) => {
                tracing::warn!(remote = %peer.remote, %path, "refused: {refused}");
                problem(StatusCode::FORBIDDEN, &refused.to_string())
            }
        }
    }
}

/// What proxies say of who asked them.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// In place of a value that is no text.
const NO_ADDRESS: &str = "?";
