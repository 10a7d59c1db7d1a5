//! Who is online.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::json::Json;
use super::page::{Part, Query, encoded};
use super::problem::{Problem, Refused};
use crate::features::control::{self, Order};
use crate::model::{Answer, People, Task, Whom};
use crate::policy::Scope;

/// Users who are online, or some of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Online {
    /// Their ids.
    users: Vec<String>,
    /// How many there are, listed or not.
    count: usize,
    /// Where the list goes on, if it does: the parameter `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How many are there, on all instances.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Counts {
    /// Users with a session.
    users: usize,
    /// Their sessions, and those of services and of nobody.
    sessions: usize,
    /// Instances that have not said how many sessions they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<usize>,
}

/// List users who are online
///
/// On all instances. Who stays is listed once, in rare cases twice. An answer may list somewhat more than `limit`.
#[utoipa::path(
    get, path = "/api/v1/presence/users", tag = "presence", operation_id = "onlineUsers",
    params(Part),
    responses((status = 200, body = Online), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn users(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(part): Query<Part>,
) -> Result<Json<Online>, Refused> {
    caller.backend(Scope::Presence)?;
    let (count, cursor) = (part.count()?, part.cursor()?);
    let People { listed, next, count } = people(&api, cursor.as_deref(), count).await?;
    let users = listed.iter().map(|user| (**user).to_owned()).collect();
    Ok(Json(Online { users, count, next: next.as_deref().map(encoded) }))
}

/// Count users and sessions
#[utoipa::path(
    get, path = "/api/v1/presence/count", tag = "presence", operation_id = "countOnline",
    responses((status = 200, body = Counts), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn count(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Counts>, Refused> {
    caller.backend(Scope::Presence)?;
    let users = people(&api, None, 0).await?.count;
    let order = Order { whom: Whom::default(), task: Task::Count };
    let (reports, nodes) = api.office.order(&order).await?;
    let (sessions, _) = control::sum_sessions(&reports);
    let missing = nodes.map(|nodes| nodes.saturating_sub(reports.len()));
    Ok(Json(Counts { users, sessions, missing }))
}

async fn people(api: &Api, next: Option<&str>, count: usize) -> Result<People, Refused> {
    let people = api.office.ask(
        |broker, ticket| broker.people(next, count, ticket),
        |answer| match answer {
            Answer::People(people) => Some(people),
            _ => None,
        },
    );
    Ok(people.await?)
}
