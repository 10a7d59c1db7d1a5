//! `[redis]`: where several instances meet.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Problem;
use crate::backend::redis::{Options, OptionsError};
use crate::policy::Secret;

/// Redis, over which several instances act as one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSection {
    /// Where it is; without it this instance is alone.
    pub url: Option<Secret>,
    /// Who we are there, if the URL does not say it.
    pub username: Option<String>,
    /// And by which password.
    pub password: Option<Secret>,
    /// Who we are before the sentinels.
    pub sentinel_username: Option<String>,
    /// And by which password.
    pub sentinel_password: Option<Secret>,
    /// Certificates that are trusted over TLS, PEM; those of the system without it.
    pub ca_file: Option<PathBuf>,
    /// What all keys and channels begin with.
    pub prefix: String,
    /// Where other instances ask this one over HTTP, `host:port`; found out without it.
    pub node_address: Option<String>,
    /// So many replicas must have a message before its RECEIPT.
    pub wait_replicas: u32,
    /// Takes a Redis that may throw away keys when its memory is full.
    pub accept_eviction: bool,
}

impl Default for RedisSection {
    fn default() -> Self {
        Self {
            url: None,
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            ca_file: None,
            prefix: "websocket:".to_owned(),
            node_address: None,
            wait_replicas: 0,
            accept_eviction: false,
        }
    }
}

impl RedisSection {
    /// How Redis is reached, if it is.
    pub(crate) fn options(&self) -> Result<Option<Options>, Problem> {
        let Some(url) = &self.url else { return Ok(None) };
        let wrong = |error: OptionsError| Problem::new(error.key(), error.why());
        let exposed = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        let mut options =
            Options::parse(url.expose()).and_then(|url| url.prefix(&self.prefix)).map_err(wrong)?;
        if self.username.is_some() || self.password.is_some() {
            options = options.login(self.username.clone(), exposed(&self.password));
        }
        if self.sentinel_username.is_some() || self.sentinel_password.is_some() {
            options =
                options.sentinel_login(self.sentinel_username.clone(), exposed(&self.sentinel_password));
        }
        if self.accept_eviction {
            options = options.accept_eviction();
        }
        Ok(Some(options.wait_replicas(self.wait_replicas)))
    }
}
