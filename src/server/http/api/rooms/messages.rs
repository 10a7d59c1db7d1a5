//! What is said in a room.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use stompede_protocol::Headers;
use utoipa::{IntoParams, ToSchema};

use super::super::Api;
use super::super::auth::Caller;
use super::super::json::{Json, Text, bad_content};
use super::super::outcome::Posted;
use super::super::page::{LIMIT_MAX, Path, Query};
use super::super::problem::{Problem, Refused};
use super::super::publish::sent;
use super::room_of;
use crate::model::{Answer, Message, Page, Position, Start, StoreError};
use crate::policy::Scope;
use crate::policy::access::Action;

/// Which messages of a room are wanted. Without `since` and `before` the newest.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct Wanted {
    /// The first messages behind this position.
    #[param(max_length = 64)]
    since: Option<String>,
    /// The last messages before this position. Not together with `since`.
    #[param(max_length = 64)]
    before: Option<String>,
    /// How many, 1 to 1000. Less are given where they are large.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Messages of a room, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Messages {
    messages: Vec<Said>,
    /// Whether nothing is missing between what was asked for and the first message: `false` for a position that leads
    /// nowhere any more.
    recovered: bool,
    /// For a later `since`: where this answer ends.
    end: String,
    /// Whether there is more in the same direction.
    more: bool,
}

/// A message that is kept.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Said {
    message_id: String,
    /// Where it stands: for `since` and `before`.
    position: String,
    /// When it was said, milliseconds since 1970.
    timestamp: u64,
    /// Who said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_id: Option<String>,
    /// What clients get: the chat message.
    #[schema(value_type = Object)]
    message: Box<RawValue>,
}

/// Read messages of a room
#[utoipa::path(
    get, path = "/api/v1/rooms/{room}/messages", tag = "rooms", operation_id = "roomMessages",
    params(("room" = String, Path, description = "The room", min_length = 1), Wanted),
    responses((status = 200, body = Messages), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(in super::super) async fn messages(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(room): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Messages>, Refused> {
    let principal = caller.anybody(Scope::Rooms)?;
    let room = room_of(&api, &principal, &room, &[Action::Subscribe, Action::History]).await?;
    let limit = match wanted.limit {
        None => LIMIT,
        Some(limit @ 1..=LIMIT_MAX) => limit,
        Some(_) => return Err(bad_content(format!("limit is a number from 1 to {LIMIT_MAX}"))),
    };
    let position = |text: &String| {
        text.parse::<Position>().map_err(|_| bad_content("since and before take a position of a message"))
    };
    let since = wanted.since.as_ref().map(position).transpose()?;
    let before = wanted.before.as_ref().map(position).transpose()?;
    let start = match (since, before) {
        (Some(_), Some(_)) => return Err(bad_content("since and before exclude each other")),
        (Some(since), None) => Start::Since(Some(since), 0),
        (None, None) => Start::Last(limit),
        // What stands before it, and no more than is wanted.
        (None, Some(before)) => Start::After(before.offset.saturating_sub(limit as u64 + 1)),
    };
    let now = api.office.now();
    let page = api.office.begin(|broker, ticket| broker.read(&room, start, limit, BYTES_MAX, ticket, now));
    let mut page = page.told(page_of).await?;
    let mut more = !page.joined;
    match before {
        Some(before) if before.epoch != page.after.epoch => {
            page.messages.clear();
            (page.recovered, more) = (false, false);
        }
        Some(before) => {
            page.messages.retain(|message| message.position.is_some_and(|at| at.offset < before.offset));
            more = !page.messages.is_empty() && page.recovered && page.after.offset > 0;
        }
        None if since.is_none() => more = page.after.offset > 0 && page.messages.len() == limit,
        None => {}
    }
    let end = page.messages.last().and_then(|message| message.position).unwrap_or(page.after);
    Ok(Json(Messages {
        messages: page.messages.iter().map(|message| said(message)).collect::<Result<_, _>>()?,
        recovered: page.recovered,
        end: end.to_string(),
        more,
    }))
}

/// Say something in a room
///
/// The body is a chat message, as it is sent to `/app/chat/<room>/send`: an object with `type` (`TEXT`, `IMAGE`, `VOICE`, from
/// services also `SYSTEM`), `content` and whatever else the application wants.
#[utoipa::path(
    post, path = "/api/v1/rooms/{room}/messages", tag = "rooms", operation_id = "sayInRoom",
    params(
        ("room" = String, Path, description = "The room", min_length = 1),
        ("Idempotency-Key" = Option<String>, Header, description = "What was accepted under this key within the last 5 minutes is not published again", max_length = 256),
    ),
    request_body = inline(ChatMessage),
    responses((status = 200, body = Posted), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(in super::super) async fn say(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(room): Path<String>,
    asked: axum::http::HeaderMap,
    text: Text,
) -> Result<Json<Posted>, Refused> {
    let principal = caller.anybody(Scope::Rooms)?;
    let room = api.office.broker().room(&room)?;
    let destination = api.office.broker().say_destination(&room);
    let mut headers = Headers::new();
    if let Some(key) = asked.get("idempotency-key") {
        let key = key.to_str().ok().filter(|key| (1..=256).contains(&key.len()));
        headers.push(
            "idempotency-key",
            key.ok_or_else(|| bad_content("the idempotency key is 1 to 256 bytes"))?,
        );
    }
    let body: Bytes = text.into_bytes();
    api.check_body(body.len())?;
    Ok(Json(api.office.post(&principal, sent(&destination, headers, body)).await?.into()))
}

/// A chat message as it is sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is read elsewhere")]
pub(in super::super) struct ChatMessage {
    /// `TEXT`, `IMAGE`, `VOICE`; from services also `SYSTEM`.
    #[schema(example = "TEXT")]
    r#type: String,
    /// Whatever the application wants.
    content: serde_json::Value,
}

/// A page of history.
pub(super) fn page_of(answer: Answer) -> Option<Result<Page, StoreError>> {
    match answer {
        Answer::Page(page) => Some(page),
        _ => None,
    }
}

fn said(message: &Message) -> Result<Said, Refused> {
    let body = std::str::from_utf8(&message.body).unwrap_or_default();
    // What a service publishes on a room's topic itself need not be JSON.
    let json = RawValue::from_string(body.to_owned()).or_else(|_| to_raw_value(body));
    Ok(Said {
        message_id: message.id.to_string(),
        position: message.position.map(|position| position.to_string()).unwrap_or_default(),
        timestamp: message.timestamp_ms,
        sender_id: message.sender.as_deref().map(Into::into),
        message: json.map_err(|_| crate::model::CloseReason::Internal)?,
    })
}

/// How many messages are given where nothing else is said.
const LIMIT: usize = 50;

/// Bytes of messages in one answer, though one is always given.
const BYTES_MAX: usize = 4 << 20;
