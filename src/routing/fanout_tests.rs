use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stompede_protocol::{Headers, SubscriptionKey};

use super::*;
use crate::model::{Destination, MessageId};
use crate::routing::Topic;

/// Counts the bodies that it encodes.
struct Counting {
    wholes: Arc<AtomicUsize>,
    tails: Arc<AtomicUsize>,
    tail_bytes: usize,
    is_tail_costly: bool,
}

impl Encoder for Counting {
    fn whole(&self, delivery: &Delivery<'_>) -> Bytes {
        assert!(!self.is_tail_costly, "whole frames are made of a shared tail");
        self.wholes.fetch_add(1, Ordering::Relaxed);
        [delivery.subscription.unwrap_or("").as_bytes(), &vec![b't'; self.tail_bytes]].concat().into()
    }

    fn is_tail_costly(&self) -> bool {
        self.is_tail_costly
    }

    fn tail(&self, _delivery: &Delivery<'_>) -> Tail {
        self.tails.fetch_add(1, Ordering::Relaxed);
        Tail { bytes: vec![b't'; self.tail_bytes].into(), is_compressed: self.is_tail_costly }
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

/// What a fan-out did.
struct Outcome {
    /// In the outbox of each: bytes and pieces.
    outboxes: Vec<(usize, usize)>,
    /// Bodies that were encoded: as whole frames, as tails.
    wholes: usize,
    tails: usize,
}

/// One message to subscribers with these ids.
fn fanned_out(ids: &[&str], body_bytes: usize, tail_bytes: usize, is_tail_costly: bool) -> Outcome {
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
    let (wholes, tails) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let encoder =
        Counting { wholes: Arc::clone(&wholes), tails: Arc::clone(&tails), tail_bytes, is_tail_costly };
    let encoders = Encoders::new(vec![Box::new(encoder)]);
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
    assert_eq!(report.delivered, ids.len());
    let outboxes = slots.iter().map(|slot| &lanes.lane(*slot).unwrap().outbox);
    Outcome {
        outboxes: outboxes.map(|outbox| (outbox.bytes(), outbox.pieces())).collect(),
        wholes: wholes.load(Ordering::Relaxed),
        tails: tails.load(Ordering::Relaxed),
    }
}

#[test]
fn a_costly_tail_is_made_once_for_all_subscription_ids() {
    let ids = ["sub-0", "sub-1", "sub-0", "mine"];
    for (body_bytes, tail_bytes, pieces) in [(10, 8, 1), (10_000, 900, 1), (10_000, 5_000, 2)] {
        let outcome = fanned_out(&ids, body_bytes, tail_bytes, true);
        let expected = ids.map(|id| (id.len() + tail_bytes, pieces));
        assert_eq!(outcome.outboxes, expected, "{tail_bytes} of {body_bytes}");
        assert_eq!(outcome.tails, 1);
    }
}

#[test]
fn however_many_subscription_ids_there_are_a_small_body_is_encoded_four_times() {
    let ids: Vec<String> = (0..100).map(|n| format!("{}", n % 40)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let outcome = fanned_out(&ids, 10, 8, false);
    let expected: Vec<_> = ids.iter().map(|id| (id.len() + 8, 1)).collect();
    assert_eq!(outcome.outboxes, expected);
    assert_eq!((outcome.wholes, outcome.tails), (WHOLE_MAX, 1));
}

#[test]
fn a_large_body_is_one_piece_for_the_first_subscription_id_and_shared_by_all_others() {
    let ids = ["sub-0", "sub-1", "sub-0", "mine", "sub-1"];
    let outcome = fanned_out(&ids, 10_000, 10_000, false);
    assert_eq!(outcome.outboxes, ids.map(|id| (id.len() + 10_000, if id == "sub-0" { 1 } else { 2 })));
    assert_eq!((outcome.wholes, outcome.tails), (1, 1));
    let alone = fanned_out(&["sub-0"; 3], 10_000, 10_000, false);
    assert_eq!((alone.outboxes, alone.tails), (vec![(10_005, 1); 3], 0));
}
