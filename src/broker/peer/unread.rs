//! Unread counts: all of them once, to who asks; what changes, once a second, to who listens.
//!
//! Who listens watches the topics of his rooms: what is kept there makes a room dirty, and so does a change of his own
//! membership, told on a topic of the broker's own. Once a second dirty rooms are counted anew and what has changed is told.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use stompede_protocol::{Headers, Millis, SubscriptionKey};

use crate::backend::{Membership, Question};
use crate::broker::door::JSON;
use crate::features::unread::{Count, UNREAD_PATH, memberships_topic, unread_body};
use crate::model::{CloseReason, Destination, Message, Reader, Refusal, StoreError};
use crate::routing::{Note, Subscriber, SubscriberId, Topic};

use super::{Env, Peer};

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
}

#[derive(Debug)]
struct Watch {
    subscriber: SubscriberId,
    /// What was told last.
    told: Option<u32>,
}

/// Counts that are being gathered for one message.
#[derive(Debug)]
struct Tally {
    /// Who gets it.
    key: SubscriptionKey,
    purpose: Purpose,
    /// Rooms by open question.
    open: HashMap<u32, Arc<str>>,
    counts: Vec<Count>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// All counts.
    Answer,
    /// Those that have changed.
    Changes,
}

impl Peer {
    /// SUBSCRIBE to the question for all counts.
    pub(super) fn answer_unread(&mut self, env: &mut Env<'_>, key: SubscriptionKey) -> Result<(), Refusal> {
        let open = self.unread.as_ref().map_or(0, |unread| unread.tallies.len());
        if open >= TALLIES_MAX {
            let text = format!("more than {TALLIES_MAX} questions for unread counts are open");
            return Err(Refusal::new(CloseReason::RateLimited, text));
        }
        let rooms = self.memberships(env);
        self.count(env, key, Purpose::Answer, rooms);
        Ok(())
    }

    /// SUBSCRIBE to the changes. Only one subscription of a session hears of them.
    pub(super) fn listen_unread(&mut self, env: &mut Env<'_>, key: SubscriptionKey) {
        let Some(user) = self.user().cloned() else { return };
        if self.unread.as_ref().is_some_and(|unread| unread.book.is_some()) {
            return;
        }
        let memberships = self.watch(env, key, memberships_topic(&user));
        let mut rooms = HashMap::new();
        for Membership { room, .. } in self.memberships(env) {
            let subscriber = self.watch(env, key, env.broker.settings().rooms.topic(&room));
            rooms.insert(room, Watch { subscriber, told: None });
        }
        let book = Book { key, memberships, rooms, dirty: BTreeSet::new(), due: env.now.mono };
        self.unread.get_or_insert_default().book = Some(book);
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
    pub(in crate::broker) fn noticed(&mut self, env: &mut Env<'_>, key: SubscriptionKey, message: &Message) {
        if self.is_closing() || self.receive_mail(env, key, message) {
            return;
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
        let Some(key) = self.book().map(|book| book.key) else { return };
        let membership = env.broker.memberships.membership(room, user);
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
            Some(Membership { room, .. }) => {
                if self.book().is_some_and(|book| !book.rooms.contains_key(&room)) {
                    let subscriber = self.watch(env, key, env.broker.settings().rooms.topic(&room));
                    if let Some(book) = self.book() {
                        book.rooms.insert(Arc::clone(&room), Watch { subscriber, told: None });
                    }
                }
                self.dirty(env, &room);
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
        let Some(user) = self.member().map(|member| Arc::<str>::from(member.principal.name())) else {
            return;
        };
        let counting = |unread: &Unread| unread.tallies.iter().any(|tally| tally.purpose == Purpose::Changes);
        let busy = self.unread.as_deref().is_some_and(counting);
        let Some(book) = self.book() else { return };
        book.due = env.now.mono.after(EVERY_MS);
        if busy {
            return;
        }
        let (key, mut dirty) = (book.key, Vec::new());
        while dirty.len() < ROOMS_AT_ONCE
            && let Some(room) = book.dirty.pop_first()
        {
            dirty.push(room);
        }
        let rooms = dirty.iter().filter_map(|room| env.broker.memberships.membership(room, &user)).collect();
        self.count(env, key, Purpose::Changes, rooms);
    }

    /// Asks for the counts of all `rooms`.
    fn count(&mut self, env: &mut Env<'_>, key: SubscriptionKey, purpose: Purpose, rooms: Vec<Membership>) {
        let Some(user) = self.user().cloned() else { return };
        let mut tally = Tally { key, purpose, open: HashMap::new(), counts: Vec::new() };
        for Membership { room, read } in rooms {
            let ticket = self.ticket();
            let topic = env.broker.settings().rooms.topic(&room);
            let readers = Box::new([Reader { user: Arc::clone(&user), read }]);
            tally.open.insert(ticket.call, room);
            env.broker.history.ask(&topic, Question::Count(readers), ticket, env.now.wall_ms);
        }
        self.unread.get_or_insert_default().tallies.push(tally);
        self.tell_counts(env);
    }

    /// A count has come.
    pub(super) fn counted(&mut self, env: &mut Env<'_>, call: u32, counts: Result<Box<[u32]>, StoreError>) {
        let Some(unread) = &mut self.unread else { return };
        let mut tallies = unread.tallies.iter_mut();
        let found = tallies.find_map(|tally| Some((tally.open.remove(&call)?, tally)));
        let Some((room, tally)) = found else { return };
        // A room that cannot be counted now is left out; it is counted when something happens there.
        if let Ok(counts) = counts {
            tally.counts.push(Count { room, unread: counts.first().copied().unwrap_or(0) });
        }
        self.tell_counts(env);
    }

    /// Tells the counts that are complete.
    fn tell_counts(&mut self, env: &mut Env<'_>) {
        let Some(unread) = &mut self.unread else { return };
        let complete: Vec<Tally> = unread.tallies.extract_if(.., |tally| tally.open.is_empty()).collect();
        for Tally { key, purpose, mut counts, .. } in complete {
            counts.sort_unstable_by(|a, b| a.room.cmp(&b.room));
            if purpose == Purpose::Changes {
                counts.retain(|count| self.is_news(count));
                if counts.is_empty() {
                    continue;
                }
            }
            self.tell(env, key, &counts);
        }
        self.unread.take_if(|unread| unread.book.is_none() && unread.tallies.is_empty());
    }

    /// Whether the count is another than what was told last; it is told now.
    fn is_news(&mut self, count: &Count) -> bool {
        let watch = self.book().and_then(|book| book.rooms.get_mut(&count.room));
        watch.is_some_and(|watch| watch.told.replace(count.unread) != Some(count.unread))
    }

    fn tell(&mut self, env: &mut Env<'_>, key: SubscriptionKey, counts: &[Count]) {
        let Some(user) = self.user() else { return };
        let mut headers = Headers::new();
        headers.push("content-type", JSON);
        headers.push("event", "UNREAD");
        let destination = Destination::of_user(user, UNREAD_PATH);
        let message = env.broker.message(destination, None, headers, unread_body(counts).into(), env.now);
        self.deliver_direct(env, key, &message);
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
        self.join_topic(env, &Topic::Exact(destination), subscriber)
    }
}

/// What changes is told at most this often, milliseconds.
const EVERY_MS: u64 = 1_000;

/// Rooms that are counted at a time for one session; the others a second later.
const ROOMS_AT_ONCE: usize = 100;

/// Questions for all counts that one session may have open.
const TALLIES_MAX: usize = 4;
