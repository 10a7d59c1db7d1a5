//! Which web pages may open a connection (RFC 6454; RFC 6455 section 10.2).
//!
//! Browsers say where a page came from; native clients and services say nothing and are accepted. Without this check any
//! page on the web could talk to a broker that its visitor can reach.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::PolicyError;

/// The accepted origins.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    allowed: Vec<Allowed>,
    development: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Any,
    Null,
    Pattern { scheme: Box<str>, labels: Vec<Box<str>>, port: Port },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Any,
    Is(u16),
}

/// An origin taken apart: scheme and host in lower case, the scheme's own port when none is written.
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// A page from there may not connect. `Display` names the configuration line that would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRefused {
    origin: Box<str>,
}

impl Origins {
    /// Takes `https://app.example.com`, `https://*.example.com` (`*` is one whole label), `http://localhost:*` (any
    /// port), `null`, and `*` alone. In development mode local pages are accepted too; and as the broker's own origin only
    /// one whose host is an address or `localhost`, since a name of somebody else's can be made to lead here (DNS
    /// rebinding) and there is no token that such a page would lack.
    pub fn new<S: AsRef<str>>(allow: &[S], development: bool) -> Result<Self, PolicyError> {
        let allowed = allow.iter().map(|text| Allowed::parse(text.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { allowed, development })
    }

    /// Whether every page is let in.
    pub fn are_all(&self) -> bool {
        self.allowed.contains(&Allowed::Any)
    }

    /// Judges the header `Origin`. `host` is the header `Host`, `tls` whether the connection is encrypted here; where a
    /// proxy did that before us, a page from `https` is the same origin as our plain port.
    pub fn check(&self, origin: Option<&str>, host: Option<&str>, tls: bool) -> Result<(), OriginRefused> {
        let Some(text) = origin else { return Ok(()) };
        let parsed = Origin::parse(text);
        let listed = self.allowed.iter().any(|allowed| match (allowed, &parsed) {
            (Allowed::Any, _) => true,
            (Allowed::Null, _) => text == NULL,
            (Allowed::Pattern { .. }, Some(origin)) => allowed.matches(origin),
            (Allowed::Pattern { .. }, None) => false,
        });
        let own = |origin: &Origin| {
            let same = origin.is_same_as(host, tls) && (!self.development || origin.has_fixed_host());
            same || self.development && origin.is_local()
        };
        if listed || parsed.is_some_and(|origin| own(&origin)) {
            return Ok(());
        }
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_default).collect();
        Err(OriginRefused { origin: shown.into() })
    }
}

impl Allowed {
    fn parse(text: &str) -> Result<Self, PolicyError> {
        let wrong = |fault| PolicyError::Origin { pattern: text.to_owned(), fault };
        match text {
            "*" => return Ok(Self::Any),
            NULL => return Ok(Self::Null),
            _ => {}
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme.is_empty() || scheme.contains('*') {
            return Err(wrong("the scheme must be given"));
        }
        if rest.contains(['/', '?', '#', '@']) {
            return Err(wrong("an origin has no path"));
        }
        let (host, port) = match rest.strip_suffix(":*") {
            Some(host) => (host, Port::Any),
            None => {
                let (host, port) = split_port(rest).ok_or_else(|| wrong("the port is not a number"))?;
                let port =
                    port.or_else(|| default_port(&scheme)).ok_or_else(|| wrong("the port is missing"))?;
                (host, Port::Is(port))
            }
        };
        let labels = labels(host);
        if labels.iter().any(|label| label.is_empty()) {
            return Err(wrong("the host is missing or has an empty label"));
        }
        if labels.iter().any(|label| label.contains('*') && &**label != "*") {
            return Err(wrong("* stands for one whole label, between dots"));
        }
        if labels.iter().all(|label| &**label == "*") {
            return Err(wrong("a host of wildcards alone would accept every page"));
        }
        Ok(Self::Pattern { scheme: scheme.into(), labels, port })
    }

    fn matches(&self, origin: &Origin) -> bool {
        let Self::Pattern { scheme, labels: pattern, port } = self else { return false };
        let host = labels(&origin.host);
        **scheme == *origin.scheme
            && (*port == Port::Any || *port == Port::Is(origin.port))
            && host.len() == pattern.len()
            && pattern.iter().zip(&host).all(|(p, label)| &**p == "*" || p == label)
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_port(rest)?;
        let port = port.or_else(|| default_port(&scheme))?;
        let plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
        plain.then(|| Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    fn is_same_as(&self, host: Option<&str>, tls: bool) -> bool {
        let Some((host, port)) = host.and_then(split_port) else { return false };
        let scheme = self.scheme == "https" || self.scheme == "http" && !tls;
        scheme
            && host.eq_ignore_ascii_case(&self.host)
            && port.or_else(|| default_port(&self.scheme)) == Some(self.port)
    }

    /// Nobody can make the host lead elsewhere.
    fn has_fixed_host(&self) -> bool {
        is_fixed(&self.host)
    }

    fn is_local(&self) -> bool {
        matches!(&*self.scheme, "http" | "https")
            && matches!(&*self.host, "localhost" | "127.0.0.1" | "[::1]")
    }
}

impl OriginRefused {
    /// The origin, printable and bounded.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl fmt::Display for OriginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        write!(f, "pages from {origin} may not connect; to accept them set [origins] allow = [\"{origin}\"]")
    }
}

impl std::error::Error for OriginRefused {}

/// Whether nobody can make the host of a header `Host` lead elsewhere: it is an address or `localhost`.
pub fn has_fixed_host(host: &str) -> bool {
    split_port(host).is_some_and(|(host, _)| is_fixed(&host.to_ascii_lowercase()))
}

fn is_fixed(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    host == "localhost"
        || host.parse::<Ipv4Addr>().is_ok()
        || v6.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`; `None` when the port is no number.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(end);
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((host, None)),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        None | Some(_) => None,
    }
}

/// An IPv6 address is one label.
fn labels(host: &str) -> Vec<Box<str>> {
    if host.starts_with('[') {
        return vec![host.to_ascii_lowercase().into()];
    }
    host.split('.').map(|label| label.to_ascii_lowercase().into()).collect()
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// What browsers send for pages without an origin: files, sandboxed frames.
const NULL: &str = "null";

const SHOWN_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(list: &[&str]) -> Origins {
        Origins::new(list, false).unwrap()
    }

    #[test]
    fn in_development_mode_a_name_that_leads_here_is_not_the_brokers_own_origin() {
        let development = Origins::new::<&str>(&[], true).unwrap();
        let cases = [
            ("rebound.example:8080", false),
            ("1.2.3.4.example:8080", false),
            ("localhost.example:8080", false),
            ("192.168.1.7:8080", true),
            ("[fe80::7]:8080", true),
            ("localhost:8080", true),
        ];
        for (host, accepted) in cases {
            let origin = format!("http://{host}");
            let check = |origins: &Origins| origins.check(Some(&origin), Some(host), false).is_ok();
            assert_eq!(check(&development), accepted, "{host}");
            assert!(check(&allow(&[])), "{host}: with keys there is a token that such a page lacks");
        }
    }

    fn accepts(origins: &Origins, origin: &str) -> bool {
        origins.check(Some(origin), Some("broker.example:8080"), false).is_ok()
    }

    #[test]
    fn native_clients_have_no_origin_and_are_accepted() {
        assert!(allow(&[]).check(None, Some("h"), false).is_ok());
        assert!(allow(&[]).check(None, None, true).is_ok());
    }

    #[test]
    fn the_same_origin_is_accepted() {
        let cases = [
            ("http://a.example:8080", "a.example:8080", false, true),
            ("http://A.example:8080", "a.Example:8080", false, true),
            ("https://a.example", "a.example", true, true),
            ("https://a.example", "a.example:443", true, true),
            ("http://a.example", "a.example:80", false, true),
            ("https://a.example", "a.example", false, true), // a proxy ended the encryption
            ("http://a.example", "a.example", true, false),
            ("http://a.example:81", "a.example", false, false),
            ("http://b.example:8080", "a.example:8080", false, false),
            ("http://[::1]:8080", "[::1]:8080", false, true),
            ("ftp://a.example:8080", "a.example:8080", false, false),
            ("http://a.example:8080/path", "a.example:8080", false, false),
        ];
        for (origin, host, tls, expected) in cases {
            assert_eq!(
                allow(&[]).check(Some(origin), Some(host), tls).is_ok(),
                expected,
                "{origin} {host} {tls}"
            );
        }
        assert!(allow(&[]).check(Some("http://a.example"), None, false).is_err());
    }

    #[test]
    fn a_star_is_one_whole_label() {
        let origins =
            allow(&["https://*.example.com", "https://shop.example.org:8443", "http://localhost:*"]);
        let cases = [
            ("https://app.example.com", true),
            ("https://APP.example.com:443", true),
            ("https://app.example.com:444", false),
            ("http://app.example.com", false),
            ("https://example.com", false),
            ("https://a.b.example.com", false),
            ("https://evilexample.com", false),
            ("https://app.example.com.evil.net", false),
            ("https://shop.example.org:8443", true),
            ("https://shop.example.org", false),
            ("http://localhost:5173", true),
            ("https://localhost:5173", false),
            ("null", false),
            ("", false),
        ];
        for (origin, expected) in cases {
            assert_eq!(accepts(&origins, origin), expected, "{origin}");
        }
    }

    #[test]
    fn null_and_everything_must_be_listed() {
        assert!(!accepts(&allow(&[]), "null"));
        assert!(accepts(&allow(&["null"]), "null"));
        assert!(!accepts(&allow(&["null"]), "https://a.example"));
        assert!(accepts(&allow(&["*"]), "https://a.example"));
        assert!(accepts(&allow(&["*"]), "null"));
    }

    #[test]
    fn development_mode_accepts_local_pages_on_any_port() {
        let origins = Origins::new::<&str>(&[], true).unwrap();
        for origin in
            ["http://localhost:3000", "https://127.0.0.1:8443", "http://[::1]:5173", "http://localhost"]
        {
            assert!(accepts(&origins, origin), "{origin}");
        }
        for origin in ["http://localhost.evil.net", "http://10.0.0.1", "null", "http://127.0.0.1.evil.net:80"]
        {
            assert!(!accepts(&origins, origin), "{origin}");
        }
    }

    #[test]
    fn patterns_that_would_accept_too_much_are_refused() {
        for text in [
            "https://*",
            "https://*.*",
            "https://a*.example.com",
            "*.example.com",
            "//x",
            "https://",
            "*://a.b",
            "https://a.b/c",
            "https://a..b",
            "https://a:b",
            "chrome-extension://abc",
        ] {
            assert!(Origins::new(&[text], false).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_holds_the_line_that_would_allow_it() {
        let refused = allow(&[]).check(Some("https://app.example.com"), Some("b"), false).unwrap_err();
        assert!(refused.to_string().contains("[origins] allow = [\"https://app.example.com\"]"));
        let nasty = format!("https://x\"\n{}", "y".repeat(1_000));
        let shown = allow(&[]).check(Some(&nasty), Some("b"), false).unwrap_err().to_string();
        assert!(!shown.contains('\n') && shown.len() < 600, "{shown}");
    }
}
