//! `POST /broadcast` and `POST /batch`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::value::RawValue;
use stompede_protocol::Send;
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::json::{Json, Named, Text, bad_content, moment, too_large};
use super::outcome::AllPosted;
use super::problem::{Problem, Refused};
use super::publish::{Content, Publication, sent};
use crate::policy::Scope;

/// One message to many destinations.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Broadcast<'a> {
    /// Where to.
    #[serde(borrow)]
    #[schema(value_type = Vec<String>, min_items = 1)]
    destinations: Vec<Cow<'a, str>>,
    /// The body as a text. Not together with `json`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    body: Option<Cow<'a, str>>,
    /// The body as JSON. Not together with `body`.
    #[serde(borrow, default)]
    #[schema(value_type = Value)]
    json: Option<&'a RawValue>,
    /// Further headers of the message.
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    /// As for a single message, at each destination.
    #[serde(default)]
    #[schema(max_length = 256)]
    idempotency_key: Option<String>,
    /// Until when the message is good, milliseconds since 1970; 0: for ever.
    #[serde(default, deserialize_with = "moment")]
    expires: Option<u64>,
}

/// Messages that are accepted or refused together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch<'a> {
    /// In their order.
    #[serde(borrow)]
    #[schema(value_type = Vec<Publication<'static>>, min_items = 1)]
    messages: Vec<Named<Publication<'a>>>,
}

/// Publish one message to many destinations
///
/// All are checked before the first is published: one that is refused refuses them all, and `index` says which.
#[utoipa::path(
    post, path = "/api/v1/broadcast", tag = "publish", operation_id = "broadcast",
    request_body = inline(Broadcast<'static>),
    responses((status = 200, body = AllPosted), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn broadcast(
    State(api): State<Arc<Api>>,
    caller: Caller,
    text: Text,
) -> Result<Json<AllPosted>, Refused> {
    let principal = caller.backend(Scope::Publish)?;
    let Broadcast { destinations, body, json, headers, idempotency_key, expires } = text.read()?;
    check_count(&api, destinations.len())?;
    let content = Content { body, json, headers, idempotency_key, expires };
    let (headers, body) = content.parts(api.limits())?;
    let sends: Vec<Send> = destinations.iter().map(|to| sent(to, headers.clone(), body.clone())).collect();
    Ok(Json(AllPosted::of(api.office.post_all(&principal, sends).await?)?))
}

/// Publish several messages
///
/// As a transaction: all are checked before the first is published, and one that is refused refuses them all.
#[utoipa::path(
    post, path = "/api/v1/batch", tag = "publish", operation_id = "batch",
    request_body = inline(Batch<'static>),
    responses((status = 200, body = AllPosted), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn batch(
    State(api): State<Arc<Api>>,
    caller: Caller,
    text: Text,
) -> Result<Json<AllPosted>, Refused> {
    let principal = caller.backend(Scope::Publish)?;
    let Batch { messages } = text.read()?;
    check_count(&api, messages.len())?;
    let sends = messages
        .into_iter()
        .enumerate()
        .map(|(at, Named(message))| message.send(api.limits()).map_err(|refused| refused.of(at)));
    let sends: Vec<Send> = sends.collect::<Result<_, _>>()?;
    Ok(Json(AllPosted::of(api.office.post_all(&principal, sends).await?)?))
}

fn check_count(api: &Api, count: usize) -> Result<(), Refused> {
    let max = api.settings.batch_max;
    if count == 0 {
        return Err(bad_content("there is nothing to publish"));
    }
    if count > max {
        return Err(too_large(format!("a request publishes at most {max} messages (api.batch_max)")));
    }
    Ok(())
}
