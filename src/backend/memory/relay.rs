//! With one node the bus is a call.

use std::sync::Arc;

use crate::backend::{Inbound, Kept, Relay, Sink, Wanted};
use crate::model::{Full, Message, Ticket, WorkerId};

/// Hands every publish straight to the node's own sink.
#[derive(Debug)]
pub struct MemoryRelay {
    sink: Arc<dyn Sink>,
}

impl MemoryRelay {
    /// A relay for the node behind `sink`.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink }
    }
}

impl Relay for MemoryRelay {
    fn publish(&self, message: &Arc<Message>, from: Option<WorkerId>, _: Ticket) -> Result<Kept, Full> {
        let (destination, cost_bytes) = (&message.destination, message.cost_bytes());
        self.sink.accept(Inbound { destination, cost_bytes, from, make: &mut || Arc::clone(message) })?;
        Ok(Kept::Now)
    }

    fn announce(&self, message: &Arc<Message>) {
        self.sink.force(message);
    }

    fn listen(&self, _: Wanted<'_>, _: Option<Ticket>) -> Kept {
        Kept::Now
    }

    fn unlisten(&self, _: Wanted<'_>) {}
}
