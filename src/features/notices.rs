//! What backends are told of: one JSON object each, described in `docs/hooks.md`, in a queue of their own until it is told.
//!
//! A notice is a message of a work queue like others: it outlives the process where those do, one instance delivers it, and what
//! cannot be delivered is a dead letter that an operator sees and puts back.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::model::{Destination, Message, MessageId};

/// What every notice says.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// What it is about, in a word.
    pub event: &'a str,
    /// Its own id, the same however often it is told.
    pub id: MessageId,
    /// When that was, milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

impl Notice<'_> {
    /// A session has ended.
    pub fn of_session(&self, user: Option<&str>, session: &str, reason: &str, duration_ms: u64) -> Vec<u8> {
        self.with(json!({"user": user, "session": session, "reason": reason, "durationMs": duration_ms}))
    }

    /// Somebody is in a room, or nobody any more.
    pub fn of_room(&self, room: &str, topic: &Destination) -> Vec<u8> {
        self.with(json!({"room": room, "destination": topic.as_str()}))
    }

    /// A message for users who are not there.
    pub fn of_message(&self, message: &Message, room: Option<&str>, users: &[Arc<str>]) -> Vec<u8> {
        let headers: serde_json::Map<String, Value> =
            message.headers.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let mut body = json!({
            "users": users.iter().map(|user| &**user).collect::<Vec<_>>(),
            "destination": message.destination.as_str(),
            "messageId": message.id.to_string(),
            "sender": message.sender.as_deref(),
            "headers": headers,
        });
        if let Some(room) = room {
            body["room"] = room.into();
        }
        match std::str::from_utf8(&message.body) {
            _ if message.body.len() > BODY_BYTES_MAX => body["bodyBytes"] = message.body.len().into(),
            Ok(text) => body["body"] = text.into(),
            Err(_) => body["bodyBase64"] = STANDARD.encode(&message.body).into(),
        }
        self.with(body)
    }

    fn with(&self, mut body: Value) -> Vec<u8> {
        body["version"] = VERSION.into();
        body["event"] = self.event.into();
        body["id"] = self.id.to_string().into();
        body["timestamp"] = self.timestamp_ms.into();
        if let Value::Object(fields) = &mut body {
            fields.retain(|_, value| !value.is_null());
        }
        body.to_string().into_bytes()
    }
}

/// What waits to be looked at, whoever puts it there.
#[derive(Debug)]
pub struct Line<T>(Mutex<VecDeque<T>>);

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Line<T> {
    /// Puts it at the end.
    ///
    /// # Errors
    /// So many wait already: it is given back.
    pub fn join(&self, one: T, max: usize) -> Result<(), T> {
        let mut line = self.0.lock();
        if line.len() >= max {
            return Err(one);
        }
        line.push_back(one);
        Ok(())
    }

    /// What came out of the line goes on, before what has not begun.
    pub fn go_on(&self, one: T) {
        self.0.lock().push_front(one);
    }

    /// Takes out the first.
    pub fn next(&self) -> Option<T> {
        self.0.lock().pop_front()
    }
}

/// Where notices for a hook wait.
pub fn queue_of(hook: &str) -> Destination {
    Destination::internal(&format!("{PREFIX}hook.{hook}"))
}

/// Whether it is a queue of the broker's own, which services alone may look into.
pub fn is_private(queue: &Destination) -> bool {
    queue.as_str().starts_with(PREFIX) || queue.as_str().starts_with(DEAD_PREFIX)
}

/// The body of a message of which a notice is, bytes. Of a larger one only the size is told: a mobile push has no room for it either.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// Of the form of notices.
const VERSION: u32 = 1;

/// What the names of the broker's own queues begin with,
const PREFIX: &str = "/queue/stompede.";

/// and those of their dead letters.
const DEAD_PREFIX: &str = "/queue/dlq.stompede.";

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use stompede_protocol::Headers;

    const NOTICE: Notice<'_> =
        Notice { event: "offline", id: MessageId { node: 10, number: 7 }, timestamp_ms: 5 };

    fn read(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn a_notice_says_what_when_and_which_it_is() {
        let told = read(&NOTICE.of_session(None, "s", "kicked", 9));
        let expected = json!({
            "version": 1, "event": "offline", "id": "a-7", "timestamp": 5, "session": "s", "reason": "kicked", "durationMs": 9
        });
        assert_eq!(told, expected);
        let told = read(&NOTICE.of_room("42", &Destination::internal("/topic/chat/42")));
        assert_eq!((&told["room"], &told["destination"]), (&json!("42"), &json!("/topic/chat/42")));
    }

    #[test]
    fn a_message_is_told_as_it_is() {
        let mut headers = Headers::new();
        headers.push("event", "note");
        let message = Message {
            id: MessageId { node: 1, number: 2 },
            destination: Destination::of_user("bob", "m"),
            timestamp_ms: 0,
            sender: Some("alice".into()),
            headers,
            body: Bytes::from_static(b"hi"),
            text: true,
            position: None,
            numbered: false,
        };
        let told = read(&NOTICE.of_message(&message, None, &["bob".into()]));
        assert_eq!((&told["users"], &told["messageId"]), (&json!(["bob"]), &json!("1-2")));
        assert_eq!(
            (&told["body"], &told["sender"], &told["headers"]["event"]),
            (&json!("hi"), &json!("alice"), &json!("note"))
        );
        let large = Message { body: vec![b'x'; BODY_BYTES_MAX + 1].into(), ..message.clone() };
        let told = read(&NOTICE.of_message(&large, None, &[]));
        assert_eq!((&told["bodyBytes"], &told["body"]), (&json!(65_537), &Value::Null));
        let binary = Message { body: Bytes::from_static(b"\xff"), ..message };
        assert_eq!(read(&NOTICE.of_message(&binary, Some("1"), &[]))["bodyBase64"], "/w==");
    }

    #[test]
    fn queues_of_notices_and_their_dead_letters_are_private() {
        assert!(is_private(&queue_of("push")));
        assert!(is_private(&Destination::internal("/queue/dlq.stompede.hook.push")));
        assert!(!is_private(&Destination::internal("/queue/stompede")));
    }
}
