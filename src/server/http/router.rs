//! What HTTP answers besides WebSocket endpoints: health, readiness, information, the page.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::model::Refusal;

use super::{api, page};

/// What the process says about itself. Asked on the API runtime; must not block.
pub trait Status: Send + Sync {
    /// Whether the process is there to serve, whatever becomes of what it needs: what a load balancer asks, so that no
    /// outage of something that all instances share takes all of them off the air.
    ///
    /// # Errors
    /// It is about to end, and no new connection should come.
    fn healthy(&self) -> Result<(), String>;

    /// Whether new clients may be sent here.
    ///
    /// # Errors
    /// Why not, in words for an operator.
    fn ready(&self) -> Result<(), String>;

    /// Version, uptime, counts: the answer of `/api/v1/info`.
    fn info(&self) -> serde_json::Value;
}

/// The routes that every HTTP face has, and `more` that has no fallback of its own; the limits and headers here are for
/// all of them.
pub fn router(status: Arc<dyn Status>, more: Router) -> Router {
    Router::new()
        .route("/api/v1/info", get(info))
        .with_state(Arc::clone(&status))
        .merge(health_routes(status))
        .merge(more)
        .fallback(page::answer)
        .method_not_allowed_fallback(async || api::unknown_method())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_response(with_strict_headers))
}

/// What load balancers and supervisors ask, on every port that speaks HTTP.
pub(super) fn health_routes(status: Arc<dyn Status>) -> Router {
    Router::new().route("/healthz", get(health)).route("/readyz", get(ready)).with_state(status)
}

/// An error answer as RFC 9457 has it.
pub fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, content_type, body.to_string()).into_response()
}

/// The whole answer to one connection too many, which nobody will read a request of.
pub(super) fn too_many_connections(refusal: &Refusal) -> Bytes {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let title = status.canonical_reason().unwrap_or("Error");
    let problem =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": refusal.message});
    let body = problem.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\n\
         retry-after: {RETRY_AFTER_S}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}"
    )
    .into()
}

/// The answer to a request of a client that has too many connections.
pub(super) fn too_many_requests(refusal: &Refusal) -> Response<Body> {
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, &refusal.message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn health(State(status): State<Arc<dyn Status>>) -> Response {
    match status.healthy() {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn ready(State(status): State<Arc<dyn Status>>) -> Response {
    match status.ready() {
        Ok(()) => Json(json!({"ready": true})).into_response(),
        Err(reason) => {
            let answer = Json(json!({"ready": false, "reason": reason}));
            (StatusCode::SERVICE_UNAVAILABLE, answer).into_response()
        }
    }
}

async fn info(State(status): State<Arc<dyn Status>>) -> Json<serde_json::Value> {
    Json(status.info())
}

/// A page of another origin can neither frame ours nor bring scripts into it.
pub(super) async fn with_strict_headers(mut response: Response) -> Response {
    for (name, value) in STRICT_HEADERS {
        // What is stricter for one page stays.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if !response.headers().contains_key(header::CACHE_CONTROL) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

const STRICT_HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// When a new connection may be tried.
const RETRY_AFTER_S: u32 = 5;

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 1 << 20;
