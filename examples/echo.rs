//! A plain WebSocket echo at `/echo`, on the broker's own transport: for test suites of RFC 6455, and to show that
//! another handler than STOMP can stand there.
//!
//! ```text
//! cargo run --release --example echo -- --port 9001
//! ```
//!
//! The port can also be given by the environment variable `PORT`; without either any free one is taken and printed.

use std::error::Error;

use stompede::server::config::AdminPort;
use stompede::server::http::Upgraded;
use stompede::server::{Config, Server};
use stompede::transport::websocket::Connection;

/// Sends every message back as it came, until either side ends.
async fn echo(upgraded: Upgraded) {
    let mut connection = Connection::new(upgraded.stream, &upgraded.read_ahead, MESSAGE_BYTES_MAX);
    let code = loop {
        let message = tokio::select! {
            message = connection.recv() => message,
            () = upgraded.closing.announced() => break SERVICE_RESTART,
        };
        let Some(Ok(message)) = message else { break NORMAL_CLOSURE };
        if connection.send(&message).await.is_err() {
            return;
        }
    };
    // The client may be gone already; nothing is left to say to it.
    let _ = connection.close(code, "").await;
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut config =
        Config { http_port: port(std::env::args().skip(1))?, stomp_port: 0, ..Config::default() };
    config.admin.port = AdminPort::Off;
    // An echo acts for nobody: any page may use it.
    config.origins.allow = vec!["*".into()];
    let running = Server::new(config)?.mount("/echo", echo)?.start()?;
    println!("echo on ws://{}/echo", running.ports().http);
    running.wait(std::future::pending())?;
    Ok(())
}

fn port(mut arguments: impl Iterator<Item = String>) -> Result<u16, Box<dyn Error>> {
    let text = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => std::env::var("PORT").unwrap_or_else(|_| "0".into()),
        (Some("--port"), Some(port)) => port,
        _ => return Err("usage: echo [--port N]".into()),
    };
    Ok(text.parse()?)
}

/// Close code of an orderly end.
const NORMAL_CLOSURE: u16 = 1000;

/// Close code of a server that goes down: clients come back.
const SERVICE_RESTART: u16 = 1012;

/// 16 MiB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
