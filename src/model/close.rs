//! Why a frame is refused or a connection ends: one table for every door.

use std::borrow::Cow;
use std::fmt;

use super::people::MembershipError;

/// A reason with its codes on every door; the table of `docs/wire.md` is printed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The bytes are no STOMP frame, or the frame breaks the protocol.
    BadFrame,
    /// No version in common.
    UnsupportedVersion,
    /// No CONNECT in time.
    LoginTimeout,
    /// Credentials missing or wrong.
    Unauthorized,
    /// The token's `exp` has passed.
    TokenExpired,
    /// The token was revoked.
    TokenRevoked,
    /// Known, but not allowed.
    Forbidden,
    /// The destination is none of ours.
    BadDestination,
    /// Nobody handles this `/app` destination.
    NoHandler,
    /// The reply address is unknown or its session is gone.
    NoSuchReply,
    /// The body is not what the handler takes.
    BadContent,
    /// A size limit was crossed.
    TooLarge,
    /// Too many subscriptions on one connection.
    TooManySubscriptions,
    /// Too many unacknowledged messages.
    TooManyUnacked,
    /// Sent faster than allowed.
    RateLimited,
    /// Too many connections of one user or address.
    TooManyConnections,
    /// The idempotency key came with another body before.
    Conflict,
    /// What a request names is not there.
    NotFound,
    /// The address does not take this method.
    BadMethod,
    /// The work queue is full.
    QueueFull,
    /// The store is full.
    StoreFull,
    /// The client does not read fast enough.
    SlowConsumer,
    /// Nothing was heard from the client for too long.
    HeartBeatLost,
    /// An operator ended the session.
    Kicked,
    /// A part the broker needs is not there.
    Unavailable,
    /// The broker is going down.
    ShuttingDown,
    /// A fault of the broker.
    Internal,
}

/// Whether and when the same thing may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Trying again gives the same answer.
    Never,
    /// A new attempt may succeed once the client has changed something (a fresh token, another limit).
    Changed,
    /// A new attempt may succeed after this many milliseconds.
    AfterMs(u32),
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// `error-code` of ERROR, `code` in JSON, label of the metric.
    pub code: &'static str,
    /// The sentence a client reads when nothing more exact is known.
    pub text: &'static str,
    /// WebSocket close code.
    pub websocket: u16,
    /// SockJS close code.
    pub sockjs: u16,
    /// HTTP status.
    pub http: u16,
    /// May the client retry.
    pub retry: Retry,
}

impl CloseReason {
    /// Every reason, in the table's order.
    pub const ALL: [CloseReason; 27] = {
        use CloseReason::*;
        [
            BadFrame,
            UnsupportedVersion,
            LoginTimeout,
            Unauthorized,
            TokenExpired,
            TokenRevoked,
            Forbidden,
            BadDestination,
            NoHandler,
            NoSuchReply,
            BadContent,
            TooLarge,
            TooManySubscriptions,
            TooManyUnacked,
            RateLimited,
            TooManyConnections,
            Conflict,
            NotFound,
            BadMethod,
            QueueFull,
            StoreFull,
            SlowConsumer,
            HeartBeatLost,
            Kicked,
            Unavailable,
            ShuttingDown,
            Internal,
        ]
    };

    /// The row of this reason.
    pub const fn row(self) -> Row {
        use CloseReason::*;
        use Retry::{AfterMs, Changed, Never};
        match self {
            BadFrame => row("bad-frame", "the frame breaks the STOMP protocol", 1002, 400, Never),
            UnsupportedVersion => row("unsupported-version", "no STOMP version in common", 1002, 400, Never),
            LoginTimeout => row("login-timeout", "no CONNECT frame came in time", 1008, 408, AfterMs(1_000)),
            Unauthorized => row("unauthorized", "the credentials are missing or wrong", 1008, 401, Changed),
            TokenExpired => row("token-expired", "the token has expired", 1008, 401, Changed),
            TokenRevoked => row("token-revoked", "the token was revoked", 1008, 401, Changed),
            Forbidden => row("forbidden", "not allowed", 1008, 403, Never),
            BadDestination => row("bad-destination", "the destination is not valid", 1008, 422, Never),
            NoHandler => row("no-handler", "nobody handles this destination", 1008, 404, AfterMs(5_000)),
            NoSuchReply => row(
                "no-such-reply",
                "the reply address is unknown or its session has ended",
                1008,
                404,
                Never,
            ),
            BadContent => row("bad-content", "the body is not what the destination takes", 1008, 400, Never),
            TooLarge => row("too-large", "a size limit was crossed", 1009, 413, Never),
            TooManySubscriptions => {
                row("too-many-subscriptions", "too many subscriptions", 1008, 429, Changed)
            }
            TooManyUnacked => {
                row("too-many-unacked", "too many messages are not acknowledged", 1008, 429, Changed)
            }
            RateLimited => row("rate-limited", "sent faster than allowed", 1008, 429, AfterMs(1_000)),
            TooManyConnections => {
                row("too-many-connections", "too many connections", 1008, 429, AfterMs(5_000))
            }
            Conflict => row("conflict", "the idempotency key belongs to another body", 1008, 409, Never),
            NotFound => row("not-found", "nothing is here", 1008, 404, Never),
            BadMethod => row("bad-method", "the address does not take this method", 1008, 405, Never),
            QueueFull => row("queue-full", "the queue is full", 1013, 503, AfterMs(1_000)),
            StoreFull => row("store-full", "the store is full", 1013, 503, AfterMs(10_000)),
            SlowConsumer => {
                row("slow-consumer", "the client does not read fast enough", 4500, 503, AfterMs(1_000))
            }
            HeartBeatLost => row(
                "heart-beat-lost",
                "nothing was heard from the client for too long",
                1002,
                408,
                AfterMs(1_000),
            ),
            Kicked => row("kicked", "the session was ended by an operator", 1008, 403, Never),
            Unavailable => {
                row("unavailable", "the broker cannot do this at the moment", 1013, 503, AfterMs(2_000))
            }
            ShuttingDown => row("shutting-down", "the broker is shutting down", 1012, 503, AfterMs(1_000)),
            Internal => row("internal", "the broker failed", 1011, 500, AfterMs(1_000)),
        }
    }

    /// `error-code` of ERROR.
    pub const fn code(self) -> &'static str {
        self.row().code
    }

    /// Whether it is about one frame, so that a session that listens for refusals may go on.
    pub const fn spares_session(self) -> bool {
        use CloseReason::*;
        matches!(
            self,
            Forbidden
                | BadDestination
                | NoHandler
                | NoSuchReply
                | BadContent
                | TooManySubscriptions
                | RateLimited
                | QueueFull
                | StoreFull
                | Unavailable
        )
    }

    /// Position in [`CloseReason::ALL`], for counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A refused frame or an ended session: the reason and what a person should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The row of the table.
    pub reason: CloseReason,
    /// What exactly was wrong; the table's text when nothing more is known.
    pub message: Cow<'static, str>,
    /// The destination it was about.
    pub destination: Option<Box<str>>,
    /// Overrides the table: milliseconds until a new attempt makes sense.
    pub retry_after_ms: Option<u32>,
    /// Overrides the table: the WebSocket close code.
    pub close_code: Option<u16>,
}

impl Refusal {
    /// A refusal with its own text.
    // Whatever leads here stands apart from what every message runs through.
    #[cold]
    pub fn new(reason: CloseReason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, message: message.into(), destination: None, retry_after_ms: None, close_code: None }
    }

    /// Names the destination that was refused.
    #[must_use]
    pub fn at(mut self, destination: &str) -> Self {
        self.destination = Some(destination.into());
        self
    }

    /// Says when a new attempt makes sense.
    #[must_use]
    pub fn retry_after(mut self, ms: u32) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// Ends a WebSocket by this code, where RFC 6455 knows a more exact one than the table.
    #[must_use]
    pub fn closing_with(mut self, code: u16) -> Self {
        self.close_code = Some(code);
        self
    }

    /// The WebSocket close code.
    pub fn websocket_code(&self) -> u16 {
        self.close_code.unwrap_or(self.reason.row().websocket)
    }

    /// Value of the header `retry-after`: milliseconds, or `never`; `None` where the client must change something first.
    pub fn retry_after_value(&self) -> Option<Cow<'static, str>> {
        match (self.retry_after_ms, self.reason.row().retry) {
            (Some(ms), _) | (None, Retry::AfterMs(ms)) => Some(ms.to_string().into()),
            (None, Retry::Never) => Some("never".into()),
            (None, Retry::Changed) => None,
        }
    }
}

impl From<MembershipError> for Refusal {
    fn from(error: MembershipError) -> Self {
        let reason = match error {
            MembershipError::Store(_) => CloseReason::StoreFull,
            MembershipError::Rooms(_) | MembershipError::Members(_) => CloseReason::TooManySubscriptions,
            MembershipError::Unavailable => CloseReason::Unavailable,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<CloseReason> for Refusal {
    #[cold]
    fn from(reason: CloseReason) -> Self {
        Self::new(reason, reason.row().text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Refusal {}

/// SockJS clients get the WebSocket numbers: Spring closes a SockJS session with the same code.
const fn row(code: &'static str, text: &'static str, websocket: u16, http: u16, retry: Retry) -> Row {
    Row { code, text, websocket, sockjs: websocket, http, retry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_at_its_index() {
        for (i, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), i);
        }
        let codes: std::collections::HashSet<_> = CloseReason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), CloseReason::ALL.len());
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        assert_eq!(Refusal::from(CloseReason::Forbidden).retry_after_value().as_deref(), Some("never"));
        assert_eq!(Refusal::from(CloseReason::Unauthorized).retry_after_value(), None);
        assert_eq!(
            Refusal::from(CloseReason::RateLimited).retry_after(40).retry_after_value().as_deref(),
            Some("40")
        );
    }
}
