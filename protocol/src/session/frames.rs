//! What each frame of an open session does. Checks come first: a frame at fault changes nothing.

use super::{Commit, Event, Phase, Receipt, Send, Session, Settle, Step, Subscribe, Unsubscribe};
use crate::ack::Numbers;
use crate::error::{Violation, excerpt};
use crate::transaction::{Pending, Transactions};
use crate::{AckId, AckMode, Command, Frame, SubscriptionKey, Version};

/// What a frame tells the broker, if anything.
type Handled = Result<Option<Event>, Violation>;

impl Session {
    /// Handles a frame of an open session. `receipt` is what it asked for; it is taken once the frame is obeyed, and
    /// left for the ERROR otherwise.
    #[inline(always)]
    pub(super) fn handle_frame(&mut self, frame: Frame, receipt: &mut Option<Receipt>) -> Handled {
        if frame.command == Command::Send && frame.headers.get("transaction").is_none() {
            return self.handle_send(frame, receipt);
        }
        self.handle_other(frame, receipt)
    }

    // Apart from what every message runs through.
    #[inline(never)]
    fn handle_other(&mut self, frame: Frame, receipt: &mut Option<Receipt>) -> Handled {
        match frame.command {
            Command::Send => self.handle_pending_send(frame, receipt),
            Command::Ack | Command::Nack => self.handle_settle(frame, receipt),
            Command::Subscribe => self.handle_subscribe(frame, receipt),
            Command::Unsubscribe => self.handle_unsubscribe(&frame, receipt),
            Command::Begin => self.handle_begin(&frame, receipt),
            Command::Commit => self.handle_commit(&frame, receipt),
            Command::Abort => self.handle_abort(&frame, receipt),
            Command::Disconnect => Ok(Some(self.handle_disconnect(receipt))),
            Command::Connect | Command::Stomp => Err(Violation::AlreadyConnected),
            command @ (Command::Connected | Command::Message | Command::Receipt | Command::Error) => {
                Err(Violation::ServerCommand { command })
            }
        }
    }

    #[inline(always)]
    fn handle_send(&mut self, frame: Frame, receipt: &mut Option<Receipt>) -> Handled {
        let destination = destination(&frame)?.into();
        let receipt = receipt.take();
        Ok(Some(Event::Send(Send { destination, headers: frame.headers, body: frame.body, receipt })))
    }

    /// A SEND that waits for its COMMIT.
    fn handle_pending_send(&mut self, frame: Frame, receipt: &mut Option<Receipt>) -> Handled {
        let destination = destination(&frame)?.into();
        let transaction: Box<str> = frame.headers.get("transaction").unwrap_or_default().into();
        let bytes = heap_bytes(&frame);
        self.transactions.check(&transaction, bytes, &self.limits)?;
        let receipt = receipt.take();
        let send = Send { destination, headers: frame.headers, body: frame.body, receipt };
        let pending = Pending { step: Step::Send(send), numbers: Numbers::new() };
        self.transactions.add(&transaction, bytes, pending)?;
        Ok(None)
    }

    fn handle_subscribe(&mut self, frame: Frame, receipt: &mut Option<Receipt>) -> Handled {
        let destination = destination(&frame)?;
        // "An id header MUST be included in the frame to uniquely identify the subscription" - since 1.1.
        let id = match self.version {
            Version::V1_0 => frame.headers.get("id"),
            Version::V1_1 | Version::V1_2 => Some(required(&frame, "id")?),
        };
        let ack = AckMode::parse(frame.headers.get("ack"), self.version)?;
        let key = self.subscriptions.open(id, destination, ack, &self.limits)?;
        let (id, destination) = (id.map(Into::into), destination.into());
        let receipt = receipt.take();
        Ok(Some(Event::Subscribe(Subscribe { key, id, destination, ack, headers: frame.headers, receipt })))
    }

    fn handle_unsubscribe(&mut self, frame: &Frame, receipt: &mut Option<Receipt>) -> Handled {
        let (id, destination) = (frame.headers.get("id"), frame.headers.get("destination"));
        let key = self.subscriptions.named(id, destination, self.version)?;
        Ok(self.subscriptions.remove(key).map(|entry| {
            let returned = entry.tags();
            Event::Unsubscribe(Unsubscribe {
                subscription: entry.subscription,
                returned,
                receipt: receipt.take(),
            })
        }))
    }

    /// ACK and NACK: both settle, and only the broker knows the difference.
    fn handle_settle(&mut self, frame: Frame, receipt: &mut Option<Receipt>) -> Handled {
        let command = frame.command;
        if command == Command::Nack && self.version == Version::V1_0 {
            return Err(Violation::CommandNotInVersion { command, version: self.version });
        }
        let (id, numbers) = self.settled_by(&frame)?;
        let transaction: Option<Box<str>> = frame.headers.get("transaction").map(Into::into);
        let Some(transaction) = transaction else {
            let settle = self.settled(settle(id, frame, receipt), &numbers);
            let event = if command == Command::Ack { Event::Ack } else { Event::Nack };
            return Ok(Some(event(settle)));
        };
        let bytes = heap_bytes(&frame) + size_of_val(&numbers[..]);
        self.transactions.check(&transaction, bytes, &self.limits)?;
        if let Some(ledger) = self.ledger(id.subscription) {
            ledger.hold(&numbers);
        }
        let step = if command == Command::Ack { Step::Ack } else { Step::Nack };
        let pending = Pending { step: step(settle(id, frame, receipt)), numbers };
        self.transactions.add(&transaction, bytes, pending)?;
        Ok(None)
    }

    fn handle_begin(&mut self, frame: &Frame, receipt: &mut Option<Receipt>) -> Handled {
        self.transactions.begin(required(frame, "transaction")?, &self.limits)?;
        Ok(receipt.take().map(Event::Receipted))
    }

    fn handle_commit(&mut self, frame: &Frame, receipt: &mut Option<Receipt>) -> Handled {
        let pending = self.transactions.end(required(frame, "transaction")?)?;
        let commit = |Pending { step, numbers }| match step {
            Step::Send(send) => Step::Send(send),
            Step::Ack(settle) => Step::Ack(self.settled(settle, &numbers)),
            Step::Nack(settle) => Step::Nack(self.settled(settle, &numbers)),
        };
        let steps = pending.into_iter().map(commit).collect();
        Ok(Some(Event::Commit(Commit { steps, receipt: receipt.take() })))
    }

    fn handle_abort(&mut self, frame: &Frame, receipt: &mut Option<Receipt>) -> Handled {
        for pending in self.transactions.end(required(frame, "transaction")?)? {
            if let Step::Ack(settle) | Step::Nack(settle) = &pending.step
                && let Some(ledger) = self.ledger(settle.key)
            {
                ledger.unhold(&pending.numbers);
            }
        }
        Ok(receipt.take().map(Event::Receipted))
    }

    /// "a client MUST NOT send any more frames after the DISCONNECT frame is sent": nothing more is read.
    fn handle_disconnect(&mut self, receipt: &mut Option<Receipt>) -> Event {
        if let Phase::Open(pulse) = self.phase {
            self.phase = Phase::Ending { pulse: Some(pulse), versions: false };
        }
        self.transactions = Transactions::default();
        Event::Disconnect(receipt.take())
    }

    /// The delivery that an ACK or NACK names, and all deliveries that it settles.
    fn settled_by(&self, frame: &Frame) -> Result<(AckId, Numbers), Violation> {
        let (name, subscription) = match self.version {
            Version::V1_2 => (required(frame, "id")?, None),
            Version::V1_1 => (required(frame, "message-id")?, Some(required(frame, "subscription")?)),
            Version::V1_0 => (required(frame, "message-id")?, None),
        };
        let unknown = || Violation::UnknownAck { command: frame.command, id: excerpt(name.as_bytes()) };
        let id = AckId::parse(name).ok_or_else(unknown)?;
        let entry = self.subscriptions.get(id.subscription).ok_or_else(unknown)?;
        let is_named = subscription.is_none_or(|name| entry.subscription.id.as_deref() == Some(name));
        if entry.subscription.ack == AckMode::Auto || !is_named {
            return Err(unknown());
        }
        let numbers = match &entry.ledger {
            Some(ledger) => ledger.covered(id.number, entry.subscription.ack).ok_or_else(unknown)?,
            None => Numbers::new(),
        };
        Ok((id, numbers))
    }

    /// With the tags of what it settles, which is no longer outstanding.
    fn settled(&mut self, mut settle: Settle, numbers: &[u64]) -> Settle {
        if let Some(ledger) = self.ledger(settle.key) {
            settle.tags = ledger.settle(numbers);
        }
        settle
    }

    fn ledger(&mut self, key: SubscriptionKey) -> Option<&mut crate::Ledger> {
        self.subscriptions.get_mut(key)?.ledger.as_deref_mut()
    }
}

fn required<'a>(frame: &'a Frame, header: &'static str) -> Result<&'a str, Violation> {
    // An empty id names nothing.
    let value = frame.headers.get(header).filter(|value| !value.is_empty());
    value.ok_or(Violation::MissingHeader { command: frame.command, header })
}

/// An empty destination is none.
fn destination(frame: &Frame) -> Result<&str, Violation> {
    let destination = frame.headers.get("destination").filter(|destination| !destination.is_empty());
    destination.ok_or(Violation::MissingDestination { command: frame.command })
}

/// Memory of a frame besides its place in a transaction.
fn heap_bytes(frame: &Frame) -> usize {
    // `destination` and `receipt` are held a second time.
    let repeated = ["destination", "receipt"].map(|name| frame.headers.get(name).map_or(0, str::len));
    frame.headers.heap_bytes() + frame.body.len() + repeated.iter().sum::<usize>()
}

/// An ACK or NACK whose tags are still to come.
fn settle(id: AckId, frame: Frame, receipt: &mut Option<Receipt>) -> Settle {
    Settle { key: id.subscription, id, tags: Numbers::new(), headers: frame.headers, receipt: receipt.take() }
}
