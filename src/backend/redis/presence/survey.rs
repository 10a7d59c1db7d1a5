//! Who is online, partition by partition, and what is known of one user.

use std::sync::Arc;

use redis::Value;

use crate::backend::redis::hub::{Hub, number, text};
use crate::backend::redis::keys::presence::{PEOPLE, decode, encode};
use crate::backend::redis::keys::{PARTITIONS, Partition};
use crate::backend::redis::link::Fault;
use crate::backend::redis::relay::store_error;
use crate::backend::redis::scripts;
use crate::model::{Answer, People, Person, StoreError, Ticket};

use super::replies;

/// A list of those who are online, as far as it has come.
pub(super) struct Survey {
    pub(super) hub: Arc<Hub>,
    pub(super) ticket: Ticket,
    /// About how many are wanted.
    pub(super) count: usize,
}

impl Survey {
    /// Begins where an earlier list has ended: `<partition>:<cursor>`.
    pub(super) fn begin(self, next: Option<&str>) {
        let from = next.map_or(Some((0, 0)), |next| {
            let (partition, cursor) = next.split_once(':')?;
            Some((partition.parse().ok()?, cursor.parse().ok()?))
        });
        let (partition, cursor): (usize, u64) = from.unwrap_or((PARTITIONS, 0));
        let key = self.hub.keys.online_users();
        let near = Partition::of_destination(&key);
        let hub = Arc::clone(&self.hub);
        let then = move |reply: Result<Value, Fault>| {
            let count = reply
                .map_err(|fault| store_error(&fault))
                .and_then(|reply| replies::number(&reply).ok_or(StoreError::Unavailable));
            match count {
                Ok(count) => {
                    let people = People { count: count as usize, ..People::default() };
                    self.go_on(people, partition, cursor);
                }
                Err(error) => self.end(Err(error)),
            }
        };
        // It lies apart in a cluster, and is sent on to whoever owns its slot.
        hub.run(near, &scripts::SIZE, vec![key], Vec::new(), Box::new(then));
    }

    fn go_on(self, mut people: People, partition: usize, cursor: u64) {
        let left = self.count.saturating_sub(people.listed.len());
        let Ok(at) = u8::try_from(partition) else { return self.end(Ok(people)) };
        if left == 0 {
            // Who wants nobody wants the count alone.
            people.next = (self.count > 0).then(|| format!("{partition}:{cursor}").into());
            return self.end(Ok(people));
        }
        let hub = Arc::clone(&self.hub);
        let keys = vec![hub.keys.single(Partition(at), PEOPLE)];
        let args = vec![number(cursor), number(left as u64)];
        let then = move |reply: Result<Value, Fault>| {
            let page = reply.map_err(|fault| store_error(&fault)).and_then(|reply| {
                let (cursor, users) = page(&reply).ok_or(StoreError::Unavailable)?;
                people.listed.extend(users);
                Ok(cursor)
            });
            match page {
                Ok(0) => self.go_on(people, partition + 1, 0),
                Ok(cursor) => self.go_on(people, partition, cursor),
                Err(error) => self.end(Err(error)),
            }
        };
        hub.run(Partition(at), &scripts::PEOPLE, keys, args, Box::new(then));
    }

    fn end(self, people: Result<People, StoreError>) {
        answer(&self.hub, self.ticket, Answer::People(people));
    }
}

/// Asks what is known of a user.
pub(super) fn ask_person(hub: &Arc<Hub>, user: &str, ticket: Ticket) {
    let partition = Partition::of_user_named(user);
    let user = encode(user).into_owned();
    let keys = vec![hub.keys.single(partition, PEOPLE)];
    let asked = Arc::clone(hub);
    let args = vec![text(&user)];
    let then = move |reply: Result<Value, Fault>| {
        let person = reply.map_err(|fault| store_error(&fault)).and_then(|reply| {
            let [cells, status] = replies::items(&reply).ok_or(StoreError::Unavailable)? else {
                return Err(StoreError::Unavailable);
            };
            let [cells, status] = [cells, status].map(|part| replies::text(part).unwrap_or_default());
            let status = Some(status).filter(|status| !status.is_empty()).map(Into::into);
            Ok(Person { is_online: !cells.is_empty(), status, rooms: Vec::new() })
        });
        match person {
            Ok(person) => ask_rooms(&asked, &user, person, ticket),
            Err(error) => answer(&asked, ticket, Answer::Person(Err(error))),
        }
    };
    hub.run(partition, &scripts::PERSON, keys, args, Box::new(then));
}

/// Where he is stands where operators read it, too.
fn ask_rooms(hub: &Arc<Hub>, user: &str, person: Person, ticket: Ticket) {
    let key = hub.keys.user_rooms(user);
    let near = Partition::of_destination(&key);
    let asked = Arc::clone(hub);
    let then = move |reply: Result<Value, Fault>| {
        let person = reply.map_err(|fault| store_error(&fault)).and_then(|reply| {
            let rooms = replies::items(&reply).ok_or(StoreError::Unavailable)?;
            let mut rooms: Vec<Arc<str>> =
                rooms.iter().filter_map(replies::text).map(|room| decode(room).into()).collect();
            rooms.sort_unstable();
            Ok(Person { rooms, ..person })
        });
        answer(&asked, ticket, Answer::Person(person));
    };
    hub.run(near, &scripts::SET, vec![key], Vec::new(), Box::new(then));
}

fn page(reply: &Value) -> Option<(u64, Vec<Arc<str>>)> {
    let [cursor, users @ ..] = replies::items(reply)? else { return None };
    let users = users.iter().map(|user| replies::text(user).map(|user| decode(user).into()));
    Some((replies::number(cursor)?, users.collect::<Option<_>>()?))
}

fn answer(hub: &Hub, ticket: Ticket, answer: Answer) {
    if let Some(sink) = hub.sink() {
        sink.answer(ticket, answer);
    }
}
