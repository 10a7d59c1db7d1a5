//! What a hook says: one JSON object, described in `docs/hooks.md`. Anything else is no answer.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use stompede_protocol::Headers;

use crate::model::principal::USER_BYTES_MAX;
use crate::model::{Allowance, CloseReason, Content, Identity, Outgoing, Refusal, Role};
use crate::policy::HookEvent;

/// What was understood.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) verdict: Result<Box<Allowance>, Refusal>,
    /// How long it may be kept, if it says so, milliseconds.
    pub(super) ttl_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    allow: Option<bool>,
    code: Option<String>,
    message: Option<String>,
    retry_after_ms: Option<u32>,
    ttl_ms: Option<u64>,
    #[serde(borrow)]
    reply: Option<RawContent<'a>>,
    /// Each a destination with a content.
    #[serde(borrow, default)]
    publish: Vec<&'a RawValue>,
    user: Option<String>,
    role: Option<String>,
    #[serde(default)]
    claims: BTreeMap<String, Texts>,
    /// Seconds since the Unix epoch.
    expires: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawContent<'a> {
    body: Option<String>,
    body_base64: Option<String>,
    #[serde(borrow)]
    json: Option<&'a RawValue>,
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct RawOutgoing {
    destination: String,
}

/// A claim: one text or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

/// Reads an answer about `event`.
///
/// # Errors
/// What is wrong with it, for the log.
pub(super) fn read(event: HookEvent, text: &[u8]) -> Result<Word, String> {
    let raw: Raw<'_> = parsed(text)?;
    let ttl_ms = raw.ttl_ms;
    let allowed = match (raw.allow, event) {
        (Some(allowed), _) => allowed,
        (None, HookEvent::Message) => true,
        (None, _) => return Err("it has no \"allow\"".to_owned()),
    };
    if !allowed {
        return Ok(Word { verdict: Err(raw.refusal()?), ttl_ms });
    }
    let mut allowance = Allowance::default();
    match event {
        HookEvent::Publish => {
            let content = parsed::<RawContent<'_>>(text)?.read()?;
            (allowance.body, allowance.headers) = (content.body, content.headers);
        }
        HookEvent::Message => {
            allowance.reply = raw.reply.as_ref().map(|reply| reply.read().map(Given::content)).transpose()?;
            if raw.publish.len() > PUBLISHED_MAX {
                return Err(format!("it publishes more than {PUBLISHED_MAX} messages"));
            }
            allowance.messages = raw.publish.iter().map(|raw| outgoing(raw)).collect::<Result<_, _>>()?;
        }
        HookEvent::Connect => allowance.identity = raw.identity()?,
        _ => {}
    }
    Ok(Word { verdict: Ok(Box::new(allowance)), ttl_ms })
}

fn outgoing(raw: &RawValue) -> Result<Outgoing, String> {
    let RawOutgoing { destination } = parsed(raw.get().as_bytes())?;
    let content = parsed::<RawContent<'_>>(raw.get().as_bytes())?.read()?.content();
    Ok(Outgoing { destination: destination.into(), content })
}

/// What else stands there is passed over: a later version may know it.
fn parsed<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| format!("it is not of the form: {error}"))
}

impl Raw<'_> {
    fn refusal(&self) -> Result<Refusal, String> {
        let reason = match self.code.as_deref() {
            None => CloseReason::Forbidden,
            Some(code) => REASONS
                .into_iter()
                .find(|reason| reason.code() == code)
                .ok_or_else(|| format!("the code {code:?} is not for hooks"))?,
        };
        let mut refusal = match &self.message {
            None => Refusal::from(reason),
            Some(text) if text.len() > MESSAGE_BYTES_MAX || text.chars().any(char::is_control) => {
                return Err(format!(
                    "\"message\" has at most {MESSAGE_BYTES_MAX} bytes and no control characters"
                ));
            }
            Some(text) => Refusal::new(reason, text.clone()),
        };
        refusal.retry_after_ms = self.retry_after_ms;
        Ok(refusal)
    }

    fn identity(&self) -> Result<Identity, String> {
        let user = self.user.as_deref();
        let is_wrong =
            |user: &str| user.is_empty() || user.len() > USER_BYTES_MAX || user.chars().any(char::is_control);
        if user.is_some_and(is_wrong) {
            return Err(format!("\"user\" has 1 to {USER_BYTES_MAX} bytes and no control characters"));
        }
        let role = match self.role.as_deref() {
            None => None,
            Some("user") => Some(Role::User),
            Some("service") => Some(Role::Service),
            Some(other) => return Err(format!("the role {other:?} is neither user nor service")),
        };
        let claims = self.claims.iter().map(|(name, texts)| {
            let texts: Box<[Box<str>]> = match texts {
                Texts::One(text) => Box::new([text.as_str().into()]),
                Texts::Many(texts) => texts.iter().map(|text| text.as_str().into()).collect(),
            };
            (name.as_str().into(), texts)
        });
        Ok(Identity { user: user.map(Into::into), role, claims: claims.collect(), expires_s: self.expires })
    }
}

/// What stands in a content; what does not stand there stays as it is.
struct Given {
    body: Option<Bytes>,
    headers: Headers,
}

impl Given {
    fn content(self) -> Content {
        Content { headers: self.headers, body: self.body.unwrap_or_default() }
    }
}

impl RawContent<'_> {
    fn read(&self) -> Result<Given, String> {
        let body = match (&self.body, &self.body_base64, self.json) {
            (None, None, None) => None,
            (Some(text), None, None) => Some(Bytes::from(text.clone())),
            (None, Some(text), None) => {
                let bytes = STANDARD.decode(text).map_err(|_| "\"bodyBase64\" is not base64".to_owned())?;
                Some(bytes.into())
            }
            (None, None, Some(json)) => Some(Bytes::copy_from_slice(json.get().as_bytes())),
            _ => return Err("of \"body\", \"bodyBase64\" and \"json\" one is given".to_owned()),
        };
        let mut headers = Headers::new();
        for (name, value) in self.headers.iter().flatten() {
            if name.is_empty() || name.chars().any(char::is_control) || value.contains('\0') {
                return Err(
                    "a header has a name without control characters, and a value without NUL".to_owned()
                );
            }
            headers.push(name, value);
        }
        if self.json.is_some() && headers.get("content-type").is_none() {
            headers.push("content-type", "application/json");
        }
        if headers.len() > HEADERS_MAX {
            return Err(format!("a message has at most {HEADERS_MAX} headers"));
        }
        Ok(Given { body, headers })
    }
}

/// By which a backend may refuse.
const REASONS: [CloseReason; 7] = [
    CloseReason::Forbidden,
    CloseReason::Unauthorized,
    CloseReason::BadContent,
    CloseReason::BadDestination,
    CloseReason::NoHandler,
    CloseReason::RateLimited,
    CloseReason::Unavailable,
];

/// Longest sentence that a client is told, bytes.
const MESSAGE_BYTES_MAX: usize = 512;

/// Messages that one answer publishes.
const PUBLISHED_MAX: usize = 100;

/// Headers of one message.
const HEADERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(event: HookEvent, text: &str) -> Allowance {
        *read(event, text.as_bytes()).unwrap().verdict.unwrap()
    }

    fn refused(text: &str) -> Refusal {
        read(HookEvent::Subscribe, text.as_bytes()).unwrap().verdict.unwrap_err()
    }

    #[test]
    fn nothing_but_a_clear_word_is_an_answer() {
        for text in
            ["", "null", "true", "[]", "{}", r#"{"allow":"yes"}"#, r#"{"allow":null}"#, r#"{"allow":1}"#]
        {
            assert!(read(HookEvent::Subscribe, text.as_bytes()).is_err(), "{text}");
            assert!(read(HookEvent::Connect, text.as_bytes()).is_err(), "{text}");
        }
        for text in [
            r#"{"allow":true,"body":"a","json":1}"#,
            r#"{"allow":true,"bodyBase64":"?"}"#,
            r#"{"allow":true,"headers":{"":"x"}}"#,
            r#"{"allow":true,"headers":{"a\n":"x"}}"#,
            r#"{"allow":false,"code":"slow-consumer"}"#,
            r#"{"allow":false,"message":"a\nb"}"#,
        ] {
            assert!(read(HookEvent::Publish, text.as_bytes()).is_err(), "{text}");
        }
        for text in [r#"{"allow":true,"user":""}"#, r#"{"allow":true,"role":"god"}"#] {
            assert!(read(HookEvent::Connect, text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_no_has_a_code_a_sentence_and_a_time() {
        assert_eq!(refused(r#"{"allow":false}"#), CloseReason::Forbidden.into());
        let told = refused(r#"{"allow":false,"code":"rate-limited","message":"later","retryAfterMs":50}"#);
        assert_eq!(told, Refusal::new(CloseReason::RateLimited, "later").retry_after(50));
    }

    #[test]
    fn a_body_may_be_text_json_or_bytes() {
        let body = |text: &str| allowed(HookEvent::Publish, text).body.unwrap();
        assert_eq!(body(r#"{"allow":true,"body":"x"}"#), "x");
        assert_eq!(body(r#"{"allow":true,"bodyBase64":"/w=="}"#), b"\xff"[..]);
        assert_eq!(body(r#"{"allow":true,"json":{"a": 1}}"#), r#"{"a": 1}"#);
        let json = allowed(HookEvent::Publish, r#"{"allow":true,"json":1,"headers":{"x":"y"}}"#);
        assert_eq!(json.headers.get("content-type"), Some("application/json"));
        assert_eq!(json.headers.get("x"), Some("y"));
        assert!(allowed(HookEvent::Publish, r#"{"allow":true}"#).body.is_none());
    }

    #[test]
    fn an_identity_says_who_it_is_and_what_he_may() {
        let text =
            r#"{"allow":true,"user":"alice","role":"service","claims":{"rooms":["1"],"a":"b"},"expires":7}"#;
        let Identity { user, role, claims, expires_s } = allowed(HookEvent::Connect, text).identity;
        assert_eq!((user.as_deref(), role, expires_s), (Some("alice"), Some(Role::Service), Some(7)));
        assert_eq!((&*claims["rooms"][0], &*claims["a"][0]), ("1", "b"));
    }

    #[test]
    fn an_application_answers_and_publishes() {
        let text = r#"{"reply":{"json":[1]},"publish":[{"destination":"/topic/a","body":"x"}]}"#;
        let allowance = allowed(HookEvent::Message, text);
        assert_eq!(allowance.reply.unwrap().body, "[1]");
        assert_eq!(
            (&*allowance.messages[0].destination, &allowance.messages[0].content.body[..]),
            ("/topic/a", &b"x"[..])
        );
        assert!(allowed(HookEvent::Message, "{}").reply.is_none());
        let many = format!(r#"{{"publish":[{}]}}"#, vec![r#"{"destination":"/topic/a"}"#; 101].join(","));
        assert!(read(HookEvent::Message, many.as_bytes()).is_err());
    }
}
