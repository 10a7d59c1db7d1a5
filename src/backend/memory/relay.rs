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
        self.sink.accept(&Inbound::Message(Arc::clone(message)), from)
    }

    fn announce(&self, message: &Arc<Message>) {
        self.sink.force(&Inbound::Message(Arc::clone(message)));
    }
}
