//! The port for operators: metrics, health, readiness, and the console. Served apart from the workers, so that it answers whatever they do.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::map_response;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::timeout;
use tower::ServiceExt;

use super::HttpSettings;
use super::api::Api;
use super::console::{self, Operator};
use super::router::{self, Status, problem};
use crate::server::acceptor::{Accepted, Placement};

/// Makes the page of `/metrics`, in Prometheus's text format 0.0.4; nothing when the process has ended. Asked on the API
/// runtime; must not block for long.
pub type Scrape = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What the port answers: to machines, and by its console, if it is given what that asks, to people on this one.
pub(in crate::server) fn admin_router(
    status: Arc<dyn Status>,
    scrape: Scrape,
    console: Option<Weak<Api>>,
) -> Router {
    let metrics = async move || match scrape() {
        Some(page) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], page).into_response(),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "The broker has ended."),
    };
    router::health_routes(Arc::clone(&status))
        .route("/metrics", get(metrics))
        .merge(console.map_or_else(Router::new, |api| console::routes(api, status)))
        .fallback(async || {
            problem(StatusCode::NOT_FOUND, "Nothing is here: there are /, /metrics, /healthz and /readyz.")
        })
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "The method does not fit this address.")
        })
        .layer(map_response(router::with_strict_headers))
}

/// Serves the port's connections on the API runtime.
pub struct AdminDoor {
    settings: HttpSettings,
    router: Router,
    api: tokio::runtime::Handle,
    places: Arc<Semaphore>,
}

impl AdminDoor {
    /// Serves `router` on `api`.
    pub fn new(router: Router, api: tokio::runtime::Handle) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let settings = HttpSettings { head_max: IDLE_MAX, ..HttpSettings::default() };
        Self { settings, router, api, places }
    }
}

impl Placement for AdminDoor {
    fn place(&self, accepted: Accepted) {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                tracing::warn!(remote = %accepted.remote, "closed: too many connections to the admin port");
                return;
            }
        };
        let (settings, router) = (self.settings.clone(), self.router.clone());
        self.api.spawn(async move {
            if let Err(error) = serve(accepted, settings, router).await {
                tracing::debug!(%error, "a connection to the admin port broke");
            }
            drop(place);
        });
    }
}

impl fmt::Debug for AdminDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminDoor").field("settings", &self.settings).finish_non_exhaustive()
    }
}

async fn serve(
    accepted: Accepted,
    settings: HttpSettings,
    router: Router,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let answer_max = settings.answer_max;
    let operator = Operator(accepted.remote);
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(operator);
        let answer = timeout(answer_max, router.clone().oneshot(request));
        async move {
            let late = || problem(StatusCode::SERVICE_UNAVAILABLE, "The answer took too long.");
            answer.await.unwrap_or_else(|_elapsed| Ok(late()))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.head_max)
        .max_headers(settings.headers_max)
        .max_header_size(settings.head_bytes_max);
    let connection = pin!(http.serve_connection(TokioIo::new(accepted.stream), service));
    Ok(connection.await?)
}

/// What the page of `/metrics` is.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// From one request to the next: longer than it usually is from one scrape to the next.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// Connections at once: a few scrapers, and who looks by hand.
const CONNECTIONS_MAX: usize = 64;
