//! The client as a member of rooms: from the first SUBSCRIBE on, and what he has read.

use std::sync::Arc;

use stompede_protocol::SubscriptionKey;

use crate::backend::{Kept, Question, Soon};
use crate::broker::letters::Mark;
use crate::broker::pleas::Leave;
use crate::broker::post::{Posted, store_refusal};
use crate::features::rooms;
use crate::model::{CloseReason, MembershipError, Place, Refusal, StoreError, Which};
use crate::policy::access::Action;

use super::calls::Asked;
use super::{Env, Listening, Peer};

/// A room into which a SUBSCRIBE leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) struct Entry {
    pub(in crate::broker) room: Box<str>,
    /// What is there counts as read with it.
    pub(in crate::broker) marks_read: bool,
}

impl Peer {
    /// By subscription `key` the user is present in the room, and a member from now on. Later: when the store says that
    /// he is a member.
    pub(super) fn enter(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        entry: Entry,
    ) -> Result<Kept, Refusal> {
        let Some(user) = self.user().cloned() else { return Ok(Kept::Now) };
        // What is there when he comes does not wait to be read.
        let read = env.broker.history.last(&env.broker.settings().rooms.topic(&entry.room));
        let ticket = self.ticket();
        match env.broker.memberships.enrol(&entry.room, &user, read, ticket) {
            Soon::Now(enrolled) => self.enrolled(env, key, entry, enrolled).map(|()| Kept::Now),
            Soon::Later => {
                self.calls.add(ticket.call, Asked::Enrol(key, entry));
                Ok(Kept::Later)
            }
        }
    }

    /// The user is a member of the room, or will not be.
    pub(super) fn enrolled(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        entry: Entry,
        enrolled: Result<bool, MembershipError>,
    ) -> Result<(), Refusal> {
        let Entry { room, marks_read } = entry;
        let is_new = enrolled?;
        if let Some(user) = self.user().filter(|_| is_new) {
            env.broker.tell_membership(&room, user, env.now);
        }
        self.enter_room(env, &room)?;
        if marks_read {
            self.mark(env, &Mark { room: room.clone(), which: Which::Last });
        }
        let live = self.live.iter_mut().find(|live| live.key == key);
        if let Some(Listening::Topic { room: entered, .. }) = live.map(|live| &mut live.what) {
            *entered = Some(room);
        }
        Ok(())
    }

    /// The user belongs to the room no more.
    #[inline(never)]
    pub(super) fn withdraw(&mut self, env: &Env<'_>, user: &str, room: &str) -> Posted {
        let ticket = self.ticket();
        match env.broker.memberships.withdraw(room, user, ticket) {
            Soon::Now(withdrawn) => {
                self.withdrawn(env, room, withdrawn);
                Posted::Unsafe
            }
            Soon::Later => {
                self.calls.add(ticket.call, Asked::Withdraw(room.into()));
                Posted::Later
            }
        }
    }

    pub(super) fn withdrawn(&self, env: &Env<'_>, room: &str, withdrawn: bool) {
        if let Some(user) = self.user().filter(|_| withdrawn) {
            env.broker.tell_membership(room, user, env.now);
        }
    }

    /// Asks where the message stands that is read; the rest follows with the answer.
    #[inline(never)]
    pub(super) fn mark(&mut self, env: &mut Env<'_>, mark: &Mark) {
        let ticket = self.ticket();
        self.calls.add(ticket.call, Asked::Mark(mark.clone()));
        let topic = env.broker.settings().rooms.topic(&mark.room);
        env.broker.history.ask(&topic, Question::Find(mark.which), ticket, env.now.wall_ms);
    }

    /// The answer to [`Peer::mark`].
    pub(super) fn marked(
        &mut self,
        env: &mut Env<'_>,
        mark: &Mark,
        found: Result<Option<Place>, StoreError>,
    ) -> Result<Kept, Refusal> {
        let found = found.map_err(|error| self.no_membership(env, &mark.room, error))?;
        let place = match (found, mark.which) {
            (Some(place), _) => place,
            // Nothing was ever said there.
            (None, Which::Last) => return Ok(Kept::Now),
            (None, Which::At(_) | Which::Id(_)) => return Err(rooms::read::unknown()),
        };
        let Some(user) = self.user().cloned() else { return Ok(Kept::Now) };
        let ticket = self.ticket();
        match env.broker.memberships.mark_read(&mark.room, &user, place.offset, ticket) {
            Soon::Now(moved) => self.has_read(env, &mark.room, place, moved).map(|()| Kept::Now),
            Soon::Later => {
                self.calls.add(ticket.call, Asked::MarkRead(mark.room.clone(), place));
                Ok(Kept::Later)
            }
        }
    }

    /// The read position has moved there, or was further on.
    pub(super) fn has_read(
        &self,
        env: &Env<'_>,
        room: &str,
        place: Place,
        moved: Option<bool>,
    ) -> Result<(), Refusal> {
        let Some(user) = self.user() else { return Ok(()) };
        match moved {
            Some(true) => env.broker.tell_read(room, user, place, env.now),
            Some(false) => {}
            None => {
                let text = "only members of a room read there: SUBSCRIBE it first";
                return Err(Refusal::new(CloseReason::Forbidden, text));
            }
        }
        Ok(())
    }

    pub(super) fn no_membership(&self, env: &Env<'_>, room: &str, error: StoreError) -> Refusal {
        store_refusal(&env.broker.settings().rooms.topic(room), error)
    }

    /// Membership outlives the token that led to it.
    pub(super) fn may_hear(&self, env: &Env<'_>, room: &str) -> bool {
        let topic = env.broker.settings().rooms.topic(room);
        // Who became a member where a backend decides was let in by it.
        self.member().is_some_and(|member| {
            env.broker.inquire(&member.principal, Action::Subscribe, topic.as_str(), Leave::Any).is_ok()
        })
    }

    pub(super) fn user(&self) -> Option<&Arc<str>> {
        self.member()?.principal.user.as_ref()
    }
}
