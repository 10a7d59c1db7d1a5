//! Heads of answers: who may read them, how long they are kept, and the cookie.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::json;

use super::SockJsSettings;
use crate::server::http::sse::Origin;

/// What all answers to one request have in common.
pub(super) struct Head {
    /// None where the page does not matter.
    origin: Option<Origin>,
    cookie: Option<HeaderValue>,
    asked_headers: Option<HeaderValue>,
}

impl Head {
    /// Of what no page reads.
    pub(super) fn plain() -> Self {
        Self { origin: None, cookie: None, asked_headers: None }
    }

    pub(super) fn of(parts: &Parts, origin: Option<Origin>, settings: &SockJsSettings) -> Self {
        let asked = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        Self {
            origin,
            cookie: settings.cookie.then(|| cookie(&parts.headers)),
            asked_headers: asked.filter(|value| !value.is_empty()).cloned(),
        }
    }

    /// An answer of this kind.
    pub(super) fn answer(
        &self,
        status: StatusCode,
        content_type: &'static str,
        body: Body,
    ) -> Response<Body> {
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(NEVER_CACHED));
        self.mark(answer)
    }

    /// As [`Head::answer`], of a session.
    pub(super) fn of_session(
        &self,
        status: StatusCode,
        content_type: &'static str,
        body: Body,
    ) -> Response<Body> {
        let mut answer = self.answer(status, content_type, body);
        if let Some(cookie) = &self.cookie {
            answer.headers_mut().insert(header::SET_COOKIE, cookie.clone());
        }
        answer
    }

    /// One that goes on: proxies must not gather what is said.
    pub(super) fn streaming(&self, content_type: &'static str, body: Body) -> Response<Body> {
        let mut answer = self.of_session(StatusCode::OK, content_type, body);
        answer
            .headers_mut()
            .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        answer
    }

    /// What a browser asks before it sends what is no simple request; it may keep the answer for a year.
    pub(super) fn preflight(&self, methods: &'static str) -> Response<Body> {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000"));
        let expires = httpdate::fmt_http_date(SystemTime::now() + YEAR);
        if let Ok(expires) = HeaderValue::try_from(expires) {
            headers.insert(header::EXPIRES, expires);
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("31536000"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        if let Some(asked) = &self.asked_headers {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        self.mark(answer)
    }

    /// Nothing but a status, and which methods are answered.
    pub(super) fn bad_method(&self, allow: &'static str) -> Response<Body> {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        self.mark(answer)
    }

    /// A sentence.
    pub(super) fn sentence(&self, status: StatusCode, text: &'static str) -> Response<Body> {
        self.answer(status, TEXT, Body::from(text))
    }

    /// What the server can; `entropy` is chance for browsers that have none.
    pub(super) fn info(&self, settings: &SockJsSettings, entropy: u32) -> Response<Body> {
        let info = json!({
            "entropy": entropy,
            "origins": ["*:*"],
            "cookie_needed": settings.cookie,
            "websocket": settings.websocket,
        });
        self.answer(StatusCode::OK, "application/json; charset=UTF-8", Body::from(info.to_string()))
    }

    fn mark(&self, mut answer: Response<Body>) -> Response<Body> {
        answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match &self.origin {
            Some(origin) => origin.mark(answer),
            None => answer,
        }
    }
}

/// As the client had it, or the word that load balancers replace.
fn cookie(headers: &HeaderMap) -> HeaderValue {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let known =
        cookies.flat_map(|value| value.split(';')).find_map(|each| each.trim().strip_prefix("JSESSIONID="));
    let known = known.filter(|value| !value.is_empty() && value.len() <= COOKIE_BYTES_MAX).unwrap_or("dummy");
    HeaderValue::try_from(format!("JSESSIONID={known}; path=/"))
        .unwrap_or(HeaderValue::from_static("JSESSIONID=dummy; path=/"))
}

pub(super) const TEXT: &str = "text/plain; charset=UTF-8";
pub(super) const SCRIPT: &str = "application/javascript; charset=UTF-8";
pub(super) const EVENTS: &str = "text/event-stream";

const NEVER_CACHED: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";

pub(super) const YEAR: Duration = Duration::from_secs(31_536_000);

/// Of a cookie that is given back.
const COOKIE_BYTES_MAX: usize = 256;
