//! The client's end of the pipe: commands of the program become frames, what the broker says becomes answers.

use std::collections::HashMap;

use bytes::Bytes;
use stompede_protocol::{AckMode, Client, ClientEvent, Frame, Introduction, Limits, Millis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use crate::features::users::{self, ERRORS_PATH};
use crate::model::{CloseReason, Refusal};
use crate::transport::memory::Pipe;

use super::Received;

pub(super) type Done = oneshot::Sender<Result<(), Refusal>>;

/// What the program asks of its session.
#[derive(Debug)]
pub(super) enum Command {
    Publish { id: u64, destination: Box<str>, headers: Vec<(Box<str>, Box<str>)>, body: Bytes, done: Done },
    Subscribe { id: u64, destination: Box<str>, sink: mpsc::Sender<Received>, done: Done },
    Consume { id: u64, destination: Box<str>, prefetch: usize, sink: mpsc::Sender<Received>, done: Done },
    Settle { frame: Frame, settlement: Settlement },
    Unsubscribe { id: u64 },
    Close(oneshot::Sender<()>),
}

/// What becomes of a message of a work queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It is done with.
    Done,
    /// It comes again, to whoever consumes then, after so many milliseconds.
    Again(u64),
    /// It is a dead letter.
    Dead,
}

/// Whether refusals come without ending the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    /// They come to a queue of its user's.
    Refusals,
    /// It has none.
    Nothing,
}

/// The client's end of the pipe.
pub(super) struct Session {
    client: Client,
    opened: Option<Done>,
    hears: Hears,
    /// Who waits for which receipt.
    waiting: HashMap<Box<str>, Done>,
    subscriptions: HashMap<Box<str>, mpsc::Sender<Received>>,
    /// DISCONNECT is on its way.
    leaving: bool,
    closed: Option<oneshot::Sender<()>>,
}

impl Session {
    pub(super) fn new(limits: Limits, opened: Done, hears: Hears) -> Self {
        let mut client = Client::new(limits);
        client.connect(&Introduction::default());
        Self {
            client,
            opened: Some(opened),
            hears,
            waiting: HashMap::new(),
            subscriptions: HashMap::new(),
            leaving: false,
            closed: None,
        }
    }

    pub(super) async fn run(mut self, pipe: Pipe, mut commands: mpsc::Receiver<Command>) {
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
                let mut all: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (&**name, &**value)).collect();
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
            Command::Consume { id, destination, prefetch, sink, done } => {
                let (id, prefetch) = (id.to_string(), prefetch.to_string());
                let headers = [("receipt", &*id), ("prefetch-count", &prefetch)];
                self.client.subscribe(&id, &destination, AckMode::ClientIndividual, &headers);
                self.subscriptions.insert(id.clone().into(), sink);
                self.waiting.insert(id.into(), done);
            }
            Command::Settle { frame, settlement } => match settlement {
                Settlement::Done => self.client.ack(&frame, &[]),
                Settlement::Again(ms) => self.client.nack(&frame, &[("redelivery-delay", &ms.to_string())]),
                Settlement::Dead => self.client.nack(&frame, &[("requeue", "false")]),
            },
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
                    if self.hears == Hears::Refusals {
                        let queue = format!("/user/queue/{ERRORS_PATH}");
                        self.client.subscribe(ERRORS, &queue, AckMode::Auto, &[]);
                    }
                    if let Some(opened) = self.opened.take() {
                        let _ = opened.send(Ok(()));
                    }
                }
                ClientEvent::Receipt(id, _) if &*id == FAREWELL => return false,
                ClientEvent::Receipt(id, _) => self.answer(&id, Ok(())),
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
        let unheard = self.subscriptions.iter().filter(|(_, sink)| sink.is_closed());
        let unheard: Vec<Box<str>> = unheard.map(|(id, _)| id.clone()).collect();
        unheard.iter().for_each(|id| self.unsubscribe(id));
    }
}

/// Bytes read at a time.
const BUFFER_BYTES: usize = 16 << 10;

/// Subscription id of the errors queue; others are numbers.
const ERRORS: &str = "errors";

/// Receipt of DISCONNECT; others are numbers.
const FAREWELL: &str = "farewell";
