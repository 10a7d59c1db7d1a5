//! SockJS with handlers that are not STOMP, as the protocol's test suite wants them: `/echo`, `/disabled_websocket_echo` and
//! `/cookie_needed_echo` send every message back, `/close` ends every session at once.
//!
//! ```text
//! cargo run --example sockjs_echo -- --port 8081
//! ```
//!
//! The port can also be given by the environment variable `PORT`; without either any free one is taken and printed.

use std::error::Error;

use stompede::server::config::AdminPort;
use stompede::server::http::sockjs::{Conversation, SockJsSettings};
use stompede::server::{Config, Server};

/// Sends every message back as it came, until either side ends.
async fn echo(mut conversation: Conversation) {
    loop {
        let closing = conversation.closing.clone();
        let message = tokio::select! {
            message = conversation.recv() => message,
            () = closing.announced() => None,
        };
        let Some(message) = message else { break };
        if conversation.send(&message).await.is_err() {
            return;
        }
    }
    conversation.close(GO_AWAY, "Go away!").await;
}

async fn close(conversation: Conversation) {
    conversation.close(GO_AWAY, "Go away!").await;
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut config =
        Config { http_port: port(std::env::args().skip(1))?, stomp_port: 0, ..Config::default() };
    config.admin.port = AdminPort::Off;
    // An echo acts for nobody: any page may use it.
    config.origins.allow = vec!["*".into()];
    let settings = SockJsSettings {
        stream_bytes_max: STREAM_BYTES_MAX,
        // The suite looks at the page alone, and loads nothing.
        client_url: Some("/sockjs.min.js".into()),
        ..SockJsSettings::default()
    };
    let running = Server::new(config)?
        .mount_sockjs("/echo", settings.clone(), echo)?
        .mount_sockjs("/close", settings.clone(), close)?
        .mount_sockjs(
            "/disabled_websocket_echo",
            SockJsSettings { websocket: false, ..settings.clone() },
            echo,
        )?
        .mount_sockjs("/cookie_needed_echo", SockJsSettings { cookie: true, ..settings }, echo)?
        .start()?;
    println!("sockjs_echo on http://{}/echo", running.ports().http);
    running.wait(std::future::pending())?;
    Ok(())
}

fn port(mut arguments: impl Iterator<Item = String>) -> Result<u16, Box<dyn Error>> {
    let text = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => std::env::var("PORT").unwrap_or_else(|_| "0".into()),
        (Some("--port"), Some(port)) => port,
        _ => return Err("usage: sockjs_echo [--port N]".into()),
    };
    Ok(text.parse()?)
}

/// Close code of a server that ends a session.
const GO_AWAY: u16 = 3000;

/// Small, so that a test sees a streaming answer end.
const STREAM_BYTES_MAX: usize = 4_096;
