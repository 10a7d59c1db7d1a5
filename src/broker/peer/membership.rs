//! The client as a member of rooms: from the first SUBSCRIBE on, and what he has read.

use std::sync::Arc;

use stompede_protocol::SubscriptionKey;

use crate::backend::{Membership, MembershipError, Question};
use crate::broker::letters::Mark;
use crate::features::rooms;
use crate::model::{CloseReason, Place, Refusal, StoreError, Which};

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
    /// By subscription `key` the user is present in the room, and a member from now on.
    pub(super) fn enter(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        entry: Entry,
    ) -> Result<(), Refusal> {
        let Entry { room, marks_read } = entry;
        self.enrol(env, &room)?;
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

    /// What is there when he comes does not wait to be read.
    fn enrol(&self, env: &Env<'_>, room: &str) -> Result<(), Refusal> {
        let Some(user) = self.user() else { return Ok(()) };
        let memberships = &env.broker.memberships;
        if memberships.membership(room, user).is_some() {
            return Ok(());
        }
        let read = env.broker.history.last(&env.broker.settings().rooms.topic(room));
        let enrolled = memberships.enrol(room, user, read).map_err(|error| {
            let reason = match error {
                MembershipError::Store(_) => CloseReason::StoreFull,
                MembershipError::Rooms(_) | MembershipError::Members(_) => CloseReason::TooManySubscriptions,
            };
            Refusal::new(reason, error.to_string())
        })?;
        if enrolled {
            env.broker.tell_membership(room, user, env.now);
        }
        Ok(())
    }

    /// Asks where the message stands that is read; the rest follows with the answer.
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
    ) -> Result<(), Refusal> {
        let topic = env.broker.settings().rooms.topic(&mark.room);
        let found = found.map_err(|error| crate::broker::post::store_refusal(&topic, error))?;
        let place = match (found, mark.which) {
            (Some(place), _) => place,
            // Nothing was ever said there.
            (None, Which::Last) => return Ok(()),
            (None, Which::At(_) | Which::Id(_)) => return Err(rooms::read::unknown()),
        };
        let Some(user) = self.user() else { return Ok(()) };
        match env.broker.memberships.mark_read(&mark.room, user, place.offset) {
            Some(true) => env.broker.tell_read(&mark.room, user, place, env.now),
            Some(false) => {}
            None => {
                let text = "only members of a room read there: SUBSCRIBE it first";
                return Err(Refusal::new(CloseReason::Forbidden, text));
            }
        }
        Ok(())
    }

    /// The rooms of which the user is a member and may still hear.
    pub(super) fn memberships(&self, env: &Env<'_>) -> Vec<Membership> {
        let Some(user) = self.user() else { return Vec::new() };
        let mut rooms = env.broker.memberships.rooms_of(user);
        rooms.retain(|membership| self.may_hear(env, &membership.room));
        rooms
    }

    /// Membership outlives the token that led to it.
    pub(super) fn may_hear(&self, env: &Env<'_>, room: &str) -> bool {
        let topic = env.broker.settings().rooms.topic(room);
        let access = &env.broker.parts.access;
        self.member().is_some_and(|member| {
            access.may(&member.principal, crate::policy::access::Action::Subscribe, topic.as_str())
        })
    }

    pub(super) fn user(&self) -> Option<&Arc<str>> {
        self.member()?.principal.user.as_ref()
    }
}
