//! A plain WebSocket echo at `/echo`, on the broker's own transport: for test suites of RFC 6455, and to show that
//! another handler than STOMP can stand there.
//!
//! ```text
//! cargo run --release --example echo -- --port 9001
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use axum::Router;
use stompede::policy::Origins;
use stompede::server::http::{Front, HttpSettings, Mount, OriginCheck, Status, Template, Upgraded, router};
use stompede::server::{Accepted, Door, Face, Listener, Placement, Socket};
use stompede::transport::websocket::Connection;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;

/// Sends every message back as it came, until either side ends.
async fn echo(upgraded: Upgraded) {
    let mut connection = Connection::new(upgraded.stream, &upgraded.read_ahead, MESSAGE_BYTES_MAX);
    while let Some(Ok(message)) = connection.recv().await {
        if connection.send(&message).await.is_err() {
            return;
        }
    }
    // The client may be gone already; nothing is left to say to it.
    let _ = connection.close(1000, "").await;
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = port(std::env::args().skip(1))?;
    let door = Door { face: Face::Http, tls: false };
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], port)), door)?;
    println!("echo on ws://{}/echo", listener.local_addr());
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(serve(listener))
}

async fn serve(listener: Listener) -> Result<(), Box<dyn Error>> {
    let mount =
        Mount { path: Template::parse("/echo")?, origins: OriginCheck::Skipped, endpoint: Rc::new(echo) };
    let routes = router(Arc::new(AlwaysReady), Router::new());
    let front = Front::new(
        HttpSettings::default(),
        vec![mount],
        Arc::new(Origins::default()),
        routes,
        Handle::current(),
    );
    let front = Rc::new(front);
    let (placed, mut arrivals) = mpsc::channel(1_024);
    let (_open, closed) = watch::channel(false);
    spawn_local(listener.accept(Arc::new(OneWorker(placed)), closed));
    while let Some(Accepted { stream, remote, .. }) = arrivals.recv().await {
        let socket = Socket::from(TcpStream::from_std(stream)?);
        let front = Rc::clone(&front);
        spawn_local(async move { front.serve(socket, remote.ip(), std::future::pending()).await });
    }
    Ok(())
}

/// `--port N` or the environment variable `PORT`; without both any free one.
fn port(mut arguments: impl Iterator<Item = String>) -> Result<u16, Box<dyn Error>> {
    let text = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => std::env::var("PORT").unwrap_or_else(|_| "0".into()),
        (Some("--port"), Some(port)) => port,
        _ => return Err("usage: echo [--port N]".into()),
    };
    Ok(text.parse()?)
}

struct OneWorker(mpsc::Sender<Accepted>);

impl Placement for OneWorker {
    fn place(&self, accepted: Accepted) {
        // A full queue drops the connection, which closes it.
        let _ = self.0.try_send(accepted);
    }
}

struct AlwaysReady;

impl Status for AlwaysReady {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn info(&self) -> serde_json::Value {
        serde_json::json!({"version": env!("CARGO_PKG_VERSION")})
    }
}

const MESSAGE_BYTES_MAX: usize = 16 << 20;
