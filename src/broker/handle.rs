//! Embedding: a program in the same process publishes and subscribes through the same door as everybody else.
//!
//! A [`Handle`] is a session like any other, over a pipe inside the process and with a principal that the program
//! vouches for. So access rules, limits, order and back-pressure hold for it without a line of their own.

mod session;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use stompede_protocol::{Frame, Limits};
use tokio::sync::{mpsc, oneshot};

use crate::model::{CloseReason, Principal, Refusal};
use crate::policy::{Credentials, Unproven};
use crate::transport::memory::{Pipe, pipe};

use super::door::Broker;
pub use session::Settlement;
use session::{Command, Done, Hears, Session};

/// What a broker needs of its server to let programs in.
pub trait Host: Send + Sync + fmt::Debug {
    /// Serves `stream` as a session of `principal`.
    fn attach(&self, principal: Principal, stream: Pipe) -> Result<(), Refusal>;

    /// Runs `work`, which takes tens of milliseconds of processor time, where it delays no session. Dropped before
    /// its turn, the answer leaves the line.
    ///
    /// # Errors
    /// `unavailable` when too much waits already.
    fn hash(
        &self,
        work: Box<dyn FnOnce() + Send>,
    ) -> Result<Pin<Box<dyn Future<Output = ()> + Send>>, Refusal>;

    /// Waits until the keys of a source of the authenticator are as fresh as they may be.
    ///
    /// # Errors
    /// `unavailable` when too many wait already.
    fn look_up(&self, source: usize) -> Result<Pin<Box<dyn Future<Output = ()> + Send>>, Refusal>;

    /// Runs `task` until it ends.
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);
}

/// A session of a program in this process. Clones share it; it ends with the last one, or by [`Handle::close`].
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    /// Numbers of subscriptions and receipts.
    serial: Arc<AtomicU64>,
}

/// Messages of one subscription. Dropping it unsubscribes.
///
/// A subscription that is not read for [`UNREAD_MAX`] messages ends its session with `slow-consumer`.
#[derive(Debug)]
pub struct Messages {
    received: mpsc::Receiver<Received>,
    id: u64,
    commands: mpsc::Sender<Command>,
}

/// A delivered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    frame: Frame,
}

impl Received {
    /// Where it was published, or for user queues the name as subscribed.
    pub fn destination(&self) -> &str {
        self.header("destination").unwrap_or("")
    }

    /// A header of the MESSAGE.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.frame.headers.get(name)
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.frame.body
    }
}

impl Broker {
    /// Opens a session for `principal`, whom the embedding program vouches for.
    ///
    /// # Errors
    /// `unavailable` before the server runs, `shutting-down` once it ends, `too-many-connections` of the user.
    pub async fn connect(&self, principal: Principal) -> Result<Handle, Refusal> {
        let host = self.host.get().ok_or(CloseReason::Unavailable)?;
        let hears = if principal.user.is_some() { Hears::Refusals } else { Hears::Nothing };
        let (ours, theirs) = pipe(PIPE_BYTES);
        host.attach(principal, theirs)?;
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let (done, opened) = oneshot::channel();
        // What the broker itself says may be longer than what clients may.
        let body_bytes_max = self.protocol_limits.body_bytes_max.saturating_add(OWN_BYTES_MAX);
        let limits = Limits {
            body_bytes_max,
            head_bytes_max: self.protocol_limits.head_bytes_max.saturating_add(OWN_HEAD_BYTES_MAX),
            headers_max: self.protocol_limits.headers_max.saturating_add(OWN_HEADERS_MAX),
            ..self.protocol_limits.as_ref().clone()
        };
        let session = Session::new(limits, done, hears);
        host.spawn(Box::pin(session.run(ours, orders)));
        opened.await.unwrap_or_else(|_| Err(CloseReason::Unavailable.into()))?;
        Ok(Handle { commands, serial: Arc::default() })
    }

    /// Who shows these credentials, for handlers that let their clients in by [`Broker::connect`]. Unknown keys are fetched,
    /// passcodes are hashed off the calling thread; a call that is dropped is not worked off. `now_s` is seconds since the Unix epoch.
    ///
    /// # Errors
    /// `unauthorized`, `token-expired` and the like; `unavailable` when too many wait, or before the server runs.
    pub async fn authenticate(
        self: &Arc<Self>,
        credentials: Credentials,
        now_s: u64,
    ) -> Result<Principal, Refusal> {
        let principal = self.identify(credentials, now_s).await?;
        self.revocations.check(&principal)?;
        Ok(principal)
    }

    async fn identify(self: &Arc<Self>, credentials: Credentials, now_s: u64) -> Result<Principal, Refusal> {
        if !self.authenticator().is_slow(&credentials) {
            let source = match self.authenticator().attempt(&credentials, now_s) {
                Ok(principal) => return Ok(principal),
                Err(Unproven::Refused(refusal)) => return Err(refusal),
                Err(Unproven::Keys(source)) => source,
            };
            let host = self.host.get().ok_or(CloseReason::Unavailable)?;
            host.look_up(source.number())?.await;
            return self.authenticator().authenticate(&credentials, now_s);
        }
        let host = self.host.get().ok_or(CloseReason::Unavailable)?;
        let (done, answer) = oneshot::channel();
        let broker = Arc::clone(self);
        let work = move || {
            let _ = done.send(broker.authenticator().authenticate(&credentials, now_s));
        };
        host.hash(Box::new(work))?.await;
        answer.await.unwrap_or_else(|_| Err(CloseReason::Internal.into()))
    }

    /// Connects the broker to the server that runs it. Later calls change nothing.
    pub fn host_by(&self, host: Arc<dyn Host>) {
        let _ = self.host.set(host);
    }
}

impl Handle {
    /// Publishes, as SEND does; returns when the broker has accepted it.
    ///
    /// # Errors
    /// What a client would get as ERROR.
    pub async fn publish(
        &self,
        destination: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<(), Refusal> {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let (id, destination, body) = (self.next_id(), destination.into(), body.into());
        self.ask(|done| Command::Publish { id, destination, headers, body, done }).await
    }

    /// Subscribes; returns when every later publish will arrive.
    ///
    /// # Errors
    /// What a client would get as ERROR.
    pub async fn subscribe(&self, destination: &str) -> Result<Messages, Refusal> {
        let (sink, received) = mpsc::channel(UNREAD_MAX);
        let (id, destination) = (self.next_id(), destination.into());
        // Made before the answer: whoever stops waiting for it unsubscribes by dropping it.
        let messages = Messages { received, id, commands: self.commands.clone() };
        self.ask(|done| Command::Subscribe { id, destination, sink, done }).await?;
        Ok(messages)
    }

    /// Consumes a work queue or a destination of the application; each message is to be settled by
    /// [`Handle::settle`], and at most `prefetch` are unsettled.
    ///
    /// # Errors
    /// What a client would get as ERROR.
    pub async fn consume(&self, destination: &str, prefetch: usize) -> Result<Messages, Refusal> {
        let (sink, received) = mpsc::channel(UNREAD_MAX);
        let (id, destination) = (self.next_id(), destination.into());
        let messages = Messages { received, id, commands: self.commands.clone() };
        self.ask(|done| Command::Consume { id, destination, prefetch, sink, done }).await?;
        Ok(messages)
    }

    /// Says what becomes of a message that was consumed.
    ///
    /// # Errors
    /// The session has ended: the message goes back.
    pub async fn settle(&self, received: Received, settlement: Settlement) -> Result<(), Refusal> {
        let ended = || Refusal::new(CloseReason::Unavailable, "the session has ended");
        let command = Command::Settle { frame: received.frame, settlement };
        self.commands.send(command).await.map_err(|_| ended())
    }

    /// Ready when the session has ended, whoever ended it.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Ends the session, everything published before included.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    fn next_id(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn ask(&self, command: impl FnOnce(Done) -> Command) -> Result<(), Refusal> {
        let (done, answer) = oneshot::channel();
        let ended = || Refusal::new(CloseReason::Unavailable, "the session has ended");
        self.commands.send(command(done)).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl Messages {
    /// The next message; `None` when the session has ended.
    pub async fn next(&mut self) -> Option<Received> {
        self.received.recv().await
    }
}

impl Stream for Messages {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received>> {
        self.received.poll_recv(context)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // With no room for the order, the session notices at its next event that nobody listens.
        let _ = self.commands.try_send(Command::Unsubscribe { id: self.id });
    }
}

/// Messages of one subscription that may wait to be read.
pub const UNREAD_MAX: usize = 4_096;

/// Bytes in each direction of the pipe.
const PIPE_BYTES: usize = 64 << 10;

/// A body of the broker's own, such as that of a notice for a thousand users, may be so much longer than a client's, bytes.
const OWN_BYTES_MAX: usize = 8 << 20;

/// So much more of a head, bytes, and so many more headers, are the broker's own: where it comes from, where it stands.
const OWN_HEAD_BYTES_MAX: usize = 16 << 10;

/// See above.
const OWN_HEADERS_MAX: usize = 32;

/// Calls of all clones of a handle that may wait to be begun.
const COMMANDS_MAX: usize = 64;
