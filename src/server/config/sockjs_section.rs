//! `[sockjs]`: STOMP for clients that WebSocket does not reach.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Problem, Size};
use crate::server::http::sockjs::SockJsSettings;

/// SockJS below `/ws`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SockJsSection {
    /// Whether it is spoken.
    pub enabled: bool,
    /// Whether clients are told that they may come by WebSocket.
    pub websocket: bool,
    /// Whether clients are given the cookie `JSESSIONID`.
    pub cookie: bool,
    /// Where browsers get sockjs-client from, for the page that old ones load into a hidden frame; empty: there is none.
    pub client_url: String,
    /// How often a receiver that has heard nothing gets a heart-beat, milliseconds.
    pub heart_beat_ms: u32,
    /// A session without a receiver ends after this, milliseconds.
    pub vacant_ms_max: u32,
    /// After so many bytes a streaming answer ends, and the client asks for the next.
    pub stream_bytes_max: Size,
    /// Of messages that wait for a receiver; above, they wait as for a socket that takes none.
    pub waiting_bytes_max: Size,
    /// Body of one `xhr_send`.
    pub body_bytes_max: Size,
    /// Sessions of requests on this instance.
    pub sessions_max: usize,
}

impl Default for SockJsSection {
    fn default() -> Self {
        let SockJsSettings {
            websocket,
            cookie,
            client_url: _,
            heart_beat,
            vacant_max,
            stream_bytes_max,
            waiting_bytes_max,
            body_bytes_max,
            unanswered_bytes_max: _,
            sessions_max,
        } = SockJsSettings::default();
        let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        Self {
            enabled: true,
            websocket,
            cookie,
            client_url: String::new(),
            heart_beat_ms: ms(heart_beat),
            vacant_ms_max: ms(vacant_max),
            stream_bytes_max: Size(stream_bytes_max as u64),
            waiting_bytes_max: Size(waiting_bytes_max as u64),
            body_bytes_max: Size(body_bytes_max as u64),
            sessions_max,
        }
    }
}

impl SockJsSection {
    /// What the HTTP face works with, where who has not been connected may send frames of so many bytes.
    pub(crate) fn settings(&self, unconnected_bytes_max: usize) -> SockJsSettings {
        let bytes = |size: Size| usize::try_from(size.0).unwrap_or(usize::MAX);
        SockJsSettings {
            websocket: self.websocket,
            cookie: self.cookie,
            client_url: (!self.client_url.is_empty()).then(|| self.client_url.as_str().into()),
            heart_beat: Duration::from_millis(self.heart_beat_ms.into()),
            vacant_max: Duration::from_millis(self.vacant_ms_max.into()),
            stream_bytes_max: bytes(self.stream_bytes_max),
            waiting_bytes_max: bytes(self.waiting_bytes_max),
            body_bytes_max: bytes(self.body_bytes_max),
            unanswered_bytes_max: unconnected_bytes_max.saturating_mul(ESCAPED_TIMES),
            sessions_max: self.sessions_max,
        }
    }

    /// `origins` are those that are let in.
    pub(super) fn check(&self, origins: &[String], problems: &mut Vec<Problem>) {
        let least = |key: &str, value: u64, min: u64, problems: &mut Vec<Problem>| {
            if value < min {
                problems
                    .push(Problem::new(&format!("sockjs.{key}"), format!("{value} must be at least {min}")));
            }
        };
        let is_url = ["https://", "http://", "/"].iter().any(|start| self.client_url.starts_with(start));
        if !self.client_url.is_empty() && !is_url {
            let text = format!("{:?} is no URL: https://..., or a path of this origin", self.client_url);
            problems.push(Problem::new("sockjs.client_url", text));
        } else if !self.client_url.is_empty() && !origins.iter().any(|origin| origin == "*") {
            let text = "the page for a hidden frame lets every page in, so it is there only with origins.allow = [\"*\"]";
            problems.push(Problem::new("sockjs.client_url", text));
        }
        least("heart_beat_ms", self.heart_beat_ms.into(), MS_MIN, problems);
        least("vacant_ms_max", self.vacant_ms_max.into(), MS_MIN, problems);
        least("stream_bytes_max", self.stream_bytes_max.0, BYTES_MIN, problems);
        least("waiting_bytes_max", self.waiting_bytes_max.0, BYTES_MIN, problems);
        least("body_bytes_max", self.body_bytes_max.0, BYTES_MIN, problems);
    }
}

/// Shorter, and clients that are well would be lost between two requests.
const MS_MIN: u64 = 1_000;

/// A body is so much longer than its frames, at most: half of them is escaped.
const ESCAPED_TIMES: usize = 2;

/// Less, and each request would carry a message or none.
const BYTES_MIN: u64 = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_lose_clients_is_refused() {
        let mut problems = Vec::new();
        SockJsSection::default().check(&[], &mut problems);
        assert!(problems.is_empty());
        let zero = SockJsSection {
            client_url: "sockjs.js".into(),
            heart_beat_ms: 0,
            vacant_ms_max: 999,
            stream_bytes_max: Size(0),
            waiting_bytes_max: Size(1),
            body_bytes_max: Size(1),
            ..SockJsSection::default()
        };
        zero.check(&[], &mut problems);
        assert_eq!(problems.len(), 6);
        let framed = SockJsSection { client_url: "/sockjs.js".into(), ..SockJsSection::default() };
        for (origins, count) in [(["https://page.example"], 1), (["*"], 0)] {
            let mut problems = Vec::new();
            framed.check(&origins.map(str::to_owned), &mut problems);
            assert_eq!(problems.len(), count, "{problems:?}");
        }
    }
}
