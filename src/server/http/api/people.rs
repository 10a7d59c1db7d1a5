//! One user: what is known of him, and that he goes.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::json::{Json, Text, bad_content};
use super::page::{Path, user_of};
use super::problem::{Problem, Refused};
use crate::backend::UNREAD_MAX;
use crate::features::control::{self, Order, ReportedSession};
use crate::model::{Answer, Membership, Person, Revocation, Task, Whom};
use crate::policy::Scope;

/// What is known of a user, on all instances.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    user_id: String,
    /// He has a session.
    online: bool,
    /// What he says of himself: `online` unless something else, `offline` without a session.
    status: String,
    sessions: Vec<Session>,
    /// Rooms where he is present, or to which he belongs.
    rooms: Vec<UserRoom>,
    /// Messages that he has not read, in all rooms to which he belongs.
    unread: u64,
    /// Instances that have not said which sessions they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<usize>,
}

/// One session.
#[derive(Debug, Serialize, ToSchema)]
struct Session {
    /// Its name, as CONNECTED said it.
    session: String,
    /// The instance that it is on.
    node: String,
    /// What it subscribes.
    destinations: Vec<String>,
}

/// A room of a user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserRoom {
    chat_room_id: String,
    /// He is there.
    present: bool,
    /// He belongs to it.
    enrolled: bool,
    /// Messages of others that he has not read, where he belongs to it; counted up to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<u32>,
    /// There are more unread than were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

/// What is to happen to a user's sessions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Disconnection {
    /// What his clients read in ERROR.
    #[serde(default)]
    #[schema(max_length = 256)]
    reason: Option<String>,
    /// Whether the tokens that he has are good no more.
    #[serde(default)]
    revoke: bool,
}

/// What has happened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Disconnected {
    /// Sessions that were ended.
    sessions: usize,
    /// Instances that have not said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<usize>,
}

/// Ask about a user
///
/// Of somebody whom nobody knows it is said that he is offline.
#[utoipa::path(
    get, path = "/api/v1/users/{id}", tag = "users", operation_id = "user",
    params(("id" = String, Path, description = "The user", max_length = 256, min_length = 1)),
    responses((status = 200, body = User), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn user(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<User>, Refused> {
    caller.backend(Scope::Presence)?;
    let user = user_of(&id)?;
    let order = Order { whom: of(&user), task: Task::List };
    let (reports, nodes) = api.office.order(&order).await?;
    let (_, sessions) = control::sum_sessions(&reports);
    let person = person(&api, &user).await?;
    let rooms = rooms(&api, &user, &person).await?;
    let status = match person.status {
        _ if !person.is_online => "offline".into(),
        None => "online".into(),
        Some(status) => status.to_string(),
    };
    let session = |ReportedSession { node, session, destinations, .. }| Session {
        session: session.into(),
        node: node.into(),
        destinations: destinations.into_iter().map(Into::into).collect(),
    };
    Ok(Json(User {
        user_id: user.to_string(),
        online: person.is_online,
        status,
        sessions: sessions.into_iter().map(session).collect(),
        unread: rooms.iter().filter_map(|room| room.unread).map(u64::from).sum(),
        rooms,
        missing: nodes.map(|nodes| nodes.saturating_sub(reports.len())),
    }))
}

/// End the sessions of a user
///
/// On all instances, with the reason `kicked`. Whoever has a valid token may come back, unless his tokens are revoked: then
/// their sessions end with `token-revoked`, and those of accounts with `kicked`.
#[utoipa::path(
    post, path = "/api/v1/users/{id}/disconnect", tag = "users", operation_id = "disconnectUser",
    params(("id" = String, Path, description = "The user", max_length = 256, min_length = 1)),
    request_body = inline(Option<Disconnection>),
    responses((status = 200, body = Disconnected), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn disconnect(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    text: Text,
) -> Result<Json<Disconnected>, Refused> {
    caller.backend(Scope::Admin)?;
    let user = user_of(&id)?;
    let Disconnection { reason, revoke } = text.read_or_nothing()?;
    if reason.as_deref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX || reason.contains('\0')) {
        return Err(bad_content(format!("reason has at most {REASON_BYTES_MAX} bytes, and no NUL")));
    }
    let kick = Order { whom: of(&user), task: Task::Kick(reason.map(Into::into)) };
    if !revoke {
        return Ok(Json(ended(&api.office.order(&kick).await?)));
    }
    // Whose token is revoked may have gone before he is sent away, so they are counted before.
    let before = api.office.order(&Order { whom: of(&user), task: Task::Count }).await?;
    api.office.revoke(&Revocation::of_user(&user, api.office.now().wall_s())).await?;
    api.office.order(&kick).await?;
    Ok(Json(ended(&before)))
}

fn ended((reports, nodes): &(Vec<Bytes>, Option<usize>)) -> Disconnected {
    let (sessions, _) = control::sum_sessions(reports);
    Disconnected { sessions, missing: nodes.map(|nodes| nodes.saturating_sub(reports.len())) }
}

fn of(user: &str) -> Whom {
    Whom { user: Some(user.into()), session: None }
}

async fn person(api: &Api, user: &str) -> Result<Person, Refused> {
    let person = api.office.ask(
        |broker, ticket| broker.person(user, ticket),
        |answer| match answer {
            Answer::Person(person) => Some(person),
            _ => None,
        },
    );
    Ok(person.await?)
}

async fn rooms(api: &Api, user: &Arc<str>, person: &Person) -> Result<Vec<UserRoom>, Refused> {
    let memberships = api.office.ask(
        |broker, ticket| broker.memberships_of(user, ticket),
        |answer| match answer {
            Answer::Memberships(memberships) => Some(memberships),
            _ => None,
        },
    );
    let memberships: Vec<Membership> = memberships.await?;
    // All are asked before the first is waited for.
    let mut counts = Vec::with_capacity(memberships.len());
    for membership in &memberships {
        let now = api.office.now();
        counts.push(api.office.begin(|broker, ticket| broker.unread(user, membership, ticket, now)));
    }
    let mut rooms = Vec::with_capacity(memberships.len());
    for (Membership { room, .. }, count) in memberships.iter().zip(counts) {
        let told = |answer| match answer {
            Answer::Unread(counts) => Some(counts),
            _ => None,
        };
        let unread = count.told(told).await?.first().copied().unwrap_or(0);
        let present = person.rooms.contains(room);
        let (chat_room_id, more) = (room.to_string(), unread >= UNREAD_MAX);
        rooms.push(UserRoom { chat_room_id, present, enrolled: true, unread: Some(unread), more });
    }
    for room in person.rooms.iter().filter(|room| memberships.iter().all(|known| known.room != **room)) {
        let chat_room_id = room.to_string();
        rooms.push(UserRoom { chat_room_id, present: true, enrolled: false, unread: None, more: false });
    }
    Ok(rooms)
}

/// Longest text for the clients of whoever is disconnected, bytes.
const REASON_BYTES_MAX: usize = 256;
