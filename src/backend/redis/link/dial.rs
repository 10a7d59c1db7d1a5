//! From an address to a connection that is fit for use: TCP, TLS, who we are, what the server is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::options::{Address, Login};
use super::pipe::{Pipe, Stream};

/// How servers are dialled.
#[derive(Debug, Clone)]
pub(super) struct Dialler {
    pub(super) login: Login,
    pub(super) database: u32,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) accepts_eviction: bool,
    /// What a server must say that it is: `standalone` or `cluster`.
    pub(super) mode: &'static str,
}

/// A primary, ready to take orders or to be listened to.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) pipe: Pipe,
    /// By which a script knows whether it is still the same history of writes.
    pub(super) replication_id: Bytes,
    pub(super) address: Address,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DialError {
    /// Nobody is there, or it went away.
    #[error("{0}")]
    Lost(String),
    /// TLS cannot be spoken with it.
    #[error("cannot be trusted: {0}")]
    Distrusted(String),
    /// It has not answered in time.
    #[error("does not answer")]
    Silent,
    /// It refuses a command that is needed.
    #[error("refuses {command}: {text}")]
    Refused {
        /// Its name.
        command: &'static str,
        /// The first word of the error.
        code: String,
        /// Code and text as Redis said them.
        text: String,
    },
    /// It is not what the URL says.
    #[error("runs in {mode} mode, not in {wanted} mode: see the scheme of redis.url")]
    Mode {
        /// What it is.
        mode: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// Writes go elsewhere.
    #[error("is a replica")]
    Replica,
    /// Too old.
    #[error("is version {0}; 7.0 is needed, for sharded channels")]
    Old(String),
    /// It would throw away what must be kept.
    #[error("has maxmemory-policy {0}, so it may throw keys away: noeviction is needed")]
    Evicts(String),
}

impl DialError {
    /// Whether trying again is no use until somebody has changed something.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Silent | Self::Replica => false,
            Self::Distrusted(_) | Self::Old(_) | Self::Evicts(_) | Self::Mode { .. } => true,
            Self::Refused { code, .. } => !PASSING.contains(&code.as_str()),
        }
    }
}

impl Dialler {
    /// Dials a primary.
    pub(super) async fn primary(&self, address: &Address) -> Result<Primary, DialError> {
        let dialling = async {
            let (mut pipe, greeting) = self.open(address).await?;
            self.check(&greeting)?;
            let replication_id = self.inspect(&mut pipe).await?;
            Ok(Primary { pipe, replication_id, address: address.clone() })
        };
        tokio::time::timeout(DIAL_MAX, dialling).await.unwrap_or(Err(DialError::Silent))
    }

    /// Dials a server, whatever it is.
    pub(super) async fn any(&self, address: &Address) -> Result<Pipe, DialError> {
        let opened = tokio::time::timeout(DIAL_MAX, self.open(address)).await;
        opened.unwrap_or(Err(DialError::Silent)).map(|(pipe, _)| pipe)
    }

    /// A connection, and what the server says of itself.
    async fn open(&self, address: &Address) -> Result<(Pipe, Value), DialError> {
        let stream = connect(address, self.tls.as_ref()).await.map_err(|error| DialError::lost(&error))?;
        let mut pipe = Pipe::new(stream);
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &self.login.password {
            let user = self.login.user.as_deref().unwrap_or("default");
            hello.extend([b"AUTH", user.as_bytes(), password.0.as_bytes()]);
        }
        let greeting = match ask(&mut pipe, "HELLO", &hello).await {
            // Before version 6.
            Err(DialError::Refused { code, text, .. })
                if code == "ERR" && text.contains("unknown command") =>
            {
                return Err(DialError::Old("5 or older".to_owned()));
            }
            greeting => greeting?,
        };
        if self.database != 0 {
            ask(&mut pipe, "SELECT", &[b"SELECT", self.database.to_string().as_bytes()]).await?;
        }
        Ok((pipe, greeting))
    }

    /// Whether the server is what we want.
    fn check(&self, greeting: &Value) -> Result<(), DialError> {
        let version = entry(greeting, "version");
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < VERSION_MIN) {
            return Err(DialError::Old(version));
        }
        let mode = entry(greeting, "mode");
        if mode != self.mode {
            return Err(DialError::Mode { mode, wanted: self.mode });
        }
        if entry(greeting, "role") == "master" { Ok(()) } else { Err(DialError::Replica) }
    }

    /// Whether it keeps what it is given; its replication id.
    async fn inspect(&self, pipe: &mut Pipe) -> Result<Bytes, DialError> {
        let question: [&[u8]; 4] = [b"INFO", b"memory", b"persistence", b"replication"];
        let said = text(&ask(pipe, "INFO", &question).await?);
        if field(&said, "loading") == Some("1") {
            return Err(DialError::Lost("is reading its data from disk".to_owned()));
        }
        match field(&said, "maxmemory_policy") {
            Some("noeviction") | None => {}
            Some(_) if self.accepts_eviction => {}
            Some(policy) => return Err(DialError::Evicts(policy.to_owned())),
        }
        Ok(Bytes::copy_from_slice(field(&said, "master_replid").unwrap_or_default().as_bytes()))
    }
}

impl DialError {
    pub(super) fn lost(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(inner @ rustls::Error::InvalidCertificate(_)) => Self::Distrusted(inner.to_string()),
            _ => Self::Lost(error.to_string()),
        }
    }
}

/// Asks, and takes an error of the server for one.
pub(super) async fn ask(pipe: &mut Pipe, command: &'static str, parts: &[&[u8]]) -> Result<Value, DialError> {
    match pipe.ask(parts).await.map_err(|error| DialError::lost(&error))? {
        Value::ServerError(error) => {
            let code = error.code().to_owned();
            let text = format!("{code} {}", error.details().unwrap_or_default());
            Err(DialError::Refused { command, code, text })
        }
        value => Ok(value),
    }
}

/// What a value says, if it says something.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        Value::Int(number) => number.to_string(),
        _ => String::new(),
    }
}

/// What stands under a name in a map.
fn entry(map: &Value, name: &str) -> String {
    let Value::Map(entries) = map else { return String::new() };
    let found = entries.iter().find(|(key, _)| text(key) == name);
    found.map(|(_, value)| text(value)).unwrap_or_default()
}

/// A line `name:value` of INFO.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.map(str::trim)
}

async fn connect(address: &Address, tls: Option<&Arc<ClientConfig>>) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((&*address.host, address.port)).await?;
    prepare(&stream)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(address.host.to_string())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the host is no name for a certificate"))?;
    Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?))
}

/// What the system is to notice by itself of a peer that is gone; the canary is quicker.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(())
}

/// Sharded channels.
const VERSION_MIN: u32 = 7;

/// Errors that go away by themselves.
const PASSING: [&str; 6] = ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "BUSY", "TRYAGAIN"];

/// From the first packet to a connection that is fit for use.
const DIAL_MAX: Duration = Duration::from_secs(2);

const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// What was sent and is not acknowledged by the peer's system.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
