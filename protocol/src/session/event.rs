//! What a session tells its broker, and what the broker answers.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{AckId, AckMode, Headers, HeartBeat, SubscriptionKey, Version, Violation};

/// What the client asked for. Where there is a receipt it was asked for, too.
#[derive(Debug)]
pub enum Event {
    /// CONNECT or STOMP. The session waits: until [`accept`](super::Session::accept) or
    /// [`close`](super::Session::close) it consumes nothing.
    Connect(Connect),
    /// SEND outside a transaction.
    Send(Send),
    /// SUBSCRIBE; registered already, [`cancel_subscription`](super::Session::cancel_subscription) undoes it.
    Subscribe(Subscribe),
    /// UNSUBSCRIBE; the id is free again.
    Unsubscribe(Unsubscribe),
    /// ACK outside a transaction.
    Ack(Settle),
    /// NACK outside a transaction.
    Nack(Settle),
    /// COMMIT, with all that its transaction gathered.
    Commit(Commit),
    /// A frame that was wholly the session's business (BEGIN, ABORT) asks for its RECEIPT, which is due when all
    /// earlier events are done with.
    Receipted(Receipt),
    /// DISCONNECT; nothing more is read.
    Disconnect(Option<Receipt>),
    /// The client misbehaved; nothing more is read. The broker answers with [`close`](super::Session::close), handing
    /// over the receipt that the frame at fault asked for.
    Violation(Violation, Option<Receipt>),
}

/// A RECEIPT that is owed for one frame. Completing it sends it, dropping it means that none is sent.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a receipt is completed, handed to an ERROR, or dropped on purpose"]
pub struct Receipt(Box<str>);

impl Receipt {
    pub(crate) fn new(id: Box<str>) -> Self {
        Self(id)
    }

    /// The value of the frame's `receipt` header.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0
    }
}

/// CONNECT or STOMP.
#[derive(Debug)]
pub struct Connect {
    /// The version agreed on.
    pub version: Version,
    /// Who the client says it is.
    pub login: Option<Box<str>>,
    /// Its password, or a token.
    pub passcode: Option<Box<str>>,
    /// The header `Authorization`.
    pub authorization: Option<Box<str>>,
    /// The virtual host it wishes.
    pub host: Option<Box<str>>,
    /// What the client offers; `0,0` under 1.0.
    pub heart_beat: HeartBeat,
    /// All headers.
    pub headers: Headers,
}

/// SEND.
#[derive(Debug)]
pub struct Send {
    /// Where to. Whoever routes it may share the text.
    pub destination: Arc<str>,
    /// All headers, `destination`, `receipt` and `transaction` included.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// The RECEIPT owed, if it was asked for.
    pub receipt: Option<Receipt>,
}

/// SUBSCRIBE.
#[derive(Debug)]
pub struct Subscribe {
    /// Our own name of the subscription.
    pub key: SubscriptionKey,
    /// The client's name of it; `None` under 1.0 only.
    pub id: Option<Box<str>>,
    /// What it wants to receive.
    pub destination: Box<str>,
    /// How it acknowledges.
    pub ack: AckMode,
    /// All headers.
    pub headers: Headers,
    /// The RECEIPT owed, if it was asked for.
    pub receipt: Option<Receipt>,
}

/// UNSUBSCRIBE.
#[derive(Debug)]
pub struct Unsubscribe {
    /// The subscription that ended.
    pub subscription: Subscription,
    /// Tags of what it had not acknowledged, in order of delivery.
    pub returned: Vec<u64>,
    /// The RECEIPT owed, if it was asked for.
    pub receipt: Option<Receipt>,
}

/// ACK or NACK.
#[derive(Debug)]
pub struct Settle {
    /// The subscription.
    pub key: SubscriptionKey,
    /// The delivery that was named.
    pub id: AckId,
    /// Tags of all deliveries that are settled, in order of delivery; of a tracked subscription. Empty for others, and
    /// at COMMIT when the subscription ended meanwhile.
    pub tags: SmallVec<[u64; 1]>,
    /// All headers.
    pub headers: Headers,
    /// The RECEIPT owed, if it was asked for.
    pub receipt: Option<Receipt>,
}

/// COMMIT.
#[derive(Debug)]
pub struct Commit {
    /// What the transaction gathered, in order. Receipts that these frames asked for are in them.
    pub steps: Vec<Step>,
    /// The RECEIPT owed for COMMIT itself, if it was asked for.
    pub receipt: Option<Receipt>,
}

/// One frame of a transaction.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the specification's own word")]
pub enum Step {
    Send(Send),
    Ack(Settle),
    Nack(Settle),
}

/// An open subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Our own name of it.
    pub key: SubscriptionKey,
    /// The client's name of it; `None` under 1.0 only, where the destination identifies it.
    pub id: Option<Box<str>>,
    /// What it receives, as the client wrote it.
    pub destination: Box<str>,
    /// How it acknowledges.
    pub ack: AckMode,
}

/// What a deadline brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// No CONNECT came within `connect_ms_max`.
    Login,
    /// Nothing came for twice the client's interval. Told once, until bytes come or
    /// [`touch`](super::Session::touch).
    Silent,
}

/// How a CONNECT is answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accepted<'a> {
    /// The session's id.
    pub session: &'a str,
    /// Our name: `name/version`.
    pub server: &'a str,
    /// Who the client is to us.
    pub user_name: Option<&'a str>,
    /// Further headers of CONNECTED.
    pub headers: &'a [(&'a str, &'a str)],
}

/// How a session ends.
#[derive(Debug, Default)]
pub struct ErrorFrame<'a> {
    /// The header `message`: one short sentence.
    pub message: &'a str,
    /// The header `error-code`.
    pub code: &'a str,
    /// The receipt that the frame at fault asked for: it becomes `receipt-id`.
    pub receipt: Option<Receipt>,
    /// The header `retry-after`: milliseconds, or `never`.
    pub retry_after: Option<&'a str>,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// More detail, as UTF-8 text unless `headers` has a `content-type`.
    pub body: &'a [u8],
}
