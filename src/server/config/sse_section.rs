//! `[sse]`: streams of server-sent events.

use serde::{Deserialize, Serialize};

use super::Problem;
use crate::broker::EventSettings;
use crate::server::http::{StreamPath, Template};

/// Streams of server-sent events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SseSection {
    /// How often a stream gets a heart-beat, milliseconds.
    pub heart_beat_ms: u32,
    /// How old a stream may become, seconds; then it ends, and its client comes again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
    /// `[[sse.path]]`, in this order.
    pub path: Vec<SsePath>,
}

/// A path that stands for a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SsePath {
    /// With `{name}` for segments that the destination takes over.
    pub path: String,
    /// Under `/topic/` or `/user/queue/`, with these names.
    pub destination: String,
}

impl Default for SseSection {
    fn default() -> Self {
        Self { heart_beat_ms: 30_000, max_age_s: None, path: Vec::new() }
    }
}

impl SseSection {
    /// What the broker works with.
    pub fn settings(&self) -> EventSettings {
        let age_ms_max = self.max_age_s.map(|age_s| age_s.saturating_mul(1_000));
        EventSettings { heart_beat_ms: self.heart_beat_ms.into(), age_ms_max }
    }

    /// Where streams are asked for.
    ///
    /// # Errors
    /// A path or a destination is none.
    pub fn streams(&self) -> Result<Vec<StreamPath>, Problem> {
        let own = SsePath { path: SSE_PATH.to_owned(), destination: String::new() };
        let paths = self.path.iter().enumerate().map(|(i, path)| path.parse(i));
        let path = Template::parse(&own.path).map_err(|error| Problem::new("sse.path", error.to_string()))?;
        paths.chain([Ok(StreamPath { path, destination: None })]).collect()
    }

    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        if self.heart_beat_ms < HEART_BEAT_MS_MIN {
            let fault = format!("{} must be at least {HEART_BEAT_MS_MIN}", self.heart_beat_ms);
            problems.push(Problem::new("sse.heart_beat_ms", fault));
        }
        if self.max_age_s == Some(0) {
            problems.push(Problem::new(
                "sse.max_age_s",
                "0 would end each stream at once: leave it out for no limit",
            ));
        }
        problems.extend(self.streams().err());
    }
}

impl SsePath {
    fn parse(&self, i: usize) -> Result<StreamPath, Problem> {
        let wrong = |key: &str, fault: String| Problem::new(&format!("sse.path[{i}].{key}"), fault);
        let path = Template::parse(&self.path).map_err(|error| wrong("path", error.to_string()))?;
        if let Some(taken) = TAKEN.iter().find(|taken| path.matches(taken).is_some()) {
            return Err(wrong("path", format!("{:?} would stand before {taken}", self.path)));
        }
        let destination =
            Template::parse(&self.destination).map_err(|error| wrong("destination", error.to_string()))?;
        if !DESTINATIONS.iter().any(|start| self.destination.starts_with(start)) {
            let fault = format!("{:?} is neither under /topic/ nor under /user/queue/", self.destination);
            return Err(wrong("destination", fault));
        }
        if let Some(name) = destination.names().find(|name| path.names().all(|known| known != *name)) {
            return Err(wrong("destination", format!("the path has no {{{name}}}")));
        }
        Ok(StreamPath { path, destination: Some(destination) })
    }
}

/// Where the query says which destinations are meant.
const SSE_PATH: &str = "/sse";

/// What stands elsewhere on the HTTP port.
const TAKEN: [&str; 6] = ["/", SSE_PATH, "/ws", "/healthz", "/readyz", "/api/v1/info"];

/// What a stream is for.
const DESTINATIONS: [&str; 2] = ["/topic/", "/user/queue/"];

/// More often costs more than it tells.
const HEART_BEAT_MS_MIN: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, destination: &str) -> Vec<String> {
        let path = SsePath { path: path.to_owned(), destination: destination.to_owned() };
        let mut problems = Vec::new();
        SseSection { path: vec![path], ..SseSection::default() }.check(&mut problems);
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn a_path_leads_to_one_destination_and_takes_nobody_elses_place() {
        let none: [&str; 0] = [];
        assert_eq!(faults("/cart/{table}/events", "/topic/cart/{table}"), none);
        assert_eq!(faults("/notes", "/user/queue/notes"), none);
        for (path, destination) in [
            ("/a/{b}", "/topic/{c}"),
            ("/a/{b}", "/queue/{b}"),
            ("/a/{b}", "topic/{b}"),
            ("/a/{b}", "/topic/x{b}"),
        ] {
            assert_eq!(faults(path, destination), ["sse.path[0].destination"], "{path} {destination}");
        }
        for path in ["a", "/a{b}", "/ws", "/sse", "/{any}", "/api/{v}/info"] {
            assert_eq!(faults(path, "/topic/a"), ["sse.path[0].path"], "{path}");
        }
    }
}
