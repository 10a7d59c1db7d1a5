//! The port of control: an order to all nodes, and what they say to it.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::Sink;
use crate::model::{Answer, Ticket};

/// Called with what a node says to an order.
pub type Report = Box<dyn FnOnce(Bytes) + Send>;

/// From node to node. What an order says is not the port's affair.
pub trait Control: Send + Sync + Debug {
    /// Gives an order to all nodes, this one among them. The answer, [`Answer::Reports`], comes when all have reported, or
    /// after [`REPORT_MS_MAX`].
    fn order(&self, order: Bytes, ticket: Ticket);
}

/// The control of a node that is alone.
#[derive(Debug)]
pub struct Alone {
    sink: Arc<dyn Sink>,
}

impl Alone {
    /// Of the node behind `sink`.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink }
    }
}

impl Control for Alone {
    fn order(&self, order: Bytes, ticket: Ticket) {
        let sink = Arc::clone(&self.sink);
        let report = Box::new(move |report| sink.answer(ticket, Answer::Reports(vec![report], None)));
        self.sink.obey(&order, report);
    }
}

/// A node has so long to report, milliseconds.
pub const REPORT_MS_MAX: u64 = 2_000;
