//! Telling backends what has happened: notices on their way into queues, and finding out who is not there.
//!
//! Whether somebody is there only a store knows, and it may say so later. So messages wait here, a bounded number, and each
//! tick takes some of them a step further.

mod outgoing;

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::backend::Soon;
use crate::features::notices::Line;
use crate::model::destination::decode_user;
use crate::model::{Answer, Counter, Members, Message};
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
#[derive(Debug, Clone)]
struct Search {
    hook: HookId,
    message: Arc<Message>,
    step: Step,
}

#[derive(Debug, Clone)]
enum Step {
    /// Is the user of this queue online?
    User(Arc<str>),
    /// Who is present in the room? Those who arrived up to here are known.
    Present(Box<str>, u64, Known),
    /// Who belongs to it? The list goes on here.
    Enrolled(Box<str>, Option<Box<str>>, Known),
    /// These are not there: they are to be told of.
    Absent(Vec<Arc<str>>),
}

/// Who is present. Shared by the steps: of a large room it is long.
type Known = Arc<HashSet<Arc<str>>>;

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
            (None, Some(room)) => Step::Present(room.into(), 0, Known::default()),
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
        if let Step::Absent(users) = &search.step {
            return self.tell_absent(&search, users, now);
        }
        let (line, asked) = (Arc::clone(&self.notices.searches), search.clone());
        let ticket = self.desk.ask(Box::new(move |answer| {
            asked.further(&answer).into_iter().for_each(|search| line.go_on(search));
        }));
        let answer = match &search.step {
            Step::User(user) => self.attendance.person(user, ticket).map(|it| Answer::Person(Ok(it))),
            Step::Present(room, after, _) => {
                self.attendance.members(room, *after, LISTED, ticket).map(|it| Answer::Members(Ok(it)))
            }
            Step::Enrolled(room, next, _) => self
                .memberships
                .members(room, next.as_deref(), LISTED, ticket)
                .map(|it| Answer::People(Ok(it))),
            Step::Absent(_) => Soon::Later,
        };
        let Soon::Now(answer) = answer else { return };
        // Its copy would be in the way of changing what both share.
        self.desk.forget(ticket);
        for further in search.further(&answer) {
            match &further.step {
                Step::Absent(users) => self.tell_absent(&further, users, now),
                _ => self.notices.searches.go_on(further),
            }
        }
    }

    fn tell_absent(&self, search: &Search, users: &[Arc<str>], now: Now) {
        let message = &search.message;
        let room = self.parts.settings.rooms.of_topic(message.destination.as_str());
        self.notify(search.hook, HookEvent::Offline, now, |notice| notice.of_message(message, room, users));
    }
}

impl Search {
    /// What is next when the answer is this.
    fn further(self, answer: &Answer) -> SmallVec<[Self; 2]> {
        let Self { hook, message, step } = self;
        let mut steps = SmallVec::<[Step; 2]>::new();
        match (step, answer) {
            // The store may know it when it is asked again.
            (step, Answer::Person(Err(_)) | Answer::Members(Err(_)) | Answer::People(Err(_))) => {
                steps.push(step)
            }
            (Step::User(user), Answer::Person(Ok(person))) => {
                steps.extend((!person.is_online).then(|| Step::Absent(vec![user])));
            }
            (Step::Present(room, _, known), Answer::Members(Ok(members))) => {
                steps.push(present(room, known, members));
            }
            (Step::Enrolled(room, _, present), Answer::People(Ok(people))) => {
                // Who has said it need not be told of it.
                let is_absent =
                    |user: &&Arc<str>| message.sender.as_ref() != Some(*user) && !present.contains(*user);
                let absent: Vec<_> = people.listed.iter().filter(is_absent).cloned().collect();
                steps.extend(people.next.clone().map(|next| Step::Enrolled(room, Some(next), present)));
                steps.extend((!absent.is_empty()).then_some(Step::Absent(absent)));
            }
            _ => {}
        }
        let of_this = |step| Self { hook, message: Arc::clone(&message), step };
        steps.into_iter().map(of_this).collect()
    }
}

/// What is next when so many more are known to be present.
fn present(room: Box<str>, mut known: Known, members: &Members) -> Step {
    Arc::make_mut(&mut known).extend(members.listed.iter().map(|member| Arc::clone(&member.user)));
    match members.listed.last().filter(|_| members.more) {
        Some(last) => Step::Present(room, last.arrival, known),
        None => Step::Enrolled(room, None, known),
    }
}

/// Messages of which it is not known yet who is not there; of more nobody is told.
const SEARCHES_MAX: usize = 10_000;

/// Steps of searches in one tick.
const SEARCHES_A_TICK: usize = 1_000;

/// Users that are listed, and told of, at once.
const LISTED: usize = 1_000;
