//! Acknowledgement: its modes, its ids, and what one subscription has outstanding.

use std::collections::VecDeque;
use std::fmt;

use smallvec::SmallVec;

use crate::Version;
use crate::error::{Violation, excerpt};

/// How the messages of a subscription are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AckMode {
    /// Not at all: a message counts as acknowledged when it is sent.
    #[default]
    Auto,
    /// An ACK settles its message and all earlier ones of the subscription.
    Client,
    /// An ACK settles its message alone; not in STOMP 1.0.
    ClientIndividual,
}

impl AckMode {
    /// The mode that the `ack` header names; `auto` without one.
    ///
    /// # Errors
    /// [`Violation::BadAckMode`] for a mode that `version` does not know.
    pub fn parse(value: Option<&str>, version: Version) -> Result<Self, Violation> {
        match value {
            None | Some("auto") => Ok(Self::Auto),
            Some("client") => Ok(Self::Client),
            Some("client-individual") if version > Version::V1_0 => Ok(Self::ClientIndividual),
            Some(other) => Err(Violation::BadAckMode { value: excerpt(other.as_bytes()), version }),
        }
    }

    /// As written in the `ack` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Client => "client",
            Self::ClientIndividual => "client-individual",
        }
    }
}

/// The serial number of a subscription on its connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionKey(pub u32);

impl fmt::Display for SubscriptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of one delivery in a client mode, unique on its connection.
///
/// On the wire it is `{message-id}@{subscription key}-{number}`, in `message-id` and, under 1.2, in `ack`. Its own
/// `Display` is what follows the `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckId {
    /// The subscription that the delivery belongs to.
    pub subscription: SubscriptionKey,
    /// The number of the delivery in its subscription, from 1.
    pub number: u64,
}

impl AckId {
    /// As it stands in `message-id` and `ack`.
    #[must_use]
    pub fn on_wire(self, message_id: &str) -> String {
        format!("{message_id}@{self}")
    }

    /// Reads what follows the last `@`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (_, id) = text.rsplit_once('@')?;
        let (subscription, number) = id.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(subscription) || !digits(number) {
            return None;
        }
        Some(Self { subscription: SubscriptionKey(subscription.parse().ok()?), number: number.parse().ok()? })
    }
}

impl fmt::Display for AckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.subscription, self.number)
    }
}

/// What one subscription has outstanding, in the order of delivery. The tag is the caller's own name of a message.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    outstanding: VecDeque<Outstanding>,
    numbered: u64,
}

/// A delivery that waits to be settled.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    number: u64,
    tag: u64,
    /// An open transaction will settle it.
    held: bool,
}

/// Deliveries that one ACK or NACK settles, in order.
pub(crate) type Numbers = SmallVec<[u64; 1]>;

impl Ledger {
    /// Nothing outstanding; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Numbers a delivery and remembers it; `None` when `unacked_max` are outstanding already.
    pub fn push(&mut self, tag: u64, unacked_max: usize) -> Option<u64> {
        if self.outstanding.len() >= unacked_max {
            return None;
        }
        self.numbered += 1;
        self.outstanding.push_back(Outstanding { number: self.numbered, tag, held: false });
        Some(self.numbered)
    }

    /// How many deliveries are outstanding, those held by a transaction included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether nothing is outstanding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// The tags of all that is outstanding, in order.
    pub fn tags(&self) -> impl Iterator<Item = u64> {
        self.outstanding.iter().map(|delivery| delivery.tag)
    }

    /// Which deliveries an ACK or NACK of `number` covers; `None` when that delivery is not outstanding or a
    /// transaction holds it.
    pub(crate) fn covered(&self, number: u64, mode: AckMode) -> Option<Numbers> {
        let index = self.position(number).filter(|index| !self.outstanding[*index].held)?;
        if mode != AckMode::Client {
            return Some(Numbers::from_slice(&[number]));
        }
        let up_to = self.outstanding.range(..=index);
        Some(up_to.filter(|delivery| !delivery.held).map(|delivery| delivery.number).collect())
    }

    /// An open transaction will settle these.
    pub(crate) fn hold(&mut self, numbers: &[u64]) {
        self.mark(numbers, true);
    }

    /// The transaction was aborted: they can be acknowledged again.
    pub(crate) fn unhold(&mut self, numbers: &[u64]) {
        self.mark(numbers, false);
    }

    /// Removes what is still outstanding of `numbers`, which are in order, and gives their tags.
    pub(crate) fn settle(&mut self, numbers: &[u64]) -> Numbers {
        if let ([first, ..], Some(front)) = (numbers, self.outstanding.front())
            && front.number == *first
        {
            return self.settle_front(numbers);
        }
        let found =
            numbers.iter().filter_map(|number| self.position(*number)).collect::<SmallVec<[usize; 1]>>();
        let tags = found.iter().map(|index| self.outstanding[*index].tag).collect();
        for index in found.iter().rev() {
            self.outstanding.remove(*index);
        }
        tags
    }

    /// The usual case: the oldest ones, one after the other; without moving the others.
    fn settle_front(&mut self, numbers: &[u64]) -> Numbers {
        let mut tags = Numbers::new();
        let mut rest = numbers;
        while let ([first, later @ ..], Some(front)) = (rest, self.outstanding.front())
            && front.number == *first
        {
            tags.push(front.tag);
            self.outstanding.pop_front();
            rest = later;
        }
        if !rest.is_empty() {
            tags.extend(self.settle(rest));
        }
        tags
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.outstanding.binary_search_by_key(&number, |delivery| delivery.number).ok()
    }

    fn mark(&mut self, numbers: &[u64], held: bool) {
        for number in numbers {
            if let Some(index) = self.position(*number) {
                self.outstanding[index].held = held;
            }
        }
    }
}

#[cfg(test)]
mod tests;
