//! A letter on its way: to those who listen, into a store, into a queue.

use std::sync::Arc;

use smallvec::SmallVec;
use stompede_protocol::Subscribe;

use crate::backend::{Appended, Kept, Patience, QueueError, Unappended};
use crate::features::idempotency::Seen;
use crate::model::{CloseReason, Destination, Full, Message, Refusal, Retention, StoreError, Ticket};
use crate::routing::Item;

use super::door::Broker;
use super::letters::Letter;
use super::pleas::Leave;
use super::settings::Now;

/// What became of a letter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Posted {
    /// It is on its way.
    #[default]
    Now,
    /// It is done, but not yet safe.
    Unsafe,
    /// A store will answer.
    Later,
}

/// Why a letter is still here.
#[derive(Debug)]
pub(super) enum Unposted {
    /// An inbox has no room; its worker tells.
    Full,
    /// What the session asked of a store before is not answered yet.
    Unanswered,
    /// A backend that was asked has not said its word yet.
    Unjudged,
    /// Backends have said yes to this.
    Granted(Box<(Subscribe, Leave)>),
    /// Nobody handles it yet.
    NoHandler(Destination),
    /// It will never be posted.
    Refused(Refusal),
    /// After this the session may not go on.
    Ended(Refusal),
}

impl From<Kept> for Posted {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Now => Self::Now,
            Kept::Later => Self::Later,
        }
    }
}

impl From<Full> for Unposted {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl Broker {
    /// Whether all of `letters` can be posted, as things stand: a transaction begins only then.
    pub(super) fn prepare<'a>(&self, letters: impl Iterator<Item = &'a Letter>) -> Result<(), Unposted> {
        let mut queued: SmallVec<[(&Destination, usize, usize); 2]> = SmallVec::new();
        for letter in letters {
            if let Some(destination) = letter.kept_at().filter(|_| self.keeps(letter)) {
                let refused = |error| Unposted::Refused(store_refusal(destination, error));
                self.journal.admits().map_err(refused)?;
            }
            let (Letter::Queue(message) | Letter::Handler(message)) = letter else { continue };
            let queue = &message.destination;
            if matches!(letter, Letter::Handler(_)) && !self.queues.has_consumers(queue) {
                return Err(Unposted::NoHandler(queue.clone()));
            }
            match queued.iter_mut().find(|(known, ..)| *known == queue) {
                Some((_, messages, bytes)) => {
                    *messages += 1;
                    *bytes += message.cost_bytes();
                }
                None => queued.push((queue, 1, message.cost_bytes())),
            }
        }
        let mut rooms = queued.into_iter();
        rooms.try_for_each(|(queue, messages, bytes)| {
            self.queues.admit(queue, messages, bytes).map_err(|error| unqueued(queue, &error))
        })
    }

    /// Posts what is left of a transaction whose sender is gone: what has begun is finished, room or not.
    pub(super) fn post_anyway(&self, letter: &mut Letter, ticket: Ticket, now: Now) {
        match letter {
            Letter::Typing(message) => self.relay.announce(message),
            Letter::Topic(message) => {
                match self.parts.settings.rules.history(&message.destination) {
                    Some(retention) => {
                        // A store that refuses has said so to its log; who sent it is gone.
                        if self.history.append(message, retention, Patience::None, ticket).is_err() {
                            return;
                        }
                    }
                    None => self.relay.announce(message),
                }
                self.seek_absent(message);
            }
            Letter::Queue(message) | Letter::Handler(message) => {
                self.queues.publish_anyway(&message.destination, Arc::clone(message), ticket, now);
            }
            Letter::Reply(route, message) => {
                let item = Item::Reply { route: route.clone(), message: Arc::clone(message) };
                self.inboxes.force(route.connection.worker, item);
            }
            Letter::Status(user, wish) => self.set_status(user, wish, now),
            Letter::Leave(user, room) => {
                self.memberships.withdraw(room, user, ticket);
                self.tell_membership(room, user, now);
            }
            // A transaction begins when all backends have said what they have to say.
            Letter::Backend(..) => {}
            Letter::Refresh(_) | Letter::Mark(_) | Letter::Nothing | Letter::Expired => {}
        }
    }

    /// Whether what becomes of this letter is answered later.
    pub(super) fn is_answered_later(&self, letter: &Letter) -> bool {
        self.keeps(letter) || matches!(letter, Letter::Topic(_)) && self.journal.is_shared()
    }

    /// Whether a store keeps what is posted by this letter, and answers when it has.
    fn keeps(&self, letter: &Letter) -> bool {
        match letter {
            Letter::Topic(message) => self.parts.settings.rules.history(&message.destination).is_some(),
            Letter::Queue(_) | Letter::Handler(_) => self.journal.is_late(),
            _ => false,
        }
    }

    /// Puts a letter on its way, unless it is there already. `begun`: its transaction has, so no limit of a queue may
    /// refuse it any more.
    #[inline(always)]
    pub(super) fn post(
        &self,
        letter: &mut Letter,
        begun: bool,
        ticket: Ticket,
        now: Now,
    ) -> Result<Posted, Unposted> {
        if let Some((message, key)) = letter.idempotency_key() {
            let destination = message.destination.clone();
            let ticket = Ticket { key: self.hash_of_key(message, key), ..ticket };
            return self.post_once(letter, &destination, begun, ticket, now);
        }
        self.post_new(letter, begun, ticket, now)
    }

    /// Posts a letter that has an idempotency key, unless it was posted before.
    #[inline(never)]
    fn post_once(
        &self,
        letter: &mut Letter,
        destination: &Destination,
        begun: bool,
        ticket: Ticket,
        now: Now,
    ) -> Result<Posted, Unposted> {
        match self.idempotency.check(destination, ticket.key, now.mono) {
            Seen::Never => {}
            Seen::Before => return Ok(Posted::Now),
            Seen::UnderWay => return Err(Unposted::Full),
        }
        // Before it is posted: the answer may be there sooner than we are back.
        self.idempotency.defer(destination, ticket.key);
        let posted = self.post_new(letter, begun, ticket, now);
        if !matches!(posted, Ok(Posted::Later)) {
            self.idempotency.settle(ticket.key, posted.is_ok());
        }
        posted
    }

    /// What stands for `key` of whoever sent `message`.
    pub(super) fn hash_of_key(&self, message: &Message, key: &str) -> u64 {
        self.idempotency.hash(&message.destination, message.sender.as_deref().unwrap_or(""), key)
    }

    /// Posts a letter that was not posted before.
    #[inline(always)]
    fn post_new(
        &self,
        letter: &mut Letter,
        begun: bool,
        ticket: Ticket,
        now: Now,
    ) -> Result<Posted, Unposted> {
        let from = ticket.connection.worker;
        match letter {
            Letter::Topic(message) => {
                let posted = match self.parts.settings.rules.history(&message.destination) {
                    Some(retention) => self.append(message, retention, ticket)?,
                    None => self.relay.publish(message, Some(from), ticket)?.into(),
                };
                // Those who should read it may not be there.
                self.seek_absent(message);
                return Ok(posted);
            }
            Letter::Queue(message) | Letter::Handler(message) => {
                return self.enqueue(message, begun, ticket, now);
            }
            Letter::Reply(route, message) => {
                let item = Item::Reply { route: route.clone(), message: Arc::clone(message) };
                self.inboxes.offer(route.connection.worker, item, Some(from))?;
            }
            Letter::Typing(message) => {
                // Nobody waits to hear that somebody types.
                self.relay.publish(message, Some(from), ticket)?;
            }
            Letter::Status(user, wish) => self.set_status(user, wish, now),
            // The session's own business.
            Letter::Refresh(_) | Letter::Mark(_) | Letter::Leave(..) | Letter::Nothing => {}
            Letter::Expired => self.counters().of(from).sends_expired.add(1),
            Letter::Backend(..) => return Err(Unposted::Refused(CloseReason::Internal.into())),
        }
        Ok(Posted::Now)
    }

    #[inline(never)]
    fn append(
        &self,
        message: &mut Arc<Message>,
        retention: &Retention,
        ticket: Ticket,
    ) -> Result<Posted, Unposted> {
        let from = ticket.connection.worker;
        let appended = self.history.append(message, retention, Patience::Wait(from), ticket);
        let appended = appended.map_err(|error| unappended(message, error))?;
        self.counters().of(from).history_appends.add(1);
        Ok(if appended == Appended::Later { Posted::Later } else { Posted::Now })
    }

    #[inline(never)]
    fn enqueue(
        &self,
        message: &Arc<Message>,
        begun: bool,
        ticket: Ticket,
        now: Now,
    ) -> Result<Posted, Unposted> {
        let queue = &message.destination;
        let kept = if begun {
            self.queues.publish_anyway(queue, Arc::clone(message), ticket, now)
        } else {
            let queued = self.queues.publish(queue, Arc::clone(message), ticket, now);
            queued.map_err(|error| unqueued(queue, &error))?
        };
        Ok(kept.into())
    }
}

fn unappended(message: &Message, error: Unappended) -> Unposted {
    match error {
        Unappended::Busy => Unposted::Full,
        Unappended::Store(error) => Unposted::Refused(store_refusal(&message.destination, error)),
    }
}

/// What a client is told whose message a store did not keep, or who cannot read there.
pub(super) fn store_refusal(destination: &Destination, error: StoreError) -> Refusal {
    let reason = match error {
        StoreError::Full => CloseReason::StoreFull,
        StoreError::QueueFull => CloseReason::QueueFull,
        StoreError::NoHandler => CloseReason::NoHandler,
        StoreError::NoReceiver => CloseReason::NoSuchReply,
        StoreError::Unavailable => CloseReason::Unavailable,
    };
    Refusal::new(reason, error.to_string()).at(destination.as_str())
}

fn unqueued(queue: &Destination, error: &QueueError) -> Unposted {
    let reason = match error {
        QueueError::Busy => return Unposted::Full,
        QueueError::Unkept(error) => return Unposted::Refused(store_refusal(queue, *error)),
        QueueError::Store(_) => CloseReason::StoreFull,
        QueueError::Messages(_) | QueueError::Bytes(_) | QueueError::Queues(_) => CloseReason::QueueFull,
    };
    Unposted::Refused(Refusal::new(reason, error.to_string()).at(queue.as_str()))
}
