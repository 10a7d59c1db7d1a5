//! The configuration: defaults, then the file, then `STOMPEDE_...` variables, then flags; the later wins.
//!
//! `stompede.example.toml` is this page for operators; a test holds the two against each other.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::Limits;
use crate::policy::{AccountConfig, JwtConfig};

mod admin;
mod api_section;
mod build;
mod check;
mod error;
mod hook_section;
mod load;
mod memory;
mod redis_section;
mod sections;
mod size;
mod sockjs_section;
mod source;
mod sse_section;

pub use admin::{AdminPort, AdminSection};
pub use api_section::ApiSection;
pub use build::Policy;
pub use error::{ConfigError, Problem};
pub use hook_section::HookSection;
pub use load::Loaded;
pub use memory::MemoryMax;
pub use redis_section::RedisSection;
pub use sections::{
    AccessSection, DataSection, DestinationSection, FetchSection, HeartBeat, Log, LogFormat, LogLevel,
    Memory, OriginsSection, Rooms, Server, Shutdown, Tls, WebSocketSection,
};
pub use size::Size;
pub use sockjs_section::SockJsSection;
pub use sse_section::{SsePath, SseSection};

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
    /// Addresses and nets of load balancers, which are believed when they say whose connection they pass on.
    pub trusted_proxies: Vec<String>,
    /// Whether they begin each connection to the HTTP port with a PROXY protocol header.
    pub http_proxy_protocol: bool,
    /// Whether they begin each connection to the STOMP ports with a PROXY protocol header.
    pub stomp_proxy_protocol: bool,
    /// Threads that own connections; 0 = one for each core.
    pub workers: usize,
    /// File that gets the addresses in use as JSON once all are open.
    pub ports_file: Option<PathBuf>,
    /// Lets a broker without keys listen beyond loopback.
    pub allow_insecure: bool,
    /// `[admin]`
    pub admin: AdminSection,
    /// `[server]`
    pub server: Server,
    /// `[tls]`
    pub tls: Tls,
    /// `[jwt]`
    pub jwt: JwtConfig,
    /// `[fetch]`
    pub fetch: FetchSection,
    /// `[[account]]`
    pub account: Vec<AccountConfig>,
    /// `[api]`
    pub api: ApiSection,
    /// `[access]`
    pub access: AccessSection,
    /// `[[hook]]`
    pub hook: Vec<HookSection>,
    /// `[origins]`
    pub origins: OriginsSection,
    /// `[limits]`
    pub limits: Limits,
    /// `[websocket]`
    pub websocket: WebSocketSection,
    /// `[sse]`
    pub sse: SseSection,
    /// `[sockjs]`
    pub sockjs: SockJsSection,
    /// `[memory]`
    pub memory: Memory,
    /// `[data]`
    pub data: DataSection,
    /// `[redis]`
    pub redis: RedisSection,
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
            trusted_proxies: Vec::new(),
            http_proxy_protocol: false,
            stomp_proxy_protocol: false,
            workers: 0,
            ports_file: None,
            allow_insecure: false,
            admin: AdminSection::default(),
            server: Server::default(),
            tls: Tls::default(),
            jwt: JwtConfig::default(),
            fetch: FetchSection::default(),
            account: Vec::new(),
            api: ApiSection::default(),
            access: AccessSection::default(),
            hook: Vec::new(),
            origins: OriginsSection::default(),
            limits: Limits::default(),
            websocket: WebSocketSection::default(),
            sse: SseSection::default(),
            sockjs: SockJsSection::default(),
            memory: Memory::default(),
            data: DataSection::default(),
            redis: RedisSection::default(),
            heart_beat: HeartBeat::default(),
            destination: Vec::new(),
            rooms: Rooms::default(),
            log: Log::default(),
            shutdown: Shutdown::default(),
        }
    }
}

impl Config {
    /// Without any key, account or API key the broker is for trying out: anybody may be anybody.
    pub fn is_development(&self) -> bool {
        !self.jwt.has_key() && self.account.is_empty() && self.api.key.is_empty()
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

#[cfg(test)]
mod tests;
