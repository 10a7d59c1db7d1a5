//! Who comes, behind a load balancer too, and how many there are of him.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::Refusal;
use crate::policy::quota::{AddressGuard, ConnectionGuard};
use crate::policy::{Connections, Proxies};

use super::acceptor::Face;
use super::handshakes::Handshakes;
use super::proxied::Complaints;

/// The trusted proxies and the counts of connections. A proxy itself counts as nobody: it is told whom it speaks for by a
/// header before the connection, or in each request, and that address counts. What a proxy asks for itself, as in a
/// health check, counts for no address.
#[derive(Debug, Default)]
pub struct Callers {
    proxies: Proxies,
    headers: ProxyHeaders,
    connections: Arc<Connections>,
    /// About proxies that do not send theirs.
    pub(super) complaints: Complaints,
    /// How many got through what comes before a session.
    pub(super) handshakes: Handshakes,
}

/// Where a trusted proxy begins each connection with a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyHeaders {
    /// On the HTTP port.
    pub http: bool,
    /// On the STOMP ports.
    pub stomp: bool,
}

impl Callers {
    /// Believes `proxies`, and counts in `connections`.
    pub fn new(proxies: Proxies, headers: ProxyHeaders, connections: Arc<Connections>) -> Self {
        Self {
            proxies,
            headers,
            connections,
            complaints: Complaints::default(),
            handshakes: Handshakes::default(),
        }
    }

    /// The counts of connections.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// A connection from `peer` begins: counts it, and as its address's unless that is a proxy's.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<ConnectionGuard, Refusal> {
        if self.proxies.trusts(peer) {
            self.connections.admit()
        } else {
            self.connections.admit_address(peer)
        }
    }

    /// Whether a connection from `peer` begins with a header.
    pub(super) fn sends_header(&self, peer: IpAddr, face: Face) -> bool {
        let expected = match face {
            Face::Http => self.headers.http,
            Face::Stomp => self.headers.stomp,
        };
        expected && self.proxies.trusts(peer)
    }

    /// Counts something that a proxy asks for `client`; nothing where that is a proxy itself.
    pub(super) fn share(&self, client: IpAddr) -> Result<Option<AddressGuard>, Refusal> {
        if self.proxies.trusts(client) { Ok(None) } else { self.connections.admit_share(client).map(Some) }
    }

    /// Whom a request from `peer` is for, where that is somebody else, and his count. `forwarded` are the values of its
    /// `X-Forwarded-For`.
    pub(super) fn identify<'v>(
        &self,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'v str>,
    ) -> Result<Option<(IpAddr, AddressGuard)>, (IpAddr, Refusal)> {
        if !self.proxies.trusts(peer) {
            // The connection counts as his.
            return Ok(None);
        }
        let client = self.proxies.client(peer, forwarded);
        let share = self.share(client).map_err(|refusal| (client, refusal))?;
        Ok(share.map(|share| (client, share)))
    }
}
