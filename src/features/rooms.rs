//! Chat rooms: which destinations are rooms, and what a chat message looks like.

mod events;
mod page;
pub mod read;
pub mod status;
mod typing;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::{CloseReason, Destination, MessageId, Refusal};

pub use events::{At, Event, members_answer};
pub use page::{AFTER, LIMIT, Page};
pub use typing::{TYPING_EVERY_MS, TYPING_ROOMS_MAX, Typing};

/// Where events of a room are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Events {
    /// On the room's own topic.
    #[default]
    Topic,
    /// On `<topic>/events`.
    Separate,
    /// Nowhere.
    Off,
}

/// The names of rooms.
#[derive(Debug, Clone)]
pub struct Rooms {
    topic_prefix: Box<str>,
    app_prefix: Box<str>,
    events: Events,
}

/// What is done to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Publish a chat message.
    Send,
    /// Say that one types.
    Typing,
    /// Say what one has read.
    Read,
    /// Belong to it no more.
    Leave,
    /// Ask who is present.
    Members,
}

/// Who says something, and what the broker knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Utterance<'a> {
    /// The room.
    pub room: &'a str,
    /// The sender's user id.
    pub sender: &'a str,
    /// Whether the sender may speak as `SYSTEM`.
    pub service: bool,
    /// Identity of the message.
    pub id: MessageId,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

impl Rooms {
    /// Rooms under `topic_prefix` (such as `/topic/chat/`), commanded under `app_prefix` (such as `/app/chat/`).
    pub fn new(topic_prefix: &str, app_prefix: &str, events: Events) -> Self {
        Self { topic_prefix: topic_prefix.into(), app_prefix: app_prefix.into(), events }
    }

    /// The room that a topic is.
    pub fn of_topic<'a>(&self, destination: &'a str) -> Option<&'a str> {
        destination.strip_prefix(&*self.topic_prefix).filter(|room| !room.is_empty() && !room.contains('/'))
    }

    /// The room and what is wanted of it. `Some(Err)` for names that belong to rooms but mean nothing.
    pub fn of_command<'a>(&self, destination: &'a str) -> Option<Result<(&'a str, Verb), Refusal>> {
        let (room, verb) = destination.strip_prefix(&*self.app_prefix)?.split_once('/')?;
        Some(match verb {
            "send" => Ok((room, Verb::Send)),
            "typing" => Ok((room, Verb::Typing)),
            "read" => Ok((room, Verb::Read)),
            "leave" => Ok((room, Verb::Leave)),
            "members" => Ok((room, Verb::Members)),
            _ => Err(Refusal::new(
                CloseReason::NoHandler,
                format!(
                    "a room takes {0}{{room}}/send, /read, /typing and /leave and, in SUBSCRIBE, {0}{{room}}/members",
                    self.app_prefix
                ),
            )
            .at(destination)),
        })
    }

    /// Where a room is told to do this.
    pub fn command(&self, room: &str, verb: &str) -> String {
        format!("{}{room}/{verb}", self.app_prefix)
    }

    /// Whether it is the question for unread counts.
    pub fn is_unread(&self, destination: &str) -> bool {
        destination.strip_prefix(&*self.app_prefix) == Some(UNREAD_PATH)
    }

    /// The topic of a room.
    pub fn topic(&self, room: &str) -> Destination {
        Destination::internal(&format!("{}{room}", self.topic_prefix))
    }

    /// Where events of the room are published, if anywhere.
    pub fn events_topic(&self, room: &str) -> Option<Destination> {
        match self.events {
            Events::Topic => Some(self.topic(room)),
            Events::Separate => Some(Destination::internal(&format!("{}{room}/events", self.topic_prefix))),
            Events::Off => None,
        }
    }
}

/// Checks a chat message and adds what only the broker can say.
///
/// # Errors
/// `bad-content` when the body is no JSON object, has another type, no content, or more than [`FIELDS_MAX`] fields;
/// `forbidden` for `SYSTEM` from anyone but a service.
pub fn enrich(body: &[u8], utterance: &Utterance<'_>) -> Result<Vec<u8>, Refusal> {
    let fields: Fields<'_> = serde_json::from_slice(body).map_err(|error| {
        // serde's own words repeat the body, which belongs neither in a log nor in an ERROR.
        let (line, column) = (error.line(), error.column());
        bad(format!(
            "a chat message is a JSON object like {{\"type\":\"TEXT\",\"content\":\"...\"}}, with each field once and at \
             most {FIELDS_MAX} of them; the fault is at line {line}, column {column}"
        ))
    })?;
    let kind = fields.text("type")?;
    match &*kind {
        "TEXT" | "IMAGE" | "VOICE" => {}
        "SYSTEM" if utterance.service => {}
        "SYSTEM" => {
            return Err(Refusal::new(CloseReason::Forbidden, "only services send messages of type SYSTEM"));
        }
        other => {
            let shown: String = other.chars().take(32).collect();
            return Err(bad(format!("the type of a chat message is TEXT, IMAGE or VOICE, not {shown:?}")));
        }
    }
    let content = fields.find("content").ok_or_else(|| bad("a chat message has a field \"content\""))?;
    let mut out = Vec::with_capacity(body.len() + ENRICHMENT_BYTES);
    out.extend_from_slice(b"{\"messageId\":\"");
    out.extend_from_slice(utterance.id.to_string().as_bytes());
    out.extend_from_slice(b"\",\"chatRoomId\":");
    push_text(&mut out, utterance.room);
    out.extend_from_slice(b",\"senderId\":");
    push_text(&mut out, utterance.sender);
    out.extend_from_slice(b",\"type\":");
    push_text(&mut out, &kind);
    out.extend_from_slice(b",\"content\":");
    out.extend_from_slice(content.get().as_bytes());
    out.extend_from_slice(b",\"timestamp\":");
    out.extend_from_slice(utterance.timestamp_ms.to_string().as_bytes());
    for (name, value) in &fields.0 {
        if !OWN_FIELDS.contains(&&**name) {
            out.push(b',');
            push_text(&mut out, name);
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
    }
    out.push(b'}');
    Ok(out)
}

/// The fields of a JSON object as they were written, borrowed from the body.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn find(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Result<Cow<'a, str>, Refusal> {
        let value = self.find(name).ok_or_else(|| bad(format!("a chat message has a field {name:?}")))?;
        let text: Text<'a> =
            serde_json::from_str(value.get()).map_err(|_| bad(format!("the field {name:?} is a text")))?;
        Ok(text.0)
    }
}

/// A text that is borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Self::Value = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    // Two readers might believe different ones.
                    if fields.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom("a field is there twice"));
                    }
                    if fields.len() == FIELDS_MAX {
                        return Err(serde::de::Error::custom(format_args!("more than {FIELDS_MAX} fields")));
                    }
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Read).map(Fields)
    }
}

fn bad(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(CloseReason::BadContent, message)
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    // Writing a text into a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Under the prefix of what is sent to rooms: all unread counts of a user.
const UNREAD_PATH: &str = "unread";

/// Most fields of a chat message.
pub const FIELDS_MAX: usize = 64;

/// What enrichment adds to most messages, bytes.
const ENRICHMENT_BYTES: usize = 160;

/// Fields that the broker sets whatever the client sent.
const OWN_FIELDS: [&str; 7] =
    ["messageId", "chatRoomId", "senderId", "type", "content", "timestamp", "offset"];

#[cfg(test)]
mod tests {
    use super::*;

    fn utterance(service: bool) -> Utterance<'static> {
        Utterance {
            room: "4\"2",
            sender: "alice",
            service,
            id: MessageId { node: 0xab, number: 7 },
            timestamp_ms: 1_000,
        }
    }

    fn enriched(body: &str) -> Result<serde_json::Value, CloseReason> {
        let bytes = enrich(body.as_bytes(), &utterance(false)).map_err(|refusal| refusal.reason)?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn the_broker_says_who_when_and_where_whatever_the_client_sent() {
        let body =
            r#"{"type":"TEXT","content":{"a":[1]},"senderId":"eve","offset":9,"timestamp":1,"x":"y\n"}"#;
        let expected = serde_json::json!({
            "messageId": "ab-7", "chatRoomId": "4\"2", "senderId": "alice", "type": "TEXT", "content": {"a": [1]},
            "timestamp": 1_000, "x": "y\n",
        });
        assert_eq!(enriched(body).unwrap(), expected);
    }

    #[test]
    fn anything_else_is_refused() {
        for body in [
            "",
            "[]",
            "{}",
            "\u{0}",
            r#"{"type":"TEXT"}"#,
            r#"{"content":"x"}"#,
            r#"{"type":"HTML","content":"x"}"#,
            r#"{"type":7,"content":"x"}"#,
            r#"{"type":"TEXT","type":"SYSTEM","content":"x"}"#,
            r#"{"type":"TEXT","content":"x"} "#.trim_end().strip_suffix('}').unwrap_or(""),
        ] {
            assert_eq!(enriched(body), Err(CloseReason::BadContent), "{body}");
        }
        let many: String = (0..FIELDS_MAX).map(|n| format!(",\"f{n}\":0")).collect();
        assert_eq!(
            enriched(&format!(r#"{{"type":"TEXT","content":""{many}}}"#)),
            Err(CloseReason::BadContent)
        );
        assert!(enrich(b"{\"type\":\"TEXT\",\"content\":\"\xff\"}", &utterance(false)).is_err());
    }

    #[test]
    fn only_services_speak_as_the_system() {
        let body = r#"{"type":"SYSTEM","content":"x"}"#;
        assert_eq!(enriched(body), Err(CloseReason::Forbidden));
        assert!(enrich(body.as_bytes(), &utterance(true)).is_ok());
    }

    #[test]
    fn rooms_are_one_segment() {
        let rooms = Rooms::new("/topic/chat/", "/app/chat/", Events::Separate);
        assert_eq!(rooms.of_topic("/topic/chat/42"), Some("42"));
        assert_eq!(rooms.of_topic("/topic/chat/42/events"), None);
        assert_eq!(rooms.of_topic("/topic/other"), None);
        assert_eq!(rooms.of_command("/app/chat/42/send"), Some(Ok(("42", Verb::Send))));
        assert_eq!(rooms.of_command("/app/chat/42/typing"), Some(Ok(("42", Verb::Typing))));
        assert_eq!(rooms.of_command("/app/orders"), None);
        assert!(matches!(rooms.of_command("/app/chat/42/dance"), Some(Err(_))));
        assert_eq!(rooms.events_topic("42").unwrap().as_str(), "/topic/chat/42/events");
    }
}
