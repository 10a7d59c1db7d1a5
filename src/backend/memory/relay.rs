//! With one node the bus is a call.

use std::sync::Arc;

use crate::backend::{Inbound, Relay, Sink};
use crate::model::{Full, Message, WorkerId};

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
    fn publish(&self, message: &Arc<Message>, from: Option<WorkerId>) -> Result<(), Full> {
        let (destination, cost_bytes) = (&message.destination, message.cost_bytes());
        self.sink.accept(Inbound { destination, cost_bytes, from, make: &mut || Arc::clone(message) })
    }

    fn announce(&self, message: &Arc<Message>) {
        self.sink.force(message);
    }
}
