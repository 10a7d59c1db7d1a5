//! The HTTP API, version 1: publish and ask without a session.
//!
//! It runs on the API runtime and touches nothing that a worker owns: what is sent passes the door as an
//! [`Errand`](crate::broker::Errand), what is asked goes to the same ports as a session's questions.

mod auth;
mod batch;
mod console;
mod json;
mod office;
mod openapi;
mod outcome;
mod page;
mod people;
mod presence;
mod problem;
mod publish;
mod queues;
mod rooms;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};

use crate::broker::Broker;
use crate::model::Limits;
use crate::policy::ApiKeys;
use crate::server::clock::Clock;
use crate::server::config::ApiSection;

use auth::Rates;
pub(super) use console::{console_routes, forbidden};
use office::Office;
use problem::Refused;
pub(super) use problem::{refused, unknown_method, unknown_path};

/// What all requests share.
pub(in crate::server) struct Api {
    office: Office,
    keys: ApiKeys,
    rates: Rates,
    settings: ApiSection,
}

impl Api {
    /// The API of a broker; the console asks of the same.
    pub(in crate::server) fn new(
        broker: Arc<Broker>,
        clock: Clock,
        keys: ApiKeys,
        settings: ApiSection,
    ) -> Arc<Self> {
        let office = Office::new(broker, clock, settings.waiting_max);
        Arc::new(Self { office, keys, rates: Rates::default(), settings })
    }

    /// The broker's limits.
    fn limits(&self) -> &Limits {
        &self.office.broker().settings().limits
    }

    /// A message's body may have so many bytes.
    fn check_body(&self, bytes: usize) -> Result<(), Refused> {
        let max = self.limits().body_bytes_max;
        if bytes > max {
            return Err(json::too_large(format!("the body of a message has at most {max} bytes")));
        }
        Ok(())
    }

    /// The routes, without a fallback.
    pub(in crate::server) fn router(self: &Arc<Self>) -> Router {
        let limit = usize::try_from(self.settings.body_bytes_max.0).unwrap_or(usize::MAX);
        let routes = Router::new()
            .route("/publish", post(publish::publish))
            .route("/broadcast", post(batch::broadcast))
            .route("/batch", post(batch::batch))
            .route("/users/{id}", get(people::user))
            .route("/users/{id}/messages", post(users::message))
            .route("/users/{id}/disconnect", post(people::disconnect))
            .route("/users:broadcast", post(users::broadcast))
            .route("/presence/users", get(presence::users))
            .route("/presence/count", get(presence::count))
            .route("/rooms", get(rooms::list))
            .route("/rooms/{room}/members", get(rooms::members))
            .route("/rooms/{room}/members/{id}", put(rooms::enrol).delete(rooms::remove))
            .route("/rooms/{room}/messages", get(rooms::messages).post(rooms::say))
            .route("/queues", get(queues::list))
            .route("/queues/{name}", get(queues::one))
            .route("/queues/{name}/purge", post(queues::purge))
            .route("/queues/{name}/redrive", post(queues::redrive))
            .layer(DefaultBodyLimit::max(limit))
            .with_state(Arc::clone(self));
        Router::new().nest("/api/v1", routes).route("/api/openapi.json", get(openapi::document))
    }
}
