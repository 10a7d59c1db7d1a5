//! One message into the outboxes of one worker's subscribers.
//!
//! A MESSAGE differs between receivers only in `subscription` and, in client ack modes, `ack` and `message-id`. It is
//! encoded once per encoder kind and subscription id; most clients number their subscriptions alike, so most
//! deliveries are the clone of one shared buffer. Where they do not, what is the same for all is encoded a few times at
//! most.

use std::rc::Rc;

use bytes::Bytes;
use smallvec::SmallVec;
use stompede_protocol::{AckId, SubscriptionKey};

use crate::model::{Delivery, Encoder, EncoderKind, Encoders, Message, Overflow, Tail};

use super::lanes::Lanes;
use super::outbox::Pushed;
use super::table::{Note, Subscriber, Table};

/// What a fan-out did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Deliveries that now wait in an outbox.
    pub delivered: usize,
    /// What happened besides; hardly ever anything.
    pub incidents: Option<Box<Incidents>>,
}

/// What a fan-out did but deliver.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    /// Older deliveries that were dropped by the overflow rule.
    pub dropped: usize,
    /// Connections whose older deliveries they were.
    pub robbed: SmallVec<[u32; 4]>,
    /// Subscriptions that watch the destination, by connection.
    pub watched: SmallVec<[(u32, SubscriptionKey); 4]>,
    /// Connections that are too slow for this delivery: they must be closed.
    pub slow: SmallVec<[u32; 4]>,
}

impl Report {
    #[inline(never)]
    fn watched(&mut self, slot: u32, key: SubscriptionKey) {
        self.incidents.get_or_insert_default().watched.push((slot, key));
    }

    #[cold]
    fn robbed(&mut self, slot: u32, dropped: usize) {
        let incidents = self.incidents.get_or_insert_default();
        incidents.dropped += dropped;
        if incidents.robbed.last() != Some(&slot) {
            incidents.robbed.push(slot);
        }
    }

    #[cold]
    fn slow(&mut self, slot: u32) {
        let slow = &mut self.incidents.get_or_insert_default().slow;
        if !slow.contains(&slot) {
            slow.push(slot);
        }
    }
}

/// Delivers `message` to every subscriber in `table`.
#[inline(always)]
pub fn fan_out(
    table: &mut Table,
    lanes: &mut Lanes,
    encoders: &Encoders,
    message: &Message,
    overflow: Overflow,
    outbox_bytes_max: usize,
) -> Report {
    let mut report = Report::default();
    let mut frames = Frames { encoders, message, known: SmallVec::new(), tails: Vec::new() };
    table.for_each(&message.destination, |subscriber, others_follow| {
        let Some((head, tail)) = frames.of(subscriber, others_follow) else {
            if subscriber.note == Note::Watch {
                report.watched(subscriber.slot, subscriber.key);
            }
            return;
        };
        match lanes.push(subscriber.slot, head, tail, overflow, outbox_bytes_max) {
            Pushed::Taken => report.delivered += 1,
            Pushed::Dropped(count) => {
                report.delivered += 1;
                report.robbed(subscriber.slot, count);
            }
            Pushed::Full => report.slow(subscriber.slot),
        }
    });
    report
}

/// The encodings of one message so far.
struct Frames<'a> {
    encoders: &'a Encoders,
    message: &'a Message,
    known: SmallVec<[(Variant, Encoded); 2]>,
    tails: Vec<(Shape, Tail)>,
}

/// A frame in one piece, or head and tail.
type Encoded = (Bytes, Option<Bytes>);

/// What a shared tail depends on.
struct Shape {
    kind: EncoderKind,
    shown: Option<Rc<str>>,
}

impl Shape {
    fn new(s: &Subscriber) -> Self {
        Self { kind: s.kind, shown: s.shown.clone() }
    }

    // Texts are shared per table: equal ones are the same allocation.
    fn is_of(&self, s: &Subscriber) -> bool {
        self.kind == s.kind && same(&self.shown, &s.shown)
    }
}

/// What a frame depends on.
struct Variant {
    shape: Shape,
    id: Option<Rc<str>>,
}

impl Variant {
    fn is_of(&self, s: &Subscriber) -> bool {
        same(&self.id, &s.id) && self.shape.is_of(s)
    }
}

impl Frames<'_> {
    /// The frame; `None` for who is to get nothing. What is encoded is kept if others may follow.
    #[inline(always)]
    fn of(&mut self, subscriber: &mut Subscriber, others_follow: bool) -> Option<Encoded> {
        if subscriber.note != Note::None {
            return Some((self.noted(subscriber)?, None));
        }
        if subscriber.issued.is_some() {
            return Some(self.numbered(subscriber, others_follow));
        }
        // The last one used stands first: a room full of equal clients never looks further.
        if let Some(at) = self.known.iter().position(|(variant, _)| variant.is_of(subscriber)) {
            self.known.swap(0, at);
            return Some(self.known[0].1.clone());
        }
        Some(self.encode(subscriber, others_follow))
    }

    /// A frame of its own: it says something of what stands before it.
    #[cold]
    fn noted(&self, s: &mut Subscriber) -> Option<Bytes> {
        let Note::Say(recovered) = s.note else { return None };
        s.note = Note::None;
        let ack = next_ack(s);
        let delivery = Delivery { recovered: Some(recovered), ..delivery(self.message, s, ack) };
        Some(self.encoders.of(s.kind).whole(&delivery))
    }

    /// A head of its own, which names the delivery.
    fn numbered(&mut self, s: &mut Subscriber, others_follow: bool) -> Encoded {
        let ack = next_ack(s);
        let (encoder, delivery) = (self.encoders.of(s.kind), delivery(self.message, s, ack));
        if !others_follow && self.known_tail(s).is_none() {
            return (encoder.whole(&delivery), None);
        }
        self.on_shared_tail(s, encoder, &delivery)
    }

    fn encode(&mut self, s: &Subscriber, others_follow: bool) -> Encoded {
        let (encoder, delivery) = (self.encoders.of(s.kind), delivery(self.message, s, None));
        let encoded = if encoder.is_tail_costly() || self.is_tail_worthwhile(s) {
            self.on_shared_tail(s, encoder, &delivery)
        } else {
            (encoder.whole(&delivery), None)
        };
        if others_follow && self.known.len() < VARIANTS_MAX {
            let variant = Variant { shape: Shape::new(s), id: s.id.clone() };
            self.known.push((variant, encoded.clone()));
        }
        encoded
    }

    /// A small tail is copied: one piece takes one allocation and one plain write.
    fn on_shared_tail(&mut self, s: &Subscriber, encoder: &dyn Encoder, delivery: &Delivery<'_>) -> Encoded {
        let tail = self.tail(s, encoder, delivery);
        if tail.bytes.len() < SPLIT_BYTES_MIN {
            return (encoder.join(delivery, &tail), None);
        }
        (encoder.head(delivery, &tail), Some(tail.bytes))
    }

    /// Whether enough subscription ids were seen of those that can share a tail.
    fn is_tail_worthwhile(&self, s: &Subscriber) -> bool {
        let is_large = self.message.body.len() >= SPLIT_BYTES_MIN;
        let whole_max = if is_large { WHOLE_LARGE_MAX } else { WHOLE_MAX };
        let mut alike = self.known.iter().filter(|(variant, _)| variant.shape.is_of(s));
        self.known_tail(s).is_some() || alike.nth(whole_max - 1).is_some()
    }

    fn known_tail(&self, s: &Subscriber) -> Option<&Tail> {
        self.tails.iter().find(|(shape, _)| shape.is_of(s)).map(|(_, tail)| tail)
    }

    fn tail(&mut self, s: &Subscriber, encoder: &dyn Encoder, delivery: &Delivery<'_>) -> Tail {
        if let Some(tail) = self.known_tail(s) {
            return tail.clone();
        }
        let tail = encoder.tail(delivery);
        if self.tails.len() < VARIANTS_MAX {
            self.tails.push((Shape::new(s), tail.clone()));
        }
        tail
    }
}

fn delivery<'a>(message: &'a Message, s: &'a Subscriber, ack: Option<AckId>) -> Delivery<'a> {
    Delivery {
        message,
        subscription: s.id.as_deref(),
        shown: s.shown.as_deref().unwrap_or(message.destination.as_str()),
        ack,
        redelivered: None,
        recovered: None,
    }
}

/// The number of a delivery that is to be acknowledged.
fn next_ack(s: &mut Subscriber) -> Option<AckId> {
    let issued = s.issued.as_mut()?;
    *issued += 1;
    Some(AckId { subscription: s.key, number: *issued })
}

fn same(a: &Option<Rc<str>>, b: &Option<Rc<str>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Rc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// From this size on, a tail is shared as a piece of its own: a copy for each subscription id would cost more than a second
/// slice in the write.
const SPLIT_BYTES_MIN: usize = 4 << 10;

/// So many subscription ids get small frames encoded whole; those after them share the tail.
const WHOLE_MAX: usize = 3;

/// And large ones: the tail is a copy of the body too, so the first frame costs no more as one piece.
const WHOLE_LARGE_MAX: usize = 1;

/// Distinct encodings, and tails, remembered per message; for receivers with yet others they are made one by one.
const VARIANTS_MAX: usize = 32;

#[cfg(test)]
#[path = "fanout_tests.rs"]
mod tests;
