//! Where Redis is, and how one is let in.
//!
//! ```text
//!  redis://[user:password@]host[:6379][/database]
//!  rediss://...                                                          over TLS
//!  redis+sentinel://[user:password@]host[:26379],host,.../name[/database]   (rediss+sentinel: over TLS)
//!  redis+cluster://[user:password@]host[:6379],host,...                  (rediss+cluster: over TLS)
//! ```

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

/// How Redis is reached. Shows no secret, whoever prints it.
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) place: Place,
    pub(super) login: Login,
    pub(super) database: u32,
    pub(super) is_encrypted: bool,
    /// Of the sentinels; they are their own servers.
    pub(super) sentinel_login: Login,
    /// What an encrypted connection needs.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) prefix: Arc<str>,
    /// Replicas that must have a batch of orders before it counts as done; 0 asks none.
    pub(super) wait_replicas: u32,
    pub(super) accepts_eviction: bool,
}

/// What is wrong with an option. `key` is its name in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct OptionsError {
    key: &'static str,
    why: String,
}

/// Which servers there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// One.
    Standalone(Address),
    /// Whoever is the primary of that name.
    Sentinel {
        /// Who knows.
        sentinels: Vec<Address>,
        /// What they call it.
        name: String,
    },
    /// Whoever owns the slot.
    Cluster(Vec<Address>),
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    /// Name or number.
    pub(super) host: Arc<str>,
    /// TCP.
    pub(super) port: u16,
}

/// Who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    /// `default` without it.
    pub(super) user: Option<String>,
    /// Nothing is proven without it.
    pub(super) password: Option<Secret>,
}

/// Is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl OptionsError {
    /// The name of the option in the configuration.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// What is wrong with it.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl Options {
    /// Reads a URL. All else is as it is by default.
    ///
    /// # Errors
    /// It is none, or none of ours. The message shows nothing of what stands before an `@`.
    pub fn parse(url: &str) -> Result<Self, OptionsError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("is no URL: redis://HOST"))?;
        let (scheme, is_encrypted) = match scheme {
            "redis" | "redis+sentinel" | "redis+cluster" => (scheme, false),
            "rediss" => ("redis", true),
            "rediss+sentinel" => ("redis+sentinel", true),
            "rediss+cluster" => ("redis+cluster", true),
            _ => {
                return Err(wrong(
                    "begins with none of redis://, rediss://, redis+sentinel:// and redis+cluster://",
                ));
            }
        };
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Login::parse(login)?, rest),
            None => (Login::default(), rest),
        };
        if rest.contains(['?', '#']) {
            return Err(wrong("takes no parameters"));
        }
        let mut path = rest.split('/');
        let hosts = path.next().unwrap_or_default();
        let mut path: Vec<&str> = path.filter(|part| !part.is_empty()).collect();
        let port = if scheme == "redis+sentinel" { SENTINEL_PORT } else { REDIS_PORT };
        let addresses: Vec<Address> =
            hosts.split(',').map(|host| Address::parse(host, port)).collect::<Result<_, _>>()?;
        let place = match scheme {
            "redis" => match <[Address; 1]>::try_from(addresses) {
                Ok([address]) => Place::Standalone(address),
                Err(_) => return Err(wrong("names several hosts, which only Sentinel and Cluster have")),
            },
            "redis+sentinel" if path.is_empty() => {
                return Err(wrong("names no primary: redis+sentinel://HOST,HOST,HOST/NAME"));
            }
            "redis+sentinel" => Place::Sentinel { sentinels: addresses, name: decode(path.remove(0))? },
            _ => Place::Cluster(addresses),
        };
        let database = match path.as_slice() {
            [] => 0,
            [number] => number.parse().map_err(|_| wrong("ends with something that is no database"))?,
            _ => return Err(wrong("has too many parts")),
        };
        if database != 0 && matches!(place, Place::Cluster(_)) {
            return Err(wrong("names a database, of which a cluster has but one"));
        }
        Ok(Self {
            place,
            login,
            database,
            is_encrypted,
            sentinel_login: Login::default(),
            tls: None,
            prefix: PREFIX.into(),
            wait_replicas: 0,
            accepts_eviction: false,
        })
    }

    /// What all keys and channels begin with.
    ///
    /// # Errors
    /// It is empty, too long, or has braces or control characters, which would break the names of keys.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, OptionsError> {
        let why = match prefix {
            "" => "is empty",
            _ if prefix.len() > PREFIX_BYTES_MAX => "is longer than 64 bytes",
            _ if prefix.contains(['{', '}']) => "has braces, which mark the slot in a cluster",
            _ if prefix.contains(char::is_control) => "has control characters",
            _ => {
                self.prefix = prefix.into();
                return Ok(self);
            }
        };
        Err(OptionsError { key: "redis.prefix", why: why.to_owned() })
    }

    /// Who we are before sentinels.
    #[must_use]
    pub fn sentinel_login(mut self, user: Option<String>, password: Option<String>) -> Self {
        self.sentinel_login = Login { user, password: password.map(Secret) };
        self
    }

    /// Who we are before Redis; takes the place of what the URL says.
    #[must_use]
    pub fn login(mut self, user: Option<String>, password: Option<String>) -> Self {
        self.login = Login { user, password: password.map(Secret) };
        self
    }

    /// Whether the URL asks for TLS, which then needs to be told who is trusted: [`Options::trust`].
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Which certificates servers may show, and what is shown to them.
    #[must_use]
    pub fn trust(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// So many replicas must have acknowledged what an order has written before it counts as done. Where fewer do in time, its
    /// outcome is unknown.
    #[must_use]
    pub fn wait_replicas(mut self, count: u32) -> Self {
        self.wait_replicas = count;
        self
    }

    /// Redis may throw keys away when its memory is full.
    #[must_use]
    pub fn accept_eviction(mut self) -> Self {
        self.accepts_eviction = true;
        self
    }

    /// What connections need, if they are encrypted.
    pub(super) fn tls(&self) -> Result<Option<Arc<ClientConfig>>, OptionsError> {
        if !self.is_encrypted {
            return Ok(None);
        }
        let why = || OptionsError { key: "redis.ca_file", why: "nobody is trusted".to_owned() };
        self.tls.clone().map(Some).ok_or_else(why)
    }

    /// One of the servers that are asked first, as `host:port`.
    pub fn server(&self) -> String {
        match &self.place {
            Place::Standalone(address) => address.to_string(),
            Place::Sentinel { sentinels: servers, .. } | Place::Cluster(servers) => {
                servers.first().map(Address::to_string).unwrap_or_default()
            }
        }
    }

    /// What all keys and channels begin with.
    pub fn key_prefix(&self) -> &str {
        &self.prefix
    }
}

impl Address {
    pub(super) fn parse(text: &str, port: u16) -> Result<Self, OptionsError> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, Some(port)),
            Some((host, rest)) => (host, rest.strip_prefix(':').and_then(|port| port.parse().ok())),
            None => match text.split_once(':') {
                Some((host, port)) => (host, port.parse().ok()),
                None => (text, Some(port)),
            },
        };
        let is_good = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
        match port {
            Some(port) if is_good && port != 0 => Ok(Self { host: host.into(), port }),
            _ => Err(wrong("has a host that is not HOST or HOST:PORT")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, OptionsError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let user = Some(decode(user)?).filter(|user| !user.is_empty());
        let password = Some(decode(password)?).filter(|password| !password.is_empty()).map(Secret);
        if user.is_some() && password.is_none() {
            return Err(wrong("names a user without a password"));
        }
        Ok(Self { user, password })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

fn wrong(why: &str) -> OptionsError {
    OptionsError { key: "redis.url", why: why.to_owned() }
}

/// Takes `%41` for `A`.
fn decode(text: &str) -> Result<String, OptionsError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    decoded.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.ok_or_else(|| wrong("has a % that is not followed by two hexadecimal digits"))?);
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(decoded).map_err(|_| wrong("has something encoded that is no UTF-8"))
}

/// Where keys begin, unless somebody says otherwise.
const PREFIX: &str = "websocket:";

const PREFIX_BYTES_MAX: usize = 64;

const REDIS_PORT: u16 = 6379;

const SENTINEL_PORT: u16 = 26379;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_places() {
        let address = |text: &str| Address::parse(text, 1).unwrap();
        let plain = Options::parse("redis://example.org").unwrap();
        assert_eq!(plain.place, Place::Standalone(address("example.org:6379")));
        let full = Options::parse("rediss://us%40er:pa%3Ass@[::1]:7000/3").unwrap();
        assert_eq!(full.place, Place::Standalone(address("[::1]:7000")));
        assert_eq!(full.login.user.as_deref(), Some("us@er"));
        assert_eq!(full.login.password, Some(Secret("pa:ss".into())));
        assert_eq!((full.database, full.is_encrypted), (3, true));
        let sentinel = Options::parse("redis+sentinel://:x@a,b:7,c/main/2").unwrap();
        let sentinels = vec![address("a:26379"), address("b:7"), address("c:26379")];
        assert_eq!(sentinel.place, Place::Sentinel { sentinels, name: "main".into() });
        assert_eq!(sentinel.database, 2);
        let cluster = Options::parse("redis+cluster://a:1,b:2").unwrap();
        assert_eq!(cluster.place, Place::Cluster(vec![address("a:1"), address("b:2")]));
    }

    #[test]
    fn bad_urls_are_refused_naming_the_key() {
        let bad = [
            "",
            "localhost",
            "http://a",
            "redis://",
            "redis://a:b",
            "redis://a:0",
            "redis://a:99999",
            "redis://a,b",
            "redis://a/x",
            "redis://a/1/2",
            "redis://u@a",
            "redis://:%zz@a",
            "redis://:%e4@a",
            "redis://a?b=c",
            "redis+sentinel://a",
            "redis+cluster://a/1",
            "redis://[::1",
            "redis://a b",
        ];
        for url in bad {
            let error = Options::parse(url).map(|options| format!("{url} gave {options:?}")).unwrap_err();
            assert!(error.to_string().starts_with("redis.url: "), "{url}: {error}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let options = Options::parse("redis+sentinel://me:hush1@a/m").unwrap();
        let options = options.sentinel_login(None, Some("hush2".into()));
        assert!(!format!("{options:?}").contains("hush"));
        let error = Options::parse("redis://me:hush3@a:b").unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
    }

    #[test]
    fn a_prefix_keeps_the_names_of_keys_whole() {
        let options = Options::parse("redis://a").unwrap();
        assert_eq!(options.key_prefix(), "websocket:");
        for bad in ["", "a{b", "a}b", "a\nb", &"x".repeat(65)] {
            let error = options.clone().prefix(bad).unwrap_err();
            assert!(error.to_string().starts_with("redis.prefix: "), "{error}");
        }
        assert_eq!(options.prefix("eu:").unwrap().key_prefix(), "eu:");
    }
}
