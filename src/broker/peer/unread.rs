//! Unread counts: all of them once, to who asks; what changes, once a second, to who listens.
//!
//! Who listens watches the topics of his rooms: what is kept there makes a room dirty, and so does a change of his own
//! membership, told on a topic of the broker's own. Once a second dirty rooms are counted anew and what has changed is told.

mod tally;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use stompede_protocol::{Millis, SubscriptionKey};

use crate::backend::Soon;
use crate::features::unread::memberships_topic;
use crate::model::{CloseReason, Destination, Membership, Refusal, StoreError};
use crate::routing::{Note, Subscriber, SubscriberId, Topic};

use super::events::Shared;
use super::{Env, Peer};
use tally::{Purpose, Tally};

/// Nothing for sessions that neither ask nor listen.
#[derive(Debug, Default)]
pub(super) struct Unread {
    book: Option<Book>,
    tallies: Vec<Tally>,
}

/// What a session that listens knows.
#[derive(Debug)]
struct Book {
    /// The subscription to `/user/queue/unread`.
    key: SubscriptionKey,
    /// Hears of changes of membership.
    memberships: SubscriberId,
    rooms: HashMap<Arc<str>, Watch>,
    dirty: BTreeSet<Arc<str>>,
    /// When dirty rooms may be counted next.
    due: Millis,
    /// The question for all memberships, if it is open.
    asked: Option<u32>,
    /// Rooms whose membership is asked for, by question.
    changing: HashMap<u32, Box<str>>,
}

#[derive(Debug)]
struct Watch {
    subscriber: SubscriberId,
    /// Up to where the user has read there.
    read: u64,
    /// What was told last.
    told: Option<u32>,
}

impl Peer {
    /// SUBSCRIBE to the question for all counts.
    pub(super) fn answer_unread(&mut self, env: &mut Env<'_>, key: SubscriptionKey) -> Result<(), Refusal> {
        let open = self.unread.as_ref().map_or(0, |unread| unread.tallies.len());
        if open >= TALLIES_MAX {
            let text = format!("more than {TALLIES_MAX} questions for unread counts are open");
            return Err(Refusal::new(CloseReason::RateLimited, text));
        }
        let Some(user) = self.user().cloned() else { return Ok(()) };
        let ticket = self.ticket();
        match env.broker.memberships.rooms_of(&user, ticket) {
            Soon::Now(rooms) => {
                let rooms = self.heard_of(env, rooms);
                self.count(env, Tally::new(key, Purpose::Answer), rooms);
            }
            Soon::Later => {
                let tally = Tally::new(key, Purpose::Answer).asking(Some(ticket.call));
                self.unread.get_or_insert_default().tallies.push(tally);
            }
        }
        Ok(())
    }

    /// All memberships of the user have come.
    pub(super) fn memberships_told(
        &mut self,
        env: &mut Env<'_>,
        call: u32,
        rooms: Result<Vec<Membership>, StoreError>,
    ) {
        let Some(unread) = &mut self.unread else { return };
        let place = unread.tallies.iter().position(|tally| tally.asked == Some(call));
        if let Some(place) = place {
            let tally = unread.tallies.swap_remove(place);
            return match rooms {
                Ok(rooms) => {
                    let rooms = self.heard_of(env, rooms);
                    self.count(env, tally.asking(None), rooms);
                }
                Err(error) => {
                    let refusal = self.unreadable(tally.key, error);
                    self.refuse(env, &refusal, None);
                }
            };
        }
        let asked = self.book().is_some_and(|book| book.asked.take_if(|asked| *asked == call).is_some());
        if let Ok(rooms) = rooms
            && asked
        {
            self.watch_rooms(env, rooms);
        }
    }

    /// Those rooms of which the user may hear.
    fn heard_of(&self, env: &Env<'_>, mut rooms: Vec<Membership>) -> Vec<Membership> {
        rooms.retain(|membership| self.may_hear(env, &membership.room));
        rooms
    }

    /// These are the user's rooms: what he has left unheard is watched no more.
    fn watch_rooms(&mut self, env: &mut Env<'_>, rooms: Vec<Membership>) {
        let rooms = self.heard_of(env, rooms);
        let watched = self.book().into_iter().flat_map(|book| book.rooms.keys());
        let is_left = |room: &&Arc<str>| rooms.iter().all(|membership| membership.room != **room);
        let left: Vec<Arc<str>> = watched.filter(is_left).cloned().collect();
        left.iter().for_each(|room| self.membership_is(env, room, None));
        rooms.iter().for_each(|membership| self.watch_room(env, membership));
    }

    /// From now on the session hears what happens in the room.
    fn watch_room(&mut self, env: &mut Env<'_>, membership: &Membership) {
        let Membership { room, read } = membership;
        let Some(book) = self.book() else { return };
        if let Some(watch) = book.rooms.get_mut(room) {
            if std::mem::replace(&mut watch.read, *read) != *read {
                self.dirty(env, room);
            }
            return;
        }
        let key = book.key;
        let subscriber = self.watch(env, key, env.broker.settings().rooms.topic(room));
        if let Some(book) = self.book() {
            book.rooms.insert(Arc::clone(room), Watch { subscriber, read: *read, told: None });
        }
    }

    /// SUBSCRIBE to the changes. Only one subscription of a session hears of them.
    pub(super) fn listen_unread(&mut self, env: &mut Env<'_>, key: SubscriptionKey) {
        let Some(user) = self.user().cloned() else { return };
        if self.unread.as_ref().is_some_and(|unread| unread.book.is_some()) {
            return;
        }
        let memberships = self.watch(env, key, memberships_topic(&user));
        let ticket = self.ticket();
        let rooms = env.broker.memberships.rooms_of(&user, ticket);
        let asked = (rooms == Soon::Later).then_some(ticket.call);
        let (due, changing) = (env.now.mono, HashMap::new());
        let book =
            Book { key, memberships, rooms: HashMap::new(), dirty: BTreeSet::new(), due, asked, changing };
        self.unread.get_or_insert_default().book = Some(book);
        if let Soon::Now(rooms) = rooms {
            self.watch_rooms(env, rooms);
        }
    }

    /// The subscription `key` has ended.
    pub(super) fn end_unread(&mut self, env: &mut Env<'_>, key: SubscriptionKey) {
        let Some(unread) = &mut self.unread else { return };
        unread.tallies.retain(|tally| tally.key != key);
        if let Some(book) = unread.book.take_if(|book| book.key == key) {
            self.unlisten(env, book.memberships);
            book.rooms.into_values().for_each(|watch| self.unlisten(env, watch.subscriber));
        }
        self.unread.take_if(|unread| unread.book.is_none() && unread.tallies.is_empty());
    }

    /// Something was published where this session watches.
    pub(in crate::broker) fn noticed(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        shared: &mut Shared<'_>,
    ) {
        let message = shared.message;
        if self.is_closing() || self.receive_mail(env, key, message) {
            return;
        }
        if self.is_of_stream(key, &message.destination) {
            return self.receive_event(env, key, shared);
        }
        let Some(user) = self.user().cloned() else { return };
        let rooms = &env.broker.settings().rooms;
        if let Some(room) = rooms.of_topic(message.destination.as_str()) {
            // What one says oneself is not unread, and events are not kept.
            if message.position.is_some() && message.sender.as_ref() != Some(&user) {
                self.dirty(env, room);
            }
        } else if let Ok(room) = std::str::from_utf8(&message.body) {
            self.membership_changed(env, room, &user);
        }
    }

    /// The user has joined the room, has left it or has read on.
    fn membership_changed(&mut self, env: &mut Env<'_>, room: &str, user: &Arc<str>) {
        let ticket = self.ticket();
        match env.broker.memberships.membership(room, user, ticket) {
            Soon::Now(membership) => self.membership_is(env, room, membership),
            Soon::Later => {
                let Some(book) = self.book() else { return };
                if book.changing.len() < CHANGING_MAX {
                    book.changing.insert(ticket.call, room.into());
                }
            }
        }
    }

    /// A membership has come that was asked for.
    pub(super) fn membership_told(
        &mut self,
        env: &mut Env<'_>,
        call: u32,
        membership: Result<Option<Membership>, StoreError>,
    ) {
        let room = self.book().and_then(|book| book.changing.remove(&call));
        if let (Some(room), Ok(membership)) = (room, membership) {
            self.membership_is(env, &room, membership);
        }
    }

    fn membership_is(&mut self, env: &mut Env<'_>, room: &str, membership: Option<Membership>) {
        match membership.filter(|membership| self.may_hear(env, &membership.room)) {
            None => {
                let left = self.book().and_then(|book| {
                    book.dirty.remove(room);
                    book.rooms.remove(room)
                });
                if let Some(watch) = left {
                    self.unlisten(env, watch.subscriber);
                }
            }
            Some(membership) => {
                self.watch_room(env, &membership);
                self.dirty(env, &membership.room);
            }
        }
    }

    /// What was published to something watched may not have come.
    pub(super) fn missed_watched(&mut self, env: &mut Env<'_>, destination: &Destination) {
        let Some(user) = self.user().cloned() else { return };
        let topic = memberships_topic(&user);
        if let Some(room) = env.broker.settings().rooms.of_topic(destination.as_str()) {
            return self.dirty(env, room);
        }
        if topic != *destination || self.book().is_none() {
            return;
        }
        let ticket = self.ticket();
        match env.broker.memberships.rooms_of(&user, ticket) {
            Soon::Now(rooms) => self.watch_rooms(env, rooms),
            Soon::Later => {
                if let Some(book) = self.book() {
                    book.asked = Some(ticket.call);
                }
            }
        }
    }

    fn dirty(&mut self, env: &Env<'_>, room: &str) {
        let now = env.now.mono;
        let Some(book) = self.book() else { return };
        if let Some((room, _)) = book.rooms.get_key_value(room) {
            if book.dirty.is_empty() {
                book.due = book.due.max(now);
            }
            book.dirty.insert(Arc::clone(room));
        }
    }

    /// When dirty rooms are to be counted.
    pub(super) fn unread_due(&self) -> Option<Millis> {
        let book = self.unread.as_ref()?.book.as_ref()?;
        (!book.dirty.is_empty()).then_some(book.due)
    }

    /// Counts dirty rooms if it is time.
    pub(super) fn count_dirty(&mut self, env: &mut Env<'_>) {
        if self.unread_due().is_none_or(|due| env.now.mono < due) {
            return;
        }
        let counting = |unread: &Unread| unread.tallies.iter().any(|tally| tally.purpose == Purpose::Changes);
        let busy = self.unread.as_deref().is_some_and(counting);
        let Some(book) = self.book() else { return };
        book.due = env.now.mono.after(EVERY_MS);
        if busy {
            return;
        }
        let (key, mut rooms) = (book.key, Vec::new());
        while rooms.len() < ROOMS_AT_ONCE
            && let Some(room) = book.dirty.pop_first()
        {
            if let Some(watch) = book.rooms.get(&room) {
                rooms.push(Membership { room, read: watch.read });
            }
        }
        self.count(env, Tally::new(key, Purpose::Changes), rooms);
    }

    /// Whether subscription `key` counts what is published there, and delivers nothing of it.
    pub(super) fn only_counts(&self, key: SubscriptionKey, destination: &Destination) -> bool {
        let book = self.unread.as_ref().and_then(|unread| unread.book.as_ref());
        // What it delivers is sent to its user's queue.
        book.is_some_and(|book| book.key == key) && destination.user_queue().is_none()
    }

    fn book(&mut self) -> Option<&mut Book> {
        self.unread.as_mut()?.book.as_mut()
    }

    /// Hears of publishes without delivering them.
    fn watch(&self, env: &mut Env<'_>, key: SubscriptionKey, destination: Destination) -> SubscriberId {
        let subscriber = Subscriber {
            slot: self.id.slot,
            key,
            kind: self.kind,
            id: None,
            shown: None,
            issued: None,
            note: Note::Watch,
        };
        self.join_topic(env, &Topic::Exact(destination), subscriber, None).0
    }
}

/// What changes is told at most this often, milliseconds.
const EVERY_MS: u64 = 1_000;

/// Rooms that are counted at a time for one session; the others a second later.
const ROOMS_AT_ONCE: usize = 100;

/// Rooms whose membership one session may ask for at once; what changes beyond is seen when something happens there.
const CHANGING_MAX: usize = 1_024;

/// Questions for all counts that one session may have open.
const TALLIES_MAX: usize = 4;
