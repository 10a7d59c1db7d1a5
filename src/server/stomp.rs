//! STOMP on a worker, whichever way the client came.

use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::{Rc, Weak};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::broker::{Link, Now, Shown, Transport};
use crate::policy::Credentials;
use crate::transport::tcp::Plain;
use crate::transport::websocket::handshake::STOMP_SUBPROTOCOLS;
use crate::transport::websocket::{Deflated, WebSocket};

use super::connection::{self, Visitor};
use super::http::{Endpoint, UpgradeRequest, Upgraded};
use super::socket::Socket;
use super::worker::Worker;

/// STOMP straight over a stream.
pub(super) fn serve_stream(
    worker: &Rc<Worker>,
    stream: Socket,
    accepted: Now,
) -> impl Future<Output = ()> + 'static {
    let transport = if stream.is_tls() { Transport::Tls } else { Transport::Tcp };
    let visitor =
        Visitor { link: Link::Stream, transport, shown: Shown::Credentials(Box::default()), accepted };
    connection::serve(worker, stream, Plain, visitor, &[])
}

/// STOMP over WebSocket, over a stream of which no handshake is known.
pub(super) fn serve_websocket<S>(worker: &Rc<Worker>, stream: S) -> impl Future<Output = ()> + 'static
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let stranger_bytes_max = worker.shard.borrow().broker().settings().limits.unconnected_bytes_max;
    let (framing, accepted) = (WebSocket::new(stranger_bytes_max), worker.now());
    let shown = Shown::Credentials(Box::default());
    let visitor = Visitor { link: Link::WebSocket, transport: Transport::WebSocket, shown, accepted };
    connection::serve(worker, stream, framing, visitor, &[])
}

/// STOMP over WebSocket.
#[derive(Debug)]
pub(super) struct StompEndpoint {
    pub(super) worker: Weak<Worker>,
    /// Whether clients that can may compress, and are sent compressed messages.
    pub(super) compression: bool,
}

impl Endpoint for StompEndpoint {
    fn subprotocols(&self) -> &[&str] {
        &STOMP_SUBPROTOCOLS
    }

    fn accepts_deflate(&self) -> bool {
        self.compression
    }

    fn serve(&self, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()>>> {
        // Without the worker there is nobody to serve.
        let Some(worker) = self.worker.upgrade() else { return Box::pin(ready(())) };
        let bytes_max = worker.shard.borrow().broker().settings().limits.unconnected_bytes_max;
        let deflate = upgraded.request.deflate;
        let link = if deflate { Link::DeflateWebSocket } else { Link::WebSocket };
        let shown = Shown::Credentials(Box::new(shown_by(&upgraded.request)));
        let visitor = Visitor { link, transport: Transport::WebSocket, shown, accepted: worker.now() };
        let Upgraded { stream, read_ahead, .. } = upgraded;
        // A type each: who does not compress pays nothing for those who do.
        if deflate {
            Box::pin(connection::serve(&worker, stream, Deflated::new(bytes_max), visitor, &read_ahead))
        } else {
            Box::pin(connection::serve(&worker, stream, WebSocket::new(bytes_max), visitor, &read_ahead))
        }
    }
}

pub(super) fn shown_by(request: &UpgradeRequest) -> Credentials {
    Credentials {
        handshake_authorization: request.authorization.clone(),
        query_token: request.query_value("token").filter(|token| !token.is_empty()),
        ..Credentials::default()
    }
}
