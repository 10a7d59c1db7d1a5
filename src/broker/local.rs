//! What comes back from the bus, to the workers that want it.

use std::sync::Arc;

use crate::backend::{Inbound, Sink};
use crate::features::Idempotency;
use crate::model::{Answer, Destination, Full, Message, Ticket, WorkerId};
use crate::routing::{Directory, Inboxes, Item};

/// The node's own side of the bus.
#[derive(Debug)]
pub(super) struct LocalSink {
    pub(super) directory: Arc<Directory>,
    pub(super) inboxes: Arc<Inboxes>,
    pub(super) idempotency: Arc<Idempotency>,
}

impl Sink for LocalSink {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        let _order = self.directory.order(inbound.destination);
        let workers = self.directory.interested(inbound.destination);
        self.inboxes.publish(workers, inbound.cost_bytes, inbound.from, inbound.make)
    }

    fn force(&self, message: &Arc<Message>) {
        let _order = self.directory.order(&message.destination);
        for worker in self.directory.interested(&message.destination).iter() {
            self.inboxes.force(worker, Item::Publish(Arc::clone(message)));
        }
    }

    fn room_for(&self, destination: &Destination, cost_bytes: usize, from: WorkerId) -> Result<(), Full> {
        self.inboxes.check(self.directory.interested(destination), cost_bytes, from)
    }

    fn tell_room(&self, worker: WorkerId) {
        self.inboxes.force(worker, Item::Room);
    }

    fn answer(&self, ticket: Ticket, answer: Answer) {
        let accepted = match &answer {
            Answer::Stored(stored) => Some(stored.is_ok()),
            Answer::Queued(_, queued) => Some(queued.is_ok()),
            _ => None,
        };
        if let Some(is_accepted) = accepted.filter(|_| ticket.key != 0) {
            // Here, for whoever sent it may be gone.
            self.idempotency.settle(ticket.key, is_accepted);
        }
        self.inboxes.force(ticket.connection.worker, Item::Answer { ticket, answer });
    }
}
