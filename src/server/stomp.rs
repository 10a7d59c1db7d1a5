//! STOMP on a worker, whichever way the client came.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::broker::{Link, Now, Shown};
use crate::policy::Credentials;
use crate::transport::Framing;
use crate::transport::tcp::Plain;
use crate::transport::websocket::WebSocket;
use crate::transport::websocket::handshake::STOMP_SUBPROTOCOLS;

use super::connection::{self, Visitor};
use super::http::{Endpoint, UpgradeRequest, Upgraded};
use super::socket::Socket;
use super::worker::Worker;

/// STOMP straight over a stream.
pub(super) async fn serve_stream(worker: Rc<Worker>, stream: Socket, remote: IpAddr, accepted: Now) {
    let visitor = Visitor { link: Link::Stream, shown: Shown::Credentials(Box::default()), accepted };
    serve_counted(worker, stream, Plain, visitor, &[], remote).await;
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
        let worker = self.worker.upgrade();
        Box::pin(async move {
            // Without the worker there is nobody to serve.
            let Some(worker) = worker else { return };
            let Upgraded { stream, read_ahead, request } = upgraded;
            let stranger_bytes_max = worker.shard.borrow().broker().settings().limits.unconnected_bytes_max;
            let framing = WebSocket::new(stranger_bytes_max);
            let (shown, remote) = (Shown::Credentials(Box::new(shown_by(&request))), request.remote);
            drop(request);
            let visitor = Visitor { link: Link::WebSocket, shown, accepted: worker.now() };
            serve_counted(worker, stream, framing, visitor, &read_ahead, remote).await;
        })
    }
}

/// Counts the connection as its address's while it lasts; one too many is told so.
async fn serve_counted<S, F>(
    worker: Rc<Worker>,
    stream: S,
    framing: F,
    visitor: Visitor,
    read_ahead: &[u8],
    remote: IpAddr,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Framing,
{
    let connections = worker.shard.borrow().broker().connections().clone();
    match connections.admit_address(remote) {
        Ok(_counted) => connection::serve(worker, stream, framing, visitor, read_ahead).await,
        Err(refusal) => connection::refuse(worker, stream, framing, visitor, &refusal).await,
    }
}

fn shown_by(request: &UpgradeRequest) -> Credentials {
    Credentials {
        handshake_authorization: request.authorization.clone(),
        query_token: request.query_value("token").filter(|token| !token.is_empty()),
        ..Credentials::default()
    }
}
