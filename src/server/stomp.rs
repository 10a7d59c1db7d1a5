//! STOMP on a worker, whichever way the client came.

use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::{Rc, Weak};

use crate::broker::{Link, Now, Shown};
use crate::policy::Credentials;
use crate::transport::tcp::Plain;
use crate::transport::websocket::WebSocket;
use crate::transport::websocket::handshake::STOMP_SUBPROTOCOLS;

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
    let visitor = Visitor { link: Link::Stream, shown: Shown::Credentials(Box::default()), accepted };
    connection::serve(worker, stream, Plain, visitor, &[])
}

/// STOMP over WebSocket.
#[derive(Debug)]
pub(super) struct StompEndpoint {
    pub(super) worker: Weak<Worker>,
}

impl Endpoint for StompEndpoint {
    fn subprotocols(&self) -> &[&str] {
        &STOMP_SUBPROTOCOLS
    }

    fn serve(&self, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()>>> {
        // Without the worker there is nobody to serve.
        let Some(worker) = self.worker.upgrade() else { return Box::pin(ready(())) };
        let stranger_bytes_max = worker.shard.borrow().broker().settings().limits.unconnected_bytes_max;
        let framing = WebSocket::new(stranger_bytes_max);
        let shown = Shown::Credentials(Box::new(shown_by(&upgraded.request)));
        let visitor = Visitor { link: Link::WebSocket, shown, accepted: worker.now() };
        Box::pin(connection::serve(&worker, upgraded.stream, framing, visitor, &upgraded.read_ahead))
    }
}

fn shown_by(request: &UpgradeRequest) -> Credentials {
    Credentials {
        handshake_authorization: request.authorization.clone(),
        query_token: request.query_value("token").filter(|token| !token.is_empty()),
        ..Credentials::default()
    }
}
