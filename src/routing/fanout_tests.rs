use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stompede_protocol::{Headers, SubscriptionKey};

use super::*;
use crate::model::{Destination, MessageId};
use crate::routing::Topic;

/// Counts the bodies that it encodes. Its frames say whose they are.
struct Counting {
    name: &'static str,
    wholes: Arc<AtomicUsize>,
    tails: Arc<AtomicUsize>,
    tail_bytes: usize,
    is_tail_costly: bool,
}

impl Encoder for Counting {
    fn whole(&self, delivery: &Delivery<'_>) -> Bytes {
        assert!(!self.is_tail_costly, "whole frames are made of a shared tail");
        self.wholes.fetch_add(1, Ordering::Relaxed);
        let ack = delivery.ack.map(|ack| ack.number);
        frame(self.name, delivery.subscription, ack, delivery.shown, self.tail_bytes).concat().into()
    }

    fn is_tail_costly(&self) -> bool {
        self.is_tail_costly
    }

    fn tail(&self, delivery: &Delivery<'_>) -> Tail {
        self.tails.fetch_add(1, Ordering::Relaxed);
        let [_, tail] = frame(self.name, None, None, delivery.shown, self.tail_bytes);
        Tail { bytes: tail.into(), is_compressed: self.is_tail_costly }
    }

    fn head(&self, delivery: &Delivery<'_>, _tail: &Tail) -> Bytes {
        let ack = delivery.ack.map(|ack| ack.number);
        let [head, _] = frame(self.name, delivery.subscription, ack, delivery.shown, 0);
        head.into()
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

/// Head and tail.
fn frame(encoder: &str, id: Option<&str>, ack: Option<u64>, shown: &str, tail_bytes: usize) -> [Vec<u8>; 2] {
    let tail = format!("{encoder} {shown} {}", "t".repeat(tail_bytes));
    [format!("{encoder} {} {ack:?} ", id.unwrap_or_default()).into_bytes(), tail.into_bytes()]
}

/// Who listens.
#[derive(Debug, Clone, Copy, Default)]
struct Listener<'a> {
    id: &'a str,
    encoder: u8,
    shown: Option<&'a str>,
    acknowledges: bool,
}

/// What a message is encoded from.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    body: usize,
    tail: usize,
    is_tail_costly: bool,
}

const SMALL: Sizes = Sizes { body: 10, tail: 8, is_tail_costly: false };
const LARGE: Sizes = Sizes { body: 10_000, tail: 10_000, is_tail_costly: false };

/// What a fan-out did.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// Of the frame of each.
    pieces: Vec<usize>,
    /// Bodies that were encoded: as whole frames, as tails.
    wholes: usize,
    tails: usize,
}

/// One message to them all; each has got its own.
fn fanned_out(listeners: &[Listener<'_>], sizes: Sizes) -> Outcome {
    let destination = Destination::internal("/topic/a");
    let (mut table, mut lanes) = (Table::default(), Lanes::default());
    let slots: Vec<u32> = listeners.iter().map(|_| lanes.open()).collect();
    for (slot, listener) in slots.iter().zip(listeners) {
        let (id, shown) = (table.text(listener.id), listener.shown.map(|shown| table.text(shown)));
        let subscriber = Subscriber {
            slot: *slot,
            key: SubscriptionKey(1),
            kind: EncoderKind(listener.encoder),
            id: Some(id),
            shown,
            issued: listener.acknowledges.then_some(6),
            note: Note::None,
        };
        table.add(Topic::Exact(destination.clone()), subscriber);
    }
    let (wholes, tails) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let encoder = |name| -> Box<dyn Encoder> {
        let (wholes, tails) = (Arc::clone(&wholes), Arc::clone(&tails));
        let Sizes { tail: tail_bytes, is_tail_costly, .. } = sizes;
        Box::new(Counting { name, wholes, tails, tail_bytes, is_tail_costly })
    };
    let encoders = Encoders::new(ENCODERS.map(encoder).into());
    let message = Message {
        id: MessageId { node: 1, number: 1 },
        destination,
        timestamp_ms: 0,
        sender: None,
        headers: Headers::new(),
        body: vec![b'x'; sizes.body].into(),
        text: true,
        position: None,
        numbered: false,
    };
    let report = fan_out(&mut table, &mut lanes, &encoders, &message, Overflow::Close, usize::MAX);
    assert_eq!(report.delivered, listeners.len());
    let mut pieces = Vec::new();
    for (slot, listener) in slots.into_iter().zip(listeners) {
        let outbox = &lanes.lane(slot).unwrap().outbox;
        let mut got = vec![0; outbox.bytes()];
        outbox.copy(&mut got);
        let Listener { id, encoder, shown, acknowledges } = *listener;
        let (name, ack) = (ENCODERS[usize::from(encoder)], acknowledges.then_some(7));
        let due = frame(name, Some(id), ack, shown.unwrap_or("/topic/a"), sizes.tail).concat();
        assert!(got == due, "{listener:?} got {}", String::from_utf8_lossy(&got));
        pieces.push(outbox.pieces());
    }
    Outcome { pieces, wholes: wholes.load(Ordering::Relaxed), tails: tails.load(Ordering::Relaxed) }
}

fn named(id: &str) -> Listener<'_> {
    Listener { id, ..Listener::default() }
}

const ENCODERS: [&str; 5] = ["text", "binary", "raw", "old", "events"];

#[test]
fn a_costly_tail_is_made_once_for_all_subscription_ids() {
    let listeners = ["sub-0", "sub-1", "sub-0", "mine"].map(named);
    for (body, tail, pieces) in [(10, 8, 1), (10_000, 900, 1), (10_000, 5_000, 2)] {
        let outcome = fanned_out(&listeners, Sizes { body, tail, is_tail_costly: true });
        assert_eq!(outcome, Outcome { pieces: vec![pieces; 4], wholes: 0, tails: 1 }, "{tail} of {body}");
    }
}

#[test]
fn however_many_subscription_ids_there_are_a_small_body_is_encoded_four_times() {
    let ids: Vec<String> = (0..200).map(|n| format!("{}", n % (VARIANTS_MAX + 9))).collect();
    let listeners: Vec<_> = ids.iter().map(|id| named(id)).collect();
    let outcome = fanned_out(&listeners, SMALL);
    assert_eq!(outcome, Outcome { pieces: vec![1; 200], wholes: WHOLE_MAX, tails: 1 });
}

#[test]
fn a_large_body_is_one_piece_for_the_first_subscription_id_and_shared_by_all_others() {
    let listeners = ["sub-0", "sub-1", "sub-0", "mine", "sub-1"].map(named);
    let outcome = fanned_out(&listeners, LARGE);
    assert_eq!(outcome, Outcome { pieces: vec![1, 2, 1, 2, 2], wholes: 1, tails: 1 });
    let alike = fanned_out(&[named("sub-0"); 3], LARGE);
    assert_eq!(alike, Outcome { pieces: vec![1; 3], wholes: 1, tails: 0 });
}

#[test]
fn what_cannot_share_a_tail_does_not_make_others_need_one() {
    let kinds = [0, 1, 2, 3, 4].map(|encoder| Listener { encoder, ..named("sub-0") });
    let shown =
        ["/user/queue/a", "/user/queue/b"].map(|shown| Listener { shown: Some(shown), ..named("sub-0") });
    let listeners = [&kinds[..], &shown, &kinds].concat();
    for sizes in [SMALL, LARGE] {
        let outcome = fanned_out(&listeners, sizes);
        assert_eq!(outcome, Outcome { pieces: vec![1; 12], wholes: 7, tails: 0 });
    }
}

#[test]
fn who_acknowledges_shares_the_tail_unless_nobody_else_is_there() {
    let acknowledging = Listener { acknowledges: true, ..named("sub-0") };
    for (sizes, pieces) in [(SMALL, 1), (LARGE, 2)] {
        let alone = fanned_out(&[acknowledging], sizes);
        assert_eq!(alone, Outcome { pieces: vec![1], wholes: 1, tails: 0 });
        let several = fanned_out(&[acknowledging; 3], sizes);
        assert_eq!(several, Outcome { pieces: vec![pieces; 3], wholes: 0, tails: 1 });
    }
}
