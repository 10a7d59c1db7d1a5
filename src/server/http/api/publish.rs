//! `POST /publish`, and what is made of what requests send.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::value::RawValue;
use stompede_protocol::{Headers, Send};
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::json::{Json, Text, bad_content, moment, too_large};
use super::outcome::Posted;
use super::problem::{Problem, Refused};
use crate::model::Limits;
use crate::policy::Scope;

/// A message to one destination.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Publication<'a> {
    /// Where to: `/topic/...`, `/queue/...`, `/user/<id>/queue/...`, `/app/...`.
    #[serde(borrow)]
    #[schema(value_type = String, example = "/topic/news", max_length = 512)]
    pub(super) destination: Cow<'a, str>,
    /// The body as a text. Not together with `json`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub(super) body: Option<Cow<'a, str>>,
    /// The body as JSON, sent on byte for byte, with `content-type:application/json`. Not together with `body`.
    #[serde(borrow, default)]
    #[schema(value_type = Value)]
    pub(super) json: Option<&'a RawValue>,
    /// Further headers of the message, such as `event` or `content-type`.
    #[serde(default)]
    pub(super) headers: Option<BTreeMap<String, String>>,
    /// What was accepted under this key within the last 5 minutes is not published again.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub(super) idempotency_key: Option<String>,
    /// Until when the message is good, milliseconds since 1970; 0: for ever.
    #[serde(default, deserialize_with = "moment")]
    pub(super) expires: Option<u64>,
}

/// What is sent, wherever it goes.
#[derive(Debug, Default)]
pub(super) struct Content<'a> {
    pub(super) body: Option<Cow<'a, str>>,
    pub(super) json: Option<&'a RawValue>,
    pub(super) headers: Option<BTreeMap<String, String>>,
    pub(super) idempotency_key: Option<String>,
    pub(super) expires: Option<u64>,
}

impl<'a> Publication<'a> {
    /// The SEND that it is.
    pub(super) fn send(self, limits: &Limits) -> Result<Send, Refused> {
        let Self { destination, body, json, headers, idempotency_key, expires } = self;
        let (headers, body) = Content { body, json, headers, idempotency_key, expires }.parts(limits)?;
        Ok(sent(&destination, headers, body))
    }
}

impl Content<'_> {
    /// Headers and body of a SEND.
    pub(super) fn parts(self, limits: &Limits) -> Result<(Headers, Bytes), Refused> {
        let is_json = self.json.is_some();
        let body = match (self.body, self.json) {
            (Some(_), Some(_)) => return Err(bad_content("a message has a body or json, not both")),
            (Some(text), None) => Bytes::from(text.into_owned()),
            (None, Some(json)) => Bytes::copy_from_slice(json.get().as_bytes()),
            (None, None) => Bytes::new(),
        };
        if body.len() > limits.body_bytes_max {
            let max = limits.body_bytes_max;
            return Err(too_large(format!("the body of a message has at most {max} bytes")));
        }
        let mut headers = Headers::new();
        if let Some(key) = self.idempotency_key {
            if key.is_empty() || key.len() > KEY_BYTES_MAX {
                return Err(bad_content(format!("idempotencyKey has 1 to {KEY_BYTES_MAX} bytes")));
            }
            push(&mut headers, "idempotency-key", &key)?;
        }
        if let Some(expires) = self.expires {
            headers.push("expires", &expires.to_string());
        }
        let given = self.headers.unwrap_or_default();
        if is_json && !given.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            headers.push("content-type", "application/json");
        }
        for (name, value) in &given {
            push(&mut headers, name, value)?;
        }
        if headers.len() > limits.headers_max || headers.text_bytes() > limits.head_bytes_max {
            let Limits { headers_max, head_bytes_max, .. } = limits;
            return Err(too_large(format!(
                "a message has at most {headers_max} headers of {head_bytes_max} bytes together"
            )));
        }
        Ok((headers, body))
    }
}

/// A SEND.
pub(super) fn sent(destination: &str, headers: Headers, body: Bytes) -> Send {
    Send { destination: destination.into(), headers, body, receipt: None }
}

/// What no frame could carry is no header.
fn push(headers: &mut Headers, name: &str, value: &str) -> Result<(), Refused> {
    if name.is_empty() || name.chars().any(char::is_control) || value.contains('\0') {
        return Err(bad_content("a header has a name without control characters, and a value without NUL"));
    }
    headers.push(name, value);
    Ok(())
}

/// Publish a message
///
/// As SEND does: access rules, rules of the destination, order and limits are the same. 200 means what a RECEIPT means: the
/// message is kept where its destination keeps messages, and on its way to everybody who subscribes.
#[utoipa::path(
    post, path = "/api/v1/publish", tag = "publish", operation_id = "publish",
    request_body = inline(Publication<'static>),
    responses((status = 200, body = Posted), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn publish(
    State(api): State<Arc<Api>>,
    caller: Caller,
    text: Text,
) -> Result<Json<Posted>, Refused> {
    let principal = caller.backend(Scope::Publish)?;
    let send = text.read::<Publication<'_>>()?.send(api.limits())?;
    Ok(Json(api.office.post(&principal, send).await?.into()))
}

/// Longest idempotency key, bytes.
const KEY_BYTES_MAX: usize = 256;
