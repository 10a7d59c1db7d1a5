//! One published message, shared by everything that delivers it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use stompede_protocol::Headers;

use super::destination::Destination;
use super::history::Position;

/// Identity of a message: the publishing broker process and its serial number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// Random identity of the broker process.
    pub node: u64,
    /// Serial number within that process.
    pub number: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.node, self.number)
    }
}

/// The text is no id that a broker gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMessageId;

impl FromStr for MessageId {
    type Err = NoMessageId;

    fn from_str(text: &str) -> Result<Self, NoMessageId> {
        written_as(text, |node, number| Self { node, number }).ok_or(NoMessageId)
    }
}

/// What is made of the hexadecimal and the decimal number of `text`, a dash between them, if it is written just so: without
/// a sign, in no other case, and with no other zeros before it.
pub(super) fn written_as<T: fmt::Display>(text: &str, make: impl Fn(u64, u64) -> T) -> Option<T> {
    let (hexadecimal, decimal) = text.split_once('-')?;
    let made = make(u64::from_str_radix(hexadecimal, 16).ok()?, decimal.parse().ok()?);
    (made.to_string() == text).then_some(made)
}

/// A message as it is routed. What differs between receivers is not in here.
#[derive(Debug, Clone)]
pub struct Message {
    /// The same for all receivers.
    pub id: MessageId,
    /// Where it was published.
    pub destination: Destination,
    /// Milliseconds since the Unix epoch at which the broker accepted it.
    pub timestamp_ms: u64,
    /// User id of the sender; the header `user-name`.
    pub sender: Option<Arc<str>>,
    /// The sender's own headers, `content-type` among them, and what the broker adds for all receivers alike.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// Whether the body is valid UTF-8 and may leave in a WebSocket text message.
    pub text: bool,
    /// Where it stands in the history of its destination, where that is kept.
    pub position: Option<Position>,
    /// The body is a JSON object of the broker's making, which says its offset.
    pub numbered: bool,
}

impl Message {
    /// Bytes that this message keeps in memory, for the sums of bounded buffers.
    pub fn cost_bytes(&self) -> usize {
        std::mem::size_of::<Self>() + self.headers.heap_bytes() + self.body.len()
    }

    /// It stands there in the history of its destination.
    pub fn place(&mut self, position: Position) {
        self.position = Some(position);
        if self.numbered {
            let body = std::mem::take(&mut self.body);
            let mut body = body.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            // The brace that ends the object.
            body.truncate(body.len().saturating_sub(1));
            body.extend_from_slice(format!(",\"offset\":{}}}", position.offset).as_bytes());
            self.body = body.freeze();
            self.numbered = false;
        }
    }
}

/// Headers of a SEND that go on to the receivers: everything but what a client may not set.
pub fn forwarded_headers(sent: &Headers) -> Headers {
    let mut kept = Headers::new();
    for (name, value) in sent.iter() {
        if !is_reserved(name) {
            kept.push(name, value);
        }
    }
    kept
}

/// Whether only the broker may set this header. Compared without case: `authorization` leaks as badly as `Authorization`.
/// Compared as clients read it: many trim names, and take the first of two.
fn is_reserved(name: &str) -> bool {
    // What nearly every SEND has.
    match name {
        "destination" | "content-length" | "receipt" => return true,
        "content-type" => return false,
        _ => {}
    }
    let name = bare(name);
    RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
        || name.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// The name without what clients trim, or what would not be seen.
pub fn bare(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || c.is_control())
}

const RESERVED_PREFIX: &str = "stompede-";

const RESERVED: [&str; 17] = [
    "destination",
    "content-length",
    "receipt",
    "transaction",
    "authorization",
    "login",
    "passcode",
    "message-id",
    "subscription",
    "ack",
    "user-name",
    "redelivered",
    "timestamp",
    "reply-to",
    "session",
    "command",
    "browser",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_ours_says_its_offset_once() {
        let mut message = Message {
            id: MessageId { node: 1, number: 1 },
            destination: Destination::internal("/topic/a"),
            timestamp_ms: 0,
            sender: None,
            headers: Headers::new(),
            body: Bytes::from_static(b"{\"a\":1}"),
            text: true,
            position: None,
            numbered: true,
        };
        for offset in [7, 8] {
            message.place(Position { epoch: 1, offset });
        }
        assert_eq!(message.body, "{\"a\":1,\"offset\":7}");
        assert_eq!(message.position, Some(Position { epoch: 1, offset: 8 }));
    }

    #[test]
    fn a_client_cannot_forge_what_the_broker_says() {
        let mut sent = Headers::new();
        for name in RESERVED.iter().chain(&[
            "Authorization",
            "Stompede-Position",
            " user-name",
            "ack ",
            "\tuser-name\r",
            "redelivered\u{a0}",
            "X-mine",
            "content-type",
        ]) {
            sent.push(name, "v");
        }
        let kept = forwarded_headers(&sent);
        let names: Vec<_> = kept.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["X-mine", "content-type"]);
    }
}
