//! Embedding: a program in the same process publishes and subscribes through the same door as everybody else.
//!
//! A [`Handle`] is a session like any other, over a pipe inside the process and with a principal that the program
//! vouches for. So access rules, limits, order and back-pressure hold for it without a line of their own.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use stompede_protocol::{AckMode, Client, ClientEvent, Frame, Introduction, Limits, Millis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use crate::features::users::{self, ERRORS_PATH};
use crate::model::{CloseReason, Principal, Refusal};
use crate::transport::memory::{Pipe, pipe};

use super::door::Broker;

/// What a broker needs of its server to let programs in.
pub trait Host: Send + Sync + fmt::Debug {
    /// Serves `stream` as a session of `principal`.
    fn attach(&self, principal: Principal, stream: Pipe) -> Result<(), Refusal>;

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
        let (ours, theirs) = pipe(PIPE_BYTES);
        host.attach(principal, theirs)?;
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let (done, opened) = oneshot::channel();
        let session = Session::new(self.protocol_limits.as_ref().clone(), done);
        host.spawn(Box::pin(session.run(ours, orders)));
        opened.await.unwrap_or_else(|_| Err(CloseReason::Unavailable.into()))?;
        Ok(Handle { commands, serial: Arc::default() })
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

type Done = oneshot::Sender<Result<(), Refusal>>;

#[derive(Debug)]
enum Command {
    Publish { id: u64, destination: Box<str>, headers: Vec<(Box<str>, Box<str>)>, body: Bytes, done: Done },
    Subscribe { id: u64, destination: Box<str>, sink: mpsc::Sender<Received>, done: Done },
    Unsubscribe { id: u64 },
    Close(oneshot::Sender<()>),
}

/// The client's end of the pipe.
struct Session {
    client: Client,
    opened: Option<Done>,
    /// Who waits for which receipt.
    waiting: HashMap<Box<str>, Done>,
    subscriptions: HashMap<Box<str>, mpsc::Sender<Received>>,
    /// DISCONNECT is on its way.
    leaving: bool,
    closed: Option<oneshot::Sender<()>>,
}

impl Session {
    fn new(limits: Limits, opened: Done) -> Self {
        let mut client = Client::new(limits);
        client.connect(&Introduction::default());
        Self {
            client,
            opened: Some(opened),
            waiting: HashMap::new(),
            subscriptions: HashMap::new(),
            leaving: false,
            closed: None,
        }
    }

    async fn run(mut self, pipe: Pipe, mut commands: mpsc::Receiver<Command>) {
        let (mut reading, mut writing) = tokio::io::split(pipe);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut unwritten = Bytes::new();
        loop {
            if unwritten.is_empty() {
                unwritten = self.client.poll_transmit().unwrap_or_default();
            }
            tokio::select! {
                written = writing.write(&unwritten), if !unwritten.is_empty() => match written {
                    Ok(count) => drop(unwritten.split_to(count)),
                    Err(_) => return,
                },
                read = reading.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => {
                        if !self.receive(&buffer[..count]) {
                            return;
                        }
                    }
                    _ => return,
                },
                // While our own frames wait for the broker, nobody adds to them.
                command = commands.recv(), if unwritten.is_empty() && !self.leaving => match command {
                    Some(command) => self.obey(command),
                    None => self.leave(),
                },
            }
            self.drop_unheard();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Publish { id, destination, headers, body, done } => {
                let id = id.to_string();
                let mut all: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
                all.push(("receipt", &id));
                self.client.send(&destination, &all, body);
                self.waiting.insert(id.into(), done);
            }
            Command::Subscribe { id, destination, sink, done } => {
                let id = id.to_string();
                self.client.subscribe(&id, &destination, AckMode::Auto, &[("receipt", &id)]);
                self.subscriptions.insert(id.clone().into(), sink);
                self.waiting.insert(id.into(), done);
            }
            Command::Unsubscribe { id } => self.unsubscribe(&id.to_string()),
            Command::Close(done) => {
                self.closed = Some(done);
                self.leave();
            }
        }
    }

    fn unsubscribe(&mut self, id: &str) {
        if self.subscriptions.remove(id).is_some() {
            self.client.unsubscribe(id, &[]);
        }
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.client.disconnect(Some(FAREWELL));
    }

    /// What the broker says; `false` when the session has ended.
    fn receive(&mut self, mut input: &[u8]) -> bool {
        while let Some(event) = self.client.receive(Millis(0), &mut input) {
            match event {
                ClientEvent::Connected(_) => {
                    // Here refusals come without ending the session.
                    self.client.subscribe(ERRORS, &format!("/user/queue/{ERRORS_PATH}"), AckMode::Auto, &[]);
                    if let Some(opened) = self.opened.take() {
                        let _ = opened.send(Ok(()));
                    }
                }
                ClientEvent::Receipt(id) if &*id == FAREWELL => return false,
                ClientEvent::Receipt(id) => self.answer(&id, Ok(())),
                ClientEvent::Message(frame) => {
                    if !self.deliver(frame) {
                        return false;
                    }
                }
                ClientEvent::Error(frame) => {
                    self.fail(&frame);
                    return false;
                }
                ClientEvent::HeartBeat => {}
                ClientEvent::Violation(_) => return false,
            }
        }
        true
    }

    fn deliver(&mut self, frame: Frame) -> bool {
        let id = frame.headers.get("subscription").unwrap_or("");
        if id == ERRORS {
            if let Some((receipt, refusal)) = users::refusal_of_body(&frame.body) {
                // A refused SUBSCRIBE leaves nothing to unsubscribe.
                self.subscriptions.remove(&receipt);
                self.answer(&receipt, Err(refusal));
            }
            return true;
        }
        let Some(sink) = self.subscriptions.get(id) else { return true };
        match sink.try_send(Received { frame }) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(reason = CloseReason::SlowConsumer.code(), "an embedded session is not read");
                false
            }
        }
    }

    fn answer(&mut self, id: &str, answer: Result<(), Refusal>) {
        if let Some(done) = self.waiting.remove(id) {
            let _ = done.send(answer);
        }
    }

    fn fail(&mut self, error: &Frame) {
        let code = error.headers.get("error-code").unwrap_or("");
        let reason = CloseReason::ALL.into_iter().find(|reason| reason.code() == code);
        let message = error.headers.get("message").unwrap_or("").to_owned();
        let refusal = Refusal::new(reason.unwrap_or(CloseReason::Internal), message);
        let opened = self.opened.take();
        for done in self.waiting.drain().map(|(_, done)| done).chain(opened) {
            let _ = done.send(Err(refusal.clone()));
        }
    }

    /// Unsubscribes what nobody reads any more.
    fn drop_unheard(&mut self) {
        let unheard = |(id, sink): (&Box<str>, &mpsc::Sender<Received>)| sink.is_closed().then(|| id.clone());
        let unheard: Vec<_> = self.subscriptions.iter().filter_map(unheard).collect();
        unheard.into_iter().for_each(|id| self.unsubscribe(&id));
    }
}

/// Messages of one subscription that may wait to be read.
pub const UNREAD_MAX: usize = 4_096;

/// Bytes in each direction of the pipe.
const PIPE_BYTES: usize = 64 << 10;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 16 << 10;

/// Calls of all clones of a handle that may wait to be begun.
const COMMANDS_MAX: usize = 64;

/// Subscription id of the errors queue; others are numbers.
const ERRORS: &str = "errors";

/// Receipt of DISCONNECT; others are numbers.
const FAREWELL: &str = "farewell";
