//! Telling Redis what the ledger has.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Value;
use stompede_protocol::Millis;
use tokio::time::{MissedTickBehavior, interval};

use crate::backend::memory::Standing;
use crate::backend::redis::keys::Partition;
use crate::backend::redis::link::{Fault, HOLD_MS};
use crate::model::StoreError;

use super::RedisPresence;
use super::ledger::{Place, Question, Said, Task, Tone, When};
use super::replies;
use super::words::Known;

impl RedisPresence {
    /// Tells Redis what is to be told, as long as it is polled.
    pub(in crate::backend::redis) async fn run(self: Arc<Self>) -> Infallible {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stirred.notified() => {}
                _ = ticks.tick() => self.sweep_edged(),
            }
            self.flush();
        }
    }

    /// Tells what may be told now. By one task alone, so that scripts are given in the order in which things happened.
    fn flush(self: &Arc<Self>) {
        let now = (self.hub.clock)().mono;
        let late = Millis(now.0.saturating_sub(HOLD_MS));
        loop {
            let Some(question) = self.ledger.lock().take_late(late) else { break };
            self.answer(question.ticket, Err(StoreError::Unavailable));
        }
        // What is told while this node hears nothing would not be heard here.
        let is_healthy = self.hub.link().is_some_and(|link| link.health().is_ok());
        if !is_healthy || now.0 < self.resting_until.load(Ordering::Acquire) {
            return;
        }
        if now.0 >= self.doubting_from.load(Ordering::Acquire)
            && self.is_in_doubt.swap(false, Ordering::AcqRel)
        {
            self.doubting_from.store(now.after(DOUBT_MS).0, Ordering::Release);
            self.walk_again(None);
        }
        if self.ledger.lock().take_overrun() {
            // What ended meanwhile is not known any more: it ends with the name.
            self.custody.fenced(self.hub.incarnation());
        }
        loop {
            let is_walking = self.advance();
            while self.flying.load(Ordering::Acquire) < FLYING_MAX {
                let (question, task) = {
                    let mut ledger = self.ledger.lock();
                    let question = ledger.take_question();
                    let task = if question.is_none() { ledger.take() } else { None };
                    (question, task)
                };
                match (question, task) {
                    (Some(question), _) => self.ask(question),
                    (None, Some(task)) => self.tell(task),
                    (None, None) => break,
                }
            }
            if !is_walking || self.flying.load(Ordering::Acquire) >= FLYING_MAX {
                return;
            }
        }
    }

    fn tell(self: &Arc<Self>, task: Task) {
        let incarnation = self.hub.incarnation();
        match task {
            Task::Row(place, states) => {
                let known = self.words.lock().of(&place.user);
                for state in states {
                    self.tell_row(incarnation, &place, state, &known);
                }
            }
            Task::User(user, states, said) => {
                for is_online in states {
                    self.tell_user(incarnation, &user, is_online);
                }
                if let Some(said) = said {
                    self.tell_said(incarnation, user, said);
                }
            }
            Task::Bury(grave) => self.custody.bury(grave),
            Task::Audit(partition, cursor) => self.audit(incarnation, partition, cursor),
        }
    }

    fn tell_row(
        self: &Arc<Self>,
        incarnation: u64,
        place: &Place,
        (standing, tone): (Standing, Tone),
        known: &Known,
    ) {
        let draft = self.scribe.row(incarnation, place, (standing, tone), known);
        let (presence, place) = (Arc::clone(self), place.clone());
        self.flying.fetch_add(1, Ordering::AcqRel);
        self.scribe.send(
            draft,
            Box::new(move |reply| {
                if presence.settle(incarnation, &reply) {
                    if reply == Ok(Value::Int(WITH_EDGE)) {
                        presence.edged.lock().insert(presence.hub.partition_of_room(&place.room));
                    }
                    return;
                }
                let _held = presence.stripe(&place.room);
                presence.note_row(&place.room, &place.user, tone);
            }),
        );
    }

    fn tell_user(self: &Arc<Self>, incarnation: u64, user: &Arc<str>, is_online: bool) {
        let known = self.words.lock().of(user);
        let draft = self.scribe.user(incarnation, user, is_online.then_some(&known));
        let (presence, user) = (Arc::clone(self), Arc::clone(user));
        self.flying.fetch_add(1, Ordering::AcqRel);
        self.scribe.send(
            draft,
            Box::new(move |reply| {
                if presence.settle(incarnation, &reply) {
                    return presence.learn_reply(&user, &reply);
                }
                let _held = presence.stripe(&user);
                presence.note_user(&user);
            }),
        );
    }

    fn tell_said(self: &Arc<Self>, incarnation: u64, user: Arc<str>, Said(status): Said) {
        let draft = self.scribe.say(incarnation, &user, status.as_ref());
        let presence = Arc::clone(self);
        self.flying.fetch_add(1, Ordering::AcqRel);
        self.scribe.send(
            draft,
            Box::new(move |reply| {
                if presence.settle(incarnation, &reply) {
                    return presence.learn_reply(&user, &reply);
                }
                let _held = presence.stripe(&user);
                if presence.local.is_online(&user) {
                    presence.ledger.lock().note_said(&user, Said(status), When::Before);
                }
            }),
        );
    }

    /// Has Redis more of this node than there is?
    fn audit(self: &Arc<Self>, incarnation: u64, partition: Partition, cursor: Box<str>) {
        let draft = self.scribe.audit(incarnation, partition, &cursor);
        let presence = Arc::clone(self);
        self.flying.fetch_add(1, Ordering::AcqRel);
        self.scribe.send(
            draft,
            Box::new(move |reply| {
                if !presence.settle(incarnation, &reply) {
                    return presence.ledger.lock().note_audit(partition, &cursor);
                }
                let Some((next, held)) = reply.as_ref().ok().and_then(replies::held) else { return };
                held.into_iter().for_each(|(user, room)| presence.compare(&user.into(), &room));
                if next != "0" {
                    presence.ledger.lock().note_audit(partition, next);
                }
            }),
        );
    }

    /// Redis has a row of this node, or, where the room is empty, that it has sessions of the user.
    fn compare(&self, user: &Arc<str>, room: &str) {
        if room.is_empty() {
            let _held = self.stripe(user);
            if !self.local.is_online(user) {
                self.note_user(user);
            }
            return;
        }
        let _held = self.stripe(room);
        if self.local.standing(room, user) == Standing::Absent {
            self.note_row(room, user, Tone::Quietly);
        }
    }

    fn ask(self: &Arc<Self>, question: Question) {
        let Question { room, after, count, ticket, .. } = question;
        let draft = self.scribe.members(&room, after, count);
        let presence = Arc::clone(self);
        self.scribe.send(
            draft,
            Box::new(move |reply| {
                let members = reply.ok().as_ref().and_then(replies::members);
                presence.answer(ticket, members.ok_or(StoreError::Unavailable));
            }),
        );
    }

    /// A script has ended; whether it has done what it should. What was not told is noted again by the caller.
    fn settle(&self, incarnation: u64, reply: &Result<Value, Fault>) -> bool {
        self.flying.fetch_sub(1, Ordering::AcqRel);
        match reply {
            Ok(_) => {}
            Err(Fault::Refused { code, .. }) if code == FENCED => self.custody.fenced(incarnation),
            Err(fault) => {
                if let Fault::Refused { .. } = fault {
                    tracing::warn!(%fault, "presence cannot be told");
                }
                let until = (self.hub.clock)().mono.after(REST_MS);
                self.resting_until.fetch_max(until.0, Ordering::AcqRel);
            }
        }
        self.stirred.notify_one();
        reply.is_ok()
    }

    fn learn_reply(&self, user: &str, reply: &Result<Value, Fault>) {
        if let Some((serial, until_ms, text)) = reply.as_ref().ok().and_then(replies::status) {
            self.learn(user, serial, until_ms, text);
        }
    }
}

/// With this a script refuses what a fenced incarnation wants.
pub(in crate::backend::redis) const FENCED: &str = "FENCED";

/// What a script replies where a room has its first user by it, or has lost its last.
const WITH_EDGE: i64 = 2;

/// Scripts that are on their way at once: a few milliseconds of a server's time.
const FLYING_MAX: usize = 256;

/// What could not be told is told again after so long, milliseconds.
const REST_MS: u64 = 500;

/// All is told and asked again at most so often because something was not heard, milliseconds.
const DOUBT_MS: u64 = 10_000;

const TICK: Duration = Duration::from_millis(100);
