//! What the console of operators asks and orders: nodes, sessions, rooms and queues of all instances, each list bounded.
//!
//! It is served on the port for operators alone, behind its guard (`http/console.rs`), and asks the ports as the API does.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::Api;
use super::json::Json;
use super::page::Query;
use super::problem::{Refused, refused};
use super::queues::{self, Queues};
use crate::features::control::{self, Order};
use crate::model::{CloseReason, Refusal, Task, Whom};
use crate::server::http::Status;

/// What the console asks of. The process may end before its last answer.
pub(super) struct Desk {
    api: Weak<Api>,
    status: Arc<dyn Status>,
    /// The last answer. Several pages that look at once cost the instances as much as one.
    latest: Mutex<Option<(Instant, Arc<str>)>>,
}

/// Everything but the counters, which the page reads from `/metrics`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    /// What the asked instance says of itself.
    this: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready: Option<String>,
    /// Nodes with their sessions; and how many have not answered.
    cluster: Box<RawValue>,
    rooms: Rooms,
    queues: Queues,
}

#[derive(Serialize)]
struct Rooms {
    /// The busiest.
    rooms: Vec<Room>,
    /// How many there are, listed or not; of each instance 10,000 at most.
    count: usize,
}

#[derive(Serialize)]
struct Room {
    name: Box<str>,
    present: usize,
}

/// Which sessions are looked for; without any of the two, some.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    user: Option<Box<str>>,
    session: Option<Box<str>>,
}

#[derive(Serialize)]
struct Found {
    sessions: Vec<Session>,
    /// How many there are, listed or not.
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<usize>,
}

#[derive(Serialize)]
struct Session {
    node: Box<str>,
    session: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Box<str>>,
    /// Some of what it subscribes.
    destinations: Vec<Box<str>>,
    /// How much it subscribes.
    subscriptions: usize,
}

/// Who is to go, and what he is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kick {
    user: Option<Box<str>>,
    session: Option<Box<str>>,
    reason: Option<Box<str>>,
}

#[derive(Serialize)]
struct Kicked {
    sessions: usize,
}

/// The console's routes, without its guard.
pub(in crate::server::http) fn console_routes(api: Weak<Api>, status: Arc<dyn Status>) -> Router {
    Router::new()
        .route("/console/overview", get(overview))
        .route("/console/sessions", get(sessions))
        .route("/console/kick", post(kick))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(Desk { api, status, latest: Mutex::default() }))
}

async fn overview(State(desk): State<Arc<Desk>>) -> Result<Response, Refused> {
    let mut latest = desk.latest.lock().await;
    let fresh = latest.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, text)| Arc::clone(text));
    let text = match fresh {
        Some(text) => text,
        None => {
            let text: Arc<str> = desk.survey().await?.into();
            *latest = Some((Instant::now(), Arc::clone(&text)));
            text
        }
    };
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    Ok((content_type, text.to_string()).into_response())
}

async fn sessions(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Found>, Refused> {
    let Wanted { user, session } = wanted;
    let order = Order { whom: Whom { user, session }, task: Task::List };
    let (reports, nodes) = desk.api()?.office.order(&order).await?;
    let missing = nodes.map(|nodes| nodes.saturating_sub(reports.len()));
    let (count, listed) = control::sum_sessions(&reports);
    let row = |listed: control::ReportedSession| {
        let control::ReportedSession { node, session, user, mut destinations } = listed;
        let subscriptions = destinations.len();
        destinations.truncate(DESTINATIONS_SHOWN);
        Session { node, session, user, destinations, subscriptions }
    };
    Ok(Json(Found { sessions: listed.into_iter().take(SESSIONS_SHOWN).map(row).collect(), count, missing }))
}

async fn kick(
    State(desk): State<Arc<Desk>>,
    axum::Json(kick): axum::Json<Kick>,
) -> Result<Json<Kicked>, Refused> {
    let Kick { user, session, reason } = kick;
    let is_aimed = |name: &Option<Box<str>>| name.as_deref().is_some_and(|name| !name.is_empty());
    if !is_aimed(&user) && !is_aimed(&session) {
        return Err(Refusal::new(CloseReason::BadContent, "say whom, by user or session").into());
    }
    tracing::info!(user = user.as_deref(), session = session.as_deref(), "kicked by the console");
    let order = Order { whom: Whom { user, session }, task: Task::Kick(reason) };
    let (reports, _) = desk.api()?.office.order(&order).await?;
    Ok(Json(Kicked { sessions: control::sum_sessions(&reports).0 }))
}

impl Desk {
    fn api(&self) -> Result<Arc<Api>, Refusal> {
        self.api.upgrade().ok_or_else(|| CloseReason::ShuttingDown.into())
    }

    async fn survey(&self) -> Result<String, Refused> {
        let api = self.api()?;
        let count = Order { whom: Whom { session: Some("".into()), user: None }, task: Task::List };
        let (reports, nodes) = api.office.order(&count).await?;
        let cluster = String::from_utf8(control::answer(&reports, nodes)).unwrap_or_default();
        let internal = |_| Refused::from(CloseReason::Internal);
        let overview = Overview {
            this: self.status.info(),
            not_ready: self.status.ready().err(),
            cluster: RawValue::from_string(cluster).map_err(internal)?,
            rooms: rooms(&api).await?,
            queues: queues::page(&api, QUEUES_SHOWN, None).await?,
        };
        serde_json::to_string(&overview).map_err(internal)
    }
}

async fn rooms(api: &Api) -> Result<Rooms, Refused> {
    let (reports, _) = api.office.order(&Order { whom: Whom::default(), task: Task::Rooms }).await?;
    let all = control::sum_sizes(&reports).into_iter();
    let mut rooms: Vec<Room> = all.map(|(name, present)| Room { name, present }).collect();
    rooms.sort_unstable_by(|a, b| b.present.cmp(&a.present).then_with(|| a.name.cmp(&b.name)));
    let count = rooms.len();
    rooms.truncate(ROOMS_SHOWN);
    Ok(Rooms { rooms, count })
}

/// The answer to what the console may not be asked.
pub(in crate::server::http) fn forbidden(why: &'static str) -> Response {
    refused(&Refusal::new(CloseReason::Forbidden, why))
}

/// For so long an answer is good for whoever asks next.
const FRESH: Duration = Duration::from_secs(1);

/// Rows of each list: what a person reads.
const SESSIONS_SHOWN: usize = 100;
const ROOMS_SHOWN: usize = 50;
const QUEUES_SHOWN: usize = 50;

/// Destinations of one session.
const DESTINATIONS_SHOWN: usize = 20;

/// Bytes of an order.
const BODY_BYTES_MAX: usize = 16 << 10;
