//! A broker of one connection, small enough to be read at a glance: what the conversations talk to.
//!
//! Each destination is a topic for those subscribed to it; under `/queue/` deliveries are tracked.

pub(crate) mod pair;
pub(crate) mod replay;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use stompede_protocol::{
    Accepted, AckId, AckMode, ErrorFrame, Event, HeartBeat, Limits, MessageHead, MessageTail, Millis,
    Receipt, Send, Session, Settle, Step, SubscriptionKey, Version,
};

/// The server's side: a session and the broker behind it.
pub(crate) struct Server {
    pub(crate) session: Session,
    pub(crate) now: Millis,
    /// Tags that were acknowledged and refused, in order.
    pub(crate) acked: Vec<u64>,
    pub(crate) nacked: Vec<u64>,
    /// Tags that came back unacknowledged.
    pub(crate) returned: Vec<u64>,
    out: Vec<Bytes>,
    messages: u64,
    untracked: BTreeMap<SubscriptionKey, u64>,
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        let offer = HeartBeat { send_ms: 10_000, receive_ms: 10_000 };
        Self {
            session: Session::new(Arc::new(limits), offer, Millis(0)),
            now: Millis(0),
            acked: Vec::new(),
            nacked: Vec::new(),
            returned: Vec::new(),
            out: Vec::new(),
            messages: 0,
            untracked: BTreeMap::new(),
        }
    }

    /// A server to which a client of `version` is connected.
    pub(crate) fn connected(version: Version) -> Self {
        Self::connected_within(version, Limits::default())
    }

    pub(crate) fn connected_within(version: Version, limits: Limits) -> Self {
        let mut server = Self::new(limits);
        let answer = server.hear(format!("CONNECT\naccept-version:{version}\nhost:h\n\n\0").as_bytes());
        assert!(answer.starts_with("CONNECTED\n"), "{answer}");
        assert!(server.session.is_open());
        server
    }

    /// Gives the session bytes, answers its events, and returns all that goes out.
    pub(crate) fn hear(&mut self, input: impl AsRef<[u8]>) -> String {
        self.feed(input.as_ref());
        String::from_utf8(self.take().concat()).expect("these conversations are text")
    }

    /// As [`Self::hear`], for one frame after which the session must be over with an ERROR; returns that.
    pub(crate) fn refuse(&mut self, input: impl AsRef<[u8]>) -> String {
        let answer = self.hear(input);
        assert!(answer.starts_with("ERROR\n"), "no ERROR but {answer:?}");
        assert!(self.session.is_closed());
        assert_eq!(
            self.hear("SEND\ndestination:/topic/a\nreceipt:late\n\n\0"),
            "",
            "a closed session answered"
        );
        answer
    }

    pub(crate) fn feed(&mut self, mut input: &[u8]) {
        while let Some(event) = self.session.receive(self.now, &mut input) {
            self.handle(event);
        }
    }

    /// What goes out, in order.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.flush();
        std::mem::take(&mut self.out)
    }

    /// Publishes as someone else would.
    pub(crate) fn publish(&mut self, destination: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.messages += 1;
        let message_id = format!("m{}", self.messages);
        let targets: Vec<_> = self
            .session
            .subscriptions()
            .filter(|subscription| *subscription.destination == *destination)
            .map(|subscription| (subscription.key, subscription.ack, subscription.id.clone()))
            .collect();
        for (key, mode, id) in targets {
            let delivery = (mode != AckMode::Auto).then(|| self.delivery(key));
            let message_id = delivery.map_or(message_id.clone(), |delivery| delivery.on_wire(&message_id));
            let version = self.session.version();
            let ack = delivery.filter(|_| version == Version::V1_2).map(|_| message_id.as_str());
            let mut out = Vec::new();
            MessageHead { subscription: id.as_deref(), message_id: &message_id, ack }
                .encode(version, &mut out);
            let own = headers
                .iter()
                .filter(|(name, _)| !matches!(*name, "receipt" | "transaction" | "destination"));
            let headers = &own.copied().collect();
            MessageTail { destination, headers, own: &[], body }.encode(version, &mut out);
            self.flush();
            self.out.push(out.into());
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connect(_) => {
                let accepted = Accepted { session: "s:1", server: "test/1", ..Accepted::default() };
                self.session.accept(self.now, accepted);
            }
            Event::Send(send) => self.send(send),
            Event::Subscribe(subscribe) => {
                if subscribe.destination.starts_with("/queue/") {
                    self.session.track(subscribe.key);
                }
                self.complete(subscribe.receipt);
            }
            Event::Unsubscribe(unsubscribe) => {
                self.returned.extend(unsubscribe.returned);
                self.complete(unsubscribe.receipt);
            }
            Event::Ack(settle) => self.ack(settle),
            Event::Nack(settle) => self.nack(settle),
            Event::Commit(commit) => {
                for step in commit.steps {
                    match step {
                        Step::Send(send) => self.send(send),
                        Step::Ack(settle) => self.ack(settle),
                        Step::Nack(settle) => self.nack(settle),
                    }
                }
                self.complete(commit.receipt);
            }
            Event::Receipted(receipt) => self.session.complete(receipt),
            Event::Disconnect(receipt) => {
                self.complete(receipt);
                self.session.end();
            }
            Event::Violation(violation, receipt) => {
                let message = violation.to_string();
                self.session.close(&ErrorFrame { message: &message, receipt, ..ErrorFrame::default() });
            }
        }
    }

    fn send(&mut self, send: Send) {
        let headers: Vec<_> = send.headers.iter().collect();
        self.publish(&send.destination, &headers, &send.body);
        self.complete(send.receipt);
    }

    fn ack(&mut self, settle: Settle) {
        self.acked.extend(settle.tags);
        self.complete(settle.receipt);
    }

    fn nack(&mut self, settle: Settle) {
        self.nacked.extend(settle.tags);
        self.complete(settle.receipt);
    }

    /// The delivery's id: the session's where it is tracked, else a number of our own. The tag is the message's number.
    fn delivery(&mut self, key: SubscriptionKey) -> AckId {
        self.session.deliver(key, self.messages).unwrap_or_else(|| {
            let number = self.untracked.entry(key).or_default();
            *number += 1;
            AckId { subscription: key, number: *number }
        })
    }

    fn complete(&mut self, receipt: Option<Receipt>) {
        if let Some(receipt) = receipt {
            self.session.complete(receipt);
        }
    }

    fn flush(&mut self) {
        while let Some(bytes) = self.session.poll_transmit() {
            self.out.push(bytes);
        }
    }
}
