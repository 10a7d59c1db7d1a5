//! The client as a stream of server-sent events: it only listens, and what it has to say was said for it.
//!
//! Its first event is `connected`: from then on everything published arrives. What comes before, while other destinations
//! of the stream are still waited for, is put off. A stream with one destination then gets what all such streams get. One
//! with several says with each event where it stands in all of them, so its events are delivered here, one by one: a line
//! of its own, and the rest shared with the others.

use bytes::Bytes;
use smallvec::SmallVec;
use stompede_protocol::{Command, Decoder, Frame, Headers, Item, Millis, SubscriptionKey};

use crate::broker::settings::EventSettings;
use crate::broker::streams::{DESTINATIONS, LAST_EVENT_ID, NUMBERED};
use crate::features::users;
use crate::model::{
    CloseReason, Delivery, Destination, EncoderKind, Encoders, Message, Overflow, Position, Refusal, Retry,
};
use crate::routing::{Note, Pushed};
use crate::transport::encode::{Wire, kind};
use crate::transport::events;

use super::presence::Departure;
use super::{Env, Listening, Manner, NORMAL_CLOSURE, Peer};

/// What a stream of events has beside its session.
#[derive(Debug)]
pub(super) struct EventStream {
    next_beat: Millis,
    /// When it has lived long enough.
    ends: Millis,
    /// Where it stands in each destination, in the order in which they were asked for.
    positions: SmallVec<[Option<Position>; 1]>,
    /// Destinations that are not heard yet.
    awaited: usize,
    /// It goes on where another one ended.
    is_resumed: bool,
    /// Something between that end and now is missing.
    is_lost: bool,
    /// Position in the outbox after the last word that something is missing.
    told_until: u64,
    early: Vec<Early>,
    early_bytes: usize,
}

/// An event that came before the first.
#[derive(Debug)]
struct Early {
    key: SubscriptionKey,
    position: Option<Position>,
    frame: Bytes,
}

/// A message as all that watch it get it, encoded when the first one does.
#[derive(Debug)]
pub(in crate::broker) struct Shared<'a> {
    pub(in crate::broker) message: &'a Message,
    pub(in crate::broker) overflow: Overflow,
    /// The last one that was asked for.
    frame: Option<(EncoderKind, Bytes)>,
}

impl<'a> Shared<'a> {
    pub(in crate::broker) fn new(message: &'a Message, overflow: Overflow) -> Self {
        Self { message, overflow, frame: None }
    }

    fn frame(&mut self, kind: EncoderKind, encoders: &Encoders) -> Bytes {
        match &self.frame {
            Some((known, frame)) if *known == kind => frame.clone(),
            _ => {
                let frame = encoders.of(kind).whole(&delivery(self.message, None));
                self.frame = Some((kind, frame.clone()));
                frame
            }
        }
    }
}

impl EventStream {
    pub(super) fn new(now: Millis, settings: &EventSettings) -> Self {
        Self {
            next_beat: now.after(settings.heart_beat_ms),
            ends: settings.age_ms_max.map_or(Millis(u64::MAX), |age_ms| now.after(age_ms)),
            positions: SmallVec::new(),
            awaited: 0,
            is_resumed: false,
            is_lost: false,
            told_until: 0,
            early: Vec::new(),
            early_bytes: 0,
        }
    }

    pub(super) fn deadline(&self) -> Millis {
        self.next_beat.min(self.ends)
    }

    pub(super) fn has_ended(&self, now: Millis) -> bool {
        self.ends <= now
    }

    /// Whether a sign of life is due; the next one is `beat_ms` later.
    pub(super) fn beats(&mut self, now: Millis, beat_ms: u64) -> bool {
        let is_due = self.next_beat <= now;
        if is_due {
            self.next_beat = now.after(beat_ms);
        }
        is_due
    }

    pub(super) fn early_bytes(&self) -> usize {
        self.early_bytes
    }

    /// Everything is heard, and that was said.
    fn is_open(&self) -> bool {
        self.awaited == 0
    }

    fn has_many(&self) -> bool {
        self.positions.len() > 1
    }

    /// The place of a subscription: they are numbered from 1 in their order.
    fn place(&mut self, key: SubscriptionKey) -> Option<&mut Option<Position>> {
        self.positions.get_mut((key.0 as usize).wrapping_sub(1))
    }

    /// A RECEIPT: the destination is heard from there on.
    fn hears(&mut self, receipt: &Frame) {
        let header = |name: &str| receipt.headers.get(name);
        let key = header("receipt-id").and_then(|id| id.parse().ok()).map(SubscriptionKey);
        let from: Option<Position> = header("stompede-position").and_then(|position| position.parse().ok());
        let is_recovered = header("stompede-recovered") == Some("true");
        let Some(place) = key.and_then(|key| self.place(key)) else { return };
        // A queue of messages for one who is away goes on where it thinks that he is.
        let reaches =
            |since: Position, from: Position| since.epoch == from.epoch && from.offset <= since.offset;
        let is_complete = is_recovered && place.zip(from).is_some_and(|(since, from)| reaches(since, from));
        *place = from;
        self.is_lost |= self.is_resumed && !is_complete;
        self.awaited = self.awaited.saturating_sub(1);
    }
}

impl Peer {
    /// CONNECT was said for it, and what it asked for.
    pub(super) fn begin_stream(&mut self, asked: &Headers) {
        let Manner::Events(stream) = &mut self.manner else { return };
        let count = asked.get(DESTINATIONS).and_then(|count| count.parse().ok()).unwrap_or_default();
        let last = asked.get(LAST_EVENT_ID);
        stream.positions = last.map_or_else(
            || SmallVec::from_elem(None, count),
            |cursor| events::positions(cursor, count).into(),
        );
        (stream.awaited, stream.is_resumed) = (count, last.is_some());
        self.wire = if asked.get(NUMBERED).is_some() { Wire::Events } else { Wire::BareEvents };
        self.kind = kind(self.wire, self.session.version());
    }

    /// The stream has said its first event, if this is one.
    pub(super) fn is_open(&self) -> bool {
        !matches!(&self.manner, Manner::Events(stream) if !stream.is_open())
    }

    /// Whether what was published there is an event of this stream, by subscription `key`.
    pub(super) fn is_of_stream(&self, key: SubscriptionKey, destination: &Destination) -> bool {
        matches!(self.manner, Manner::Events(_)) && !self.only_counts(key, destination)
    }

    /// How subscribers of this connection are given what is published.
    pub(super) fn usual_note(&self) -> Note {
        match &self.manner {
            Manner::Events(stream) if stream.has_many() || !stream.is_open() => Note::Watch,
            _ => Note::None,
        }
    }

    /// What the session itself has to say: only that a destination is heard means something here.
    pub(super) fn say_as_event(&mut self, env: &mut Env<'_>, frame: &[u8]) {
        let mut input = frame;
        let decoded = Decoder::new().decode(&env.broker.protocol_limits, &mut input);
        let Some(Ok(Item::Frame(frame))) = decoded else { return };
        let Manner::Events(stream) = &mut self.manner else { return };
        if frame.command == Command::Receipt && !stream.is_open() {
            stream.hears(&frame);
            if stream.is_open() {
                self.open_stream(env);
            }
        }
    }

    fn open_stream(&mut self, env: &mut Env<'_>) {
        let session = self.member().map_or_else(String::new, |member| member.session.to_string());
        let retry_ms = self.spread(env, USUAL_RETRY_MS);
        let Manner::Events(stream) = &mut self.manner else { return };
        let first = events::connected(&events::cursor(&stream.positions), &session, retry_ms);
        env.lanes.push_control(self.id.slot, first);
        if stream.is_lost {
            env.lanes.push_control(self.id.slot, events::lost());
        }
        stream.early_bytes = 0;
        for Early { key, position, frame } in std::mem::take(&mut stream.early) {
            self.push_event(env, key, position, frame, Overflow::Close, usize::MAX);
        }
        let note = self.usual_note();
        for live in &self.live {
            if let Listening::Topic { subscriber, replay: None, mailbox: None, .. } = &live.what {
                env.table.note(*subscriber, note);
            }
        }
        self.read_further(env);
    }

    /// Something was published that subscription `key` of the stream watches.
    pub(super) fn receive_event(&mut self, env: &mut Env<'_>, key: SubscriptionKey, shared: &mut Shared<'_>) {
        let frame = shared.frame(self.kind, &env.broker.parts.encoders);
        let bytes_max = env.broker.settings().limits.outbox_bytes_max;
        match self.push_event(env, key, shared.message.position, frame, shared.overflow, bytes_max) {
            Pushed::Taken => env.tally.deliveries.count(1),
            Pushed::Dropped(count) => {
                env.tally.deliveries.count(1);
                env.tally.deliveries_dropped.count(count);
                self.lost_deliveries(env);
            }
            Pushed::Full => {
                env.tally.refused(CloseReason::SlowConsumer);
                self.too_slow(env);
            }
        }
    }

    /// What is kept, or meant for this client alone: it is taken whether or not the outbox is full.
    pub(super) fn deliver_event(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        message: &Message,
        recovered: Option<bool>,
    ) {
        // That it begins with a gap was said already.
        let frame = env.broker.parts.encoders.of(self.kind).whole(&delivery(message, recovered));
        self.push_event(env, key, message.position, frame, Overflow::Close, usize::MAX);
        env.tally.deliveries.count(1);
    }

    fn push_event(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        position: Option<Position>,
        frame: Bytes,
        overflow: Overflow,
        bytes_max: usize,
    ) -> Pushed {
        let Manner::Events(stream) = &mut self.manner else { return Pushed::Taken };
        if !stream.is_open() {
            stream.early_bytes += frame.len();
            stream.early.push(Early { key, position, frame });
            let is_much = stream.early_bytes > bytes_max;
            return if is_much { Pushed::Full } else { Pushed::Taken };
        }
        let place = stream.place(key).filter(|_| position.is_some());
        if let Some(place) = place {
            *place = position;
            if stream.has_many() {
                let line = events::id_line(&events::cursor(&stream.positions));
                return env.lanes.push(self.id.slot, line, Some(frame), overflow, bytes_max);
            }
        }
        env.lanes.push(self.id.slot, frame, None, overflow, bytes_max)
    }

    /// Something that was published may not have come. Said once until it is written: who reads it and asks his source anew
    /// learns of everything that was published before.
    pub(super) fn tell_lost(&mut self, env: &mut Env<'_>) {
        let written = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.written_total());
        let Manner::Events(stream) = &mut self.manner else { return };
        if !stream.is_open() {
            stream.is_lost = true;
        } else if written >= stream.told_until {
            env.lanes.push_control(self.id.slot, events::lost());
            let end = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.pushed_total());
            stream.told_until = end;
        }
    }

    /// The last event: why, and when to come back.
    pub(super) fn say_closed(&mut self, env: &mut Env<'_>, refusal: &Refusal) {
        self.session.end();
        let why = users::refusal_body(refusal, None);
        let retry_ms = self.spread(env, retry_ms(refusal));
        env.lanes.push_control(self.id.slot, events::closed(&why, retry_ms));
    }

    /// It has lived long enough: the client is to come again, perhaps to another instance.
    pub(super) fn retire(&mut self, env: &mut Env<'_>) {
        let retry_ms = self.spread(env, USUAL_RETRY_MS);
        env.lanes.push_control(self.id.slot, events::retry(retry_ms));
        self.session.end();
        self.leave(env, NORMAL_CLOSURE, "", Departure::Broken);
    }

    /// Up to twice as long, so that those who are sent away together do not come back together.
    fn spread(&self, env: &Env<'_>, ms: u32) -> u32 {
        ms + ((env.broker.parts.random)() % u128::from(ms.max(1))) as u32
    }
}

/// After how long a client may come back; an EventSource comes back in any case, and then hears by the status whether for good.
fn retry_ms(refusal: &Refusal) -> u32 {
    match (refusal.retry_after_ms, refusal.reason.row().retry) {
        (Some(ms), _) | (None, Retry::AfterMs(ms)) => ms,
        (None, Retry::Changed) => USUAL_RETRY_MS,
        (None, Retry::Never) => UNWANTED_RETRY_MS,
    }
}

fn delivery(message: &Message, recovered: Option<bool>) -> Delivery<'_> {
    let shown = message.destination.as_str();
    Delivery { message, subscription: None, shown, ack: None, redelivered: None, recovered }
}

/// When a client comes back that did nothing wrong, milliseconds.
const USUAL_RETRY_MS: u32 = 1_000;

/// When a client comes back that nobody wants, milliseconds.
const UNWANTED_RETRY_MS: u32 = 60_000;
