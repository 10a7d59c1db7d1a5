//! SockJS over HTTP: one base path, and below it a session by WebSocket or by requests.
//!
//! ```text
//! Front::answer -> Place::of (path) -> desk (requests) -> Table -> Session <- Pipe <- the handler, on the worker
//!                                   -> upgrade         -> the handler
//! ```
//!
//! A handler is handed what [`Came`] says, whichever way the client came.

mod answer;
mod conversation;
mod desk;
mod iframe;
mod passing;
mod peers;
mod place;
mod session;
mod stream;
mod table;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Serving;
use super::mount::{Endpoint, Mount, OriginCheck, UpgradeRequest, Upgraded};
use super::template::{BadTemplate, Template};
use crate::server::shutdown::Closing;
use crate::server::socket::Socket;

pub use conversation::Conversation;
pub(super) use desk::Around;
use iframe::Iframe;
pub(in crate::server) use peers::Peers;
pub(super) use place::Place;
pub use session::Pipe;
pub(super) use stream::Cut;
pub(in crate::server) use table::Table;

/// Bounds and habits of SockJS at one base path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SockJsSettings {
    /// Whether clients may come by WebSocket.
    pub websocket: bool,
    /// Whether clients are given the cookie `JSESSIONID`, for load balancers that hold on to an instance by it.
    pub cookie: bool,
    /// Where browsers get sockjs-client from, for the page that old ones load into a hidden frame, in the version that their pages
    /// use: `https://...`, or a path of this origin. None: there is no such page; nor where not every origin is let in.
    pub client_url: Option<Box<str>>,
    /// How often a receiver that has heard nothing is told that we live.
    pub heart_beat: Duration,
    /// A session without a receiver ends after this.
    pub vacant_max: Duration,
    /// After so many bytes a streaming answer ends, and the client asks for the next.
    pub stream_bytes_max: usize,
    /// Of messages that wait for a receiver, bytes; above, the handler waits.
    pub waiting_bytes_max: usize,
    /// Body of one `xhr_send`, bytes.
    pub body_bytes_max: usize,
    /// The same as long as the handler has said nothing, if that is less.
    pub unanswered_bytes_max: usize,
    /// Sessions of requests at one time.
    pub sessions_max: usize,
}

impl Default for SockJsSettings {
    fn default() -> Self {
        Self {
            websocket: true,
            cookie: false,
            client_url: None,
            heart_beat: Duration::from_secs(25),
            vacant_max: Duration::from_secs(5),
            stream_bytes_max: 128 << 10,
            waiting_bytes_max: 128 << 10,
            // A body of STOMP's limit, half of it escaped.
            body_bytes_max: 2 << 20,
            unanswered_bytes_max: usize::MAX,
            sessions_max: 10_000,
        }
    }
}

/// What serves sessions of SockJS, on the worker's thread.
pub trait SockJsEndpoint {
    /// The subprotocols it speaks over WebSocket, the preferred one first.
    fn subprotocols(&self) -> &[&str] {
        &[]
    }

    /// Whether messages of [`By::Raw`] may be compressed where the client offers it, see [`Endpoint::accepts_deflate`].
    fn accepts_deflate(&self) -> bool {
        false
    }

    /// Serves one session until its end.
    fn serve(&self, came: Came) -> Serving;
}

/// A session that begins.
pub struct Came {
    /// What its messages travel by.
    pub by: By,
    /// The request that began it.
    pub request: UpgradeRequest,
    /// When the server ends its connections.
    pub closing: Closing,
}

/// What the messages of a session travel by.
pub enum By {
    /// Requests: bytes that are read are the client's messages, bytes that are written are frames, a line each.
    Requests(Pipe),
    /// A WebSocket in whose messages SockJS has its own; the first frame has not been sent.
    WebSocket(Socket, Bytes),
    /// A WebSocket as it is.
    Raw(Socket, Bytes),
}

/// An endpoint of the embedding program, which all workers share: a closure `Fn(Conversation) -> Future`.
pub(in crate::server) type SharedHandler =
    Arc<dyn Fn(Conversation) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

/// Hands sessions to a handler as conversations.
pub(in crate::server) struct Handled {
    pub(in crate::server) handler: SharedHandler,
    pub(in crate::server) heart_beat: Duration,
    /// Largest message of a client, bytes.
    pub(in crate::server) message_bytes_max: usize,
}

impl SockJsEndpoint for Handled {
    fn serve(&self, came: Came) -> Serving {
        let conversation = Conversation::begin(came, self.heart_beat, self.message_bytes_max);
        let handler = Arc::clone(&self.handler);
        Box::pin(async move {
            // Without its first frame there is no session.
            if let Some(conversation) = conversation.await {
                handler(conversation).await;
            }
        })
    }
}

/// SockJS at one base path of an HTTP face.
#[derive(Clone)]
pub(in crate::server) struct SockJsMount {
    base: Box<str>,
    origins: OriginCheck,
    settings: Arc<SockJsSettings>,
    iframe: Option<Rc<Iframe>>,
    endpoint: Rc<dyn SockJsEndpoint>,
    /// Shared by all workers: requests for one session come to any of them.
    table: Arc<Table>,
    peers: Arc<Peers>,
    framed: Mount,
    raw: Mount,
}

impl SockJsMount {
    /// SockJS at `base`, a path without parameters.
    ///
    /// # Errors
    /// The path is none.
    pub(in crate::server) fn new(
        base: &str,
        settings: &Arc<SockJsSettings>,
        endpoint: Rc<dyn SockJsEndpoint>,
        table: &Arc<Table>,
        peers: &Arc<Peers>,
    ) -> Result<Self, BadTemplate> {
        let origins = OriginCheck::Configured;
        let mount = |path: &str, is_raw| -> Result<Mount, BadTemplate> {
            let endpoint = Rc::new(OverWebSocket { endpoint: Rc::clone(&endpoint), is_raw });
            Ok(Mount { path: Template::parse(path)?, origins, endpoint })
        };
        Ok(Self {
            base: base.trim_end_matches('/').into(),
            origins,
            settings: Arc::clone(settings),
            iframe: settings.client_url.as_deref().map(|url| Rc::new(Iframe::new(url))),
            framed: mount(&format!("{base}/{{server}}/{{session}}/websocket"), false)?,
            raw: mount(&format!("{base}/websocket"), true)?,
            endpoint,
            table: Arc::clone(table),
            peers: Arc::clone(peers),
        })
    }
}

/// Sessions that came by WebSocket.
struct OverWebSocket {
    endpoint: Rc<dyn SockJsEndpoint>,
    is_raw: bool,
}

impl Endpoint for OverWebSocket {
    fn subprotocols(&self) -> &[&str] {
        self.endpoint.subprotocols()
    }

    fn accepts_deflate(&self) -> bool {
        self.is_raw && self.endpoint.accepts_deflate()
    }

    fn serve(&self, upgraded: Upgraded) -> Serving {
        let Upgraded { stream, read_ahead, request, closing } = upgraded;
        let by = if self.is_raw { By::Raw(stream, read_ahead) } else { By::WebSocket(stream, read_ahead) };
        self.endpoint.serve(Came { by, request, closing })
    }
}
