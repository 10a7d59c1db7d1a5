use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stompede_protocol::{Headers, SubscriptionKey};

use super::*;
use crate::model::{Destination, MessageId};
use crate::routing::Topic;

/// Counts the tails that it makes.
struct Costly {
    made: Arc<AtomicUsize>,
    tail_bytes: usize,
}

impl Encoder for Costly {
    fn whole(&self, _delivery: &Delivery<'_>) -> Bytes {
        unreachable!("whole frames are made of a shared tail")
    }

    fn is_tail_costly(&self) -> bool {
        true
    }

    fn tail(&self, _delivery: &Delivery<'_>) -> Tail {
        self.made.fetch_add(1, Ordering::Relaxed);
        Tail { bytes: vec![b't'; self.tail_bytes].into(), is_compressed: true }
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

/// Subscribers with these ids; what the fan-out leaves in the outbox of each: bytes and pieces.
fn fanned_out(ids: &[&str], body_bytes: usize, tail_bytes: usize) -> Vec<(usize, usize)> {
    let destination = Destination::internal("/topic/a");
    let (mut table, mut lanes) = (Table::default(), Lanes::default());
    let slots: Vec<u32> = ids.iter().map(|_| lanes.open()).collect();
    for (slot, id) in slots.iter().zip(ids) {
        let (slot, id) = (*slot, Some(table.text(id)));
        let subscriber = Subscriber {
            slot,
            key: SubscriptionKey(1),
            kind: EncoderKind(0),
            id,
            shown: None,
            issued: None,
            note: Note::None,
        };
        table.add(Topic::Exact(destination.clone()), subscriber);
    }
    let made = Arc::new(AtomicUsize::new(0));
    let encoders = Encoders::new(vec![Box::new(Costly { made: Arc::clone(&made), tail_bytes })]);
    let message = Message {
        id: MessageId { node: 1, number: 1 },
        destination,
        timestamp_ms: 0,
        sender: None,
        headers: Headers::new(),
        body: vec![b'x'; body_bytes].into(),
        text: true,
        position: None,
        numbered: false,
    };
    let report = fan_out(&mut table, &mut lanes, &encoders, &message, Overflow::Close, usize::MAX);
    assert_eq!((report.delivered, made.load(Ordering::Relaxed)), (ids.len(), 1));
    let outboxes = slots.iter().map(|slot| &lanes.lane(*slot).unwrap().outbox);
    outboxes.map(|outbox| (outbox.bytes(), outbox.pieces())).collect()
}

#[test]
fn a_costly_tail_is_made_once_for_all_subscription_ids() {
    let ids = ["sub-0", "sub-1", "sub-0", "mine"];
    for (body_bytes, tail_bytes, pieces) in [(10, 8, 1), (10_000, 900, 1), (10_000, 5_000, 2)] {
        let expected = ids.map(|id| (id.len() + tail_bytes, pieces));
        assert_eq!(fanned_out(&ids, body_bytes, tail_bytes), expected, "{tail_bytes} of {body_bytes}");
    }
}
