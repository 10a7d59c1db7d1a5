//! Work queues, as operators see them.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::json::{Json, bad_content};
use super::page::{NO_CURSOR, Part, Path, Query, encoded};
use super::problem::{Problem, Refused};
use crate::backend::Soon;
use crate::features::control::{self, Order};
use crate::model::{Address, Answer, CloseReason, Depth, Destination, Look, Refusal, Task, Whom};
use crate::policy::Scope;

/// Queues, or some of them, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Queues {
    queues: Vec<Queue>,
    /// How many there are, listed or not.
    count: usize,
    /// Where the list goes on, if it does: the parameter `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queue {
    /// What follows `/queue/`, or the whole destination of the application's.
    name: String,
    /// Messages that wait, that are delayed, and that consumers have.
    depth: usize,
    /// Of these, those that consumers have.
    out: usize,
    /// Bytes of all.
    bytes: usize,
    /// Consumers on all instances.
    consumers: usize,
    /// How long the oldest has been there, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_ms: Option<u64>,
}

/// Messages that were removed or put elsewhere.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Affected {
    messages: usize,
}

/// List work queues
///
/// Queues that hold messages or have consumers, on all instances.
#[utoipa::path(
    get, path = "/api/v1/queues", tag = "queues", operation_id = "queues",
    params(Part),
    responses((status = 200, body = Queues), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(part): Query<Part>,
) -> Result<Json<Queues>, Refused> {
    caller.backend(Scope::Queues)?;
    let (limit, after) = (part.count()?, part.cursor()?);
    if after.as_deref().is_some_and(|after| !after.starts_with('/')) {
        return Err(bad_content(NO_CURSOR));
    }
    Ok(Json(page(&api, limit, after.as_deref()).await?))
}

/// The first queues by name, behind one.
pub(super) async fn page(api: &Api, limit: usize, after: Option<&str>) -> Result<Queues, Refused> {
    let consumers = consumers(api).await?;
    let names = api.office.ask(
        |broker, ticket| broker.queue_names(ticket),
        |answer| match answer {
            Answer::Queues(names) => Some(names),
            _ => None,
        },
    );
    let mut names: Vec<Destination> = names.await?;
    let attended = consumers.keys().filter_map(|name| match Address::of_send(name) {
        Ok(Address::Queue(queue) | Address::App(queue)) => Some(queue),
        _ => None,
    });
    names.extend(attended);
    names.sort_unstable();
    names.dedup();
    let count = names.len();
    let mut found = names.into_iter().filter(|name| after.is_none_or(|after| name.as_str() > after));
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let next = found.next().and(page.last()).map(|queue| encoded(queue.as_str()));
    let mut queues = Vec::with_capacity(page.len());
    for queue in page {
        let depth = depth(api, &queue).await?;
        queues.push(row(api, &queue, depth, consumers.get(queue.as_str()).copied().unwrap_or(0)));
    }
    Ok(Queues { queues, count, next })
}

/// Ask about a work queue
#[utoipa::path(
    get, path = "/api/v1/queues/{name}", tag = "queues", operation_id = "queue",
    params(("name" = String, Path, description = "What follows `/queue/`", min_length = 1)),
    responses((status = 200, body = Queue), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Queue>, Refused> {
    caller.backend(Scope::Queues)?;
    let queue = queue_of(&name)?;
    let depth = depth(&api, &queue).await?;
    let consumers = consumers(&api).await?.get(queue.as_str()).copied().unwrap_or(0);
    if depth.messages == 0 && consumers == 0 {
        let text = "the queue has neither messages nor consumers";
        return Err(Refusal::new(CloseReason::NotFound, text).at(queue.as_str()).into());
    }
    Ok(Json(row(&api, &queue, depth, consumers)))
}

/// Empty a work queue
///
/// Removes the messages that wait or are delayed. What consumers have stays with them.
#[utoipa::path(
    post, path = "/api/v1/queues/{name}/purge", tag = "queues", operation_id = "purgeQueue",
    params(("name" = String, Path, description = "What follows `/queue/`", min_length = 1)),
    responses((status = 200, body = Affected), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn purge(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Affected>, Refused> {
    caller.backend(Scope::Admin)?;
    let queue = queue_of(&name)?;
    // No more than was there when it began: producers may be faster.
    let mut left = depth(&api, &queue).await?.messages;
    let mut messages = 0;
    while left > 0 {
        let wanted = left.min(AT_ONCE);
        let purged = removed(&api, |broker, ticket| broker.purge_queue(&queue, wanted, ticket)).await?;
        (messages, left) = (messages + purged, left.saturating_sub(purged));
        if purged == 0 {
            break;
        }
    }
    super::rooms::synced(&api).await?;
    Ok(Json(Affected { messages }))
}

/// Send dead letters back
///
/// Puts the dead letters of `/queue/<name>`, and of `/app/<name>`, at the end of where they come from, as far as there is room.
/// What consumers of the dead-letter queue have stays with them.
#[utoipa::path(
    post, path = "/api/v1/queues/{name}/redrive", tag = "queues", operation_id = "redriveQueue",
    params(("name" = String, Path, description = "What follows `/queue/`, without `dlq.`", min_length = 1)),
    responses((status = 200, body = Affected), (status = "default", body = Problem<'static>, content_type = "application/problem+json")),
)]
pub(super) async fn redrive(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Affected>, Refused> {
    caller.backend(Scope::Admin)?;
    let queue = queue_of(&format!("dlq.{name}"))?;
    let (mut after, mut messages, mut newest) = (0, 0, None);
    loop {
        let look = api.office.ask(
            |broker, ticket| broker.browse_queue(&queue, after, AT_ONCE, ticket),
            |answer| match answer {
                Answer::Browsed(look) => Some(look),
                _ => None,
            },
        );
        let look: Look = look.await?;
        // What is buried meanwhile waits for the next request: it might come back for ever.
        let until = *newest.get_or_insert(look.newest);
        let Some(last) = look.listed.last().map(|queued| queued.tag).filter(|_| after < until) else { break };
        after = last;
        let moves = api.office.broker().revive(&look);
        let now = api.office.now();
        messages += removed(&api, |broker, ticket| broker.move_messages(&queue, moves, ticket, now)).await?;
    }
    super::rooms::synced(&api).await?;
    Ok(Json(Affected { messages }))
}

async fn removed(
    api: &Api,
    begin: impl FnOnce(&crate::broker::Broker, crate::model::Ticket) -> Soon<usize>,
) -> Result<usize, Refused> {
    let removed = api.office.ask(begin, |answer| match answer {
        Answer::Removed(removed) => Some(removed),
        _ => None,
    });
    Ok(removed.await?)
}

async fn depth(api: &Api, queue: &Destination) -> Result<Depth, Refused> {
    let depth = api.office.ask(
        |broker, ticket| broker.queue_depth(queue, ticket),
        |answer| match answer {
            Answer::Depth(depth) => Some(depth),
            _ => None,
        },
    );
    Ok(depth.await?)
}

async fn consumers(api: &Api) -> Result<std::collections::HashMap<Box<str>, usize>, Refused> {
    let (reports, _) = api.office.order(&Order { whom: Whom::default(), task: Task::Consumers }).await?;
    Ok(control::sum_sizes(&reports))
}

fn row(api: &Api, queue: &Destination, depth: Depth, consumers: usize) -> Queue {
    let Depth { messages, out, bytes, oldest_ms } = depth;
    let name = queue.as_str().strip_prefix("/queue/").unwrap_or(queue.as_str()).into();
    let oldest_age_ms = oldest_ms.map(|at| api.office.now().wall_ms.saturating_sub(at));
    Queue { name, depth: messages, out, bytes, consumers, oldest_age_ms }
}

/// The queue of a path: what follows `/queue/`, slashes encoded.
fn queue_of(name: &str) -> Result<Destination, Refused> {
    let destination = if name.starts_with("/app/") { name.to_owned() } else { format!("/queue/{name}") };
    match Address::of_send(&destination)? {
        Address::Queue(queue) | Address::App(queue) => Ok(queue),
        _ => Err(Refusal::new(CloseReason::BadDestination, "it is no work queue").at(&destination).into()),
    }
}

/// Messages that are removed or looked at in one step.
const AT_ONCE: usize = 500;
