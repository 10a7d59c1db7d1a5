//! The configuration: defaults, then the file, then `STOMPEDE_...` variables, then flags; the later wins.
//!
//! `stompede.example.toml` is this page for operators; a test holds the two against each other.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{Limits, Overflow};
use crate::policy::access::AccessRuleConfig;
use crate::policy::{AccountConfig, JwtConfig};

mod build;
mod check;
mod error;
mod load;
mod memory;
mod source;

pub use build::Policy;
pub use error::{ConfigError, Problem};
pub use load::Loaded;
pub use memory::MemoryMax;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address on which every port listens.
    #[serde(deserialize_with = "address")]
    pub listen: IpAddr,
    /// WebSocket, HTTP API and page; 0 = any free port.
    pub http_port: u16,
    /// STOMP over TCP; 0 = any free port.
    pub stomp_port: u16,
    /// STOMP over TLS, open only with a certificate; 0 = any free port.
    pub stomp_tls_port: u16,
    /// Threads that own connections; 0 = one for each core.
    pub workers: usize,
    /// File that gets the addresses in use as JSON once all are open.
    pub ports_file: Option<PathBuf>,
    /// Lets a broker without keys listen beyond loopback.
    pub allow_insecure: bool,
    /// `[server]`
    pub server: Server,
    /// `[tls]`
    pub tls: Tls,
    /// `[jwt]`
    pub jwt: JwtConfig,
    /// `[[account]]`
    pub account: Vec<AccountConfig>,
    /// `[access]`
    pub access: AccessSection,
    /// `[origins]`
    pub origins: OriginsSection,
    /// `[limits]`
    pub limits: Limits,
    /// `[memory]`
    pub memory: Memory,
    /// `[heart_beat]`
    pub heart_beat: HeartBeat,
    /// `[[destination]]`
    pub destination: Vec<DestinationSection>,
    /// `[rooms]`
    pub rooms: Rooms,
    /// `[log]`
    pub log: Log,
    /// `[shutdown]`
    pub shutdown: Shutdown,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            http_port: 8080,
            stomp_port: 61613,
            stomp_tls_port: 61614,
            workers: 0,
            ports_file: None,
            allow_insecure: false,
            server: Server::default(),
            tls: Tls::default(),
            jwt: JwtConfig::default(),
            account: Vec::new(),
            access: AccessSection::default(),
            origins: OriginsSection::default(),
            limits: Limits::default(),
            memory: Memory::default(),
            heart_beat: HeartBeat::default(),
            destination: Vec::new(),
            rooms: Rooms::default(),
            log: Log::default(),
            shutdown: Shutdown::default(),
        }
    }
}

impl Config {
    /// Without any key or account the broker is for trying out: anybody may be anybody.
    pub fn is_development(&self) -> bool {
        !self.jwt.has_key() && self.account.is_empty()
    }

    /// The limits in force: development mode has no rates and no connection limits per user and address.
    pub fn effective_limits(&self) -> Limits {
        if !self.is_development() {
            return self.limits.clone();
        }
        Limits {
            sends_per_second: 0,
            user_sends_per_second: 0,
            user_connections_max: 0,
            address_connections_max: 0,
            ..self.limits.clone()
        }
    }
}

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
    pub events: RoomEvents,
}

impl Default for Rooms {
    fn default() -> Self {
        let (topic_prefix, app_prefix) = ("/topic/chat/".to_owned(), "/app/chat/".to_owned());
        Self { topic_prefix, app_prefix, events: RoomEvents::Topic }
    }
}

/// Where the events of a room appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoomEvents {
    /// On the room's topic.
    Topic,
    /// On `<topic>/events`.
    Separate,
    /// Nowhere.
    Off,
}

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

/// An IP address, or `localhost`.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_address(&text).map_err(serde::de::Error::custom)
}

/// Reads the address to listen on.
pub fn parse_address(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.parse().map_err(|_| format!("{text:?} is no IP address such as 127.0.0.1, 0.0.0.0 or ::"))
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

#[cfg(test)]
mod tests;
