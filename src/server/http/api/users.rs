//! Messages to users: one, or all who are online.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stompede_protocol::Send;
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::json::{Json, Text, moment};
use super::outcome::Posted;
use super::page::{Path, user_of};
use super::problem::{Problem, Refused};
use super::publish::{Content, sent};
use crate::model::{Answer, Destination, Limits};
use crate::policy::Scope;

/// A message to a user's own queue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserMessage<'a> {
    /// The queue: the user subscribes to `/user/queue/<queue>`.
    #[serde(default = "messages")]
    #[schema(default = "messages", example = "messages")]
    queue: String,
    /// The header `event` of the message.
    #[serde(default)]
    event: Option<String>,
    /// The body, sent on byte for byte.
    #[serde(borrow, default)]
    #[schema(value_type = Value)]
    data: Option<&'a RawValue>,
    /// What was accepted under this key within the last 5 minutes is not published again.
    #[serde(default)]
    #[schema(max_length = 256)]
    idempotency_key: Option<String>,
    /// Until when the message is good, milliseconds since 1970; 0: for ever.
    #[serde(default, deserialize_with = "moment")]
    expires: Option<u64>,
}

/// How many were reached.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reached {
    /// Users to whose queue it was published.
    users: usize,
}

fn messages() -> String {
    "messages".to_owned()
}

/// What is the same for all who get it.
struct Letterhead {
    queue: String,
    send: Send,
}

impl UserMessage<'_> {
    fn letterhead(self, limits: &Limits) -> Result<Letterhead, Refused> {
        let Self { queue, event, data: json, idempotency_key, expires } = self;
        let headers = event.map(|event| [("event".to_owned(), event)].into());
        let (headers, body) =
            Content { body: None, json, headers, idempotency_key, expires }.parts(limits)?;
        Ok(Letterhead { queue, send: sent("", headers, body) })
    }
}

impl Letterhead {
    fn to(&self, user: &str) -> Send {
        let Self { queue, send } = self;
        let destination = Destination::of_user(user, queue);
        sent(destination.as_str(), send.headers.clone(), send.body.clone())
    }
}

/// Send a message to a user
///
/// To all sessions of the user, on whichever instance. Where a rule keeps what is sent to such queues (`offline`), it waits
/// for a user who is away.
#[utoipa::path(
    post, path = "/api/v1/users/{id}/messages", tag = "users", operation_id = "sendToUser",
    params(("id" = String, Path, description = "The user", max_length = 256, min_length = 1)),
    request_body = inline(UserMessage<'static>),
    responses((status = 200, body = Posted), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn message(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    text: Text,
) -> Result<Json<Posted>, Refused> {
    let principal = caller.backend(Scope::Publish)?;
    let user = user_of(&id)?;
    let letterhead = text.read::<UserMessage<'_>>()?.letterhead(api.limits())?;
    Ok(Json(api.office.post(&principal, letterhead.to(&user)).await?.into()))
}

/// Send a message to all users online
///
/// Users who are online while the request runs. It is not one step: after an answer other than 200 some have it; repeated with
/// the same `idempotencyKey` it reaches the others alone.
#[utoipa::path(
    post, path = "/api/v1/users:broadcast", tag = "users", operation_id = "sendToAllUsers",
    request_body = inline(UserMessage<'static>),
    responses((status = 200, body = Reached), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn broadcast(
    State(api): State<Arc<Api>>,
    caller: Caller,
    text: Text,
) -> Result<Json<Reached>, Refused> {
    let principal = caller.backend(Scope::Publish)?;
    let letterhead = text.read::<UserMessage<'_>>()?.letterhead(api.limits())?;
    // What is wrong with it is told even where nobody is online.
    let trial = vec![letterhead.to("nobody")];
    api.office.broker().admit_errand(&principal, trial, api.office.now()).map_err(|(_, refusal)| refusal)?;
    let (mut users, mut next) = (0, None::<Box<str>>);
    loop {
        let from = next.take();
        let people = api.office.ask(
            |broker, ticket| broker.people(from.as_deref(), USERS_AT_ONCE, ticket),
            |answer| match answer {
                Answer::People(people) => Some(people),
                _ => None,
            },
        );
        let people = people.await?;
        let sends: Vec<Send> = people.listed.iter().map(|user| letterhead.to(user)).collect();
        users += sends.len();
        for outcome in api.office.post_all(&principal, sends).await? {
            outcome?;
        }
        next = people.next;
        if next.is_none() {
            return Ok(Json(Reached { users }));
        }
    }
}

/// Users who are written to at a time.
const USERS_AT_ONCE: usize = 500;
