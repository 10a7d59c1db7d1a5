//! Rooms: which there are, what is said there, who is there and who belongs to them.
//!
//! A user may do over HTTP what he may do over STOMP, and is asked the same: who may SUBSCRIBE to a room sees it, and reads
//! what its rules let him read.

mod members;
mod messages;

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::json::{Json, bad_content};
use super::page::{NO_CURSOR, Part, Query, encoded};
use super::problem::{Problem, Refused};
use crate::broker::NamedRoom;
use crate::features::control::{self, Order};
use crate::model::{Answer, Start, Task, Whom};
use crate::policy::Scope;
use crate::policy::access::Action;

pub(super) use members::{enrol, members, remove};
pub(super) use messages::{messages, say};

pub(super) use members::{__path_enrol, __path_members, __path_remove};
pub(super) use messages::{__path_messages, __path_say};

/// Rooms where somebody is present, or some of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rooms {
    /// The busiest first.
    rooms: Vec<RoomRow>,
    /// How many there are, listed or not.
    count: usize,
    /// Where the list goes on, if it does: the parameter `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Instances that have not said which rooms they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<usize>,
}

/// A room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RoomRow {
    chat_room_id: String,
    /// Users present; who is there by way of several instances counts for each.
    present: usize,
    /// When the newest message that is kept was said, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_message_at: Option<u64>,
}

/// List rooms
///
/// Rooms where somebody is present, those with the most users first; of each instance its 10,000 largest. A user sees those to
/// which rules let him SUBSCRIBE.
#[utoipa::path(
    get, path = "/api/v1/rooms", tag = "rooms", operation_id = "rooms",
    params(Part),
    responses((status = 200, body = Rooms), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(part): Query<Part>,
) -> Result<Json<Rooms>, Refused> {
    let principal = caller.anybody(Scope::Rooms)?;
    let (limit, cursor) = (part.count()?, part.cursor()?);
    let after = cursor.as_deref().map(|cursor| place(cursor).ok_or_else(|| bad_content(NO_CURSOR)));
    let after = after.transpose()?;
    let (reports, nodes) = api.office.order(&Order { whom: Whom::default(), task: Task::Rooms }).await?;
    let broker = api.office.broker();
    let seen = |name: &str| {
        let room = broker.room(name).ok()?;
        broker.may_room(&principal, &[Action::Subscribe], &room).ok()
    };
    let mut all: Vec<(usize, Box<str>)> = control::sum_sizes(&reports)
        .into_iter()
        .filter(|(name, _)| seen(name).is_some())
        .map(|(name, present)| (present, name))
        .collect();
    all.sort_unstable_by(|(size, name), (other, other_name)| {
        other.cmp(size).then_with(|| name.cmp(other_name))
    });
    let count = all.len();
    let is_behind = |(size, name): &&(usize, Box<str>)| {
        after.as_ref().is_none_or(|(last, last_name)| size < last || size == last && **name > **last_name)
    };
    let mut found = all.iter().filter(is_behind);
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let next = found.next().and(page.last()).map(|(size, name)| encoded(&format!("{size}:{name}")));
    let mut asked = Vec::with_capacity(page.len());
    for (_, name) in &page {
        let room = broker.room(name)?;
        let now = api.office.now();
        let newest = Start::Last(1);
        asked.push(api.office.begin(|broker, ticket| broker.read(&room, newest, 1, 1, ticket, now)));
    }
    let mut rooms = Vec::with_capacity(page.len());
    for ((present, name), newest) in page.into_iter().zip(asked) {
        let newest = newest.told(messages::page_of).await?;
        let last_message_at = newest.messages.last().map(|message| message.timestamp_ms);
        rooms.push(RoomRow { chat_room_id: name.to_string(), present: *present, last_message_at });
    }
    let missing = nodes.map(|nodes| nodes.saturating_sub(reports.len()));
    Ok(Json(Rooms { rooms, count, next, missing }))
}

/// How many are present in the last room of a list, and its name.
fn place(cursor: &str) -> Option<(usize, String)> {
    let (size, name) = cursor.split_once(':')?;
    Some((size.parse().ok()?, name.to_owned()))
}

/// The room of a path, which the caller may do `actions` to.
async fn room_of(
    api: &Api,
    principal: &Arc<crate::model::Principal>,
    name: &str,
    actions: &[Action],
) -> Result<NamedRoom, Refused> {
    let room = api.office.broker().room(name)?;
    api.office.may_room(principal, actions, &room).await?;
    Ok(room)
}

/// What was done is safe.
pub(super) async fn synced(api: &Api) -> Result<(), Refused> {
    let synced = api.office.ask(
        |broker, ticket| broker.sync(ticket),
        |answer| match answer {
            Answer::Synced(synced) => Some(synced),
            _ => None,
        },
    );
    Ok(synced.await?)
}
