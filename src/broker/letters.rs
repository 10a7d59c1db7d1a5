//! SEND: from a frame to a message on its way.

use std::sync::Arc;

use smallvec::SmallVec;
use stompede_protocol::{Headers, Send};

use crate::backend::QueueError;
use crate::features::idempotency::Seen;
use crate::features::rooms::status::{self, Wish};
use crate::features::rooms::{Utterance, Verb, enrich};
use crate::features::users;
use crate::model::message::{bare, forwarded_headers};
use crate::model::{Address, CloseReason, Destination, Full, Message, Principal, Refusal, WorkerId};
use crate::policy::access::Action;
use crate::routing::{Item, ReplyRoute};

use super::door::{Broker, JSON};
use super::settings::Now;

/// Who sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) principal: &'a Arc<Principal>,
    /// Header `session`, for those who answer.
    pub(super) session: &'a str,
}

/// A SEND that has passed the door and may be posted, now or later.
#[derive(Debug)]
pub(super) enum Letter {
    /// To everyone who subscribes.
    Topic(Arc<Message>),
    /// To one consumer of a work queue.
    Queue(Arc<Message>),
    /// To one worker of the application.
    Handler(Arc<Message>),
    /// To the session that asked.
    Reply(ReplyRoute, Arc<Message>),
    /// To the broker: a fresh token.
    Refresh(Box<str>),
    /// To the broker: what a user says of himself.
    Status(Arc<str>, Box<Wish>),
    /// To a room, unless it has just heard that its author types.
    Typing(Arc<Message>),
    /// To nobody: accepted, and that is all.
    Nothing,
}

impl Letter {
    fn idempotency_key(&self) -> Option<(&Message, &str)> {
        let (Self::Topic(message) | Self::Queue(message) | Self::Handler(message)) = self else {
            return None;
        };
        message.headers.get("idempotency-key").map(|key| (&**message, key))
    }
}

/// Why a letter is still here.
#[derive(Debug)]
pub(super) enum Unposted {
    /// An inbox has no room; its worker tells.
    Full,
    /// Nobody handles it yet.
    NoHandler(Destination),
    /// It will never be posted.
    Refused(Refusal),
    /// After this the session may not go on.
    Ended(Refusal),
}

impl From<Full> for Unposted {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl Broker {
    /// Checks a SEND: policy, then rules of the destination, then content. `reply_to` is the reply address as the
    /// receiver shall see it; `own_reply` leads to a temp-queue of the sender.
    pub(super) fn admit(
        &self,
        sender: Sender<'_>,
        send: &Send,
        address: Address,
        reply_to: Option<&str>,
        own_reply: Option<ReplyRoute>,
        now: Now,
    ) -> Result<Letter, Refusal> {
        let name = &*send.destination;
        // What is checked is what is routed: of the ways to write an id, the one under which it is routed counts.
        match &address {
            Address::ReplyQueue(_) => {}
            Address::UserQueue(queue) => self.check(sender.principal, Action::Send, queue.as_str())?,
            _ => self.check(sender.principal, Action::Send, name)?,
        }
        let mut headers = forwarded_headers(&send.headers);
        if let Some(reply_to) = reply_to {
            headers.push("reply-to", reply_to);
        }
        let make = |destination, headers| {
            Arc::new(self.message(
                destination,
                sender.principal.user.clone(),
                headers,
                send.body.clone(),
                now,
            ))
        };
        match address {
            Address::Topic(destination) => Ok(Letter::Topic(make(destination, headers))),
            Address::Queue(destination) => Ok(Letter::Queue(make(destination, headers))),
            Address::UserQueue(queue) => Ok(Letter::Topic(make(queue, headers))),
            Address::OwnQueue { path } => {
                let user = sender.principal.user.as_deref();
                let user = user.ok_or_else(|| Refusal::from(CloseReason::Forbidden).at(name))?;
                Ok(Letter::Topic(make(Destination::of_user(user, &path), headers)))
            }
            Address::TempQueue(_) => {
                let route = own_reply.ok_or_else(|| Refusal::from(CloseReason::NoSuchReply).at(name))?;
                Ok(Letter::Reply(route, make(Destination::internal(name), headers)))
            }
            Address::ReplyQueue(token) => {
                let route = self.replies.find(&token);
                let route = route.ok_or_else(|| Refusal::from(CloseReason::NoSuchReply).at(name))?;
                Ok(Letter::Reply(route, make(Destination::internal(name), headers)))
            }
            Address::App(destination) if destination.as_str() == REFRESH => refresh(send),
            Address::App(_) if name == status::DESTINATION => {
                self.status_letter(sender.principal, &send.body)
            }
            Address::App(destination) => match self.parts.settings.rooms.of_command(name) {
                Some(command) => self.room_command(sender, command?, send, &headers, now),
                None => {
                    headers.push("session", sender.session);
                    Ok(Letter::Handler(make(destination, headers)))
                }
            },
            // `Address::of_send` has refused it.
            Address::Wildcard(_) => Err(Refusal::from(CloseReason::BadDestination).at(name)),
        }
    }

    /// Whether all of `letters` can be posted, as things stand: a transaction begins only then.
    pub(super) fn prepare<'a>(&self, letters: impl Iterator<Item = &'a Letter>) -> Result<(), Unposted> {
        let mut queued: SmallVec<[(&Destination, usize, usize); 2]> = SmallVec::new();
        for letter in letters {
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
            self.queues.admit(queue, messages, bytes).map_err(|error| queue_full(queue, &error))
        })
    }

    /// Posts what is left of a transaction whose sender is gone: what has begun is finished, room or not.
    pub(super) fn post_anyway(&self, letter: &Letter, now: Now) {
        match letter {
            Letter::Topic(message) | Letter::Typing(message) => self.relay.announce(message),
            Letter::Queue(message) | Letter::Handler(message) => {
                self.queues.publish_anyway(&message.destination, Arc::clone(message), now.mono);
            }
            Letter::Reply(route, message) => {
                let item = Item::Reply { route: route.clone(), message: Arc::clone(message) };
                self.inboxes.force(route.connection.worker, item);
            }
            Letter::Status(user, wish) => self.set_status(user, wish, now),
            Letter::Refresh(_) | Letter::Nothing => {}
        }
    }

    /// Puts a letter on its way, unless it is there already. `begun`: its transaction has, so no limit of a queue may
    /// refuse it any more.
    pub(super) fn post(
        &self,
        letter: &Letter,
        begun: bool,
        from: WorkerId,
        now: Now,
    ) -> Result<(), Unposted> {
        let Some((message, key)) = letter.idempotency_key() else {
            return self.post_new(letter, begun, from, now);
        };
        let user = message.sender.as_deref().unwrap_or("");
        match self.idempotency.check(&message.destination, user, key, now.mono) {
            Seen::Never => {}
            Seen::Before => return Ok(()),
            Seen::UnderWay => return Err(Unposted::Full),
        }
        let posted = self.post_new(letter, begun, from, now);
        if posted.is_ok() {
            self.idempotency.accepted(&message.destination, user, key);
        } else {
            self.idempotency.forget(&message.destination, user, key);
        }
        posted
    }

    fn post_new(&self, letter: &Letter, begun: bool, from: WorkerId, now: Now) -> Result<(), Unposted> {
        match letter {
            Letter::Topic(message) | Letter::Typing(message) => self.relay.publish(message, Some(from))?,
            Letter::Queue(message) | Letter::Handler(message) if begun => {
                self.queues.publish_anyway(&message.destination, Arc::clone(message), now.mono);
            }
            Letter::Queue(message) | Letter::Handler(message) => self.enqueue(message, now)?,
            Letter::Reply(route, message) => {
                let item = Item::Reply { route: route.clone(), message: Arc::clone(message) };
                self.inboxes.offer(route.connection.worker, item, Some(from))?;
            }
            Letter::Status(user, wish) => self.set_status(user, wish, now),
            // The session's own business.
            Letter::Refresh(_) | Letter::Nothing => {}
        }
        Ok(())
    }

    /// Refuses what `principal` may not.
    pub(super) fn check(
        &self,
        principal: &Principal,
        action: Action,
        destination: &str,
    ) -> Result<(), Refusal> {
        if self.parts.access.may(principal, action, destination) {
            return Ok(());
        }
        let verb = match action {
            Action::Subscribe => "SUBSCRIBE to",
            Action::Send => "SEND to",
            Action::Handle => "handle",
            Action::Presence => "see who is in",
            Action::History => "read the history of",
        };
        Err(Refusal::new(CloseReason::Forbidden, format!("not allowed to {verb} {destination}"))
            .at(destination))
    }

    fn enqueue(&self, message: &Arc<Message>, now: Now) -> Result<(), Unposted> {
        let queued = self.queues.publish(&message.destination, Arc::clone(message), now.mono);
        queued.map_err(|error| queue_full(&message.destination, &error))
    }

    fn room_command(
        &self,
        sender: Sender<'_>,
        (room, verb): (&str, Verb),
        send: &Send,
        forwarded: &Headers,
        now: Now,
    ) -> Result<Letter, Refusal> {
        let name = &*send.destination;
        match verb {
            Verb::Send => {}
            Verb::Typing => {
                return self.typing_letter(sender.principal, room, now).map_err(|refusal| refusal.at(name));
            }
            Verb::Members => {
                let text = "this destination answers SUBSCRIBE, not SEND";
                return Err(Refusal::new(CloseReason::NoHandler, text).at(name));
            }
        }
        let id = self.next_id();
        let utterance = Utterance {
            room,
            sender: sender.principal.name(),
            service: sender.principal.is_service(),
            id,
            timestamp_ms: now.wall_ms,
        };
        let body = enrich(&send.body, &utterance).map_err(|refusal| refusal.at(name))?;
        let mut headers = Headers::new();
        headers.push("content-type", JSON);
        // The header `event` is ours on a room's topic.
        for (name, value) in
            forwarded.iter().filter(|(name, _)| !matches!(bare(name), "content-type" | "event"))
        {
            headers.push(name, value);
        }
        let destination = self.parts.settings.rooms.topic(room);
        let message = self.message(destination, sender.principal.user.clone(), headers, body.into(), now);
        Ok(Letter::Topic(Arc::new(Message { id, ..message })))
    }
}

fn queue_full(queue: &Destination, error: &QueueError) -> Unposted {
    let reason = match error {
        QueueError::Store(_) => CloseReason::StoreFull,
        QueueError::Messages(_) | QueueError::Bytes(_) | QueueError::Queues(_) => CloseReason::QueueFull,
    };
    Unposted::Refused(Refusal::new(reason, error.to_string()).at(queue.as_str()))
}

/// The token is in `Authorization`, or it is the body: bare or `{"token":"..."}`.
fn refresh(send: &Send) -> Result<Letter, Refusal> {
    let header = send.headers.get("Authorization").or_else(|| send.headers.get("authorization"));
    if let Some(value) = header {
        return Ok(Letter::Refresh(value.strip_prefix("Bearer ").unwrap_or(value).trim().into()));
    }
    let wrong = || {
        let text = "a fresh token comes in the header Authorization or as body {\"token\":\"...\"}";
        Refusal::new(CloseReason::BadContent, text).at(REFRESH)
    };
    let text = std::str::from_utf8(&send.body).map_err(|_| wrong())?.trim();
    if text.starts_with('{') {
        return users::token_of(text).map(Letter::Refresh).ok_or_else(wrong);
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Letter::Refresh(text.into())) }
}

/// Where a session sends a fresh token.
pub(super) const REFRESH: &str = "/app/auth/refresh";
