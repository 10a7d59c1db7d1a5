use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stompede_protocol::{Headers, SubscriptionKey};

use super::*;
use crate::model::{Destination, MessageId};
use crate::routing::Topic;

/// Counts the tails that it makes.
struct Costly(Arc<AtomicUsize>);

impl Encoder for Costly {
    fn whole(&self, _delivery: &Delivery<'_>) -> Bytes {
        unreachable!("whole frames are made of a shared tail")
    }

    fn is_tail_costly(&self) -> bool {
        true
    }

    fn tail(&self, _delivery: &Delivery<'_>) -> Tail {
        self.0.fetch_add(1, Ordering::Relaxed);
        Tail { bytes: Bytes::from_static(b"tail"), is_compressed: true }
    }

    fn head(&self, delivery: &Delivery<'_>, _tail: &Tail) -> Bytes {
        Bytes::copy_from_slice(delivery.subscription.unwrap_or("").as_bytes())
    }

    fn join(&self, delivery: &Delivery<'_>, tail: &Tail) -> Bytes {
        [self.head(delivery, tail), tail.bytes.clone()].concat().into()
    }

    fn wrap(&self, frame: Bytes) -> Bytes {
        frame
    }

    fn ping(&self) -> Option<Bytes> {
        None
    }

    fn close(&self, _code: u16, _reason: &str) -> Option<Bytes> {
        None
    }
}

#[test]
fn a_costly_tail_is_made_once_for_all_subscription_ids() {
    let destination = Destination::internal("/topic/a");
    let (mut table, mut lanes) = (Table::default(), Lanes::default());
    let ids = ["sub-0", "sub-1", "sub-0", "mine"];
    let slots = ids.map(|id| {
        let slot = lanes.open();
        let id = Some(table.text(id));
        let subscriber =
            Subscriber { slot, key: SubscriptionKey(1), kind: EncoderKind(0), id, shown: None, issued: None };
        table.add(Topic::Exact(destination.clone()), subscriber);
        slot
    });
    let made = Arc::new(AtomicUsize::new(0));
    let encoders = Encoders::new(vec![Box::new(Costly(Arc::clone(&made)))]);
    let message = Message {
        id: MessageId { node: 1, number: 1 },
        destination,
        timestamp_ms: 0,
        sender: None,
        headers: Headers::new(),
        body: Bytes::from_static(b"x"),
        text: true,
    };
    let report = fan_out(&mut table, &mut lanes, &encoders, &message, Overflow::Close, 1_000);
    assert_eq!((report.delivered, made.load(Ordering::Relaxed)), (4, 1));
    for (slot, id) in slots.into_iter().zip(ids) {
        let outbox = &lanes.lane(slot).unwrap().outbox;
        assert_eq!(outbox.bytes(), id.len() + "tail".len());
    }
}
