//! What a hook is sent: one JSON object, described in `docs/hooks.md`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use stompede_protocol::Headers;

use crate::model::{Claims, Role};
use crate::policy::hooks::Case;
use crate::policy::{Credentials, HookEvent};

/// The object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    version: u32,
    event: HookEvent,
    /// The question, the same when it is sent again.
    id: &'a str,
    /// Milliseconds since the Unix epoch.
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    role: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    claims: &'a Claims,
    #[serde(skip_serializing_if = "str::is_empty")]
    session: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    destination: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    body: Option<Body<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<Shown<'a>>,
}

/// A body: as it is where it is text, else in base64.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Body<'a> {
    Body(&'a str),
    BodyBase64(String),
}

/// What a client has shown, for a backend that says who it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passcode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// The body of a request. `passed` are the names of headers of CONNECT that are passed on.
pub(super) fn body(case: &Case, id: &str, timestamp_ms: u64, passed: &[String]) -> Bytes {
    let principal = &case.principal;
    let has_body = matches!(case.event, HookEvent::Publish | HookEvent::Message);
    let request = Request {
        version: VERSION,
        event: case.event,
        id,
        timestamp: timestamp_ms,
        user: principal.user.as_deref(),
        role: role_name(principal.role),
        claims: &principal.claims,
        session: &case.session,
        destination: &case.destination,
        headers: headers(&case.headers, |name| {
            case.event != HookEvent::Connect || passed.iter().any(|known| known.eq_ignore_ascii_case(name))
        }),
        body: has_body.then(|| Body::of(&case.body)),
        credentials: case.credentials.as_deref().map(Shown::of),
    };
    serde_json::to_vec(&request).unwrap_or_default().into()
}

/// Of two headers of one name the first counts, as everywhere in STOMP.
fn headers(all: &Headers, is_passed: impl Fn(&str) -> bool) -> BTreeMap<&str, &str> {
    let mut kept = BTreeMap::new();
    for (name, value) in all.iter().filter(|(name, _)| is_passed(name)) {
        kept.entry(name).or_insert(value);
    }
    kept
}

impl<'a> Body<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Body(text),
            Err(_) => Self::BodyBase64(STANDARD.encode(bytes)),
        }
    }
}

impl<'a> Shown<'a> {
    fn of(credentials: &'a Credentials) -> Self {
        let authorization =
            credentials.authorization.as_deref().or(credentials.handshake_authorization.as_deref());
        Self {
            login: credentials.login.as_deref(),
            passcode: credentials.passcode.as_deref(),
            authorization,
            token: credentials.query_token.as_deref(),
        }
    }
}

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

/// As it stands in requests and answers.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Anonymous => "anonymous",
        Role::User => "user",
        Role::Service => "service",
    }
}

/// Of the form of requests and answers.
pub(super) const VERSION: u32 = 1;
