//! The ways in which clients come, and what only some of them have.

use stompede_protocol::Millis;

use crate::broker::liveness::Liveness;
use crate::broker::settings::Settings;
use crate::model::Principal;
use crate::policy::Credentials;
use crate::transport::encode::Wire;

use super::events::EventStream;

/// How a client reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Bytes as they are: TCP, TLS, the in-process pipe.
    Stream,
    /// In WebSocket messages; can be pinged.
    WebSocket,
    /// As [`Link::WebSocket`]; messages may be compressed (permessage-deflate).
    DeflateWebSocket,
    /// As server-sent events, which only go out; what comes in is said for the client.
    Events,
    /// In messages of SockJS over WebSocket; can be pinged.
    SockJs,
    /// In lines that requests of SockJS fetch. Whoever answers them knows whether the client lives.
    SockJsRequests,
}

/// What is known of a client before its CONNECT.
#[derive(Debug)]
pub enum Shown {
    /// What its handshake showed.
    Credentials(Box<Credentials>),
    /// Who it is: the embedding program vouches.
    Vouched(Box<Principal>),
}

/// What only some links have.
#[derive(Debug)]
pub(super) enum Manner {
    /// Nothing.
    Plain,
    /// Whether the client lives is judged elsewhere.
    Requests,
    /// It can be pinged.
    WebSocket(Liveness),
    /// It only listens.
    Events(Box<EventStream>),
}

impl Link {
    /// How frames leave until the client has said more.
    pub(super) fn wire(self) -> Wire {
        match self {
            Self::Stream => Wire::Raw,
            Self::WebSocket => Wire::Text,
            Self::DeflateWebSocket => Wire::DeflateText,
            Self::Events => Wire::BareEvents,
            Self::SockJs => Wire::SockJs,
            Self::SockJsRequests => Wire::SockJsLines,
        }
    }
}

impl Manner {
    pub(super) fn of(link: Link, settings: &Settings, now: Millis) -> Self {
        match link {
            Link::Stream => Self::Plain,
            Link::SockJsRequests => Self::Requests,
            Link::WebSocket | Link::DeflateWebSocket | Link::SockJs => {
                Self::WebSocket(Liveness::new(now, settings.websocket_ping_ms))
            }
            Link::Events => Self::Events(Box::new(EventStream::new(now, &settings.events))),
        }
    }
}
