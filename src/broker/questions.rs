//! What somebody without a session asks, of the same ports as a session: each answer is there at once, or it is given to the
//! [`Desk`](crate::routing::Desk) as the [`Answer`] that is named.

use std::sync::Arc;

use crate::backend::{Kept, Move, Question, Read, Soon};
use crate::features::control::Order;
#[cfg(doc)]
use crate::model::Answer;
use crate::model::{
    Address, CloseReason, Depth, Destination, Judged, Look, Members, Membership, MembershipError, Now,
    People, Person, Principal, Reader, Refusal, Start, Ticket,
};
use crate::policy::access::Action;
use crate::policy::hooks::Told;

use super::door::Broker;
use super::letters::Sender;
use super::pleas::{About, Asks, Leave, Plea, Unruled};

/// A room that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRoom {
    /// Its name.
    pub name: Box<str>,
    /// Its topic.
    pub topic: Destination,
}

/// A question that a backend has been asked about a room.
#[derive(Debug)]
pub struct Inquiry {
    plea: Plea,
    passed: Passed,
}

/// Which backends have said yes to what is done with a room.
#[derive(Debug, Clone, Copy)]
pub struct Passed(Leave);

impl Default for Passed {
    fn default() -> Self {
        Self(Leave::Open)
    }
}

impl Broker {
    /// The room of this name.
    ///
    /// # Errors
    /// `bad-destination` where no room can be called so.
    pub fn room(&self, name: &str) -> Result<NamedRoom, Refusal> {
        let rooms = &self.parts.settings.rooms;
        let bad = || Refusal::new(CloseReason::BadDestination, "the name of a room is one segment").at(name);
        if name.is_empty() || name.contains('/') {
            return Err(bad());
        }
        match Address::of_send(rooms.topic(name).as_str())? {
            Address::Topic(topic) if rooms.of_topic(topic.as_str()) == Some(name) => {
                Ok(NamedRoom { name: name.into(), topic })
            }
            _ => Err(bad()),
        }
    }

    /// Where chat messages for the room are sent.
    pub fn say_destination(&self, room: &NamedRoom) -> String {
        self.parts.settings.rooms.command(&room.name, "send")
    }

    /// Refuses whoever may not do all of `actions` to the room.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn may_room(
        &self,
        principal: &Principal,
        actions: &[Action],
        room: &NamedRoom,
    ) -> Result<(), Refusal> {
        let may = |action: &Action| self.inquire(principal, *action, room.topic.as_str(), Leave::Open);
        actions.iter().try_for_each(|action| may(action).map_err(Unruled::refusal))
    }

    /// As [`Broker::may_room`], and where a backend decides that has not `passed` it yet it is asked: `told` gets the answer
    /// for [`Broker::may_room_by`].
    ///
    /// # Errors
    /// `forbidden`.
    pub fn ask_room(
        &self,
        principal: &Arc<Principal>,
        actions: &[Action],
        room: &NamedRoom,
        mut passed: Passed,
        told: Told,
        now: Now,
    ) -> Result<Option<Inquiry>, Refusal> {
        let mut told = Some(told);
        loop {
            let Some(asks) = self.open_question(principal, actions, room, passed)? else { return Ok(None) };
            let mut plea = Plea::new(asks, About::Room);
            let sender = Sender { principal, session: "" };
            // It is taken once: whoever is asked is waited for.
            self.plead(&mut plea, sender, 0, || told.take().unwrap_or_else(|| Box::new(drop)), now);
            match plea.verdict() {
                None => return Ok(Some(Inquiry { plea, passed })),
                Some(verdict) => passed = Passed(verdict.map(|_| passed.0.and(plea.hook()))?),
            }
        }
    }

    /// What is to be asked next; refused as soon as one of them is.
    fn open_question(
        &self,
        principal: &Principal,
        actions: &[Action],
        room: &NamedRoom,
        passed: Passed,
    ) -> Result<Option<Asks>, Refusal> {
        let mut first = None;
        for action in actions {
            match self.inquire(principal, *action, room.topic.as_str(), passed.0) {
                Ok(()) => {}
                Err(Unruled::Refused(refusal)) => return Err(refusal),
                Err(Unruled::Asks(asks)) => first = first.or(Some(asks)),
            }
        }
        Ok(first)
    }

    /// What a backend has said to [`Broker::ask_room`], which is asked again: there may be another one.
    ///
    /// # Errors
    /// That it may not be.
    pub fn may_room_by(&self, inquiry: Inquiry, judged: Judged, now: Now) -> Result<Passed, Refusal> {
        let Inquiry { mut plea, passed } = inquiry;
        plea.judge(self, 0, judged, now);
        plea.verdict().unwrap_or_else(|| Err(CloseReason::Internal.into()))?;
        Ok(Passed(passed.0.and(plea.hook())))
    }

    /// Who is present. [`Answer::Members`].
    pub fn members(&self, room: &NamedRoom, after: u64, count: usize, ticket: Ticket) -> Soon<Members> {
        self.attendance.members(&room.name, after, count, ticket)
    }

    /// Who belongs to the room. [`Answer::People`].
    pub fn enrolled(
        &self,
        room: &NamedRoom,
        next: Option<&str>,
        count: usize,
        ticket: Ticket,
    ) -> Soon<People> {
        self.memberships.members(&room.name, next, count, ticket)
    }

    /// Makes a user a member. [`Answer::Enrolled`].
    pub fn enrol(&self, room: &NamedRoom, user: &str, ticket: Ticket) -> Soon<Result<bool, MembershipError>> {
        let read = self.history.last(&room.topic);
        self.memberships.enrol(&room.name, user, read, ticket)
    }

    /// Ends a membership. [`Answer::Withdrawn`].
    pub fn withdraw(&self, room: &NamedRoom, user: &str, ticket: Ticket) -> Soon<bool> {
        self.memberships.withdraw(&room.name, user, ticket)
    }

    /// The membership of a user has begun or ended: his sessions hear of it.
    pub fn membership_changed(&self, room: &NamedRoom, user: &Arc<str>, now: Now) {
        self.tell_membership(&room.name, user, now);
    }

    /// Asks to be told when what was done is safe. [`Answer::Synced`].
    pub fn sync(&self, ticket: Ticket) -> Soon<()> {
        match self.journal.sync(ticket) {
            Kept::Now => Soon::Now(()),
            Kept::Later => Soon::Later,
        }
    }

    /// Messages of a room. [`Answer::Page`].
    pub fn read(
        &self,
        room: &NamedRoom,
        start: Start,
        messages_max: usize,
        bytes_max: usize,
        ticket: Ticket,
        now: Now,
    ) {
        let read = Read { start, messages_max, bytes_max, is_followed: false };
        self.history.ask(&room.topic, Question::Read(read), ticket, now.wall_ms);
    }

    /// Rooms of which a user is a member. [`Answer::Memberships`].
    pub fn memberships_of(&self, user: &str, ticket: Ticket) -> Soon<Vec<Membership>> {
        self.memberships.rooms_of(user, ticket)
    }

    /// How many messages of others the user has not read in a room. [`Answer::Unread`].
    pub fn unread(&self, user: &Arc<str>, membership: &Membership, ticket: Ticket, now: Now) {
        let topic = self.parts.settings.rooms.topic(&membership.room);
        let readers = Box::new([Reader { user: Arc::clone(user), read: membership.read }]);
        self.history.ask(&topic, Question::Count(readers), ticket, now.wall_ms);
    }

    /// Who is online. [`Answer::People`].
    pub fn people(&self, next: Option<&str>, count: usize, ticket: Ticket) -> Soon<People> {
        self.attendance.people(next, count, ticket)
    }

    /// What is known of a user. [`Answer::Person`].
    pub fn person(&self, user: &str, ticket: Ticket) -> Soon<Person> {
        self.attendance.person(user, ticket)
    }

    /// Gives an order to all nodes. [`Answer::Reports`].
    pub fn order(&self, order: &Order, ticket: Ticket) {
        self.control.order(order.encode(), ticket);
    }

    /// Which queues hold messages. [`Answer::Queues`].
    pub fn queue_names(&self, ticket: Ticket) -> Soon<Vec<Destination>> {
        self.queues.names(ticket)
    }

    /// How much is in a queue. [`Answer::Depth`].
    pub fn queue_depth(&self, queue: &Destination, ticket: Ticket) -> Soon<Depth> {
        self.queues.depth(queue, ticket)
    }

    /// Removes messages that are with nobody. [`Answer::Removed`].
    pub fn purge_queue(&self, queue: &Destination, count: usize, ticket: Ticket) -> Soon<usize> {
        self.queues.purge(queue, count, ticket)
    }

    /// Looks at messages of a queue. [`Answer::Browsed`].
    pub fn browse_queue(&self, queue: &Destination, after: u64, count: usize, ticket: Ticket) -> Soon<Look> {
        self.queues.browse(queue, after, count, ticket)
    }

    /// What of dead letters can go back to where they came from.
    pub fn revive(&self, look: &Look) -> Vec<Move> {
        look.listed.iter().filter_map(crate::features::queues::revived).collect()
    }

    /// Puts messages that are with nobody into other queues. [`Answer::Removed`].
    pub fn move_messages(
        &self,
        queue: &Destination,
        moves: Vec<Move>,
        ticket: Ticket,
        now: Now,
    ) -> Soon<usize> {
        self.queues.transfer(queue, moves, ticket, now)
    }
}
