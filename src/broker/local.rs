//! What comes back from the bus, to the workers that want it.

use std::sync::Arc;

use crate::backend::{Inbound, Sink};
use crate::model::{Full, WorkerId};
use crate::routing::{Directory, Inboxes, Item};

/// The node's own side of the bus.
#[derive(Debug)]
pub(super) struct LocalSink {
    pub(super) directory: Arc<Directory>,
    pub(super) inboxes: Arc<Inboxes>,
}

impl Sink for LocalSink {
    fn accept(&self, inbound: &Inbound, from: Option<WorkerId>) -> Result<(), Full> {
        let Inbound::Message(message) = inbound;
        let _order = self.directory.order(&message.destination);
        let workers = self.directory.interested(&message.destination);
        self.inboxes.publish(workers, message, from)
    }

    fn force(&self, inbound: &Inbound) {
        let Inbound::Message(message) = inbound;
        let _order = self.directory.order(&message.destination);
        for worker in self.directory.interested(&message.destination).iter() {
            self.inboxes.force(worker, Item::Publish(Arc::clone(message)));
        }
    }
}
