//! URLs of a broker.

use std::fmt;

/// Where a broker is and what it speaks there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// STOMP itself, or inside WebSocket.
    pub(super) websocket: bool,
    /// Encrypted.
    pub(super) tls: bool,
    /// Name or address; IPv6 without brackets.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
    /// Path and query; `/ws` unless given.
    path: String,
}

impl Address {
    /// Reads `stomp://`, `stomps://` (also `tcp://`), `ws://` and `wss://`; port and path have their usual defaults.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or(FORMS)?;
        let (websocket, tls, port) = match scheme {
            "stomp" | "tcp" => (false, false, 61613),
            "stomps" | "stomp+ssl" => (false, true, 61614),
            "ws" => (true, false, 8080),
            "wss" => (true, true, 443),
            _ => return Err(FORMS.to_owned()),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if !websocket && !path.trim_matches('/').is_empty() {
            return Err("a stomp:// URL has no path".to_owned());
        }
        if authority.contains('@') {
            return Err("login and passcode are options of their own, not part of the URL".to_owned());
        }
        let (host, port) = split(authority, port)?;
        let path = if path.is_empty() { "/ws" } else { path };
        Ok(Self { websocket, tls, host, port, path: path.to_owned() })
    }

    /// The URL of the WebSocket handshake.
    pub(super) fn url(&self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    /// Whether HTTP is spoken there, too.
    pub(crate) fn speaks_http(&self) -> bool {
        self.websocket
    }

    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

fn split(authority: &str, default: u16) -> Result<(String, u16), String> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or("the bracket of the address is not closed")?,
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    if host.is_empty() {
        return Err(FORMS.to_owned());
    }
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => default,
        Some(port) => port.parse().map_err(|_| format!("{port:?} is no port"))?,
        None => return Err(FORMS.to_owned()),
    };
    Ok((host.to_owned(), port))
}

const FORMS: &str =
    "a broker's URL is stomp://host:port, stomps://host:port, ws://host:port/ws or wss://host:port/ws";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_the_usual_defaults() {
        let cases = [
            ("stomp://h", (false, false, "h:61613")),
            ("tcp://h:1", (false, false, "h:1")),
            ("stomps://h/", (false, true, "h:61614")),
            ("ws://h", (true, false, "h:8080")),
            ("wss://h", (true, true, "h:443")),
            ("ws://[::1]:9/x?token=t", (true, false, "[::1]:9")),
        ];
        for (text, (websocket, tls, authority)) in cases {
            let address = Address::parse(text).unwrap();
            assert_eq!(
                (address.websocket, address.tls, &*address.to_string()),
                (websocket, tls, authority),
                "{text}"
            );
        }
        assert_eq!(Address::parse("ws://h:9").unwrap().url(), "ws://h:9/ws");
        assert_eq!(Address::parse("wss://[::1]:9/x?token=t").unwrap().url(), "wss://[::1]:9/x?token=t");
    }

    #[test]
    fn other_urls_are_refused() {
        for text in [
            "h:61613",
            "http://h",
            "stomp://",
            "stomp://h:x",
            "stomp://h/ws",
            "stomp://a:b@h",
            "ws://[::1",
            "ws://[::1]9",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
