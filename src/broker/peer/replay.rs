//! A subscription that first gets what is kept, then what comes.
//!
//! Pages are read one after the other, each when the outbox has room for it. Meanwhile the subscription is muted: what is
//! published is kept, too, and so will stand in a page. The last page reaches the end, and everything that it does not
//! contain stands behind it in the worker's inbox: with it the subscription is live.

use smallvec::SmallVec;
use stompede_protocol::{AckId, AckMode, SubscriptionKey};

use crate::backend::{Kept, Question, Read};
use crate::broker::post::store_refusal;
use crate::model::{Answer, Delivery, Destination, Message, Overflow, Page, Refusal, Start, StoreError};
use crate::routing::Note;

use super::calls::Asked;
use super::membership::Entry;
use super::{Env, Listening, Manner, Peer};

/// What is still to be read.
#[derive(Debug)]
pub(super) struct Replay {
    destination: Destination,
    /// The question that is open; `None` while the outbox has no room for an answer.
    call: Option<u32>,
    /// Offset up to which it was read.
    after: u64,
    /// In which numbering, once a page has come.
    epoch: Option<u64>,
    /// A page has come.
    is_begun: bool,
    /// What the next message says of itself, `stompede-recovered`.
    say: Option<bool>,
    /// The room in which the subscriber becomes present once it is live.
    entry: Option<Entry>,
}

impl Replay {
    pub(super) fn new(destination: Destination, entry: Option<Entry>) -> Self {
        Self { destination, call: None, after: 0, epoch: None, is_begun: false, say: None, entry }
    }

    /// Of what was kept, so much has been delivered before.
    pub(super) fn goes_on_after(&mut self, offset: u64) {
        (self.after, self.is_begun) = (offset, true);
    }

    pub(super) fn waits_for_outbox(&self) -> bool {
        self.call.is_none()
    }
}

impl Peer {
    /// Asks for the first page; the RECEIPT of SUBSCRIBE comes with it.
    pub(super) fn begin_replay(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        destination: &Destination,
        question: Question,
    ) {
        let ticket = self.ticket();
        self.calls.add(ticket.call, Asked::Read(key));
        if let Some((_, replay)) = self.replay(|live| live == key, |_| true) {
            replay.call = Some(ticket.call);
        }
        env.tally.history_reads.count(1);
        env.broker.history.ask(destination, question, ticket, env.now.wall_ms);
    }

    /// A page has come.
    pub(super) fn read_page(&mut self, env: &mut Env<'_>, call: u32, answer: Answer) {
        let Answer::Page(page) = answer else { return };
        let Some((key, replay)) = self.replay(|_| true, |replay| replay.call == Some(call)) else { return };
        replay.call = None;
        match page {
            Ok(page) => self.deliver_page(env, key, &page),
            Err(error) => {
                let refusal = self.unreadable(key, error);
                self.drop_subscription(env, key);
                self.refuse(env, &refusal, None);
            }
        }
    }

    fn deliver_page(&mut self, env: &mut Env<'_>, key: SubscriptionKey, page: &Page) {
        let is_stream = matches!(self.manner, Manner::Events(_));
        let Some((_, replay)) = self.replay(|live| live == key, |_| true) else { return };
        let is_first = !std::mem::replace(&mut replay.is_begun, true);
        // An offset says nothing where numbers began anew.
        let is_other = replay.epoch.replace(page.end.epoch).is_some_and(|epoch| epoch != page.end.epoch);
        let recovered = page.recovered && !is_other;
        // The first event of a stream has said it.
        let mut say = match is_first {
            true if is_stream => None,
            _ if is_first || !recovered => Some(recovered),
            _ => replay.say.take(),
        };
        replay.after = page.end.offset;
        let mut waits_after = None;
        for message in &page.messages {
            if !self.deliver_read(env, key, message, say) {
                waits_after = message.position.map(|position| position.offset - 1);
                break;
            }
            say = None;
        }
        let Some((_, replay)) = self.replay(|live| live == key, |_| true) else { return };
        replay.say = say;
        replay.after = waits_after.unwrap_or(replay.after);
        match waits_after {
            Some(_) => env.lanes.heed(self.id.slot, true),
            None if page.joined => self.join(env, key),
            None => self.read_further(env),
        }
    }

    /// `false` when it has to wait and is to be read again.
    fn deliver_read(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        message: &Message,
        recovered: Option<bool>,
    ) -> bool {
        if self.is_mailbox(key) {
            return self.deliver_mail(env, key, message, recovered);
        }
        self.deliver_kept(env, key, message, recovered);
        true
    }

    /// From here on what is published comes by itself.
    fn join(&mut self, env: &mut Env<'_>, key: SubscriptionKey) {
        let usual = self.usual_note();
        let Some(live) = self.live.iter_mut().find(|live| live.key == key) else { return };
        let Listening::Topic { subscriber, replay, mailbox, .. } = &mut live.what else { return };
        let Some(ended) = replay.take() else { return };
        // A mailbox delivers by itself.
        let note = match ended.say {
            _ if mailbox.is_some() => Note::Watch,
            Some(recovered) if usual == Note::None => Note::Say(recovered),
            _ => usual,
        };
        env.table.note(*subscriber, note);
        let entered = ended.entry.map_or(Ok(Kept::Now), |entry| self.enter(env, key, entry));
        if let Err(refusal) = entered {
            self.drop_subscription(env, key);
            self.refuse(env, &refusal, None);
        }
    }

    /// Reads on for all subscriptions that are not live yet, if the outbox has room.
    pub(super) fn read_further(&mut self, env: &mut Env<'_>) {
        if !self.has_room(env) {
            return env.lanes.heed(self.id.slot, true);
        }
        let waiting: SmallVec<[SubscriptionKey; 2]> =
            self.live.iter().filter(|live| waits(&live.what)).map(|live| live.key).collect();
        for key in waiting {
            if !self.may_read_mail(env, key) {
                continue;
            }
            let ticket = self.ticket();
            let Some((_, replay)) = self.replay(|live| live == key, |_| true) else { continue };
            replay.call = Some(ticket.call);
            let start = Start::After(replay.after);
            env.tally.history_reads.count(1);
            env.broker.history.ask(&replay.destination, question(start), ticket, env.now.wall_ms);
        }
    }

    /// Whether something is to be read when the outbox has room.
    pub(super) fn has_more_to_read(&self) -> bool {
        self.live.iter().any(|live| waits(&live.what))
    }

    /// Deliveries to this connection were dropped: whoever listens to what is kept hears that something is missing.
    pub(in crate::broker) fn lost_deliveries(&mut self, env: &mut Env<'_>) {
        let written = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.written_total());
        let mut told = Vec::new();
        let is_stream = matches!(self.manner, Manner::Events(_));
        for live in &self.live {
            let Listening::Topic { subscriber, replay: None, signals, .. } = &live.what else { continue };
            let Some(subscription) = self.session.subscription(live.key) else { continue };
            let destination = Destination::internal(&subscription.destination);
            if env.broker.settings().rules.history(&destination).is_none() {
                continue;
            }
            if is_stream {
                return self.tell_lost(env);
            }
            env.table.note(*subscriber, Note::Say(false));
            // While one signal waits another would say nothing new, and they would fill what they tell of.
            if signals.is_some_and(|until| written >= until) {
                told.push((live.key, destination));
            }
        }
        for (key, destination) in told {
            self.signal_gap(env, key, destination);
        }
    }

    /// Something that was published to `destination` may not have come to a subscriber of ours.
    pub(in crate::broker) fn missed(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        note: Note,
        destination: &Destination,
    ) {
        if self.is_closing() {
            return;
        }
        match note {
            // It reads what is kept.
            Note::Muted => {}
            Note::Watch if self.is_mailbox(key) => {
                self.wait_for_room(env, key);
                self.read_further(env);
            }
            _ if self.is_of_stream(key, destination) => self.tell_lost(env),
            Note::Watch => self.missed_watched(env, destination),
            Note::None | Note::Say(_) => {
                let written = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.written_total());
                let live = self.live.iter().find(|live| live.key == key);
                let Some(Listening::Topic { subscriber, signals, .. }) = live.map(|live| &live.what) else {
                    return;
                };
                let signals = signals.is_some_and(|until| written >= until);
                env.table.note(*subscriber, Note::Say(false));
                if signals {
                    self.signal_gap(env, key, destination.clone());
                }
            }
        }
    }

    fn signal_gap(&mut self, env: &mut Env<'_>, key: SubscriptionKey, destination: Destination) {
        let mut headers = stompede_protocol::Headers::new();
        headers.push("stompede-event", "gap");
        let message = env.broker.message(destination, None, headers, bytes::Bytes::new(), env.now);
        self.deliver_kept(env, key, &message, Some(false));
        let end = env.lanes.lane(self.id.slot).map(|lane| lane.outbox.pushed_total());
        let live = self.live.iter_mut().find(|live| live.key == key);
        if let Some(Listening::Topic { signals, .. }) = live.map(|live| &mut live.what) {
            *signals = end;
        }
    }

    pub(super) fn unreadable(&self, key: SubscriptionKey, error: StoreError) -> Refusal {
        let name = self.session.subscription(key).map_or("/", |subscription| &*subscription.destination);
        store_refusal(&Destination::internal(name), error)
    }

    /// Delivers whether or not the outbox is full: what is read at a time is bounded.
    fn deliver_kept(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        message: &Message,
        recovered: Option<bool>,
    ) {
        let Some(mode) = self.session.subscription(key).map(|subscription| subscription.ack) else { return };
        let number =
            self.subscriber(key).filter(|_| mode != AckMode::Auto).and_then(|id| env.table.issue(id));
        let ack = number.map(|number| AckId { subscription: key, number });
        self.deliver_kept_as(env, key, message, ack, recovered);
    }

    pub(super) fn deliver_kept_as(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        message: &Message,
        ack: Option<AckId>,
        recovered: Option<bool>,
    ) {
        if matches!(self.manner, Manner::Events(_)) {
            return self.deliver_event(env, key, message, recovered);
        }
        let Some(subscription) = self.session.subscription(key) else { return };
        let delivery = Delivery {
            message,
            subscription: subscription.id.as_deref(),
            shown: &subscription.destination,
            ack,
            redelivered: None,
            recovered,
        };
        let frame = env.broker.parts.encoders.of(self.kind).whole(&delivery);
        env.lanes.push(self.id.slot, frame, None, Overflow::Close, usize::MAX);
        env.tally.deliveries.count(1);
    }

    fn is_mailbox(&self, key: SubscriptionKey) -> bool {
        let is = |what: &Listening| matches!(what, Listening::Topic { mailbox: Some(_), .. });
        self.live.iter().any(|live| live.key == key && is(&live.what))
    }

    fn replay(
        &mut self,
        is_key: impl Fn(SubscriptionKey) -> bool,
        is_it: impl Fn(&Replay) -> bool,
    ) -> Option<(SubscriptionKey, &mut Replay)> {
        self.live.iter_mut().filter(|live| is_key(live.key)).find_map(|live| match &mut live.what {
            Listening::Topic { replay: Some(replay), .. } if is_it(replay) => Some((live.key, &mut **replay)),
            _ => None,
        })
    }
}

fn waits(what: &Listening) -> bool {
    matches!(what, Listening::Topic { replay: Some(replay), .. } if replay.waits_for_outbox())
}

/// A page from there.
pub(super) fn question(start: Start) -> Question {
    Question::Read(page(start))
}

/// A page of what a device has not taken, of a store that knows what that is.
pub(super) fn resumption(device: &str) -> Question {
    Question::Resume(device.into(), page(Start::Last(usize::MAX)))
}

fn page(start: Start) -> Read {
    Read { start, messages_max: PAGE_MESSAGES_MAX, bytes_max: PAGE_BYTES_MAX, is_followed: true }
}

/// Messages that are read at a time.
const PAGE_MESSAGES_MAX: usize = 128;

/// Bytes that are read at a time; a single message may have more.
const PAGE_BYTES_MAX: usize = 128 << 10;
