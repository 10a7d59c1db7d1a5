//! Orders to all nodes, and what they say to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use redis::Value;
use stompede_protocol::Millis;

use super::hub::Hub;
use super::keys::Channel;
use super::link::Fault;
use super::relay::publication;
use super::wire;
use crate::backend::{Control, REPORT_MS_MAX};
use crate::model::{Answer, Ticket};

/// The control of one node.
#[derive(Debug)]
pub(super) struct RedisControl {
    hub: Arc<Hub>,
    node: u64,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open, RandomState>>,
}

/// An order that not all nodes have reported on.
#[derive(Debug)]
struct Open {
    ticket: Ticket,
    /// Nodes that have got it; `None` before Redis has said how many.
    nodes: Option<usize>,
    reports: Vec<Bytes>,
    due: Millis,
}

impl RedisControl {
    pub(super) fn new(hub: Arc<Hub>, node: u64) -> Self {
        Self { hub, node, next: AtomicU64::new(1), open: Mutex::default() }
    }

    /// An order has come, from another node or from this one.
    pub(super) fn hear_order(&self, payload: &Bytes) {
        let (Ok((node, number, order)), Some(sink)) = (wire::split_order(payload), self.hub.sink()) else {
            return;
        };
        let hub = Arc::clone(&self.hub);
        let report = Box::new(move |report: Bytes| {
            let channel = hub.keys.replies(node);
            let payload = wire::report(number, &report);
            publish(&hub, &channel, payload, Box::new(|_| {}));
        });
        sink.obey(&order, report);
    }

    /// A report has come.
    pub(super) fn hear_report(&self, payload: &Bytes) {
        let Ok((number, report)) = wire::split_report(payload) else { return };
        self.change(number, |open| open.reports.push(report));
    }

    /// Answers orders on which not all have reported in time. To be called several times a second.
    pub(super) fn tick(&self, now: Millis) {
        let mut late: Vec<(u64, Open)> = self.open.lock().extract_if(|_, open| open.due <= now).collect();
        late.sort_unstable_by_key(|(number, _)| *number);
        late.into_iter().for_each(|(_, open)| self.answer(open));
    }

    fn change(&self, number: u64, act: impl FnOnce(&mut Open)) {
        let complete = {
            let mut all = self.open.lock();
            let Some(open) = all.get_mut(&number) else { return };
            act(open);
            if open.nodes.is_some_and(|nodes| open.reports.len() >= nodes) {
                all.remove(&number)
            } else {
                None
            }
        };
        complete.into_iter().for_each(|open| self.answer(open));
    }

    fn answer(&self, open: Open) {
        let Open { ticket, nodes, reports, .. } = open;
        let missing = (nodes != Some(reports.len())).then_some(nodes.unwrap_or(reports.len() + 1));
        self.hub.sink().into_iter().for_each(|sink| {
            sink.answer(ticket, Answer::Reports(reports.clone(), missing));
        });
    }
}

/// The port.
#[derive(Debug, Clone)]
pub(super) struct ControlPort(pub(super) Arc<RedisControl>);

impl Control for ControlPort {
    fn order(&self, order: Bytes, ticket: Ticket) {
        let control = Arc::clone(&self.0);
        let number = control.next.fetch_add(1, Ordering::Relaxed);
        let due = (control.hub.clock)().mono.after(REPORT_MS_MAX);
        {
            let mut open = control.open.lock();
            if open.len() < OPEN_MAX {
                open.insert(number, Open { ticket, nodes: None, reports: Vec::new(), due });
            } else {
                drop(open);
                return control.answer(Open { ticket, nodes: None, reports: Vec::new(), due });
            }
        }
        let (channel, payload) = (control.hub.keys.control(), wire::order(control.node, number, &order));
        let hub = Arc::clone(&control.hub);
        publish(
            &hub,
            &channel,
            payload,
            Box::new(move |nodes| control.change(number, |open| open.nodes = nodes)),
        );
    }
}

/// Publishes on a channel, once at most; `then` hears how many nodes have got it, if that is known.
fn publish(hub: &Hub, channel: &Channel, payload: Bytes, then: Box<dyn FnOnce(Option<usize>) + Send>) {
    let then = Box::new(move |reply: Result<Value, Fault>| {
        then(match reply {
            Ok(Value::Int(nodes)) => usize::try_from(nodes).ok(),
            _ => None,
        });
    });
    if let Some(link) = hub.link() {
        link.force(publication(hub, channel, payload, then));
    }
}

/// Orders that may be open at once; who gives another one is answered by nobody.
const OPEN_MAX: usize = 1_024;
