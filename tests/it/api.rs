//! The HTTP API against a real server, with STOMP clients beside it.

pub(crate) mod cluster;
mod commands;
mod description;
mod people;
mod publish;
mod queues;
mod rooms;

use serde_json::{Value, json};
use stompede::policy::api_keys::{hash_of_key, key_of};
use stompede::policy::{JwtSigner, TokenOrder};
use stompede::server::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::served::{Served, configured, frame, login};

/// A server with keys for tokens, for the API and for a service.
pub(crate) struct Api {
    pub(crate) served: Served,
    signer: JwtSigner,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer of a request that was done.
    pub(crate) fn done(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// A problem document with this code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{problem}");
        let waits = matches!(status, 429 | 503);
        assert_eq!(self.head.contains("\r\nretry-after: "), waits, "{self:?}");
        problem
    }
}

/// The text of a key that is good for `scope`, or for all.
pub(crate) fn key(scope: &str) -> String {
    let number = SCOPES.iter().position(|known| *known == scope).expect("a scope") as u8;
    key_of([number; 32])
}

/// Scopes, and the name of the key that has them all.
const SCOPES: [&str; 6] = ["publish", "presence", "rooms", "queues", "admin", "all"];

impl Api {
    pub(crate) fn start() -> Self {
        Self::with(json!({}))
    }

    pub(crate) fn with(more: Value) -> Self {
        let config = Self::config(more);
        Self { signer: JwtSigner::new(&config.jwt).unwrap(), served: Served::start(config) }
    }

    pub(crate) fn config(mut more: Value) -> Config {
        let keys = SCOPES.iter().map(|scope| {
            let scopes = if *scope == "all" { SCOPES[..5].to_vec() } else { vec![*scope] };
            json!({"name": format!("{scope}-key"), "hash": hash_of_key(&key(scope)), "scopes": scopes})
        });
        more["api"]["key"] = keys.collect();
        more["jwt"] = json!({"secret": "0123456789abcdef0123456789abcdef"});
        configured(more)
    }

    /// The token of a user who may use these rooms.
    pub(crate) fn token(&self, user: &str, rooms: &[&str]) -> String {
        let claims = [("rooms".to_owned(), json!(rooms))].into_iter().collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let order = TokenOrder { user: user.to_owned(), service: false, claims, ttl_s: 600 };
        self.signer.sign(&order, now).unwrap()
    }

    /// Asks with a credential, or with none.
    pub(crate) async fn ask(&self, method: &str, path: &str, credential: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.served.ports.http).await.unwrap();
        let shown = if credential.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {credential}\r\n")
        };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{shown}content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        tokio::time::timeout(crate::served::DEADLINE, stream.read_to_end(&mut bytes))
            .await
            .expect("the answer in time")
            .unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: format!("{head}\r\n").to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) async fn get(&self, path: &str, credential: &str) -> Answer {
        self.ask("GET", path, credential, "").await
    }

    pub(crate) async fn put(&self, path: &str, credential: &str) -> Answer {
        self.ask("PUT", path, credential, "").await
    }

    pub(crate) async fn post(&self, path: &str, credential: &str, body: &Value) -> Answer {
        self.ask("POST", path, credential, &body.to_string()).await
    }

    /// A STOMP session of the account that is a service.
    pub(crate) async fn service(&self) -> Stomp {
        self.stomp(&login("backend", "right")).await
    }

    /// A STOMP session of a user who may use these rooms.
    pub(crate) async fn user(&self, user: &str, rooms: &[&str]) -> Stomp {
        let token = self.token(user, rooms);
        self.stomp(&format!("CONNECT\naccept-version:1.2\nhost:/\nAuthorization:Bearer {token}\n\n\0")).await
    }

    async fn stomp(&self, connect: &str) -> Stomp {
        let mut stomp = Stomp(self.served.connect().await);
        stomp.says(connect).await;
        let connected = stomp.hears().await;
        assert!(connected.starts_with("CONNECTED\n"), "{connected}");
        stomp
    }
}

/// A STOMP client.
pub(crate) struct Stomp(TcpStream);

impl Stomp {
    pub(crate) async fn says(&mut self, frame: &str) {
        self.0.write_all(frame.as_bytes()).await.unwrap();
    }

    /// The next frame.
    pub(crate) async fn hears(&mut self) -> String {
        frame(&mut self.0).await
    }

    /// Subscribes, and is subscribed.
    pub(crate) async fn subscribes(&mut self, destination: &str, headers: &str) {
        self.says(&format!(
            "SUBSCRIBE\nid:{destination}\ndestination:{destination}\nreceipt:r\n{headers}\n\0"
        ))
        .await;
        // Events of its own arrival may come first.
        loop {
            let answer = self.hears().await;
            assert!(!answer.starts_with("ERROR"), "{answer}");
            if answer.starts_with("RECEIPT\n") {
                return;
            }
        }
    }

    /// The next MESSAGE that is no event of presence.
    pub(crate) async fn hears_message(&mut self) -> String {
        loop {
            let message = self.hears().await;
            assert!(message.starts_with("MESSAGE\n"), "{message}");
            if !message.contains("\nevent:JOIN\n") && !message.contains("\nevent:LEAVE\n") {
                return message;
            }
        }
    }
}
