//! Server-sent events: who asks for which stream, and how the answer begins.
//!
//! An EventSource never comes back after any status but 200. So what is for good is refused by its status, as ever; what
//! passes is answered with a stream that ends at once and says when to come again.

use std::rc::Rc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::json;

use super::template::{Params, Template};
use super::{Peer, Serving};
use crate::model::{CloseReason, Refusal, Retry};
use crate::policy::{Credentials, Origins};
use crate::server::socket::Socket;

/// Where streams are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPath {
    /// The path.
    pub path: Template,
    /// The one destination that is meant, with the path's parameters; without it the query names some.
    pub destination: Option<Template>,
}

/// What a client asks for. Without `Debug`: it holds tokens.
#[derive(Clone)]
pub struct StreamRequest {
    /// From 1 to [`DESTINATIONS_MAX`], each once.
    pub destinations: Vec<Box<str>>,
    /// Where it goes on, if it was here before.
    pub last_event_id: Option<Box<str>>,
    /// Who it is.
    pub credentials: Credentials,
    /// The broker is asked under a name that nobody can make lead here, or what asks says on whose page it acts.
    pub is_fixed_host: bool,
}

/// What serves streams on a worker.
pub trait StreamEndpoint {
    /// Judges a request; what is given serves the stream once it is there.
    ///
    /// # Errors
    /// Why the client does not get it.
    fn open(&self, request: &StreamRequest) -> Result<Opening, Refusal>;
}

/// Serves a stream, on which the head of the answer is to be written first.
pub type Opening = Box<dyn FnOnce(Socket, Bytes) -> Serving>;

/// Everything about streams of one HTTP face.
#[derive(Clone)]
pub struct Streams {
    /// Where they are asked for; the first that fits counts.
    pub paths: Rc<[StreamPath]>,
    /// What serves them.
    pub endpoint: Rc<dyn StreamEndpoint>,
}

/// A stream that may begin.
pub(super) struct Begun {
    opening: Opening,
    head: Bytes,
}

impl Begun {
    pub(super) fn serve(self, stream: Socket) -> Serving {
        (self.opening)(stream, self.head)
    }
}

impl Streams {
    /// The path that is asked for, if streams are there.
    pub(super) fn find(&self, uri: &Uri) -> Option<(&StreamPath, Params)> {
        self.paths.iter().find_map(|each| Some((each, each.path.matches(uri.path())?)))
    }

    /// Judges a request to a path where streams are.
    pub(super) fn begin(
        &self,
        (path, params): (&StreamPath, &Params),
        parts: &Parts,
        peer: Peer,
        origins: &Origins,
    ) -> Result<Begun, Box<Response<Body>>> {
        let origin = Origin::judge(&parts.headers, peer, origins)?;
        match parts.method {
            Method::GET => {}
            Method::OPTIONS => return Err(Box::new(origin.mark(preflight()))),
            _ => {
                let mut answer =
                    refuse(StatusCode::METHOD_NOT_ALLOWED, None, "A stream is asked for by GET.");
                answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, OPTIONS"));
                return Err(Box::new(origin.mark(answer)));
            }
        }
        let asked = asked(path, params, parts, is_own(&parts.headers, peer, origins));
        match asked.and_then(|asked| self.endpoint.open(&asked)) {
            Ok(opening) => Ok(Begun { opening, head: origin.head() }),
            Err(refusal) => {
                tracing::info!(
                    remote = %peer.remote, path = %parts.uri.path(), reason = refusal.reason.code(),
                    destination = refusal.destination.as_deref().unwrap_or(""), "stream refused"
                );
                Err(Box::new(origin.mark(refused(&refusal))))
            }
        }
    }

    /// The whole answer to a connection of which only the `first` bytes were looked at, if it asks for a stream.
    pub(super) fn turn_away(
        &self,
        first: &[u8],
        peer: Peer,
        origins: &Origins,
        refusal: &Refusal,
    ) -> Option<Bytes> {
        let first = std::str::from_utf8(first).ok()?;
        let mut lines = first.split("\r\n");
        let target = lines.next()?.strip_prefix("GET ")?.split(' ').next()?;
        self.find(&target.parse().ok()?)?;
        let mut headers = HeaderMap::new();
        for (name, value) in lines.map_while(|line| line.split_once(':')) {
            let known =
                [header::HOST, header::ORIGIN].into_iter().find(|known| *known == *name.to_lowercase());
            if let (Some(name), Ok(value)) = (known, value.trim().parse()) {
                headers.insert(name, value);
            }
        }
        let origin = Origin::judge(&headers, peer, origins).ok()?;
        Some([&origin.head()[..], retry(refusal)?.as_bytes()].concat().into())
    }

    /// The answer to a client that may not come now.
    pub(super) fn put_off(
        &self,
        headers: &HeaderMap,
        peer: Peer,
        origins: &Origins,
        refusal: &Refusal,
    ) -> Response<Body> {
        match Origin::judge(headers, peer, origins) {
            Ok(origin) => origin.mark(refused(refusal)),
            Err(refused) => *refused,
        }
    }
}

/// What the request asks for.
fn asked(
    path: &StreamPath,
    params: &Params,
    parts: &Parts,
    is_fixed_host: bool,
) -> Result<StreamRequest, Refusal> {
    let bad = |text: String| Refusal::new(CloseReason::BadContent, text);
    let query = Query::<Vec<(Box<str>, Box<str>)>>::try_from_uri(&parts.uri);
    let Query(query) = query.map_err(|_| bad("the query is not well-formed".into()))?;
    let of =
        |name: &'static str| query.iter().filter(move |(known, _)| **known == *name).map(|(_, value)| value);
    let mut destinations: Vec<Box<str>> = Vec::new();
    match &path.destination {
        Some(template) => {
            let text = "a parameter of the path is no segment of a destination: it has a slash or a wildcard";
            destinations.push(template.fill(params).ok_or_else(|| bad(text.into()))?.into());
        }
        None => {
            for destination in of("destination") {
                if !destinations.contains(destination) {
                    destinations.push(destination.clone());
                }
            }
        }
    }
    if !(1..=DESTINATIONS_MAX).contains(&destinations.len()) {
        let example = "?destination=/topic/a&destination=/topic/b";
        return Err(bad(format!("the query names from 1 to {DESTINATIONS_MAX} destinations: {example}")));
    }
    let text = |name: HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or("").into());
    let last_event_id = text(LAST_EVENT_ID).or_else(|| of("lastEventId").next().cloned());
    Ok(StreamRequest {
        destinations,
        last_event_id: last_event_id.filter(|id| !id.is_empty()),
        credentials: Credentials {
            handshake_authorization: text(header::AUTHORIZATION),
            query_token: of("token").next().filter(|token| !token.is_empty()).cloned(),
            ..Credentials::default()
        },
        is_fixed_host,
    })
}

/// A page that may read the answer, where one asks.
pub(super) struct Origin(Option<HeaderValue>);

impl Origin {
    pub(super) fn judge(
        headers: &HeaderMap,
        peer: Peer,
        origins: &Origins,
    ) -> Result<Self, Box<Response<Body>>> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let origin = headers.get(header::ORIGIN);
        // A value that is no text is no origin we know, and must not pass for a missing one.
        let text = origin.map(|origin| origin.to_str().unwrap_or(""));
        origins.check(text, host, peer.tls).map_err(|refused| {
            tracing::warn!(remote = %peer.remote, "refused: {refused}");
            Box::new(refuse(StatusCode::FORBIDDEN, None, &refused.to_string()))
        })?;
        Ok(Self(origin.cloned()))
    }

    /// Lets the page read it.
    pub(super) fn mark(&self, mut answer: Response<Body>) -> Response<Body> {
        let headers = answer.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = &self.0 {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        answer
    }

    /// The head of an answer that ends with the connection: no length and no chunks.
    fn head(&self) -> Bytes {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        let line = |name: &str, value: &[u8]| [name.as_bytes(), b": ", value, b"\r\n"].concat();
        for (name, value) in STREAM_HEADERS {
            head.extend(line(name.as_str(), value.as_bytes()));
        }
        head.extend(line("connection", b"close"));
        head.extend(line("date", httpdate::fmt_http_date(SystemTime::now()).as_bytes()));
        head.extend(line("vary", b"origin"));
        if let Some(origin) = &self.0 {
            head.extend(line("access-control-allow-origin", origin.as_bytes()));
            head.extend(line("access-control-allow-credentials", b"true"));
        }
        head.extend(b"\r\n");
        head.into()
    }
}

/// A browser does not say on whose page it acts where that is of the origin that it asks, and a page of somebody else's name
/// that was made to lead here is. Outside development mode any name will do: there such a page lacks a token.
fn is_own(headers: &HeaderMap, peer: Peer, origins: &Origins) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let scheme = if peer.tls { "https" } else { "http" };
    let own = host.map(|host| format!("{scheme}://{host}"));
    headers.contains_key(header::ORIGIN) || origins.check(own.as_deref(), host, peer.tls).is_ok()
}

/// By its status where it is for good, and otherwise by a stream that ends at once.
fn refused(refusal: &Refusal) -> Response<Body> {
    let Some(retry) = retry(refusal) else {
        let status = StatusCode::from_u16(refusal.reason.row().http);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return refuse(status, Some(refusal.reason), &refusal.message);
    };
    let mut answer = Response::new(Body::from(retry));
    for (name, value) in STREAM_HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// A stream that says when to come again, unless the refusal is for good.
fn retry(refusal: &Refusal) -> Option<String> {
    match (refusal.retry_after_ms, refusal.reason.row().retry) {
        (Some(ms), _) | (None, Retry::AfterMs(ms)) => Some(format!("retry: {ms}\n\n")),
        (None, Retry::Changed | Retry::Never) => None,
    }
}

/// An error answer as RFC 9457 has it.
fn refuse(status: StatusCode, reason: Option<CloseReason>, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut body =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    if let Some(reason) = reason {
        body["code"] = reason.code().into();
    }
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// What a browser asks before it sends headers of a page's own, as a `fetch` with a token does.
fn preflight() -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, cache-control, last-event-id"),
        (header::ACCESS_CONTROL_MAX_AGE, "3600"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Proxies must neither keep, change nor gather what is said.
const STREAM_HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "text/event-stream"),
    (header::CACHE_CONTROL, "no-store, no-transform"),
    (HeaderName::from_static("x-accel-buffering"), "no"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Destinations of one stream.
pub const DESTINATIONS_MAX: usize = 16;
