//! The tables of the file, in its order.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{MemoryMax, Size};
use crate::backend::disk::Fsync;
use crate::features::rooms::Events;
use crate::model::{Overflow, Retention};
use crate::policy::access::AccessRuleConfig;
use crate::server::http::client::Plain;

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

/// What outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// Directory of what is kept; without it everything is in memory and ends with the process.
    pub dir: Option<PathBuf>,
    /// When what is written is safe.
    #[serde(with = "FsyncText")]
    pub fsync: Fsync,
    /// With [`Fsync::Interval`] what was written is made safe so often, and so often free space is looked at, milliseconds.
    pub interval_ms: u64,
    /// Of all that is kept; more is refused.
    pub bytes_max: Size,
    /// With less free space in the file system nothing more is taken.
    pub free_bytes_min: Size,
    /// Opens a damaged store with what is left of it. Set by a flag only: it is for one start, not for each.
    #[serde(skip)]
    pub accept_loss: bool,
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            dir: None,
            fsync: Fsync::Always,
            interval_ms: 1_000,
            bytes_max: Size(64 << 30),
            free_bytes_min: Size(512 << 20),
            accept_loss: false,
        }
    }
}

/// How [`Fsync`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Fsync", rename_all = "kebab-case")]
enum FsyncText {
    Always,
    Interval,
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

/// Requests of our own, such as for the keys of issuers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchSection {
    /// Certificates that are trusted, PEM; those of the system without it.
    pub ca_file: Option<PathBuf>,
    /// Whether http without TLS may be spoken to other machines.
    pub allow_http: bool,
}

impl FetchSection {
    pub(in crate::server) fn plain(&self) -> Plain {
        if self.allow_http { Plain::Anywhere } else { Plain::Loopback }
    }
}

/// Settings of some destinations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationSection {
    /// A destination under `/topic`, or a user's own queue under `/user/queue`, with wildcards if need be; each setting is
    /// that of the first that matches and has it.
    pub pattern: String,
    /// What happens to a connection whose outbox is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// What is kept of each such destination for those who come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// What is kept of each such queue for a user who is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<History>,
}

/// How much of a destination is kept; whatever is crossed first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Messages; 0 = nothing is kept.
    pub messages_max: usize,
    /// Bytes.
    pub bytes_max: usize,
    /// Age, seconds.
    pub age_s_max: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { messages_max: 1_000, bytes_max: 16 << 20, age_s_max: 30 * 24 * 3_600 }
    }
}

impl History {
    pub(super) fn retention(self) -> Retention {
        let Self { messages_max, bytes_max, age_s_max } = self;
        Retention { messages_max, bytes_max, age_ms_max: age_s_max.saturating_mul(1_000) }
    }
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
    /// Whether SUBSCRIBE to a room marks as read what is there; otherwise the header `stompede-mark-read:true` does.
    pub mark_read_on_subscribe: bool,
}

impl Default for Rooms {
    fn default() -> Self {
        let (topic_prefix, app_prefix) = ("/topic/chat/".to_owned(), "/app/chat/".to_owned());
        Self {
            topic_prefix,
            app_prefix,
            events: Events::Topic,
            linger_ms: LINGER_MS,
            mark_read_on_subscribe: false,
        }
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
    /// How long a connection has to take what waits for it, and then the disk to take what is still to be written,
    /// milliseconds.
    pub deadline_ms: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace_ms: 0, window_ms: 1_000, deadline_ms: 10_000 }
    }
}
