//! Refusals as problem documents (RFC 9457), with the code of the one table.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{CloseReason, Refusal, Retry};

/// Why a request was refused (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem<'a> {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// The HTTP status in words.
    pub(super) title: &'a str,
    /// The HTTP status.
    pub(super) status: u16,
    /// What exactly was wrong, for people.
    pub(super) detail: &'a str,
    /// What was wrong, for programs: as `error-code` in STOMP.
    pub(super) code: &'static str,
    /// The destination that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination: Option<&'a str>,
    /// Of several messages, the first that was refused, counted from 0. Those before it were accepted, if any was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<usize>,
    /// After so many milliseconds the same request may be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_ms: Option<u32>,
}

/// A refused request, ready to be answered.
#[derive(Debug)]
pub(super) struct Refused {
    refusal: Refusal,
    index: Option<usize>,
}

impl Refused {
    /// Of several messages this one was refused.
    pub(super) fn at(refusal: Refusal, index: usize) -> Self {
        Self { refusal, index: Some(index) }
    }

    /// The same, of several messages about this one.
    pub(super) fn of(self, index: usize) -> Self {
        Self { index: Some(index), ..self }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, index: None }
    }
}

impl From<CloseReason> for Refused {
    fn from(reason: CloseReason) -> Self {
        Refusal::from(reason).into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        answer(&self.refusal, self.index)
    }
}

/// The answer to a request that is refused.
pub(in crate::server::http) fn refused(refusal: &Refusal) -> Response<Body> {
    answer(refusal, None)
}

/// The answer where nothing is.
pub(in crate::server::http) fn unknown_path() -> Response<Body> {
    refused(&Refusal::new(CloseReason::NotFound, "Nothing is here."))
}

/// The answer to a method that an address does not take.
pub(in crate::server::http) fn unknown_method() -> Response<Body> {
    refused(&Refusal::new(CloseReason::BadMethod, "The method does not fit this address."))
}

fn answer(refusal: &Refusal, index: Option<usize>) -> Response<Body> {
    let row = refusal.reason.row();
    let status = StatusCode::from_u16(row.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let retry_after_ms = refusal.retry_after_ms.or(match row.retry {
        Retry::AfterMs(ms) => Some(ms),
        Retry::Never | Retry::Changed => None,
    });
    let problem = Problem {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: row.http,
        detail: &refusal.message,
        code: row.code,
        destination: refusal.destination.as_deref(),
        index,
        retry_after_ms,
    };
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
    let headers = response.headers_mut();
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        // Where the client has to change something first, coming back at once would be the wrong advice.
        let seconds = retry_after_ms.map_or(CHANGED_S, |ms| ms.div_ceil(1_000).max(1));
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// `Retry-After` where only a change would help, seconds.
const CHANGED_S: u32 = 60;
