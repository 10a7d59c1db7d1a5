//! What a path below the base means.

use super::iframe::is_page;

/// A path of SockJS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::http) enum Place<'p> {
    /// The base itself.
    Greeting,
    /// What the server can.
    Info,
    /// A WebSocket as it is.
    Raw,
    /// The page for a hidden frame.
    Iframe,
    /// One way of one session.
    Session(&'p str, Way),
    /// Nothing.
    Nowhere,
}

/// How a session is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::http) enum Way {
    /// By WebSocket.
    WebSocket,
    /// What waits, one answer for each request.
    Xhr,
    /// What comes, in one answer until it is long enough.
    XhrStreaming,
    /// The same as events.
    EventSource,
    /// Messages of the client.
    XhrSend,
}

impl<'p> Place<'p> {
    /// What `path` means below `base`; nothing where it is elsewhere.
    pub(in crate::server::http) fn of(base: &str, path: &'p str) -> Option<Self> {
        let rest = path.strip_prefix(base)?;
        Some(match rest {
            "" | "/" => Self::Greeting,
            "/info" => Self::Info,
            "/websocket" => Self::Raw,
            _ if is_page(rest) => Self::Iframe,
            _ => {
                let rest = rest.strip_prefix('/')?;
                let mut pieces = rest.split('/');
                match (pieces.next(), pieces.next(), pieces.next(), pieces.next()) {
                    (Some(server), Some(session), Some(way), None) if is_id(server) && is_id(session) => {
                        Way::of(way).map_or(Self::Nowhere, |way| Self::Session(session, way))
                    }
                    _ => Self::Nowhere,
                }
            }
        })
    }
}

impl Way {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "websocket" => Self::WebSocket,
            "xhr" => Self::Xhr,
            "xhr_streaming" => Self::XhrStreaming,
            "eventsource" => Self::EventSource,
            "xhr_send" => Self::XhrSend,
            _ => return None,
        })
    }

    /// By which method it is asked for, and which are answered.
    pub(super) fn methods(self) -> (hyper::Method, &'static str) {
        match self {
            Self::WebSocket => (hyper::Method::GET, "GET"),
            Self::EventSource => (hyper::Method::GET, "OPTIONS, GET"),
            Self::Xhr | Self::XhrStreaming | Self::XhrSend => (hyper::Method::POST, "OPTIONS, POST"),
        }
    }
}

/// Whatever the client chose, but for what could be mistaken for a file, and what nobody needs.
fn is_id(text: &str) -> bool {
    !text.is_empty() && !text.contains('.') && text.len() <= ID_BYTES_MAX
}

/// Of a server's or a session's id, as it stands in the path.
const ID_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_two_ids_and_a_way() {
        let of = |path| Place::of("/ws", path);
        assert_eq!(of("/ws/000/abc/xhr"), Some(Place::Session("abc", Way::Xhr)));
        assert_eq!(of("/ws/_/a%20b/eventsource"), Some(Place::Session("a%20b", Way::EventSource)));
        assert_eq!(of("/ws/websocket"), Some(Place::Raw));
        for base in ["/ws", "/ws/"] {
            assert_eq!(of(base), Some(Place::Greeting));
        }
        assert_eq!(of("/ws/info"), Some(Place::Info));
        assert_eq!(of("/ws/iframe-1.6.1.html"), Some(Place::Iframe));
        for nowhere in [
            "/ws//",
            "/ws///",
            "/ws/a",
            "/ws/a/",
            "/ws/a/b",
            "/ws/a/b/",
            "/ws/a/b/c",
            "/ws///xhr",
            "/ws/a//xhr",
            "/ws//b/xhr",
            "/ws/a./b/xhr",
            "/ws/a/b./xhr",
            "/ws/a/b/c/xhr",
            "/ws/a/b/xhr/",
            "/ws/a/b/xhr;x",
            "/ws/a/b/jsonp",
            "/ws/a/b/htmlfile",
            "/ws/iframe.htm",
            "/ws/info/",
        ] {
            assert_eq!(of(nowhere), Some(Place::Nowhere), "{nowhere}");
        }
        let long = format!("/ws/a/{}/xhr", "b".repeat(129));
        assert_eq!(of(&long), Some(Place::Nowhere));
        for elsewhere in ["/", "/wsx", "/wsx/info", "/w", "/api/v1/info"] {
            assert_eq!(of(elsewhere), None, "{elsewhere}");
        }
    }
}
