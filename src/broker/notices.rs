//! Telling backends what has happened: notices on their way into queues, and finding out who is not there.
//!
//! Whether somebody is there only a store knows, and it may say so later. So messages wait here, a bounded number, and each
//! tick takes some of them a step further.

mod outgoing;

use std::collections::HashSet;
use std::sync::Arc;

use crate::backend::Soon;
use crate::features::notices::Line;
use crate::model::destination::decode_user;
use crate::model::{Answer, Counter, Message};
use crate::policy::hooks::{HookEvent, HookId};

use super::door::Broker;
use super::settings::Now;
use outgoing::Outgoing;
pub(super) use outgoing::{EDGES_MAX, Noted, NotedEdges};

/// What is to be found out, and what became of notices.
#[derive(Debug, Default)]
pub(super) struct Notices {
    searches: Arc<Line<Search>>,
    outgoing: Arc<Line<Outgoing>>,
    pub(super) edges: Arc<NotedEdges>,
    /// Notices that were put in a queue.
    queued: Arc<Counter>,
    /// Notices for which there was no room.
    lost: Arc<Counter>,
}

/// A message whose readers may not be there.
#[derive(Debug)]
struct Search {
    hook: HookId,
    message: Arc<Message>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Is the user of this queue online?
    User(Arc<str>),
    /// Who is present in the room? Those who arrived up to here are known.
    Present(Box<str>, u64, HashSet<Arc<str>>),
    /// Who belongs to it? The list goes on here.
    Enrolled(Box<str>, Option<Box<str>>, HashSet<Arc<str>>),
}

impl Broker {
    /// A user's session has ended.
    pub(super) fn tell_session_ended(
        &self,
        user: Option<&str>,
        session: &str,
        reason: &str,
        duration_ms: u64,
        now: Now,
    ) {
        if let Some(hook) = self.parts.access.hooks().of(HookEvent::Disconnect) {
            self.notify(hook, HookEvent::Disconnect, now, |notice| {
                notice.of_session(user, session, reason, duration_ms)
            });
        }
    }

    /// The first has come into a room, or the last one has left it.
    pub(super) fn tell_room_edge(&self, event: HookEvent, room: &str, now: Now) {
        let topic = self.parts.settings.rooms.topic(room);
        if let Some(hook) = self.parts.access.hooks().find(event, topic.as_str(), false) {
            self.notify(hook, event, now, |notice| notice.of_room(room, &topic));
        }
    }

    /// A message was published: some for whom it is may not be there.
    pub(super) fn seek_absent(&self, message: &Arc<Message>) {
        let hooks = self.parts.access.hooks();
        if !hooks.has(HookEvent::Offline) {
            return;
        }
        let name = message.destination.as_str();
        let Some(hook) = hooks.find(HookEvent::Offline, name, false) else { return };
        let step = match (message.destination.user_queue(), self.parts.settings.rooms.of_topic(name)) {
            (Some((user, _)), _) => Step::User(decode_user(user).into()),
            (None, Some(room)) => Step::Present(room.into(), 0, HashSet::new()),
            (None, None) => return,
        };
        let search = Search { hook, message: Arc::clone(message), step };
        if self.notices.searches.join(search, SEARCHES_MAX).is_err() {
            self.lose("too many messages wait for a look at who is there");
        }
    }

    /// Takes some searches a step further, and puts what waits to be put. To be called several times a second.
    pub(super) fn tick_notices(&self, now: Now) {
        self.tick_outgoing(now);
        for _ in 0..SEARCHES_A_TICK {
            let Some(search) = self.notices.searches.next() else { return };
            self.search(search, now);
        }
    }

    fn search(&self, search: Search, now: Now) {
        let (hook, message) = (search.hook, Arc::clone(&search.message));
        match search.step {
            Step::User(user) => {
                let again = Step::User(Arc::clone(&user));
                let ticket =
                    self.answer_of(search.hook, search.message, again, |step, answer| match (step, answer) {
                        (Step::User(user), Answer::Person(Err(_))) => Some(Step::User(user)),
                        (Step::User(user), Answer::Person(Ok(person))) => {
                            // Known absent: no further question.
                            (!person.is_online)
                                .then(|| Step::Enrolled("".into(), None, HashSet::from([user])))
                        }
                        _ => None,
                    });
                if let Soon::Now(person) = self.attendance.person(&user, ticket) {
                    self.desk.forget(ticket);
                    if !person.is_online {
                        self.tell_absent(hook, &message, None, &[user], now);
                    }
                }
            }
            // Found out by a later answer.
            Step::Enrolled(room, _, users) if room.is_empty() => {
                let users: Vec<_> = users.into_iter().collect();
                self.tell_absent(hook, &message, None, &users, now);
            }
            Step::Present(room, after, known) => {
                let again = Step::Present(room.clone(), after, known.clone());
                let ticket =
                    self.answer_of(hook, search.message, again, |step, answer| match (step, answer) {
                        (step, Answer::Members(Err(_))) => Some(step),
                        (Step::Present(room, _, known), Answer::Members(Ok(members))) => {
                            Some(present(room, known, &members))
                        }
                        _ => None,
                    });
                if let Soon::Now(members) = self.attendance.members(&room, after, LISTED, ticket) {
                    self.desk.forget(ticket);
                    self.go_on(Search { hook, message, step: present(room, known, &members) });
                }
            }
            Step::Enrolled(room, next, known) => self.seek_enrolled(hook, message, (room, next, known), now),
        }
    }

    fn seek_enrolled(
        &self,
        hook: HookId,
        message: Arc<Message>,
        (room, next, known): (Box<str>, Option<Box<str>>, HashSet<Arc<str>>),
        now: Now,
    ) {
        let (searches, told) = (Arc::clone(&self.notices.searches), Arc::clone(&message));
        let (again, from, present) = (room.clone(), next.clone(), known.clone());
        let ticket = self.desk.ask(Box::new(move |answer| {
            let people = match answer {
                Answer::People(Ok(people)) => people,
                Answer::People(Err(_)) => {
                    let step = Step::Enrolled(again, from, present);
                    return searches.go_on(Search { hook, message: told, step });
                }
                _ => return,
            };
            let absent: HashSet<_> =
                people.listed.into_iter().filter(|user| is_absent(user, &told, &present)).collect();
            if let Some(next) = people.next {
                let step = Step::Enrolled(again, Some(next), present);
                searches.go_on(Search { hook, message: Arc::clone(&told), step });
            }
            if !absent.is_empty() {
                let step = Step::Enrolled("".into(), None, absent);
                searches.go_on(Search { hook, message: told, step });
            }
        }));
        if let Soon::Now(people) = self.memberships.members(&room, next.as_deref(), LISTED, ticket) {
            self.desk.forget(ticket);
            let absent: Vec<_> =
                people.listed.into_iter().filter(|user| is_absent(user, &message, &known)).collect();
            self.tell_absent(hook, &message, Some(&room), &absent, now);
            if let Some(next) = people.next {
                self.go_on(Search { hook, message, step: Step::Enrolled(room, Some(next), known) });
            }
        }
    }

    /// A ticket whose answer makes a further step.
    fn answer_of(
        &self,
        hook: HookId,
        message: Arc<Message>,
        step: Step,
        further: impl FnOnce(Step, Answer) -> Option<Step> + Send + 'static,
    ) -> crate::model::Ticket {
        let searches = Arc::clone(&self.notices.searches);
        self.desk.ask(Box::new(move |answer| {
            if let Some(step) = further(step, answer) {
                searches.go_on(Search { hook, message, step });
            }
        }))
    }

    /// What has begun is finished first.
    fn go_on(&self, search: Search) {
        self.notices.searches.go_on(search);
    }

    fn tell_absent(&self, hook: HookId, message: &Message, room: Option<&str>, users: &[Arc<str>], now: Now) {
        if users.is_empty() {
            return;
        }
        let room = room.or_else(|| self.parts.settings.rooms.of_topic(message.destination.as_str()));
        self.notify(hook, HookEvent::Offline, now, |notice| notice.of_message(message, room, users));
    }
}

/// What is next when so many more are known to be present.
fn present(room: Box<str>, mut known: HashSet<Arc<str>>, members: &crate::model::Members) -> Step {
    known.extend(members.listed.iter().map(|member| Arc::clone(&member.user)));
    match members.listed.last().filter(|_| members.more) {
        Some(last) => Step::Present(room, last.arrival, known),
        None => Step::Enrolled(room, None, known),
    }
}

/// Who has said it need not be told of it.
fn is_absent(user: &Arc<str>, message: &Message, present: &HashSet<Arc<str>>) -> bool {
    message.sender.as_ref() != Some(user) && !present.contains(user)
}

/// Messages of which it is not known yet who is not there; of more nobody is told.
const SEARCHES_MAX: usize = 10_000;

/// Steps of searches in one tick.
const SEARCHES_A_TICK: usize = 1_000;

/// Users that are listed, and told of, at once.
const LISTED: usize = 1_000;
