//! What stands behind the HTTP port of every worker.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::policy::Origins;

use super::callers::Callers;
use super::http::sockjs::{Handled, Peers, SharedHandler, SockJsMount, SockJsSettings, Table};
use super::http::{
    BadTemplate, Front, HttpSettings, Mount, OriginCheck, Router, SharedEndpoint, StreamPath, Streams,
    Template,
};
use super::sockjs::StompSessions;
use super::sse::EventEndpoint;
use super::stomp::StompEndpoint;
use super::worker::Worker;

/// A WebSocket endpoint of the embedding program.
#[derive(Clone)]
pub(crate) struct Extra {
    pub(crate) path: Template,
    pub(crate) origins: OriginCheck,
    pub(crate) endpoint: SharedEndpoint,
}

/// SockJS of the embedding program.
#[derive(Clone)]
pub(crate) struct SockJsExtra {
    pub(crate) base: Box<str>,
    pub(crate) settings: Arc<SockJsSettings>,
    pub(crate) handler: SharedHandler,
    pub(crate) table: Arc<Table>,
}

/// STOMP over SockJS.
#[derive(Clone)]
pub(crate) struct SockJsStomp {
    pub(crate) base: &'static str,
    pub(crate) settings: Arc<SockJsSettings>,
    pub(crate) table: Arc<Table>,
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
    /// Where streams of events are asked for.
    pub(crate) streams: Vec<StreamPath>,
    /// STOMP over SockJS, if it is spoken.
    pub(crate) sockjs: Option<SockJsStomp>,
    pub(crate) sockjs_extras: Vec<SockJsExtra>,
    /// Other instances, which may have a session that is asked for here.
    pub(crate) peers: Arc<Peers>,
}

impl Faces {
    /// Where SockJS is spoken, on this worker.
    ///
    /// # Errors
    /// A base is no path.
    pub(crate) fn sockjs(&self, worker: &Weak<Worker>) -> Result<Vec<SockJsMount>, BadTemplate> {
        let stomp = self.sockjs.iter().map(|SockJsStomp { base, settings, table }| {
            let endpoint =
                Rc::new(StompSessions { worker: Weak::clone(worker), compression: self.compression });
            SockJsMount::new(base, settings, endpoint, table, &self.peers)
        });
        let extras = self.sockjs_extras.iter().map(|extra| {
            let endpoint = Handled {
                handler: Arc::clone(&extra.handler),
                heart_beat: extra.settings.heart_beat,
                message_bytes_max: extra.settings.body_bytes_max,
            };
            SockJsMount::new(&extra.base, &extra.settings, Rc::new(endpoint), &extra.table, &self.peers)
        });
        stomp.chain(extras).collect()
    }

    pub(crate) fn front(self, worker: &Weak<Worker>, api: Handle) -> Front {
        // Their paths were looked at when they were mounted.
        let sockjs = self.sockjs(worker).unwrap_or_default();
        let stomp = Mount {
            path: self.stomp,
            origins: OriginCheck::Configured,
            endpoint: Rc::new(StompEndpoint { worker: Weak::clone(worker), compression: self.compression }),
        };
        let extra = |Extra { path, origins, endpoint }| Mount { path, origins, endpoint: Rc::new(endpoint) };
        let mounts = std::iter::once(stomp).chain(self.extras.into_iter().map(extra)).collect();
        let streams = Streams {
            paths: self.streams.into(),
            endpoint: Rc::new(EventEndpoint { worker: Weak::clone(worker) }),
        };
        let front = Front::new(HttpSettings::default(), mounts, self.origins, self.callers, self.router, api);
        front.with_streams(streams).with_sockjs(sockjs)
    }
}
