//! What stands behind the HTTP port of every worker.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::policy::Origins;

use super::callers::Callers;
use super::http::{Front, HttpSettings, Mount, OriginCheck, Router, SharedEndpoint, Template};
use super::stomp::StompEndpoint;
use super::worker::Worker;

/// A WebSocket endpoint of the embedding program.
#[derive(Clone)]
pub(crate) struct Extra {
    pub(crate) path: Template,
    pub(crate) origins: OriginCheck,
    pub(crate) endpoint: SharedEndpoint,
}

/// Everything an HTTP face is made of; each worker makes its own.
#[derive(Clone)]
pub(crate) struct Faces {
    pub(crate) stomp: Template,
    /// Whether STOMP over WebSocket may be compressed.
    pub(crate) compression: bool,
    pub(crate) extras: Vec<Extra>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) router: Router,
}

impl Faces {
    pub(crate) fn front(self, worker: &Weak<Worker>, api: Handle) -> Front {
        let stomp = Mount {
            path: self.stomp,
            origins: OriginCheck::Configured,
            endpoint: Rc::new(StompEndpoint { worker: Weak::clone(worker), compression: self.compression }),
        };
        let extra = |Extra { path, origins, endpoint }| Mount { path, origins, endpoint: Rc::new(endpoint) };
        let mounts = std::iter::once(stomp).chain(self.extras.into_iter().map(extra)).collect();
        Front::new(HttpSettings::default(), mounts, self.origins, self.callers, self.router, api)
    }
}
