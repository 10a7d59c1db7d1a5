//! Which worker gets a connection, and what it does with it.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::broker::{Link, Shown};
use crate::model::Refusal;
use crate::policy::Connections;
use crate::policy::quota::AddressGuard;
use crate::transport::tcp::Plain;

use super::acceptor::{Accepted, Door, Face, Placement};
use super::connection::{self, Visitor};
use super::http::{Serving, too_many_connections};
use super::misdirected;
use super::pool::Pool;
use super::shutdown::Closing;
use super::socket::Socket;
use super::worker::Worker;
use super::{stomp, tls};

/// Hands accepted connections to workers.
#[derive(Debug)]
pub(super) struct Doorman {
    pub(super) pool: Arc<Pool>,
    pub(super) http_tls: Option<Arc<ServerConfig>>,
    pub(super) stomp_tls: Option<Arc<ServerConfig>>,
    pub(super) connections: Arc<Connections>,
    /// When the process ends.
    pub(super) closing: Closing,
}

impl Placement for Doorman {
    fn place(&self, accepted: Accepted) {
        let Accepted { stream, remote, door } = accepted;
        let certificate = match door {
            Door { tls: false, .. } => None,
            Door { face: Face::Http, .. } => self.http_tls.clone(),
            Door { face: Face::Stomp, .. } => self.stomp_tls.clone(),
        };
        // Whatever it is going to be: a handshake and an idle HTTP connection cost as much as a session.
        let counted = self.connections.admit_address(remote.ip());
        let visit = Visit { remote: remote.ip(), door, certificate, counted, closing: self.closing.clone() };
        if !self.pool.place(stream, move |worker, stream| Box::pin(serve(worker, stream, visit))) {
            tracing::warn!(remote = %remote, "closed: every worker is too far behind");
        }
    }
}

/// One connection's way in.
pub(super) struct Visit {
    pub(super) remote: IpAddr,
    pub(super) door: Door,
    pub(super) certificate: Option<Arc<ServerConfig>>,
    /// Counts it while it lasts; or why it is one too many.
    pub(super) counted: Result<AddressGuard, Refusal>,
    pub(super) closing: Closing,
}

/// What is small enough to stay until the connection ends.
pub(super) fn serve(worker: Rc<Worker>, stream: TcpStream, visit: Visit) -> impl Future<Output = ()> {
    let Visit { remote, door, certificate, counted, closing } = visit;
    // Boxed: a handshake needs far more than the connection afterwards.
    let (counted, opening): (_, Pin<Box<dyn Future<Output = Option<Serving>>>>) = match counted {
        Ok(counted) => (Some(counted), Box::pin(begin(worker, stream, certificate, remote, door, closing))),
        Err(refusal) => (None, Box::pin(turn_away(worker, stream, remote, door, refusal))),
    };
    async move {
        if let Some(serving) = opening.await {
            serving.await;
        }
        drop(counted);
    }
}

/// What goes on with the connection once it is clear that the peer speaks what belongs here.
async fn begin(
    worker: Rc<Worker>,
    stream: TcpStream,
    certificate: Option<Arc<ServerConfig>>,
    remote: IpAddr,
    door: Door,
    closing: Closing,
) -> Option<Serving> {
    let accepted = worker.now();
    let socket = tokio::select! {
        socket = open(stream, certificate, remote, door) => socket?,
        () = closing.announced() => return None,
    };
    match door.face {
        Face::Stomp => Some(Box::pin(stomp::serve_stream(&worker, socket, accepted))),
        Face::Http => worker.front().serve(socket, remote, closing).await.unwrap_or_else(|error| {
            tracing::debug!(%remote, %error, "the HTTP connection broke");
            None
        }),
    }
}

/// The stream once it is clear that the peer speaks what belongs here.
async fn open(
    stream: TcpStream,
    certificate: Option<Arc<ServerConfig>>,
    remote: IpAddr,
    door: Door,
) -> Option<Socket> {
    match certificate {
        Some(certificate) => match tls::accept(stream, certificate, door.face).await {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::debug!(%remote, %error, "no TLS handshake");
                None
            }
        },
        None if door.face == Face::Stomp => expect_stomp(stream, door).await.map(Socket::from),
        None => Some(stream.into()),
    }
}

/// Tells one too many so. Not inside TLS: the handshake would cost what the limit is to save.
async fn turn_away(
    worker: Rc<Worker>,
    stream: TcpStream,
    remote: IpAddr,
    door: Door,
    refusal: Refusal,
) -> Option<Serving> {
    tracing::info!(%remote, %door, reason = refusal.reason.code(), "refused: {}", refusal.message);
    match door {
        Door { tls: true, .. } => worker.shard.borrow().broker().counters().refused(refusal.reason),
        Door { face: Face::Stomp, .. } => {
            let accepted = worker.now();
            let visitor = Visitor { link: Link::Stream, shown: Shown::Credentials(Box::default()), accepted };
            connection::refuse(&worker, stream, Plain, visitor, &refusal).await;
        }
        Door { face: Face::Http, .. } => {
            worker.shard.borrow().broker().counters().refused(refusal.reason);
            // The answer follows the question: clients take anything before it for a fault.
            let _ = timeout(FIRST_LOOK, stream.peek(&mut [0])).await;
            // Whether it hears the answer or not, the connection has ended.
            let _ = misdirected::dismiss(stream, &too_many_connections(&refusal)).await;
        }
    }
    None
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
