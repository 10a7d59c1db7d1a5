//! Who is where, over all nodes.
//!
//! ```text
//!  workers --- local store, at once ---> ledger --- scripts ---> Redis
//!                                                                  |
//!  workers <--- Sink::changed, said, answer <--- channels, replies +
//! ```
//!
//! A node knows its own sessions. Redis knows *rows*: which incarnation of a node has sessions of which user in which room,
//! and which has any of him at all. What changes a row is noted in the ledger and told when Redis can be reached; it is told
//! as what is true, not as what has happened, so that it may be told twice, and all of it again after Redis was lost. Only
//! the scripts see all rows of a user, so they say who comes and goes, on the channel of the room's events.

mod flush;
mod ledger;
mod replies;
mod scribe;
mod survey;
mod sweep;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};
use stompede_protocol::Millis;
use tokio::sync::Notify;

use super::custody::Custody;
use super::hub::Hub;
use super::interest::Interest;
use super::keys::{PARTITIONS, Partition};
use super::wire::presence::{Told, read};
use crate::backend::memory::{MemoryPresence, Standing};
use crate::backend::{Change, Presence, Row, Soon, Status, TooManyRooms};
use crate::model::{Answer, Destination, Members, Now, People, Person, StoreError, Ticket};

pub(super) use flush::FENCED;
use ledger::{Ledger, Said, Tone, When};
pub(super) use replies::{incarnation, items, number as number_of, text as text_of};
pub(super) use scribe::Scribe;
use survey::Survey;
use walk::Walk;
use words::Words;

/// What presence is configured with.
#[derive(Debug, Clone)]
pub(super) struct PresenceOptions {
    /// Rooms in which a user may be, in all sessions of a node together.
    pub(super) user_rooms_max: usize,
    /// What follows a room's topic in the name where its events are published; `None`: nowhere.
    pub(super) events: Option<Box<str>>,
    /// Whether backends are told that a room has its first user, or has lost its last.
    pub(super) edges: bool,
    /// What is there of a node that has ended in an orderly way is there so much longer, milliseconds.
    pub(super) linger_ms: u64,
}

/// See the module's description.
pub(super) struct RedisPresence {
    hub: Arc<Hub>,
    interest: Arc<Interest>,
    scribe: Arc<Scribe>,
    custody: Arc<Custody>,
    /// This node's own sessions.
    local: MemoryPresence,
    /// Held while a room or a user changes, so that the ledger has the changes in their order.
    stripes: Box<[Mutex<()>]>,
    hasher: RandomState,
    ledger: Mutex<Ledger>,
    words: Mutex<Words>,
    /// Through everything that this node has, to tell it again.
    walk: Mutex<Option<Walk>>,
    /// There is something to tell.
    stirred: Notify,
    /// Scripts that are on their way.
    flying: AtomicUsize,
    /// Nothing is told before: it failed a moment ago.
    resting_until: AtomicU64,
    /// Partitions in which there is an edge to be told.
    edged: Mutex<BTreeSet<Partition>>,
    /// How often each partition is not swept yet, since there was nothing.
    idle: Box<[AtomicU8]>,
    /// What users say of themselves may have been told, and not heard here.
    is_in_doubt: AtomicBool,
    /// No walk is begun before for that.
    doubting_from: AtomicU64,
}

impl RedisPresence {
    /// Nobody is anywhere.
    pub(super) fn new(
        hub: Arc<Hub>,
        interest: Arc<Interest>,
        scribe: Arc<Scribe>,
        custody: Arc<Custody>,
        options: &PresenceOptions,
    ) -> Self {
        Self {
            hub,
            interest,
            scribe,
            custody,
            local: MemoryPresence::new(options.user_rooms_max),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            ledger: Mutex::default(),
            words: Mutex::default(),
            walk: Mutex::default(),
            stirred: Notify::new(),
            flying: AtomicUsize::new(0),
            resting_until: AtomicU64::new(0),
            edged: Mutex::default(),
            idle: (0..PARTITIONS).map(|_| AtomicU8::new(0)).collect(),
            is_in_doubt: AtomicBool::new(false),
            doubting_from: AtomicU64::new(0),
        }
    }

    /// Something that a script of presence has published, of that kind. `false`: it is not understood.
    pub(super) fn hear(&self, kind: u8, rest: &[u8], now: Now) -> bool {
        match (read(kind, rest), self.hub.sink()) {
            (Some(Told::News(news)), Some(sink)) => sink.changed(&news, now),
            (Some(Told::Word(word)), Some(sink)) => sink.said(&word),
            (Some(Told::Status { user, serial, until_ms, text }), _) => {
                self.learn(user, serial, until_ms, text);
            }
            (None, _) => return false,
            (Some(_), None) => {}
        }
        true
    }

    /// Redis may have forgotten what it was told: all of it is told again.
    pub(super) fn reunited(&self) {
        self.walk_again(None);
    }

    /// Something that was published may not have been heard: what users say of themselves is asked again.
    pub(super) fn missed(&self) {
        self.is_in_doubt.store(true, Ordering::Release);
    }

    /// Whether everything that has happened was told.
    pub(super) fn is_settled(&self) -> bool {
        let is_flying = self.flying.load(Ordering::Acquire) > 0;
        !is_flying && self.walk.lock().is_none() && self.ledger.lock().is_empty()
    }

    /// What a user says of himself, wherever he said it: it is told where he is present from here.
    fn learn(&self, user: &str, serial: u64, until_ms: u64, text: &str) {
        let stripe = self.stripe(user);
        let is_news = self.local.is_online(user) && self.words.lock().learn(user, serial, until_ms, text);
        drop(stripe);
        if !is_news {
            return;
        }
        let user: Arc<str> = user.into();
        for room in self.local.rooms_of(&user) {
            let _held = self.stripe(&room);
            self.note_row(&room, &user, Tone::Quietly);
        }
        self.stirred.notify_one();
    }

    /// Notes how a user is in a room now. The room is held fast meanwhile.
    fn note_row(&self, room: &str, user: &Arc<str>, tone: Tone) {
        let standing = self.local.standing(room, user);
        self.ledger.lock().note_row(room, user, standing, tone);
    }

    /// Notes whether a user is online now. He is held fast meanwhile.
    fn note_user(&self, user: &Arc<str>) {
        let is_online = self.local.is_online(user);
        self.ledger.lock().note_user(user, is_online);
    }

    /// Does something to a row, and notes it if it is another thing to say.
    fn change<T>(&self, row: Row<'_>, act: impl FnOnce(&MemoryPresence) -> T) -> T {
        let _held = self.stripe(row.room);
        let before = self.local.standing(row.room, row.user);
        let done = act(&self.local);
        let after = self.local.standing(row.room, row.user);
        if before != after {
            let is_news = [before, after].contains(&Standing::Absent);
            let tone = if is_news { Tone::Aloud } else { Tone::Quietly };
            self.ledger.lock().note_row(row.room, row.user, after, tone);
            self.stirred.notify_one();
        }
        done
    }

    fn stripe(&self, name: &str) -> MutexGuard<'_, ()> {
        self.stripes[self.hasher.hash_one(name) as usize % STRIPES].lock()
    }
}

impl Presence for RedisPresence {
    fn begin(&self, user: &Arc<str>) {
        let _held = self.stripe(user);
        let was_online = self.local.is_online(user);
        self.local.begin(user);
        if !was_online {
            // What he says of himself elsewhere is told on his channel.
            self.interest.hold(&whereabouts(user));
            self.note_user(user);
            self.stirred.notify_one();
        }
    }

    fn end(&self, user: &str, now: Millis) -> bool {
        let _held = self.stripe(user);
        self.local.end(user, now);
        if !self.local.is_online(user) {
            self.interest.release(&whereabouts(user));
            self.words.lock().forget(user);
            self.note_user(&user.into());
            self.stirred.notify_one();
        }
        // What he said of himself is forgotten by whoever sweeps.
        false
    }

    fn enter(&self, row: Row<'_>, _: &mut dyn FnMut(Change)) -> Result<(), TooManyRooms> {
        self.change(row, |local| local.enter(row, &mut |_| {}))
    }

    fn lose(&self, row: Row<'_>) {
        self.change(row, |local| local.lose(row));
    }

    fn leave(&self, row: Row<'_>, _: &mut dyn FnMut(Change)) {
        self.change(row, |local| local.leave(row, &mut |_| {}));
    }

    fn members(&self, room: &str, after: u64, count: usize, ticket: Ticket) -> Soon<Members> {
        let now = (self.hub.clock)().mono;
        if !self.ledger.lock().ask(room, (after, count), ticket, now) {
            self.answer(ticket, Err(StoreError::Unavailable));
        }
        self.stirred.notify_one();
        Soon::Later
    }

    fn people(&self, next: Option<&str>, count: usize, ticket: Ticket) -> Soon<People> {
        Survey { hub: Arc::clone(&self.hub), ticket, count }.begin(next);
        Soon::Later
    }

    fn person(&self, user: &str, ticket: Ticket) -> Soon<Person> {
        survey::ask_person(&self.hub, user, ticket);
        Soon::Later
    }

    fn largest_rooms(&self, count: usize) -> Vec<(Arc<str>, usize)> {
        self.local.largest_rooms_now(count)
    }

    fn set_status(&self, user: &Arc<str>, status: Option<Status>, _: &mut dyn FnMut(&str)) {
        let _held = self.stripe(user);
        if self.local.is_online(user) {
            self.ledger.lock().note_said(user, Said(status), When::Now);
            self.stirred.notify_one();
        }
    }

    fn forget_status(&self, _: &str, _: Millis) {}

    fn fall_back(&self, _: Millis, _: usize, _: &mut dyn FnMut(&str, &str)) {}

    fn rooms(&self) -> usize {
        self.local.rooms()
    }

    fn online(&self) -> usize {
        self.local.online()
    }

    fn statuses(&self) -> usize {
        self.words.lock().len()
    }
}

impl RedisPresence {
    fn answer(&self, ticket: Ticket, members: Result<Members, StoreError>) {
        if let Some(sink) = self.hub.sink() {
            sink.answer(ticket, Answer::Members(members));
        }
    }
}

impl Debug for RedisPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPresence").field("local", &self.local).finish_non_exhaustive()
    }
}

/// Stands for a user's sessions among what is wanted of his channel; no client can name it.
fn whereabouts(user: &str) -> Destination {
    Destination::of_user(user, "")
}

/// Rooms and users are spread over so many locks.
const STRIPES: usize = 256;
