//! Where messages go that a consumer refuses for good, and what they say then.

use crate::model::{Destination, Message};

/// Where rejected messages of `queue` go: `/queue/dlq.<name>`. Dead letters rejected again have nowhere to go: put back
/// where they come from, they would be handed to the same consumer for ever.
pub(super) fn queue_of(queue: &Destination) -> Option<Destination> {
    if queue.as_str().starts_with(DEAD_LETTER_PREFIX) {
        return None;
    }
    let name = queue.as_str().trim_start_matches('/').split_once('/').map_or("", |(_, name)| name);
    Some(Destination::internal(&format!("{DEAD_LETTER_PREFIX}{name}")))
}

/// `message`, rejected from `from`, as it stands in `to`.
pub(super) fn letter(message: &Message, from: &Destination, to: &Destination) -> Message {
    let mut headers = message.headers.clone();
    headers.push("stompede-dead-letter-reason", "rejected");
    headers.push("stompede-dead-letter-from", from.as_str());
    Message {
        destination: to.clone(),
        headers,
        body: message.body.clone(),
        sender: message.sender.clone(),
        position: None,
        ..*message
    }
}

const DEAD_LETTER_PREFIX: &str = "/queue/dlq.";
