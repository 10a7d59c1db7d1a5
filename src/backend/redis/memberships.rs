//! Who belongs to which room, in Redis.
//!
//! What counts is the hash of a user's rooms, in his partition. The set of a room's members, in the room's, only follows it:
//! for the limit of members, and for whoever wants to list them. Both cannot be written in one step.
//!
//! ```text
//!  enrol     user: a member already? may he be? -> room: has it room? add him -> user: write it -> room: add him
//!                                                             he may not after all: remove -/
//!  withdraw  user: erase it -> remove
//!  remove    room: take him out -> user: a member again by now? -> room: add him
//! ```
//! So nobody is a member whom the room's set has not, except after the death of a node between two steps while he joined and
//! left at once; the next time he joins he is added. The set may have somebody who is no member: he counts towards the limit of
//! members until he joins and leaves. All memberships together have no limit of their own: the memory of Redis is theirs.

use std::sync::Arc;

use bytes::Bytes;
use redis::Value;

use super::history::META;
use super::hub::{self, Hub};
use super::keys::Partition;
use super::pages::{self, Strange};
use super::relay::store_error;
use super::scripts::{self, Script};
use crate::backend::{Memberships, Soon};
use crate::model::destination::encode_user;
use crate::model::{Answer, Limits, Membership, MembershipError, People, StoreError, Ticket};

/// Memberships of all nodes.
#[derive(Debug)]
pub(super) struct RedisMemberships {
    hub: Arc<Hub>,
    most: Most,
}

/// Limits.
#[derive(Debug, Clone, Copy)]
struct Most {
    rooms: usize,
    members: usize,
}

impl RedisMemberships {
    pub(super) fn new(hub: Arc<Hub>, limits: &Limits) -> Self {
        let most = Most { rooms: limits.memberships_of_user_max, members: limits.members_of_room_max };
        Self { hub, most }
    }

    fn pair(&self, room: &str, user: &str) -> Pair {
        Pair { hub: Arc::clone(&self.hub), room: room.into(), user: user.into() }
    }
}

impl Memberships for RedisMemberships {
    fn enrol(&self, room: &str, user: &str, _: u64, ticket: Ticket) -> Soon<Result<bool, MembershipError>> {
        Enrolment { pair: self.pair(room, user), most: self.most, ticket }.begin();
        Soon::Later
    }

    fn withdraw(&self, room: &str, user: &str, ticket: Ticket) -> Soon<bool> {
        self.pair(room, user).ask_user(&scripts::WITHDRAW, Vec::new(), move |pair, reply| {
            let withdrawn = reply.and_then(|reply| known(pages::number(reply)));
            if withdrawn != Ok(0) {
                pair.clone().remove();
            }
            pair.answer(ticket, Answer::Withdrawn(withdrawn.map(|count| count > 0)));
        });
        Soon::Later
    }

    fn mark_read(&self, room: &str, user: &str, offset: u64, ticket: Ticket) -> Soon<Option<bool>> {
        self.pair(room, user).ask_user(&scripts::MARK, vec![hub::number(offset)], move |pair, reply| {
            let moved = reply.and_then(|reply| known(optional(reply)));
            pair.answer(ticket, Answer::Marked(moved.map(|moved| moved.map(|count| count > 0))));
        });
        Soon::Later
    }

    fn membership(&self, room: &str, user: &str, ticket: Ticket) -> Soon<Option<Membership>> {
        self.pair(room, user).ask_user(&scripts::MEMBERSHIP, Vec::new(), move |pair, reply| {
            let read = reply.and_then(|reply| known(optional(reply)));
            let membership = |read| Membership { room: Arc::clone(&pair.room), read };
            pair.answer(ticket, Answer::Membership(read.map(|read| read.map(membership))));
        });
        Soon::Later
    }

    fn rooms_of(&self, user: &str, ticket: Ticket) -> Soon<Vec<Membership>> {
        self.pair("", user).ask_user(&scripts::MEMBERSHIPS, Vec::new(), move |pair, reply| {
            let all = reply.and_then(|reply| known(rooms(reply)));
            pair.answer(ticket, Answer::Memberships(all));
        });
        Soon::Later
    }

    fn members(&self, room: &str, next: Option<&str>, count: usize, ticket: Ticket) -> Soon<People> {
        // What is no cursor of ours leads nowhere, as one beyond the end does.
        let cursor = next.map_or(Some(0), |next| next.parse().ok());
        let pair = self.pair(room, "");
        let Some(cursor) = cursor else { return Soon::Now(People::default()) };
        let partition = self.hub.partition_of_room(room);
        let keys = vec![self.hub.keys.key(partition, MEMBERS, room)];
        let args = vec![hub::number(cursor), hub::number(count.max(1) as u64)];
        pair.run(partition, &scripts::MEMBERS, keys, args, move |pair, reply| {
            let page = reply.and_then(|reply| known(people(reply)));
            pair.answer(ticket, Answer::People(page));
        });
        Soon::Later
    }

    /// None of them is here.
    fn len(&self) -> usize {
        0
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// A user and a room.
#[derive(Debug, Clone)]
struct Pair {
    hub: Arc<Hub>,
    room: Arc<str>,
    user: Arc<str>,
}

impl Pair {
    /// Runs a script on the user's rooms, with the room as first argument.
    fn ask_user(
        self,
        script: &'static Script,
        args: Vec<Bytes>,
        then: impl FnOnce(Self, Result<Value, StoreError>) + Send + 'static,
    ) {
        let user = encode_user(&self.user);
        let partition = Partition::of_user(&user);
        let key = self.hub.keys.key(partition, ROOMS, &user);
        let args = [hub::text(&self.room)].into_iter().chain(args).collect();
        self.run(partition, script, vec![key], args, then);
    }

    /// Runs a script on the room's members, with the user as first argument.
    fn ask_room(
        self,
        script: &'static Script,
        args: Vec<Bytes>,
        then: impl FnOnce(Self, Result<Value, StoreError>) + Send + 'static,
    ) {
        let partition = self.hub.partition_of_room(&self.room);
        let topic = format!("{}{}", self.hub.topic_prefix, self.room);
        let key = |family, name| self.hub.keys.key(partition, family, name);
        let keys = vec![key(MEMBERS, &self.room), key(META, &topic)];
        let args = [hub::text(&self.user)].into_iter().chain(args).collect();
        self.run(partition, script, keys, args, then);
    }

    fn run(
        self,
        partition: Partition,
        script: &'static Script,
        keys: Vec<String>,
        args: Vec<Bytes>,
        then: impl FnOnce(Self, Result<Value, StoreError>) + Send + 'static,
    ) {
        let hub = Arc::clone(&self.hub);
        let then = move |reply: Result<_, _>| then(self, reply.map_err(|fault| store_error(&fault)));
        hub.run(partition, script, keys, args, Box::new(then));
    }

    /// He is a member: the room's set has him, full or not.
    fn add(self) {
        self.ask_room(&scripts::ADMIT, vec![hub::number(u64::MAX)], |_, _| {});
    }

    /// He is no member: the room's set has him not, unless he has become one meanwhile.
    fn remove(self) {
        self.ask_room(&scripts::EXPEL, Vec::new(), |pair, _| {
            pair.look(usize::MAX, None, |pair, stands| {
                if stands == Ok(Stands::Member) {
                    pair.add();
                }
            });
        });
    }

    /// Where he stands, and makes him a member who has read so far, if that is given and he may be one.
    fn look(
        self,
        rooms_max: usize,
        read: Option<u64>,
        then: impl FnOnce(Self, Result<Stands, StoreError>) + Send + 'static,
    ) {
        let args = [Some(rooms_max as u64), read].into_iter().flatten().map(hub::number).collect();
        self.ask_user(&scripts::ENROL, args, |pair, reply| {
            let stands = reply.and_then(|reply| known(pages::number(reply)));
            then(
                pair,
                stands.map(|stands| match stands {
                    0 => Stands::Member,
                    1 => Stands::Free,
                    _ => Stands::Full,
                }),
            );
        });
    }

    fn answer(&self, ticket: Ticket, answer: Answer) {
        if let Some(sink) = self.hub.sink() {
            sink.answer(ticket, answer);
        }
    }
}

/// How a user stands to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// He is a member already.
    Member,
    /// He may become one, or is one now.
    Free,
    /// He has too many rooms.
    Full,
}

/// Somebody is becoming a member.
#[derive(Debug)]
struct Enrolment {
    pair: Pair,
    most: Most,
    ticket: Ticket,
}

impl Enrolment {
    /// Who subscribes is mostly a member already, so the user is asked first.
    fn begin(self) {
        let Self { pair, most, ticket } = self;
        pair.look(most.rooms, None, move |pair, stands| {
            let enrolment = Self { pair, most, ticket };
            match stands {
                Ok(Stands::Free) => enrolment.enter_room(),
                Ok(Stands::Member) => enrolment.end(Ok(false)),
                Ok(Stands::Full) => enrolment.end(Err(MembershipError::Rooms(most.rooms))),
                Err(_) => enrolment.end(Err(MembershipError::Unavailable)),
            }
        });
    }

    fn enter_room(self) {
        let Self { pair, most, ticket } = self;
        pair.ask_room(&scripts::ADMIT, vec![hub::number(most.members as u64)], move |pair, reply| {
            let enrolment = Self { pair, most, ticket };
            match reply.and_then(|reply| known(optional(reply))) {
                Ok(Some(top)) => enrolment.write(top),
                Ok(None) => enrolment.end(Err(MembershipError::Members(most.members))),
                Err(_) => enrolment.end(Err(MembershipError::Unavailable)),
            }
        });
    }

    /// The room has him; what was said there so far does not wait to be read.
    fn write(self, top: u64) {
        let Self { pair, most, ticket } = self;
        pair.look(most.rooms, Some(top), move |pair, stands| {
            let enrolment = Self { pair: pair.clone(), most, ticket };
            match stands {
                // He was none when this began: another session of his, or this one whose reply was lost.
                Ok(Stands::Free | Stands::Member) => {
                    pair.add();
                    enrolment.end(Ok(true));
                }
                Ok(Stands::Full) => {
                    pair.remove();
                    enrolment.end(Err(MembershipError::Rooms(most.rooms)));
                }
                Err(_) => {
                    pair.remove();
                    enrolment.end(Err(MembershipError::Unavailable));
                }
            }
        });
    }

    fn end(self, enrolled: Result<bool, MembershipError>) {
        self.pair.answer(self.ticket, Answer::Enrolled(enrolled));
    }
}

/// What a script of ours has replied.
fn known<T>(reply: Result<T, Strange>) -> Result<T, StoreError> {
    reply.map_err(|error| {
        tracing::error!(%error, "a membership cannot be read");
        StoreError::Unavailable
    })
}

fn optional(reply: Value) -> Result<Option<u64>, Strange> {
    match reply {
        Value::Nil | Value::Boolean(false) => Ok(None),
        reply => pages::number(reply).map(Some),
    }
}

/// The reply to `memberships`, by name.
fn rooms(reply: Value) -> Result<Vec<Membership>, Strange> {
    let Value::Array(values) = reply else { return Err(Strange) };
    let mut rooms = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some(room), Some(read)) = (values.next(), values.next()) {
        let room = pages::bytes(room)?;
        let room = std::str::from_utf8(&room).map_err(|_| Strange)?.into();
        rooms.push(Membership { room, read: pages::number(read)? });
    }
    rooms.sort_unstable_by(|one, other| one.room.cmp(&other.room));
    Ok(rooms)
}

/// The reply to `members`.
fn people(reply: Value) -> Result<People, Strange> {
    let Value::Array(values) = reply else { return Err(Strange) };
    let mut values = values.into_iter();
    let (Some(cursor), Some(count)) = (values.next(), values.next()) else { return Err(Strange) };
    let cursor = pages::number(cursor)?;
    let text = |value| {
        let bytes = pages::bytes(value)?;
        std::str::from_utf8(&bytes).map(Into::into).map_err(|_| Strange)
    };
    Ok(People {
        count: pages::number(count)? as usize,
        listed: values.map(text).collect::<Result<_, _>>()?,
        next: (cursor > 0).then(|| cursor.to_string().into()),
    })
}

/// Keys: the rooms of a user and up to where he has read there, the members of a room.
const ROOMS: &str = "m";
const MEMBERS: &str = "of";

#[cfg(test)]
mod tests;
