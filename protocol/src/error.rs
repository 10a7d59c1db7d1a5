//! What a peer can do wrong: one variant per misdeed. Its `Display` is the ERROR frame's `message`.

use thiserror::Error;

use crate::{Command, Version};

/// A misdeed of the peer. Nothing more is read from it.
///
/// Texts of the peer that are repeated here are cut to a few dozen printable characters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the text above each variant is its documentation")]
pub enum Violation {
    #[error("this is a STOMP port, not an HTTP one: the first frame must be CONNECT or STOMP")]
    HttpOnStompPort,
    #[error("this is a plain STOMP port, not a TLS one: connect without TLS or to the TLS port")]
    TlsOnStompPort,
    #[error("the connection begins with a byte order mark: the first frame must be CONNECT or STOMP")]
    ByteOrderMark,
    #[error("unknown command '{name}'")]
    UnknownCommand { name: Box<str> },
    #[error("{command} is a frame of the server")]
    ServerCommand { command: Command },
    #[error("{command} is a frame of the client")]
    ClientCommand { command: Command },
    #[error("a header line has no colon")]
    HeaderWithoutColon,
    #[error("a header line has an empty name")]
    EmptyHeaderName,
    #[error("the head of a frame is not UTF-8")]
    HeadNotUtf8,
    #[error("the head of a frame holds a NUL: a blank line must follow the headers")]
    NulInHead,
    #[error("a carriage return between frames is not followed by a line feed")]
    BareCarriageReturn,
    #[error("a header line holds a carriage return, which is written \\r")]
    CarriageReturnInHeader,
    #[error("'\\{}' is no escape of STOMP {version}", character.map_or(String::new(), |it| it.escape_default().to_string()))]
    UndefinedEscape { character: Option<char>, version: Version },
    #[error("content-length '{value}' is not a number of bytes")]
    BadContentLength { value: Box<str> },
    #[error("no NUL follows the {content_length} bytes of the body that content-length announces")]
    BodyNotTerminated { content_length: usize },
    #[error("{command} must not have a body")]
    UnexpectedBody { command: Command },

    #[error("the head of a frame is longer than {limit} bytes")]
    HeadTooLarge { limit: usize },
    #[error("a frame has more than {limit} headers")]
    TooManyHeaders { limit: usize },
    #[error("the body of a frame is longer than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("more than {limit} bytes were sent before CONNECTED")]
    UnconnectedTooLarge { limit: usize },
    #[error("no CONNECT frame came within {limit_ms} ms")]
    LoginTimeout { limit_ms: u64 },
    #[error("nothing came for {silent_ms} ms, twice the agreed heart-beat")]
    HeartBeatLost { silent_ms: u64 },

    #[error("{command} came before CONNECT")]
    NotConnected { command: Command },
    #[error("the session is connected already")]
    AlreadyConnected,
    #[error("none of the versions '{accepted}' is supported; supported are {}", Version::LIST)]
    UnsupportedVersion { accepted: Box<str> },
    #[error("heart-beat '{value}' is not two non-negative integers and a comma")]
    BadHeartBeat { value: Box<str> },
    #[error("{command} does not exist in STOMP {version}")]
    CommandNotInVersion { command: Command, version: Version },

    #[error("{command} needs the header '{header}'")]
    MissingHeader { command: Command, header: &'static str },
    #[error("{command} needs the header 'destination'")]
    MissingDestination { command: Command },
    #[error("ack '{value}' does not exist in STOMP {version}")]
    BadAckMode { value: Box<str>, version: Version },
    #[error("subscription '{id}' is open already")]
    SubscriptionTaken { id: Box<str> },
    #[error("there is no subscription '{id}'")]
    UnknownSubscription { id: Box<str> },
    #[error("the id of a subscription is longer than {limit} bytes")]
    SubscriptionIdTooLong { limit: usize },
    #[error("more than {limit} subscriptions")]
    TooManySubscriptions { limit: usize },
    #[error("more than {limit} unacknowledged messages of a subscription")]
    TooManyUnacked { limit: usize },
    #[error("no message '{id}' waits for {command}")]
    UnknownAck { command: Command, id: Box<str> },
    #[error("transaction '{id}' is open already")]
    TransactionTaken { id: Box<str> },
    #[error("there is no transaction '{id}'")]
    UnknownTransaction { id: Box<str> },
    #[error("more than {limit} open transactions")]
    TooManyTransactions { limit: usize },
    #[error("a transaction holds more than {limit} bytes")]
    TransactionTooLarge { limit: usize },
}

/// The kinds of misdeeds that are answered differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ViolationKind {
    /// The peer does not speak STOMP as the specification says.
    BadFrame,
    /// No common version.
    UnsupportedVersion,
    /// No CONNECT in time.
    LoginTimeout,
    /// A destination is missing.
    BadDestination,
    /// A frame, or what is held for the peer, would be too large.
    TooLarge,
    /// Too many subscriptions on the connection.
    TooManySubscriptions,
    /// Too many deliveries wait for their ACK.
    TooManyUnacked,
    /// The peer fell silent.
    HeartBeatLost,
}

impl Violation {
    /// How it is answered.
    #[must_use]
    pub const fn kind(&self) -> ViolationKind {
        match self {
            Self::UnsupportedVersion { .. } => ViolationKind::UnsupportedVersion,
            Self::LoginTimeout { .. } => ViolationKind::LoginTimeout,
            Self::MissingDestination { .. } => ViolationKind::BadDestination,
            Self::HeadTooLarge { .. }
            | Self::TooManyHeaders { .. }
            | Self::BodyTooLarge { .. }
            | Self::UnconnectedTooLarge { .. }
            | Self::SubscriptionIdTooLong { .. }
            | Self::TooManyTransactions { .. }
            | Self::TransactionTooLarge { .. } => ViolationKind::TooLarge,
            Self::TooManySubscriptions { .. } => ViolationKind::TooManySubscriptions,
            Self::TooManyUnacked { .. } => ViolationKind::TooManyUnacked,
            Self::HeartBeatLost { .. } => ViolationKind::HeartBeatLost,
            _ => ViolationKind::BadFrame,
        }
    }
}

/// A text of the peer, fit to be repeated in a message and a log: printable and at most [`EXCERPT_CHARS_MAX`] long.
pub(crate) fn excerpt(text: &[u8]) -> Box<str> {
    let head = &text[..text.len().min(EXCERPT_CHARS_MAX * 4)];
    String::from_utf8_lossy(head)
        .chars()
        .take(EXCERPT_CHARS_MAX)
        .map(|character| if character.is_control() { '?' } else { character })
        .collect::<String>()
        .into()
}

const EXCERPT_CHARS_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_printable() {
        assert_eq!(&*excerpt(b"SEN\x07D\r\n\x1b[31m"), "SEN?D???[31m");
        assert_eq!(excerpt(&[0xff; 1000]).chars().count(), EXCERPT_CHARS_MAX);
        assert_eq!(&*excerpt("ü".as_bytes()), "ü");
    }

    #[test]
    fn a_crossed_limit_names_its_value() {
        assert!(Violation::BodyTooLarge { limit: 1_048_576 }.to_string().contains("1048576 bytes"));
        assert!(Violation::TooManySubscriptions { limit: 128 }.to_string().contains("128"));
    }

    #[test]
    fn an_undefined_escape_is_shown_printably() {
        let escape = |character| Violation::UndefinedEscape { character, version: Version::V1_1 }.to_string();
        assert_eq!(escape(Some('t')), "'\\t' is no escape of STOMP 1.1");
        assert_eq!(escape(Some('\u{7}')), "'\\\\u{7}' is no escape of STOMP 1.1");
        assert_eq!(escape(None), "'\\' is no escape of STOMP 1.1");
    }
}
