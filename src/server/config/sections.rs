//! The tables of the file, in its order.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::MemoryMax;
use crate::features::rooms::Events;
use crate::model::Overflow;
use crate::policy::access::AccessRuleConfig;

/// What the broker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Header `server` of CONNECTED.
    pub name: String,
}

impl Default for Server {
    fn default() -> Self {
        Self { name: concat!("stompede/", env!("CARGO_PKG_VERSION")).to_owned() }
    }
}

/// Encryption of the HTTP port and of the STOMP TLS port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and its chain.
    pub cert: Option<PathBuf>,
    /// PEM file with the private key.
    pub key: Option<PathBuf>,
    /// Makes a certificate of its own at start, for development.
    pub self_signed: bool,
}

impl Tls {
    /// Whether connections can be encrypted.
    pub fn is_on(&self) -> bool {
        self.self_signed || self.cert.is_some()
    }
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSection {
    /// Lets clients without credentials in, with the rights that rules give to `anyone`.
    pub allow_anonymous: bool,
    /// Whether the default rules follow the configured ones.
    pub defaults: bool,
    /// `[[access.rule]]`, asked in this order; the first that names the action and matches decides.
    pub rule: Vec<AccessRuleConfig>,
}

impl Default for AccessSection {
    fn default() -> Self {
        Self { allow_anonymous: false, defaults: true, rule: Vec::new() }
    }
}

/// Pages that may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OriginsSection {
    /// Accepted besides the broker's own origin.
    pub allow: Vec<String>,
}

/// STOMP over WebSocket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocketSection {
    /// Whether messages are compressed for clients that offer permessage-deflate.
    pub compression: bool,
}

/// Memory of all buffers together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Above it no SEND is read, then the fullest outboxes are closed.
    pub max: MemoryMax,
}

/// How life is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeartBeat {
    /// How often the broker offers to send, milliseconds; 0 = not at all.
    pub send_ms: u32,
    /// How often the broker wants to hear something, milliseconds; 0 = not at all.
    pub receive_ms: u32,
    /// How often a WebSocket gets a ping, milliseconds.
    pub websocket_ping_ms: u32,
    /// How long a silent WebSocket has for its pong, milliseconds.
    pub pong_ms: u32,
}

impl Default for HeartBeat {
    fn default() -> Self {
        Self { send_ms: 10_000, receive_ms: 10_000, websocket_ping_ms: 25_000, pong_ms: 10_000 }
    }
}

/// Settings of some destinations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationSection {
    /// A destination under `/topic`, with wildcards if need be; the first that matches counts.
    pub pattern: String,
    /// What happens to a connection whose outbox is full.
    #[serde(with = "overflow")]
    pub overflow: Overflow,
}

/// The chat application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// A room's topic is this and the room's name.
    pub topic_prefix: String,
    /// What is sent to a room begins with this and the room's name.
    pub app_prefix: String,
    /// Where JOIN, LEAVE and the like appear.
    pub events: Events,
    /// How long a user whose connection broke stays present, milliseconds; 0 = not at all.
    pub linger_ms: u64,
}

impl Default for Rooms {
    fn default() -> Self {
        let (topic_prefix, app_prefix) = ("/topic/chat/".to_owned(), "/app/chat/".to_owned());
        Self { topic_prefix, app_prefix, events: Events::Topic, linger_ms: LINGER_MS }
    }
}

/// stompjs comes back after 5 s.
const LINGER_MS: u64 = 10_000;

/// What is written to standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// The least important that is written; the variable `STOMPEDE_LOG` may say it by module.
    pub level: LogLevel,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// How important a line is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Faults of the broker.
    Error,
    /// And what an operator should look at.
    Warn,
    /// And what happens to connections.
    #[default]
    Info,
    /// And details.
    Debug,
    /// And everything.
    Trace,
}

/// The end of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// Between readiness off and the first close, milliseconds: what a load balancer needs to notice.
    pub grace_ms: u64,
    /// Over how long the closes are spread, milliseconds, so that clients do not all come back at once.
    pub window_ms: u64,
    /// How long a connection has to take what waits for it, milliseconds.
    pub deadline_ms: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace_ms: 0, window_ms: 1_000, deadline_ms: 10_000 }
    }
}

/// The texts of [`Overflow`], which knows nothing of configuration files.
mod overflow {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Overflow;

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Text {
        Close,
        DropOldest,
    }

    pub(super) fn serialize<S: Serializer>(overflow: &Overflow, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match overflow {
            Overflow::Close => "close",
            Overflow::DropOldest => "drop-oldest",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Overflow, D::Error> {
        Ok(match Text::deserialize(deserializer)? {
            Text::Close => Overflow::Close,
            Text::DropOldest => Overflow::DropOldest,
        })
    }
}
