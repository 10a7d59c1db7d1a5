//! `[api]`: the HTTP API.

use serde::{Deserialize, Serialize};

use super::{Config, Problem, Size};
use crate::policy::ApiKeyConfig;

/// Who may use the HTTP API, and how much one request may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSection {
    /// `[[api.key]]`
    pub key: Vec<ApiKeyConfig>,
    /// Body of a request.
    pub body_bytes_max: Size,
    /// Objects and lists within each other in the body of a request.
    pub depth_max: usize,
    /// Messages of one batch, destinations of one broadcast.
    pub batch_max: usize,
    /// Requests that wait for room, for a store or for a worker of the application; more are refused.
    pub waiting_max: usize,
}

impl Default for ApiSection {
    fn default() -> Self {
        Self {
            key: Vec::new(),
            body_bytes_max: Size(2 << 20),
            depth_max: 32,
            batch_max: 1_000,
            waiting_max: 1_024,
        }
    }
}

impl Config {
    pub(super) fn check_api(&self, problems: &mut Vec<Problem>) {
        let api = &self.api;
        let ranges = [
            ("body_bytes_max", api.body_bytes_max.0, 1 << 10, 256 << 20),
            ("depth_max", api.depth_max as u64, 2, 128),
            ("batch_max", api.batch_max as u64, 1, 100_000),
            ("waiting_max", api.waiting_max as u64, 1, 1 << 20),
        ];
        for (key, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                let fault = format!("{value} must be {min} to {max}");
                problems.push(Problem::new(&format!("api.{key}"), fault));
            }
        }
    }
}
