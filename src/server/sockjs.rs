//! STOMP over SockJS on a worker.

use std::future::{Future, ready};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::broker::{Link, Shown, Transport};
use crate::transport::sockjs::{SockJs, frame};
use crate::transport::tcp::Plain;
use crate::transport::websocket::WebSocket;
use crate::transport::websocket::frame::{Kind, message};
use crate::transport::websocket::handshake::STOMP_SUBPROTOCOLS;

use super::connection::{self, Visitor};
use super::http::sockjs::{By, Came, SockJsEndpoint};
use super::http::{Endpoint, Serving, Upgraded};
use super::socket::Socket;
use super::stomp::{StompEndpoint, shown_by};
use super::worker::Worker;

/// STOMP, whichever way the messages travel.
#[derive(Debug)]
pub(super) struct StompSessions {
    pub(super) worker: Weak<Worker>,
    /// Whether messages of a WebSocket without SockJS's framing may be compressed.
    pub(super) compression: bool,
}

impl SockJsEndpoint for StompSessions {
    fn subprotocols(&self) -> &[&str] {
        &STOMP_SUBPROTOCOLS
    }

    fn accepts_deflate(&self) -> bool {
        self.compression
    }

    fn serve(&self, came: Came) -> Serving {
        // Without the worker there is nobody to serve.
        let Some(worker) = self.worker.upgrade() else { return Box::pin(ready(())) };
        let bytes_max = worker.shard.borrow().broker().settings().limits.unconnected_bytes_max;
        let shown = Shown::Credentials(Box::new(shown_by(&came.request)));
        let visitor = |link, transport| Visitor { link, transport, shown, accepted: worker.now() };
        match came.by {
            By::Requests(pipe) => {
                let visitor = visitor(Link::SockJsRequests, Transport::SockJsRequests);
                // The worker does not end before its sessions.
                let counted = worker.count();
                let serving = connection::serve(&worker, pipe, Plain, visitor, &[]);
                Box::pin(async move {
                    serving.await;
                    drop(counted);
                })
            }
            By::Raw(stream, read_ahead) => {
                let raw = StompEndpoint { worker: Weak::clone(&self.worker), compression: self.compression };
                raw.serve(Upgraded { stream, read_ahead, request: came.request, closing: came.closing })
            }
            By::WebSocket(stream, read_ahead) => {
                let visitor = visitor(Link::SockJs, Transport::SockJsWebSocket);
                Box::pin(begin(worker, stream, read_ahead, visitor, bytes_max))
            }
        }
    }
}

/// Says that the session is open, then serves it.
fn begin(
    worker: Rc<Worker>,
    mut stream: Socket,
    read_ahead: Bytes,
    visitor: Visitor,
    bytes_max: usize,
) -> impl Future<Output = ()> + 'static {
    let patience = Duration::from_millis(worker.shard.borrow().broker().settings().limits.write_ms_max);
    async move {
        let open = message(Kind::Text, frame::OPEN.as_bytes());
        let written = timeout(patience, async {
            stream.write_all(&open).await?;
            stream.flush().await
        });
        // Without it there is nothing to serve.
        let Ok(Ok(())) = written.await else { return };
        let framing = SockJs::new(WebSocket::new(bytes_max));
        let serving = connection::serve(&worker, stream, framing, visitor, &read_ahead);
        drop((worker, read_ahead, open));
        serving.await;
    }
}
