//! What the process says of itself over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use crate::broker::Broker;

use super::http::Status;

/// Answers from the broker's own counters.
#[derive(Debug)]
pub(super) struct BrokerStatus {
    broker: Arc<Broker>,
    /// What messages are kept in, in a word.
    store: &'static str,
    started: Instant,
    /// No new clients should be sent here.
    leaving: AtomicBool,
}

impl BrokerStatus {
    pub(super) fn new(broker: Arc<Broker>, store: &'static str) -> Self {
        Self { broker, store, started: Instant::now(), leaving: AtomicBool::new(false) }
    }

    /// From now on it is neither ready nor healthy, though everything works: load balancers send nobody any more.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }
}

impl Status for BrokerStatus {
    fn healthy(&self) -> Result<(), String> {
        if self.leaving.load(Ordering::Relaxed) { Err("shutting down".into()) } else { Ok(()) }
    }

    fn ready(&self) -> Result<(), String> {
        self.healthy()?;
        self.broker.health()?;
        // Once fetched they are good for those who are known by them, whatever becomes of the issuer.
        self.broker.authenticator().key_sources().iter().try_for_each(|source| source.health())
    }

    fn info(&self) -> serde_json::Value {
        let counters = self.broker.counters();
        json!({
            "name": "stompede",
            "version": env!("CARGO_PKG_VERSION"),
            "store": self.store,
            "uptimeSeconds": self.started.elapsed().as_secs(),
            "connections": self.broker.connections().total(),
            "subscriptions": self.broker.subscriptions(),
            "destinations": self.broker.destinations(),
            "heldBytes": self.broker.held_bytes(),
            "sessionsOpened": counters.sum(|tally| &tally.sessions_opened),
            "messagesAccepted": counters.sum(|tally| &tally.messages_accepted),
            "deliveries": counters.sum(|tally| &tally.deliveries),
            "deliveriesDropped": counters.sum(|tally| &tally.deliveries_dropped),
        })
    }
}
