//! Where messages go that are not delivered any more, and what they say then.

use std::sync::Arc;

use crate::backend::{Move, Queues};
use crate::features::notices;
use crate::model::{Counter, Destination, Message, Queued, expiry};

/// Decides what is delivered no more, and buries it.
#[derive(Debug)]
pub(super) struct Undertaker {
    store: Arc<dyn Queues>,
    /// Most redeliveries of one message; 0 = no limit.
    redeliveries_max: u32,
    counters: Arc<DeadLetterCounters>,
}

impl Undertaker {
    pub(super) fn new(
        store: Arc<dyn Queues>,
        redeliveries_max: u32,
        counters: Arc<DeadLetterCounters>,
    ) -> Self {
        Self { store, redeliveries_max, counters }
    }

    /// Why the message may be handed out no more.
    pub(super) fn end_of(&self, queue: &Destination, queued: &Queued, now_ms: u64) -> Option<Reason> {
        if queued.is_expired(now_ms) {
            return Some(Reason::Expired);
        }
        let is_over = self.redeliveries_max > 0 && queued.deliveries > self.redeliveries_max;
        // A consumer of dead letters that fails again and again must not lose them; of its own queues the broker itself
        // says when it is enough.
        let is_limited = is_over && queue_of(queue).is_some() && !notices::is_private(queue);
        is_limited.then_some(Reason::RedeliveryLimit)
    }

    /// Ends a taken message as a dead letter, which is not handed out yet.
    pub(super) fn bury(&self, queue: &Destination, queued: &Queued, reason: Reason) {
        let lost = match queue_of(queue) {
            Some(dead) => {
                let letter = letter(&queued.message, queue, &dead, reason);
                self.store.bury(queue, queued.tag, &dead, Arc::new(letter))
            }
            None => usize::from(self.store.settle(queue, queued.tag).is_some()),
        };
        self.counters.of(reason).add(1);
        if lost > 0 {
            self.counters.lost.add(lost);
            tracing::warn!(queue = %queue, reason = reason.name(), lost, "dead letters are dropped");
        }
    }
}

/// Why a message is delivered no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A consumer refused it for good.
    Rejected,
    /// It came back too often.
    RedeliveryLimit,
    /// It is past its time.
    Expired,
}

impl Reason {
    /// As it stands in `stompede-dead-letter-reason`.
    fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::RedeliveryLimit => "redelivery-limit",
            Self::Expired => "expired",
        }
    }
}

/// How many messages of queues were delivered no more, by reason, and what was lost by it.
#[derive(Debug, Default)]
pub struct DeadLetterCounters {
    /// Refused for good.
    pub rejected: Counter,
    /// Redelivered as often as allowed.
    pub redelivery_limit: Counter,
    /// Past their time.
    pub expired: Counter,
    /// Dead letters that were dropped: the oldest of a full queue, and what was delivered no more out of a dead-letter queue.
    pub lost: Counter,
}

impl DeadLetterCounters {
    fn of(&self, reason: Reason) -> &Counter {
        match reason {
            Reason::Rejected => &self.rejected,
            Reason::RedeliveryLimit => &self.redelivery_limit,
            Reason::Expired => &self.expired,
        }
    }
}

/// Where dead letters of `queue` go: `/queue/dlq.<name>`. Dead letters rejected again have nowhere to go: put back where
/// they come from, they would be handed to the same consumer for ever.
pub(super) fn queue_of(queue: &Destination) -> Option<Destination> {
    if queue.as_str().starts_with(DEAD_LETTER_PREFIX) {
        return None;
    }
    let name = queue.as_str().trim_start_matches('/').split_once('/').map_or("", |(_, name)| name);
    Some(Destination::internal(&format!("{DEAD_LETTER_PREFIX}{name}")))
}

/// `message`, delivered no more from `from`, as it stands in `to`: there it never expires. Nor would what somebody sends
/// with its headers again, for the time that it was good until has a name of its own.
fn letter(message: &Message, from: &Destination, to: &Destination, reason: Reason) -> Message {
    let kept =
        message.headers.iter().filter(|(name, _)| ![expiry::EXPIRES, expiry::EXPIRATION].contains(name));
    let mut headers: stompede_protocol::Headers = kept.collect();
    headers.push("stompede-dead-letter-reason", reason.name());
    headers.push("stompede-dead-letter-from", from.as_str());
    if let Some(at) = message.expires_ms() {
        headers.push("stompede-dead-letter-expires", &at.to_string());
    }
    Message {
        destination: to.clone(),
        headers,
        body: message.body.clone(),
        sender: message.sender.clone(),
        position: None,
        ..*message
    }
}

/// A dead letter as it is to stand where it came from; `None` where it is none, or does not say.
pub fn revived(queued: &Queued) -> Option<Move> {
    let Queued { tag, message, .. } = queued;
    let from = message.headers.get(LETTER_FROM)?;
    let to = Destination::internal(from);
    // Only what was buried here goes back: its queue, and this one, are kept side by side.
    if queue_of(&to)? != message.destination {
        return None;
    }
    let kept = message.headers.iter().filter(|(name, _)| !name.starts_with(LETTER_HEADERS));
    let headers = kept.collect();
    let (body, sender) = (message.body.clone(), message.sender.clone());
    let message = Message { destination: to.clone(), headers, body, sender, ..**message };
    Some(Move { tag: *tag, to, message: Arc::new(message) })
}

const LETTER_FROM: &str = "stompede-dead-letter-from";

const LETTER_HEADERS: &str = "stompede-dead-letter-";

const DEAD_LETTER_PREFIX: &str = "/queue/dlq.";
