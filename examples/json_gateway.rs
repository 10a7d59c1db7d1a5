//! Another wire format on the same door: plain JSON over WebSocket at `/json`, beside STOMP and without a line in the
//! broker.
//!
//! ```text
//! cargo run --release --example json_gateway -- --http-port 8080
//! > {"type":"auth","login":"alice","passcode":"guest"}          or {"type":"auth","token":"<JWT>"}
//! < {"type":"auth_ok","userId":"alice"}
//! > {"type":"join_session","sessionId":"42"}
//! < {"type":"joined","sessionId":"42"}
//! > {"type":"send_message","sessionId":"42","content":"hello"}
//! < {"type":"message","sessionId":"42","message":{"messageId":...,"senderId":"alice","content":"hello",...}}
//! > {"type":"leave_session","sessionId":"42"}
//! > {"type":"ping"}
//! < {"type":"pong"}
//! < {"type":"error","code":"forbidden","message":"..."}
//! ```
//!
//! Whoever has not signed in after ten seconds is closed with 1008, and a page whose session has ended with 1013; when the
//! server goes down, pages are closed with 1012.
//!
//! Each socket is a session of the broker by a [`Handle`]: access rules, rooms, presence and limits hold as they are.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stompede::broker::{Broker, Handle, Messages};
use stompede::model::{CloseReason, Refusal};
use stompede::policy::Credentials;
use stompede::server::config::AdminPort;
use stompede::server::http::Upgraded;
use stompede::server::{Config, Server};
use stompede::transport::websocket::{Connection, Message};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What a page says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Request {
    Auth { token: Option<Box<str>>, login: Option<Box<str>>, passcode: Option<Box<str>> },
    JoinSession { session_id: String },
    LeaveSession { session_id: String },
    SendMessage { session_id: String, content: Value },
    Ping,
}

/// One socket.
struct Gateway {
    broker: Arc<Broker>,
    handle: Option<Handle>,
    joined: HashMap<String, AbortHandle>,
    listeners: JoinSet<()>,
    /// What the broker delivers, on its way to the page.
    deliveries: mpsc::Sender<String>,
}

/// Serves one page until it goes.
async fn serve(broker: Arc<Broker>, upgraded: Upgraded) {
    let mut page = Connection::new(upgraded.stream, &upgraded.read_ahead, MESSAGE_BYTES_MAX);
    let (deliveries, mut delivered) = mpsc::channel(DELIVERIES_MAX);
    let (handle, joined, listeners) = (None, HashMap::new(), JoinSet::new());
    let mut gateway = Gateway { broker, handle, joined, listeners, deliveries };
    let sign_in_by = Instant::now() + SIGN_IN_MAX;
    let (code, reason) = loop {
        let answer = tokio::select! {
            biased;
            () = upgraded.closing.announced() => break (1012, CloseReason::ShuttingDown.code()),
            () = session_ended(gateway.handle.as_ref()) => break (1013, "session ended"),
            () = sleep_until(sign_in_by), if gateway.handle.is_none() => break (1008, CloseReason::LoginTimeout.code()),
            message = page.recv() => match message {
                Some(Ok(Message::Text(text))) => gateway.answer(&text).await,
                Some(Ok(Message::Binary(_))) => error(&bad("requests are JSON in text messages")),
                Some(Err(_)) | None => break (1000, ""),
            },
            Some(delivery) = delivered.recv() => delivery,
        };
        if page.send(&Message::Text(answer)).await.is_err() {
            break (1000, "");
        }
    };
    if let Some(handle) = gateway.handle.take() {
        handle.close().await;
    }
    // The page may be gone already; nothing is left to say to it.
    let _ = page.close(code, reason).await;
}

/// Never before there is a session.
async fn session_ended(handle: Option<&Handle>) {
    match handle {
        Some(handle) => handle.ended().await,
        None => std::future::pending().await,
    }
}

impl Gateway {
    async fn answer(&mut self, text: &str) -> String {
        let request = serde_json::from_str(text).map_err(|fault| bad(&format!("not a request: {fault}")));
        let answer = match request {
            Ok(request) => self.obey(request).await,
            Err(refusal) => Err(refusal),
        };
        answer.map_or_else(|refusal| error(&refusal), |answer| answer.to_string())
    }

    async fn obey(&mut self, request: Request) -> Result<Value, Refusal> {
        match request {
            Request::Ping => Ok(json!({"type": "pong"})),
            Request::Auth { token, login, passcode } => {
                let credentials =
                    Credentials { query_token: token, login, passcode, ..Credentials::default() };
                self.sign_in(credentials).await
            }
            Request::JoinSession { session_id } => {
                if !self.joined.contains_key(&session_id) {
                    let messages = self.handle()?.subscribe(&format!("/topic/chat/{session_id}")).await?;
                    let listener = forward(messages, session_id.clone(), self.deliveries.clone());
                    let listening = self.listeners.spawn_local(listener);
                    self.joined.insert(session_id.clone(), listening);
                }
                Ok(json!({"type": "joined", "sessionId": session_id}))
            }
            Request::LeaveSession { session_id } => {
                if let Some(listening) = self.joined.remove(&session_id) {
                    listening.abort();
                }
                Ok(json!({"type": "left", "sessionId": session_id}))
            }
            Request::SendMessage { session_id, content } => {
                let body = json!({"type": "TEXT", "content": content}).to_string();
                self.handle()?.publish(&format!("/app/chat/{session_id}/send"), &[], body).await?;
                Ok(json!({"type": "sent", "sessionId": session_id}))
            }
        }
    }

    async fn sign_in(&mut self, credentials: Credentials) -> Result<Value, Refusal> {
        if self.handle.is_some() {
            return Err(bad("signed in already"));
        }
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let principal = self.broker.authenticate(credentials, now_s).await?;
        let user = principal.name().to_owned();
        self.handle = Some(self.broker.connect(principal).await?);
        Ok(json!({"type": "auth_ok", "userId": user}))
    }

    fn handle(&self) -> Result<&Handle, Refusal> {
        self.handle.as_ref().ok_or_else(|| Refusal::new(CloseReason::Unauthorized, "send auth first"))
    }
}

/// What is said in a room, for the page. Dropped, it unsubscribes.
async fn forward(mut messages: Messages, session_id: String, deliveries: mpsc::Sender<String>) {
    while let Some(received) = messages.next().await {
        let Ok(message) = serde_json::from_slice::<&RawValue>(received.body()) else { continue };
        let kind = if received.header("event").is_some() { "event" } else { "message" };
        let delivery = json!({"type": kind, "sessionId": session_id, "message": message}).to_string();
        if deliveries.send(delivery).await.is_err() {
            return;
        }
    }
}

fn bad(text: &str) -> Refusal {
    Refusal::new(CloseReason::BadContent, text.to_owned())
}

fn error(refusal: &Refusal) -> String {
    json!({"type": "error", "code": refusal.reason.code(), "message": refusal.message}).to_string()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.admin.port = AdminPort::Off;
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match &*flag {
            "--http-port" => config.http_port = value.parse()?,
            "--stomp-port" => config.stomp_port = value.parse()?,
            "--ports-file" => config.ports_file = Some(value.into()),
            _ => {
                return Err(format!(
                    "unknown flag {flag}: there are --http-port, --stomp-port, --ports-file"
                )
                .into());
            }
        }
    }
    let server = Server::new(config)?;
    let broker = server.broker();
    let running = server.mount("/json", move |upgraded| serve(Arc::clone(&broker), upgraded))?.start()?;
    println!("JSON gateway on ws://{}/json", running.ports().http);
    running.wait(std::future::pending())?;
    Ok(())
}

/// How long a page may take to sign in.
const SIGN_IN_MAX: Duration = Duration::from_secs(10);

/// Largest request, bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Deliveries that may wait for a page; beyond, the broker's own limits for slow consumers count.
const DELIVERIES_MAX: usize = 64;
