//! Reply addresses: unguessable names that lead to one session.

use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::sync::Arc;
use stompede_protocol::SubscriptionKey;

use crate::model::ConnectionId;

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyRoute {
    /// The session that asked.
    pub connection: ConnectionId,
    /// What it listens on.
    pub listener: Listener,
}

/// What on the asking session an answer belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listener {
    /// `/temp-queue/<name>`.
    TempQueue(Arc<str>),
    /// A SUBSCRIBE to `/app/...` that is one request with one answer.
    Request(SubscriptionKey),
}

/// All reply addresses of the process. The number per session is bounded by its owner.
#[derive(Debug, Default)]
pub struct Replies(DashMap<Box<str>, ReplyRoute, RandomState>);

impl Replies {
    /// Makes `token` lead to `route`.
    pub fn insert(&self, token: &str, route: ReplyRoute) {
        self.0.insert(token.into(), route);
    }

    /// Where `token` leads.
    pub fn find(&self, token: &str) -> Option<ReplyRoute> {
        self.0.get(token).map(|route| route.clone())
    }

    /// Forgets `token`.
    pub fn remove(&self, token: &str) {
        self.0.remove(token);
    }

    /// Number of addresses.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
