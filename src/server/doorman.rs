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

use crate::broker::{Link, Shown, Transport};
use crate::model::{CloseReason, Refusal};
use crate::policy::quota::ConnectionGuard;
use crate::transport::tcp::Plain;

use super::acceptor::{Accepted, Door, Face, Placement};
use super::callers::Callers;
use super::connection::{self, Visitor};
use super::handshakes::Outcome;
use super::http::{Served, Serving};
use super::misdirected;
use super::pool::Pool;
use super::proxied::{self, HeaderError};
use super::shutdown::Closing;
use super::socket::Socket;
use super::worker::Worker;
use super::{stomp, tls};

/// What is known at every door.
#[derive(Debug)]
pub(super) struct Doorman {
    pub(super) pool: Arc<Pool>,
    pub(super) http_tls: Option<Arc<ServerConfig>>,
    pub(super) stomp_tls: Option<Arc<ServerConfig>>,
    pub(super) callers: Arc<Callers>,
    /// When the process ends.
    pub(super) closing: Closing,
}

/// Gives what one worker has accepted to this or another one.
pub(super) struct Post {
    pub(super) worker: Rc<Worker>,
    pub(super) doorman: Arc<Doorman>,
}

impl Placement for Post {
    fn place(&self, accepted: Accepted) {
        let Accepted { stream, remote, door } = accepted;
        let Doorman { pool, http_tls, stomp_tls, callers, closing } = &*self.doorman;
        let certificate = match door {
            Door { tls: false, .. } => None,
            Door { face: Face::Http, .. } => http_tls.clone(),
            Door { face: Face::Stomp, .. } => stomp_tls.clone(),
        };
        // Whatever it is going to be: a handshake and an idle HTTP connection cost as much as a session.
        let counted = callers.admit(remote.ip());
        let (callers, closing) = (Arc::clone(callers), closing.clone());
        let visit = Visit { remote: remote.ip(), door, certificate, counted, callers, closing };
        let serve = move |worker, stream| -> Serving { Box::pin(serve(worker, stream, visit)) };
        pool.place(&self.worker, stream, serve);
    }
}

/// One connection's way in.
pub(super) struct Visit {
    /// The other end: the client, or a proxy that speaks for it.
    pub(super) remote: IpAddr,
    pub(super) door: Door,
    pub(super) certificate: Option<Arc<ServerConfig>>,
    /// Counts it while it lasts; or why it is one too many.
    pub(super) counted: Result<ConnectionGuard, Refusal>,
    pub(super) callers: Arc<Callers>,
    pub(super) closing: Closing,
}

/// What is left of the way in: what goes on with the connection, and its count.
type Opened = Option<(Serving, ConnectionGuard)>;

/// What is small enough to stay until the connection ends.
pub(super) fn serve(worker: Rc<Worker>, stream: TcpStream, visit: Visit) -> impl Future<Output = ()> {
    // Boxed: a handshake needs far more than the connection afterwards.
    let opening: Pin<Box<dyn Future<Output = Opened>>> = Box::pin(begin(worker, stream, visit));
    async move {
        // In one place: what is taken apart is kept twice.
        let Some(mut opened) = opening.await else { return };
        (&mut opened.0).await;
    }
}

/// What goes on with the connection once it is clear who comes, and that he speaks what belongs here.
async fn begin(worker: Rc<Worker>, mut stream: TcpStream, visit: Visit) -> Opened {
    let Visit { mut remote, door, certificate, counted, callers, closing } = visit;
    let accepted = worker.now();
    let mut counted = match counted {
        Ok(counted) => counted,
        Err(refusal) => return turn_away(worker, stream, remote, door, refusal).await,
    };
    if callers.sends_header(remote, door.face) {
        let client = tokio::select! {
            client = expect_header(&worker, &mut stream, remote, &callers) => client?,
            () = closing.announced() => return None,
        };
        remote = client.unwrap_or(remote);
        match callers.share(remote) {
            Ok(share) => share.into_iter().for_each(|share| counted.count(share)),
            Err(refusal) => return turn_away(worker, stream, remote, door, refusal).await,
        }
    }
    let socket = tokio::select! {
        socket = open(stream, certificate, remote, door, &callers.handshakes.tls) => socket?,
        () = closing.announced() => return None,
    };
    let serving: Serving = match door.face {
        Face::Stomp => Box::pin(stomp::serve_stream(&worker, socket, accepted)),
        Face::Http => {
            let served = worker.front().serve(socket, remote, closing).await;
            let Served { serving, share } = served.unwrap_or_else(|error| {
                tracing::debug!(%remote, %error, "the HTTP connection broke");
                None
            })?;
            share.into_iter().for_each(|share| counted.count(share));
            serving
        }
    };
    Some((serving, counted))
}

/// Whom the proxy `peer` speaks for, if not for itself; `None` when it does not say so as agreed.
async fn expect_header(
    worker: &Worker,
    stream: &mut TcpStream,
    peer: IpAddr,
    callers: &Callers,
) -> Option<Option<IpAddr>> {
    let patience = worker.shard.borrow().broker().settings().limits.connect_ms_max;
    let error = match proxied::read(stream, Duration::from_millis(patience)).await {
        Ok(client) => {
            callers.handshakes.proxy.ok.add(1);
            return Some(client);
        }
        Err(HeaderError::Silent) => return None,
        Err(error) => error,
    };
    callers.handshakes.proxy.failed.add(1);
    let reason = if matches!(error, HeaderError::Late { .. }) {
        CloseReason::LoginTimeout
    } else {
        CloseReason::BadFrame
    };
    worker.shard.borrow().tally().refused(reason);
    callers.complaints.log(peer, &error);
    None
}

/// The stream once it is clear that the peer speaks what belongs here.
async fn open(
    stream: TcpStream,
    certificate: Option<Arc<ServerConfig>>,
    remote: IpAddr,
    door: Door,
    handshakes: &Outcome,
) -> Option<Socket> {
    match certificate {
        Some(certificate) => match tls::accept(stream, certificate, door.face).await {
            Ok(socket) => {
                handshakes.ok.add(1);
                Some(socket)
            }
            Err(error) => {
                handshakes.failed.add(1);
                tracing::debug!(%remote, %error, "no TLS handshake");
                None
            }
        },
        None if door.face == Face::Stomp => expect_stomp(stream, remote, door).await.map(Socket::from),
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
) -> Opened {
    tracing::info!(%remote, %door, reason = refusal.reason.code(), "refused: {}", refusal.message);
    match door {
        Door { tls: true, .. } => worker.shard.borrow().tally().refused(refusal.reason),
        Door { face: Face::Stomp, .. } => {
            let accepted = worker.now();
            let (shown, transport) = (Shown::Credentials(Box::default()), Transport::Tcp);
            let visitor = Visitor { link: Link::Stream, transport, shown, accepted };
            connection::refuse(&worker, stream, Plain, visitor, &refusal).await;
        }
        Door { face: Face::Http, .. } => {
            worker.shard.borrow().tally().refused(refusal.reason);
            // The answer follows the question: clients take anything before it for a fault.
            let mut first = vec![0; FIRST_LOOK_BYTES];
            let looked = timeout(FIRST_LOOK, stream.peek(&mut first)).await;
            let count = looked.ok().and_then(Result::ok).unwrap_or_default();
            let answer = worker.front().turn_away(&first[..count], remote, &refusal);
            // Whether it hears the answer or not, the connection has ended.
            let _ = misdirected::dismiss(stream, &answer).await;
        }
    }
    None
}

/// Looks at the first bytes without taking them: whoever speaks something else is answered in its own way. Who says
/// nothing for a while is left to the session and its deadline.
async fn expect_stomp(stream: TcpStream, remote: IpAddr, door: Door) -> Option<TcpStream> {
    let mut first = [0; 16];
    let Ok(Ok(count)) = timeout(FIRST_LOOK, stream.peek(&mut first)).await else { return Some(stream) };
    let speech = misdirected::guess(&first[..count]);
    let Some((speech, answer)) = speech.and_then(|speech| Some((speech, misdirected::answer(speech, door)?)))
    else {
        return Some(stream);
    };
    misdirected::log(speech, door, remote);
    // Whether it hears the answer or not, the connection has ended.
    let _ = misdirected::dismiss(stream, &answer).await;
    None
}

/// What is looked at of a request that is one too many: enough for its first line and whose page it is.
const FIRST_LOOK_BYTES: usize = 4 << 10;

/// How long the first bytes are waited for before the session begins; less than the time a session has for CONNECT.
const FIRST_LOOK: Duration = Duration::from_secs(3);
