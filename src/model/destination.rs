//! Where messages go: names as clients write them, checked once and never changed afterwards.

use std::fmt;
use std::sync::Arc;

use super::close::{CloseReason, Refusal};
use super::pattern::Pattern;

/// Longest destination in bytes. Longer names are no use to people and would be stored per subscription.
pub const DESTINATION_BYTES_MAX: usize = 512;

/// A concrete, valid destination, byte for byte as it was authorised, is routed and logged.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination(Arc<str>);

impl Destination {
    /// Takes a name that this crate itself composed out of checked pieces.
    pub(crate) fn internal(name: &str) -> Self {
        debug_assert!(name.starts_with('/'));
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments between the slashes.
    pub fn segments(&self) -> std::str::Split<'_, char> {
        self.0[1..].split('/')
    }

    /// Whether it is a user's queue.
    pub fn is_of_user(&self) -> bool {
        self.0.starts_with(USER_PREFIX)
    }

    /// The user's id, encoded, and the path, if this is a user's queue.
    pub fn user_queue(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix(USER_PREFIX)?.split_once("/queue/")
    }

    /// The own queue of a user, as routed: `/user/<id>/queue/<path>` with `%` and `/` of the id percent-encoded.
    pub fn of_user(user: &str, path: &str) -> Self {
        if user.bytes().any(|byte| matches!(byte, b'%' | b'/')) {
            return Self(format!("/user/{}/queue/{path}", encode_user(user)).into());
        }
        Self(["/user/", user, "/queue/", path].concat().into())
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const USER_PREFIX: &str = "/user/";

/// What the path of a user's queue begins with that is written as a topic of his.
const TOPICS: &str = "topic/";

/// What a client wrote in `destination`, told apart by its first segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `/topic/<path>`
    Topic(Destination),
    /// `/topic/...` with wildcards; only in SUBSCRIBE.
    Wildcard(Pattern),
    /// `/queue/<name>`
    Queue(Destination),
    /// `/user/queue/<path>`: the sender's own. `/user/topic/<path>` is `/user/queue/topic/<path>`.
    OwnQueue {
        /// What follows `/user/queue/`.
        path: Box<str>,
    },
    /// `/user/<id>/queue/<path>`, as [`Destination::of_user`] writes it.
    UserQueue(Destination),
    /// `/app/<path>`
    App(Destination),
    /// `/temp-queue/<name>`: private to the session.
    TempQueue(Box<str>),
    /// `/reply-queue/<token>`
    ReplyQueue(Box<str>),
}

impl Address {
    /// Parses the destination of a SEND.
    pub fn of_send(text: &str) -> Result<Self, Refusal> {
        Self::parse(text, None)?.concrete()
    }

    /// As [`Address::of_send`]; where the name is routed as it is, its text is shared.
    pub fn of_send_shared(text: &Arc<str>) -> Result<Self, Refusal> {
        Self::parse(text, Some(text))?.concrete()
    }

    /// Parses the destination of a SUBSCRIBE: wildcards are allowed under `/topic`.
    pub fn of_subscribe(text: &str) -> Result<Self, Refusal> {
        Self::parse(text, None)
    }

    #[inline(always)]
    fn concrete(self) -> Result<Self, Refusal> {
        match self {
            Self::Wildcard(pattern) => Err(wildcard_in_send(pattern.as_str())),
            address => Ok(address),
        }
    }

    fn parse(text: &str, shared: Option<&Arc<str>>) -> Result<Self, Refusal> {
        let name = Name::of(text, shared)?;
        let (head, rest) = split_segment(&text[1..]).unwrap_or((&text[1..], ""));
        if rest.is_empty() {
            return Err(unknown_prefix(text));
        }
        match head {
            "topic" if name.has(WILDCARD) && rest.contains('*') => Pattern::parse(text).map(Self::Wildcard),
            "topic" => name.plain(rest).map(Self::Topic),
            "queue" => name.plain(rest).map(Self::Queue),
            "app" => name.plain(rest).map(Self::App),
            "temp-queue" => name.no_wildcard(rest).map(|()| Self::TempQueue(rest.into())),
            "reply-queue" => name.no_wildcard(rest).map(|()| Self::ReplyQueue(rest.into())),
            "user" => name.user(rest),
            _ => Err(unknown_prefix(text)),
        }
    }
}

/// `%` and `/` of a user id as they stand in a destination.
pub fn encode_user(user: &str) -> String {
    user.replace('%', "%25").replace('/', "%2F")
}

/// The id of a user as it stands in a destination, as it is.
pub fn decode_user(segment: &str) -> String {
    segment.replace("%2F", "/").replace("%2f", "/").replace("%25", "%")
}

/// A name whose characters and segments are right, and which kinds of bytes it has.
#[derive(Clone, Copy)]
struct Name<'a> {
    text: &'a str,
    shared: Option<&'a Arc<str>>,
    seen: u8,
}

impl<'a> Name<'a> {
    #[inline(always)]
    fn of(text: &'a str, shared: Option<&'a Arc<str>>) -> Result<Self, Refusal> {
        if text.len() > DESTINATION_BYTES_MAX {
            return Err(too_long(text));
        }
        let (mut seen, mut double, mut before) = (0, 0, 0);
        for &byte in text.as_bytes() {
            let kind = KINDS[usize::from(byte)];
            seen |= kind;
            double |= kind & before & SLASH;
            before = kind;
        }
        let name = Self { text, shared, seen };
        if name.has(CONTROL) || name.has(WIDE) && text.chars().any(char::is_control) {
            return Err(bad(&text.escape_debug().to_string(), "a destination has no control characters"));
        }
        if !text.starts_with('/') {
            return Err(unknown_prefix(text));
        }
        if double != 0 || text.ends_with('/') {
            return Err(bad(text, "a destination has no empty segments"));
        }
        Ok(name)
    }

    fn has(self, kind: u8) -> bool {
        self.seen & kind != 0
    }

    fn plain(self, rest: &str) -> Result<Destination, Refusal> {
        self.no_wildcard(rest).map(|()| self.destination())
    }

    fn destination(self) -> Destination {
        Destination(self.shared.map_or_else(|| self.text.into(), Arc::clone))
    }

    /// Refuses wildcards in `rest`, a part of the name.
    fn no_wildcard(self, rest: &str) -> Result<(), Refusal> {
        let found = self.has(WILDCARD) && rest.bytes().any(|byte| KINDS[usize::from(byte)] & WILDCARD != 0);
        if found { Err(bad(self.text, WILDCARD_FORM)) } else { Ok(()) }
    }

    fn user(self, rest: &str) -> Result<Address, Refusal> {
        let form = || bad(self.text, "a user destination is /user/queue/<name> or /user/<id>/queue/<name>");
        let (first, tail) = split_segment(rest).ok_or_else(form)?;
        if let Some(path) = tail.strip_prefix("queue/") {
            self.no_wildcard(path)?;
            // What is written as it is routed needs no second look.
            let is_canonical = !self.has(PERCENT) || !first.contains('%');
            return Ok(Address::UserQueue(if is_canonical {
                self.destination()
            } else {
                Destination::of_user(&decode_user(first), path)
            }));
        }
        if first == "queue" {
            self.no_wildcard(tail)?;
            return Ok(Address::OwnQueue { path: tail.into() });
        }
        self.spring(first, tail).unwrap_or_else(|| Err(form()))
    }

    /// What Spring's user destinations may be besides queues. A topic of a user is one more queue of his, with a path that
    /// says so.
    #[inline(never)]
    fn spring(self, first: &str, tail: &str) -> Option<Result<Address, Refusal>> {
        if first == "exchange" || tail.starts_with("exchange/") {
            let hint =
                "there are no exchanges here; use /user/queue/<name> or /user/<id>/queue/<name> instead";
            return Some(Err(bad(self.text, hint)));
        }
        let path = |rest: &str| self.no_wildcard(rest).map(|()| [TOPICS, rest].concat());
        if first == "topic" {
            return Some(path(tail).map(|path| Address::OwnQueue { path: path.into() }));
        }
        let path = path(tail.strip_prefix(TOPICS)?);
        Some(path.map(|path| Address::UserQueue(Destination::of_user(&decode_user(first), &path))))
    }
}

/// The first segment and what follows its slash. Segments are too short for a search to pay.
fn split_segment(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| byte == b'/')?;
    Some((&text[..end], &text[end + 1..]))
}

/// What the bytes of a name may be. Names are short: one look into a table for each byte beats a search for each kind.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            0..0x20 | 0x7f => CONTROL,
            0x80.. => WIDE,
            b'*' | b'#' | b'>' => WILDCARD,
            b'%' => PERCENT,
            b'/' => SLASH,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

/// A control character of ASCII.
const CONTROL: u8 = 1;
/// Part of a character beyond ASCII.
const WIDE: u8 = 2;
/// Stands for segments, here or with other brokers.
const WILDCARD: u8 = 4;
/// Begins a byte of a user id that is written in digits.
const PERCENT: u8 = 8;
/// Separates segments.
const SLASH: u8 = 16;

#[cold]
fn too_long(text: &str) -> Refusal {
    let shown: String = text.chars().take(64).collect();
    let why = format!("a destination has at most {DESTINATION_BYTES_MAX} bytes, this has {}", text.len());
    bad(&shown, &why)
}

#[cold]
fn unknown_prefix(text: &str) -> Refusal {
    let hint = if let Some(key) = text.strip_prefix("/exchange/") {
        let key = key.split_once('/').map_or(key, |(_, key)| key);
        format!("there are no exchanges here; SEND and SUBSCRIBE /topic/{key} instead")
    } else if let Some(name) = text.strip_prefix("/amq/queue/") {
        format!("use /queue/{name} instead")
    } else {
        "destinations are /topic/<path>, /queue/<name>, /user/queue/<name>, /user/<id>/queue/<name>, /app/<path>, \
         /temp-queue/<name>"
            .to_owned()
    };
    bad(text, &hint)
}

#[cold]
fn wildcard_in_send(text: &str) -> Refusal {
    bad(
        text,
        "a SEND goes to one destination; wildcards (* one segment, ** the rest) are for SUBSCRIBE to /topic",
    )
}

pub(super) fn bad(text: &str, why: &str) -> Refusal {
    Refusal::new(CloseReason::BadDestination, format!("bad destination {text}: {why}")).at(text)
}

pub(super) const WILDCARD_FORM: &str =
    "wildcards are * for one whole segment and ** for the rest (last only), in SUBSCRIBE to /topic/...";

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        Address::of_send(text).unwrap_err().message.into_owned()
    }

    #[test]
    fn each_form_is_told_apart() {
        assert!(
            matches!(Address::of_send("/topic/a/b"), Ok(Address::Topic(d)) if d.as_str() == "/topic/a/b")
        );
        assert!(matches!(Address::of_send("/queue/a"), Ok(Address::Queue(_))));
        assert!(matches!(Address::of_send("/app/a"), Ok(Address::App(_))));
        assert!(matches!(Address::of_send("/temp-queue/x"), Ok(Address::TempQueue(n)) if &*n == "x"));
        assert!(
            matches!(Address::of_send("/user/queue/a/b"), Ok(Address::OwnQueue { path }) if &*path == "a/b")
        );
        let Ok(Address::UserQueue(queue)) = Address::of_send("/user/a%2fb%25/queue/m") else { panic!() };
        assert_eq!(queue.as_str(), "/user/a%2Fb%25/queue/m");
        assert!(matches!(Address::of_subscribe("/topic/a/*/c"), Ok(Address::Wildcard(_))));
    }

    #[test]
    fn a_user_called_queue_is_still_reachable() {
        let Ok(Address::UserQueue(queue)) = Address::of_send("/user/queue/queue/m") else { panic!() };
        assert_eq!(queue, Destination::of_user("queue", "m"));
    }

    #[test]
    fn a_topic_of_a_user_is_a_queue_of_his() {
        for name in ["/user/topic/a/b", "/user/queue/topic/a/b"] {
            let Ok(Address::OwnQueue { path }) = Address::of_subscribe(name) else { panic!("{name}") };
            assert_eq!(&*path, "topic/a/b", "{name}");
        }
        for (name, user) in [("/user/alice/topic/m", "alice"), ("/user/a%2Fb/topic/m", "a/b")] {
            let Ok(Address::UserQueue(queue)) = Address::of_send(name) else { panic!("{name}") };
            assert_eq!(queue, Destination::of_user(user, "topic/m"), "{name}");
        }
        let Ok(Address::UserQueue(queue)) = Address::of_send("/user/topic/queue/m") else { panic!() };
        assert_eq!(queue, Destination::of_user("topic", "m"), "of a user called topic");
        for wild in ["/user/topic/*", "/user/alice/topic/**"] {
            assert!(message(wild).contains("**"), "{wild}");
        }
        for name in ["/user/exchange/amq.direct/m", "/user/alice/exchange/amq.direct/m"] {
            assert!(message(name).contains("/user/queue/<name>"), "{name}");
        }
    }

    #[test]
    fn bad_names_are_refused_with_the_right_form() {
        assert!(message("/exchange/amq.topic/chat.1").contains("/topic/chat.1"));
        assert!(message("/amq/queue/jobs").contains("/queue/jobs"));
        assert!(message("/topic/a/*").contains("SUBSCRIBE"));
        assert!(message("/queue/a.#").contains("**"));
        assert!(message("/topic//a").contains("empty segments"));
        assert!(message("/topic/").contains("empty"));
        assert!(message("topic/a").contains("/topic/<path>"));
        assert!(message("/topic/a\u{7}").contains("control"));
        assert!(message(&format!("/topic/{}", "x".repeat(600))).contains("512"));
        assert!(message("/user/alice").contains("/user/<id>/queue/<name>"));
        for text in ["", "/", "/topic", "/user/", "/nowhere/x"] {
            assert!(Address::of_send(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_id_survives_the_way_through_a_destination() {
        for id in ["alice", "a/b", "50%", "%2F", "%252F", "ü/%"] {
            let name = Destination::of_user(id, "m");
            let Ok(Address::UserQueue(queue)) = Address::of_send(name.as_str()) else { panic!("{id}") };
            assert_eq!(queue, name);
            assert_eq!(queue.user_queue(), Some((encode_user(id).as_str(), "m")));
        }
    }
}
