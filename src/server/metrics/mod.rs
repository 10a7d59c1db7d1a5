//! What operators see: everything that is counted, on one page in Prometheus's format.
//!
//! Nothing here is counted: the page is made of what the broker and its stores say at the moment of the scrape. Labels are
//! closed lists; no name that a client chooses is ever among them.
//!
//! ```text
//!  clients    who came, what they asked, what they were refused
//!  traffic    messages, outboxes, workers
//!  kept       presence, history, queues, memory
//!  stores     the disk, Redis
//!  hooks      backends that are asked
//!  process    what the system says
//! ```

mod clients;
mod hooks;
mod kept;
mod page;
mod process;
mod stores;
mod traffic;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::broker::Broker;

use super::build::Keeper;
use super::callers::Callers;
use super::hooks::Hooks;
use super::http::Status;
use super::status::BrokerStatus;

use page::Page;
use stores::Store;

/// Everything that a scrape asks.
pub(super) struct Metrics {
    broker: Arc<Broker>,
    callers: Arc<Callers>,
    status: Arc<BrokerStatus>,
    hooks: Arc<Hooks>,
    store: Store,
    store_name: &'static str,
    started: SystemTime,
}

impl Metrics {
    pub(super) fn new(
        broker: &Arc<Broker>,
        callers: Arc<Callers>,
        status: Arc<BrokerStatus>,
        hooks: Arc<Hooks>,
        keeper: &Keeper,
    ) -> Self {
        Self {
            broker: Arc::clone(broker),
            callers,
            status,
            hooks,
            store: Store::of(keeper),
            store_name: keeper.store(),
            started: SystemTime::now(),
        }
    }

    /// The page.
    pub(super) fn page(&self) -> String {
        let mut page = Page::default();
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("store", self.store_name)];
        page.gauge("stompede_build_info", "Always 1; the labels say what runs.").of_both(labels, 1);
        page.gauge("stompede_ready", "Whether /readyz says 200.").is(u8::from(self.status.ready().is_ok()));
        clients::write(&mut page, self.broker.counters(), &self.callers);
        traffic::write(&mut page, &self.broker);
        kept::write(&mut page, &self.broker);
        self.store.write(&mut page);
        hooks::write(&mut page, self.hooks.all(), &self.broker);
        process::write(&mut page, self.started);
        page.finish()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("store", &self.store_name).finish_non_exhaustive()
    }
}
