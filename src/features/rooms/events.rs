//! What the broker itself tells a room, and answers about it.

use serde::Serialize;

use crate::model::{Members, Place};

use super::page::cursor;
use super::status::ONLINE;

/// Something that happens in a room and is told there, never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Header `event`, and `type` in the body.
    pub kind: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

/// Where something happens, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At<'a> {
    /// The room.
    pub room: &'a str,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

impl Event {
    /// A user became present; the room's version with it.
    pub fn join(at: At<'_>, user: &str, version: u64) -> Self {
        Fields { user: Some(user), version: Some(version), ..Fields::of("JOIN", at) }.told()
    }

    /// A user is gone, likewise.
    pub fn leave(at: At<'_>, user: &str, version: u64) -> Self {
        Fields { user: Some(user), version: Some(version), ..Fields::of("LEAVE", at) }.told()
    }

    /// So many are present, as of a version.
    pub fn count(at: At<'_>, count: usize, version: u64) -> Self {
        Fields { count: Some(count), version: Some(version), ..Fields::of("PRESENCE_COUNT", at) }.told()
    }

    /// A user says something else of himself; `None`: nothing any more.
    pub fn status(at: At<'_>, user: &str, status: Option<&str>) -> Self {
        Fields { user: Some(user), status: Some(status.unwrap_or(ONLINE)), ..Fields::of("STATUS", at) }.told()
    }

    /// A user has read up to a message.
    pub fn read(at: At<'_>, user: &str, place: Place) -> Self {
        let id = place.id.map(|id| id.to_string());
        Fields {
            user: Some(user),
            message: id.as_deref(),
            offset: Some(place.offset),
            ..Fields::of("READ", at)
        }
        .told()
    }

    /// A user types.
    pub fn typing(at: At<'_>, user: &str) -> Self {
        Fields { user: Some(user), ..Fields::of("TYPING", at) }.told()
    }
}

/// The body of every event; each has some of these.
#[derive(Serialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "chatRoomId")]
    room: &'a str,
    #[serde(rename = "userId", skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(rename = "messageId", skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(rename = "timestamp")]
    timestamp_ms: u64,
}

impl<'a> Fields<'a> {
    fn of(kind: &'static str, At { room, timestamp_ms }: At<'a>) -> Self {
        Self {
            kind,
            room,
            user: None,
            message: None,
            offset: None,
            status: None,
            count: None,
            version: None,
            timestamp_ms,
        }
    }

    fn told(&self) -> Event {
        Event { kind: self.kind, body: json(self) }
    }
}

/// The answer to a question for the members of a room.
pub fn members_answer(room: &str, members: &Members) -> Vec<u8> {
    let next = members.listed.last().filter(|_| members.more);
    json(&Answer {
        room,
        members: members
            .listed
            .iter()
            .map(|member| Listed { user: &member.user, status: member.status.as_deref().unwrap_or(ONLINE) })
            .collect(),
        count: members.count,
        version: members.version,
        next: next.map(|last| cursor(last.arrival)),
    })
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "chatRoomId")]
    room: &'a str,
    members: Vec<Listed<'a>>,
    count: usize,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(rename = "userId")]
    user: &'a str,
    status: &'a str,
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers always have a form in JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Member;
    use crate::model::MessageId;

    fn told(Event { kind, body }: Event) -> (&'static str, String) {
        (kind, String::from_utf8(body).unwrap())
    }

    #[test]
    fn an_event_says_what_it_is_about() {
        let at = At { room: "4\"2", timestamp_ms: 9 };
        let room = r#""chatRoomId":"4\"2""#;
        let read = Place { offset: 3, id: Some(MessageId { node: 0xab, number: 7 }) };
        let gone = Place { offset: 2, id: None };
        for (event, kind, fields) in [
            (Event::join(at, "a", 3), "JOIN", r#""userId":"a","version":3"#),
            (Event::leave(at, "a", 4), "LEAVE", r#""userId":"a","version":4"#),
            (Event::count(at, 300, 301), "PRESENCE_COUNT", r#""count":300,"version":301"#),
            (Event::status(at, "a", Some("away")), "STATUS", r#""userId":"a","status":"away""#),
            (Event::status(at, "a", None), "STATUS", r#""userId":"a","status":"online""#),
            (Event::read(at, "a", read), "READ", r#""userId":"a","messageId":"ab-7","offset":3"#),
            (Event::read(at, "a", gone), "READ", r#""userId":"a","offset":2"#),
            (Event::typing(at, "a"), "TYPING", r#""userId":"a""#),
        ] {
            let body = format!(r#"{{"type":"{kind}",{room},{fields},"timestamp":9}}"#);
            assert_eq!(told(event), (kind, body));
        }
    }

    #[test]
    fn a_list_says_where_it_goes_on() {
        let member = |user: &str, status: Option<&str>, arrival| Member {
            user: user.into(),
            status: status.map(Into::into),
            arrival,
        };
        let listed = vec![member("a", None, 16), member("b", Some("away"), 31)];
        let members = Members { listed, count: 5, version: 40, more: true };
        let start = r#"{"chatRoomId":"42","members":[{"userId":"a","status":"online"},{"userId":"b","status":"away"}],"count":5,"version":40"#;
        assert_eq!(members_answer("42", &members), format!("{start},\"next\":\"1f\"}}").into_bytes());
        let whole = Members { more: false, ..members };
        assert_eq!(members_answer("42", &whole), format!("{start}}}").into_bytes());
    }
}
