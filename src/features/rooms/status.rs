//! What a user says of himself to those who are in a room with him: `online`, `away`, ...

use std::sync::Arc;

use serde::Deserialize;
use stompede_protocol::Millis;

use crate::backend::Status;
use crate::model::{CloseReason, Refusal};

/// Where it is sent.
pub const DESTINATION: &str = "/app/user/status";

/// The status of everybody who has said none.
pub const ONLINE: &str = "online";

/// What a user wants to be said of him; `None` is [`ONLINE`], which needs no keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish(Option<Word>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: Arc<str>,
    ttl_ms: Option<u64>,
}

impl Wish {
    /// Reads `{"status":"away","ttlMs":60000}`, `"away"` or `away`.
    ///
    /// # Errors
    /// `bad-content` for anything else, for a status that is empty, longer than [`STATUS_BYTES_MAX`] or has control
    /// characters, and for a time out of range.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(body).map_err(|_| malformed())?.trim();
        let said: Said = match text.as_bytes().first() {
            Some(b'{') => serde_json::from_str(text).map_err(|_| malformed())?,
            Some(b'"') => Said { status: serde_json::from_str(text).map_err(|_| malformed())?, ttl_ms: None },
            _ => Said { status: text.to_owned(), ttl_ms: None },
        };
        let Said { status, ttl_ms } = said;
        if status.is_empty() || status.len() > STATUS_BYTES_MAX || status.chars().any(char::is_control) {
            return Err(bad(format!("a status has 1 to {STATUS_BYTES_MAX} bytes and no control characters")));
        }
        if ttl_ms.is_some_and(|ttl_ms| !(TTL_MS_MIN..=TTL_MS_MAX).contains(&ttl_ms)) {
            return Err(bad(format!("ttlMs is {TTL_MS_MIN} to {TTL_MS_MAX}")));
        }
        Ok(Self((status != ONLINE).then(|| Word { text: status.into(), ttl_ms })))
    }

    /// As it is kept, from `now` on.
    pub fn at(&self, now: Millis) -> Option<Status> {
        let Word { text, ttl_ms } = self.0.as_ref()?;
        Some(Status { text: Arc::clone(text), until: ttl_ms.map(|ttl_ms| now.after(ttl_ms)) })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    status: String,
    ttl_ms: Option<u64>,
}

fn malformed() -> Refusal {
    bad(r#"a status is {"status":"away"}, with "ttlMs" if it is for a time, or just a word"#.to_owned())
}

fn bad(text: String) -> Refusal {
    Refusal::new(CloseReason::BadContent, text).at(DESTINATION)
}

/// Longest status: a word or two, for each member of a list.
pub const STATUS_BYTES_MAX: usize = 64;

/// Shortest time of a status, milliseconds.
pub const TTL_MS_MIN: u64 = 1_000;

/// Longest time of a status, milliseconds: a day.
pub const TTL_MS_MAX: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<(String, Option<u64>)> {
        let wish = Wish::parse(body.as_bytes()).ok()?;
        let status = wish.at(Millis(5)).unwrap_or(Status { text: ONLINE.into(), until: None });
        Some((status.text.to_string(), status.until.map(|until| until.0)))
    }

    #[test]
    fn a_status_is_an_object_or_a_word() {
        let longest = "x".repeat(STATUS_BYTES_MAX);
        for (body, expected) in [
            (r#"{"status":"away"}"#, Some(("away", None))),
            (r#" {"status":"in a call","ttlMs":1000,"more":1}"#, Some(("in a call", Some(1_005)))),
            (r#"{"status":"away","ttlMs":null}"#, Some(("away", None))),
            (r#"{"status":"away","ttlMs":86400000}"#, Some(("away", Some(86_400_005)))),
            (r#""aw\u00e4y""#, Some(("awäy", None))),
            ("away\n", Some(("away", None))),
            ("online", Some(("online", None))),
            (r#"{"status":"online","ttlMs":5000}"#, Some(("online", None))),
            (&longest, Some((&*longest, None))),
            (&format!("{longest}x"), None),
            ("", None),
            (r#""""#, None),
            (r#"{"status":""}"#, None),
            (r#"{"status":"a\nb"}"#, None),
            ("a\u{7}b", None),
            (r#"{"status":7}"#, None),
            (r#"{"ttlMs":5000}"#, None),
            (r#"{"status":"away","status":"here"}"#, None),
            (r#"{"status":"away","ttlMs":999}"#, None),
            (r#"{"status":"away","ttlMs":86400001}"#, None),
            (r#"{"status":"away","ttlMs":-1}"#, None),
            (r#"{"status":"away""#, None),
        ] {
            let expected = expected.map(|(text, until)| (text.to_owned(), until));
            assert_eq!(read(body), expected, "{body:?}");
        }
        assert!(Wish::parse(b"\xff").is_err());
    }
}
