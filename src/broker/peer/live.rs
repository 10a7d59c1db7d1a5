//! What a connection listens to.

use stompede_protocol::SubscriptionKey;

use crate::model::Destination;
use crate::routing::SubscriberId;

use super::mailbox::Mailbox;
use super::replay::Replay;

/// One subscription.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) key: SubscriptionKey,
    /// The backend that decides where rules do not has let it in: a later loss of claims changes nothing in that.
    pub(super) granted: bool,
    pub(super) what: Listening,
    /// Deliveries so far in a client ack mode, where the table does not count them.
    pub(super) issued: u64,
}

impl Live {
    /// Whether the next page of a queue is to be asked for.
    pub(super) fn looks_on(&self) -> bool {
        matches!(&self.what, Listening::Browse(Some(browse)) if browse.asked.is_none())
    }

    /// Whether something of a queue is still to be shown.
    pub(super) fn browses(&self) -> bool {
        matches!(self.what, Listening::Browse(Some(_)))
    }
}

#[derive(Debug)]
pub(super) enum Listening {
    Topic {
        subscriber: SubscriberId,
        room: Option<Box<str>>,
        /// It hears of refusals.
        errors: bool,
        /// It hears of gaps at once, each time after the outbox has been written up to here.
        signals: Option<u64>,
        /// What is kept is still to be read; until then it hears nothing else.
        replay: Option<Box<Replay>>,
        /// It is a queue that keeps messages while its user is away.
        mailbox: Option<Box<Mailbox>>,
    },
    Queue(Box<QueueShare>),
    /// What of a work queue is still to be shown; `None` when it was all.
    Browse(Option<Box<Browse>>),
    Temp(Box<str>),
    /// The token under which the answer will come; `None` when it came.
    Request(Option<Box<str>>),
}

/// A consumer's view of a work queue.
#[derive(Debug)]
pub(super) struct QueueShare {
    pub(super) queue: Destination,
    /// Messages that came from the queue, in the order in which it handed them out.
    pub(super) arrived: u64,
    pub(super) paused: bool,
    /// The order to resume is in the inbox, behind what was handed out before the pause.
    pub(super) resuming: bool,
    /// Tags of what came and will never be written: the connection is about to end.
    pub(super) lost: Vec<u64>,
}

/// How far a look at a work queue has come.
#[derive(Debug)]
pub(super) struct Browse {
    pub(super) queue: Destination,
    /// The tag of the last message that was shown.
    pub(super) shown: u64,
    /// The tag of the last one that will be: it was the newest when the look began. `None` before the first page.
    pub(super) last: Option<u64>,
    /// The question for the next page, if it is open.
    pub(super) asked: Option<u32>,
}

/// A message that is settled when the socket has taken it.
#[derive(Debug)]
pub(super) struct Unwritten {
    /// Position after its last byte in the outbox.
    pub(super) end: u64,
    pub(super) tag: u64,
    pub(super) key: SubscriptionKey,
    pub(super) queue: Destination,
}
