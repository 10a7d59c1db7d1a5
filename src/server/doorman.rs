//! Which worker gets a connection, and what it does with it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::acceptor::{Accepted, Door, Face, Placement};
use super::misdirected;
use super::pool::Pool;
use super::socket::Socket;
use super::worker::Worker;
use super::{stomp, tls};

/// Hands accepted connections to workers.
#[derive(Debug)]
pub(super) struct Doorman {
    pub(super) pool: Arc<Pool>,
    pub(super) http_tls: Option<Arc<ServerConfig>>,
    pub(super) stomp_tls: Option<Arc<ServerConfig>>,
    /// Becomes true when the process ends.
    pub(super) closing: watch::Receiver<bool>,
}

impl Placement for Doorman {
    fn place(&self, accepted: Accepted) {
        let Accepted { stream, remote, door } = accepted;
        let certificate = match door {
            Door { tls: false, .. } => None,
            Door { face: Face::Http, .. } => self.http_tls.clone(),
            Door { face: Face::Stomp, .. } => self.stomp_tls.clone(),
        };
        let visit = Visit { remote: remote.ip(), door, certificate, closing: self.closing.clone() };
        if !self.pool.place(stream, move |worker, stream| serve(worker, stream, visit)) {
            tracing::warn!(remote = %remote, "closed: every worker is too far behind");
        }
    }
}

/// One connection's way in.
struct Visit {
    remote: IpAddr,
    door: Door,
    certificate: Option<Arc<ServerConfig>>,
    closing: watch::Receiver<bool>,
}

async fn serve(worker: Rc<Worker>, stream: TcpStream, visit: Visit) {
    let Visit { remote, door, certificate, mut closing } = visit;
    let accepted = worker.now();
    let socket = match certificate {
        // Boxed: a handshake needs far more than the connection afterwards.
        Some(certificate) => match Box::pin(tls::accept(stream, certificate, door.face)).await {
            Ok(socket) => socket,
            Err(error) => return tracing::debug!(%remote, %error, "no TLS handshake"),
        },
        None if door.face == Face::Stomp => match Box::pin(expect_stomp(stream, door)).await {
            Some(stream) => Socket::from(stream),
            None => return,
        },
        None => Socket::from(stream),
    };
    match door.face {
        Face::Stomp => stomp::serve_stream(worker, socket, remote, accepted).await,
        Face::Http => {
            let closing = async move { drop(closing.wait_for(|closing| *closing).await) };
            if let Err(error) = worker.front().serve(socket, remote, closing).await {
                tracing::debug!(%remote, %error, "the HTTP connection broke");
            }
        }
    }
}

/// Looks at the first bytes without taking them: whoever speaks something else is answered in its own way. Who says
/// nothing for a while is left to the session and its deadline.
async fn expect_stomp(stream: TcpStream, door: Door) -> Option<TcpStream> {
    let mut first = [0; 16];
    let Ok(Ok(count)) = timeout(FIRST_LOOK, stream.peek(&mut first)).await else { return Some(stream) };
    let answer = misdirected::guess(&first[..count]).and_then(|speech| misdirected::answer(speech, door));
    let Some(answer) = answer else { return Some(stream) };
    tracing::info!(%door, "refused: the peer speaks something else than this port");
    // Whether it hears the answer or not, the connection has ended.
    let _ = misdirected::dismiss(stream, &answer).await;
    None
}

/// How long the first bytes are waited for before the session begins; less than the time a session has for CONNECT.
const FIRST_LOOK: Duration = Duration::from_secs(3);
