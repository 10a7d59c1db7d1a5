//! The HTTP door of one worker, without a broker behind it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use serde_json::json;
use stompede::policy::Origins;
use stompede::server::http::{Front, HttpSettings, Mount, Status, router};
use stompede::server::{Accepted, Closing, Door, Face, Listener, Placement, Socket, tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;

/// A running door; dropped, it is closed and gone.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    closing: Option<watch::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

/// How a door differs from the usual one.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) settings: HttpSettings,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) origins: &'static [&'static str],
    pub(crate) more: Router,
}

impl Running {
    /// Opens a door on a free port. The endpoints are made on the worker's thread.
    pub(crate) fn start(options: Options, mounts: fn() -> Vec<Mount>) -> Self {
        let door = Door { face: Face::Http, tls: options.tls.is_some() };
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), door).unwrap();
        let address = listener.local_addr();
        let (closing, closed) = watch::channel(false);
        let thread = std::thread::spawn(move || {
            let runtime =
                Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(run(listener, options, mounts, closed));
        });
        Self { address, closing: Some(closing), thread: Some(thread) }
    }

    /// A TCP connection to the door.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The address of a WebSocket endpoint.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// Everything the door answers to `request` until it closes.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        ask(self.connect().await, request).await
    }

    /// The whole answer to a request without body.
    pub(crate) async fn request(&self, method: &str, path: &str) -> String {
        self.ask(format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }

    /// Tells the door to close; connections end by themselves.
    pub(crate) fn close(&mut self) {
        self.closing = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the worker panicked");
    }
}

/// Sends `request` and reads to the end of the stream, within a deadline.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: impl AsRef<[u8]>,
) -> String {
    let mut answer = Vec::new();
    let asked = async {
        stream.write_all(request.as_ref()).await.unwrap();
        stream.read_to_end(&mut answer).await.unwrap();
    };
    tokio::time::timeout(DEADLINE, asked).await.expect("an answer and the end of the connection");
    String::from_utf8(answer).unwrap()
}

/// For what must happen, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

async fn run(
    listener: Listener,
    options: Options,
    mounts: fn() -> Vec<Mount>,
    mut closed: watch::Receiver<bool>,
) {
    let origins = Arc::new(Origins::new(options.origins, false).unwrap());
    let routes = router(Arc::new(Steady), options.more);
    let front =
        Rc::new(Front::new(options.settings, mounts(), origins, Arc::default(), routes, Handle::current()));
    let (placed, mut arrivals) = mpsc::unbounded_channel();
    spawn_local(listener.accept(Queue(placed), closed.clone()));
    while let Some(Accepted { stream, remote, .. }) = arrivals.recv().await {
        let (front, tls, closing) = (Rc::clone(&front), options.tls.clone(), Closing::new(closed.clone()));
        spawn_local(async move {
            let socket = match tls {
                Some(config) => tls::accept(stream, config, Face::Http).await,
                None => Ok(Socket::from(stream)),
            };
            if let Ok(socket) = socket
                && let Ok(Some(served)) = front.serve(socket, remote.ip(), closing).await
            {
                served.serving.await;
            }
        });
    }
    let _ = closed.changed().await;
}

struct Queue(mpsc::UnboundedSender<Accepted>);

impl Placement for Queue {
    fn place(&self, accepted: Accepted) {
        let _ = self.0.send(accepted);
    }
}

struct Steady;

impl Status for Steady {
    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        Err("the bus is down".into())
    }

    fn info(&self) -> serde_json::Value {
        json!({"version": "x"})
    }
}
