//! The server's side of one connection as a state machine.
//!
//! ```text
//!         CONNECT           accept()
//!  Fresh ----------> Waiting ------> Open
//!    |                  |             |
//!    | violation        |             | DISCONNECT or violation
//!    v                  |             v
//!  Ending <-------------|--------- Ending
//!    |                  |             |
//!    +---- close() -----+-------------+---- close(), end() ----> Closed
//! ```
//!
//! Bytes and the time go in by [`Session::receive`] and come out as [`Event`]s; the broker answers by
//! [`Session::accept`], [`Session::complete`] and [`Session::close`], and takes what is to be written from
//! [`Session::poll_transmit`]. MESSAGEs are the broker's own: it encodes each once for all its receivers.

mod answer;
mod connect;
mod event;
mod frames;
mod subscriptions;

use std::hint::cold_path;
use std::sync::Arc;

use bytes::Bytes;

use crate::heartbeat::Pulse;
use crate::transaction::Transactions;
use crate::{
    AckId, AckMode, Command, Decoder, Frame, HeartBeat, Item, Ledger, Limits, Millis, SubscriptionKey,
    Version, Violation,
};

pub(crate) use answer::Transmit;
pub use event::{
    Accepted, Commit, Connect, ErrorFrame, Event, Receipt, Send, Settle, Step, Subscribe, Subscription,
    Timeout, Unsubscribe,
};
use subscriptions::Subscriptions;

/// The server's side of one connection.
#[derive(Debug)]
pub struct Session {
    limits: Arc<Limits>,
    offer: HeartBeat,
    version: Version,
    phase: Phase,
    decoder: Decoder,
    subscriptions: Subscriptions,
    transactions: Transactions,
    transmit: Transmit,
}

/// Where the session stands; see the module's picture.
#[derive(Debug)]
enum Phase {
    /// Waits for CONNECT until `deadline`, of which the broker is `told` once.
    Fresh {
        deadline: Millis,
        bytes: usize,
        told: bool,
    },
    /// Waits for the broker's answer to CONNECT; the client offered this.
    Waiting(HeartBeat),
    Open(Pulse),
    /// Reads no further and may still answer; beats if it was open. With `versions` the ERROR must list ours.
    Ending {
        pulse: Option<Pulse>,
        versions: bool,
    },
    Closed,
}

impl Session {
    /// A connection that was just made. `heart_beat` is what the server offers; figures under
    /// [`HeartBeat::FLOOR_MS`] are raised to it.
    #[must_use]
    pub fn new(limits: Arc<Limits>, heart_beat: HeartBeat, now: Millis) -> Self {
        let deadline = now.after(limits.connect_ms_max);
        Self {
            limits,
            offer: heart_beat.floored(),
            version: Version::V1_0,
            phase: Phase::Fresh { deadline, bytes: 0, told: false },
            decoder: Decoder::new(),
            subscriptions: Subscriptions::default(),
            transactions: Transactions::default(),
            transmit: Transmit::default(),
        }
    }

    /// The next event out of `input`, from whose front it consumes what it used. `None`: the input is used up; or the
    /// session waits for the answer to CONNECT, and consumed nothing; or it reads no further, and discarded it.
    #[inline(always)]
    pub fn receive(&mut self, now: Millis, input: &mut &[u8]) -> Option<Event> {
        if input.is_empty() {
            return None;
        }
        self.touch(now);
        loop {
            let decoded = match &mut self.phase {
                Phase::Open(_) => self.decoder.decode(&self.limits, input),
                Phase::Fresh { bytes, .. } => {
                    cold_path();
                    connect::decode_fresh(&mut self.decoder, &self.limits, bytes, input)
                }
                Phase::Waiting(_) => return None,
                Phase::Ending { .. } | Phase::Closed => {
                    cold_path();
                    *input = &[];
                    return None;
                }
            };
            let frame = match decoded? {
                Ok(Item::HeartBeat) => continue,
                Ok(Item::Frame(frame)) => frame,
                Err(violation) => return Some(self.fail_to_decode(violation)),
            };
            let mut receipt = receipt_of(&frame);
            let handled = match self.phase {
                Phase::Open(_) => self.handle_frame(frame, &mut receipt),
                _ => self.handle_connect(frame).map(Some),
            };
            match handled {
                Ok(None) => {}
                Ok(event) => return event,
                Err(violation) => return Some(self.fail(violation, receipt)),
            }
        }
    }

    /// Answers CONNECT with CONNECTED; the session is open. Does nothing unless it waits for that.
    pub fn accept(&mut self, now: Millis, accepted: Accepted<'_>) {
        let Phase::Waiting(client) = self.phase else { return };
        self.phase = Phase::Open(Pulse::new(self.offer.negotiate(client), now));
        self.transmit.frame(&answer::connected(&accepted, self.version, self.offer), self.version);
    }

    /// Sends the RECEIPT that is owed; after [`Self::close`] and [`Self::end`] there is no more to send.
    pub fn complete(&mut self, receipt: Receipt) {
        self.complete_with(receipt, &[]);
    }

    /// As [`Self::complete`]; RECEIPT says more. The names need no escape.
    #[expect(clippy::needless_pass_by_value, reason = "a receipt is completed once")]
    pub fn complete_with(&mut self, receipt: Receipt, headers: &[(&'static str, &str)]) {
        if !self.is_closed() {
            self.transmit.receipt(receipt.id(), headers, self.version);
        }
    }

    /// Ends the session with an ERROR: "the server MUST close the connection just after sending the ERROR frame".
    pub fn close(&mut self, error: &ErrorFrame<'_>) {
        // Before CONNECTED the client reads no escapes, and may not know any.
        let (version, versions) = match self.phase {
            Phase::Closed => return,
            Phase::Open(_) | Phase::Ending { pulse: Some(_), .. } => (self.version, false),
            Phase::Ending { pulse: None, versions } => (Version::V1_0, versions),
            Phase::Fresh { .. } | Phase::Waiting(_) => (Version::V1_0, false),
        };
        self.transmit.frame(&answer::error(error, versions), version);
        self.end();
    }

    /// Ends the session without a word, as after DISCONNECT. What is queued can still be taken; open transactions are
    /// aborted; the subscriptions remain to be read.
    pub fn end(&mut self) {
        self.phase = Phase::Closed;
        self.transactions = Transactions::default();
        self.decoder = Decoder::new();
    }

    /// The next frame or end of line that the session itself has to say.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmit.poll()
    }

    /// When [`Self::handle_timeout`] has something to do; `None`: never, as things stand.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Fresh { deadline, told: false, .. } => Some(*deadline),
            Phase::Open(pulse) => [pulse.beat_due(), pulse.silent_due()].into_iter().flatten().min(),
            Phase::Ending { pulse: Some(pulse), .. } => pulse.beat_due(),
            _ => None,
        }
    }

    /// Does what is due at `now`: queues our own heart-beat, and tells of a deadline that the client missed.
    pub fn handle_timeout(&mut self, now: Millis) -> Option<Timeout> {
        let is_due = |due: Option<Millis>| due.is_some_and(|due| due <= now);
        if let Phase::Open(pulse) | Phase::Ending { pulse: Some(pulse), .. } = &mut self.phase
            && is_due(pulse.beat_due())
        {
            pulse.sent(now);
            self.transmit.heart_beat();
        }
        match &mut self.phase {
            Phase::Fresh { deadline, told, .. } if !*told && *deadline <= now => {
                *told = true;
                Some(Timeout::Login)
            }
            Phase::Open(pulse) if is_due(pulse.silent_due()) => {
                pulse.told();
                Some(Timeout::Silent)
            }
            _ => None,
        }
    }

    /// What a missed deadline is, with its figures.
    #[must_use]
    pub fn violation_of(&self, timeout: Timeout) -> Violation {
        match (timeout, &self.phase) {
            (Timeout::Login, _) => Violation::LoginTimeout { limit_ms: self.limits.connect_ms_max },
            (Timeout::Silent, Phase::Open(pulse)) => {
                Violation::HeartBeatLost { silent_ms: pulse.silence_ms() }
            }
            (Timeout::Silent, _) => Violation::HeartBeatLost { silent_ms: 0 },
        }
    }

    /// The driver wrote something: our own heart-beat is not due before an interval from `now`.
    pub fn sent(&mut self, now: Millis) {
        if let Phase::Open(pulse) | Phase::Ending { pulse: Some(pulse), .. } = &mut self.phase {
            pulse.sent(now);
        }
    }

    /// A sign of life that is no byte of STOMP, such as a WebSocket pong.
    pub fn touch(&mut self, now: Millis) {
        if let Phase::Open(pulse) = &mut self.phase {
            pulse.received(now);
        }
    }

    /// The broker does not read this connection for now: the client's silence means nothing.
    pub fn suspend(&mut self) {
        if let Phase::Open(pulse) = &mut self.phase {
            pulse.suspend();
        }
    }

    /// The broker reads again: the client has its whole time from `now`.
    pub fn resume(&mut self, now: Millis) {
        if let Phase::Open(pulse) = &mut self.phase {
            pulse.resume(now);
        }
    }

    /// The version agreed on; 1.0 before CONNECT.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether frames of the client are obeyed: after CONNECTED, and before DISCONNECT or a violation.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether the session has ended; what is queued may still wait.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The open subscriptions, oldest first.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter()
    }

    /// The open subscription of this key.
    #[must_use]
    pub fn subscription(&self, key: SubscriptionKey) -> Option<&Subscription> {
        self.subscriptions.get(key).map(|entry| &entry.subscription)
    }

    /// Ends a subscription that the broker refused or ended; its id is free again. Gives the tags of what was not
    /// acknowledged, in order of delivery.
    pub fn cancel_subscription(&mut self, key: SubscriptionKey) -> Vec<u64> {
        self.subscriptions.remove(key).map_or_else(Vec::new, |entry| entry.tags())
    }

    /// What the subscription is given is remembered until it is acknowledged; in auto mode nothing is.
    pub fn track(&mut self, key: SubscriptionKey) {
        if let Some(entry) = self.subscriptions.get_mut(key)
            && entry.subscription.ack != AckMode::Auto
        {
            entry.ledger.get_or_insert_default();
        }
    }

    /// Numbers a delivery and remembers it with its tag. `None` for a subscription that is not tracked, and when
    /// `unacked_max` deliveries are outstanding: the delivery must wait.
    pub fn deliver(&mut self, key: SubscriptionKey, tag: u64) -> Option<AckId> {
        let ledger: &mut Ledger = self.subscriptions.get_mut(key)?.ledger.as_deref_mut()?;
        ledger.push(tag, self.limits.unacked_max).map(|number| AckId { subscription: key, number })
    }

    /// How many deliveries are outstanding; 0 for a subscription that is not tracked.
    #[must_use]
    pub fn unacked(&self, key: SubscriptionKey) -> usize {
        self.subscriptions.get(key).and_then(|entry| entry.ledger.as_ref()).map_or(0, |ledger| ledger.len())
    }

    /// Bytes of memory held for an incomplete frame and for open transactions.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.decoder.buffered_bytes() + self.transactions.bytes()
    }

    #[cold]
    fn fail_to_decode(&mut self, violation: Violation) -> Event {
        let receipt = self.decoder.take_receipt().map(Receipt::new);
        self.fail(violation, receipt)
    }

    #[cold]
    fn fail(&mut self, violation: Violation, receipt: Option<Receipt>) -> Event {
        let pulse = if let Phase::Open(pulse) = self.phase { Some(pulse) } else { None };
        let versions = matches!(violation, Violation::UnsupportedVersion { .. });
        self.phase = Phase::Ending { pulse, versions };
        self.decoder = Decoder::new();
        Event::Violation(violation, receipt)
    }
}

/// The RECEIPT that a frame asks for: "Any client frame other than CONNECT MAY specify a receipt header".
fn receipt_of(frame: &Frame) -> Option<Receipt> {
    let asks = !matches!(frame.command, Command::Connect | Command::Stomp);
    frame.headers.get("receipt").filter(|_| asks).map(|id| Receipt::new(id.into()))
}

#[cfg(test)]
mod tests;
