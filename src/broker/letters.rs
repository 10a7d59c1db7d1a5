//! SEND: from a frame to a message on its way.

use std::mem::take;
use std::sync::Arc;

use stompede_protocol::{Headers, Send};

use crate::features::control;
use crate::features::rooms::status::{self, Wish};
use crate::features::rooms::{Utterance, Verb, enrich};
use crate::features::{notices, rooms, users};
use crate::model::message::{bare, forwarded_headers};
use crate::model::{Address, CloseReason, Destination, Message, Principal, Refusal, Which};
use crate::policy::HookId;
use crate::policy::access::Action;
use crate::routing::ReplyRoute;

use super::attendance::nobody;
use super::door::{Broker, JSON};
use super::pleas::{Leave, Unruled};
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
    /// To a backend that stands in for the application: what it says is posted instead.
    Backend(HookId, Arc<Message>),
    /// To the session that asked.
    Reply(ReplyRoute, Arc<Message>),
    /// To the broker: a fresh token.
    Refresh(Fresh),
    /// To the broker: what a user says of himself.
    Status(Arc<str>, Box<Wish>),
    /// To a room, unless it has just heard that its author types.
    Typing(Arc<Message>),
    /// To the broker: what a user has read.
    Mark(Mark),
    /// To the broker: a user ends his membership of a room.
    Leave(Arc<str>, Box<str>),
    /// To nobody: accepted, and that is all.
    Nothing,
    /// To nobody: it was past its time when it came, and nothing keeps it.
    Expired,
}

/// A message up to which somebody has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) room: Box<str>,
    pub(super) which: Which,
}

impl Letter {
    /// Where it is kept, if its destination is.
    pub(super) fn kept_at(&self) -> Option<&Destination> {
        match self {
            Self::Topic(message) | Self::Queue(message) | Self::Handler(message) => {
                Some(&message.destination)
            }
            _ => None,
        }
    }

    /// What becomes of it when it is past its time: only a queue keeps it, as a dead letter.
    pub(super) fn if_late(self) -> Self {
        match self {
            Self::Topic(_) | Self::Reply(..) => Self::Expired,
            other => other,
        }
    }

    /// The message that it is, if it is one.
    pub(super) fn message(&self) -> Option<&Message> {
        match self {
            Self::Topic(message)
            | Self::Queue(message)
            | Self::Handler(message)
            | Self::Backend(_, message)
            | Self::Reply(_, message)
            | Self::Typing(message) => Some(message),
            _ => None,
        }
    }

    pub(super) fn idempotency_key(&self) -> Option<(&Message, &str)> {
        let (Self::Topic(message) | Self::Queue(message) | Self::Handler(message)) = self else {
            return None;
        };
        message.headers.get("idempotency-key").map(|key| (&**message, key))
    }
}

impl Broker {
    /// Checks a SEND: policy, then rules of the destination, then content. `reply_to` is the reply address as the
    /// receiver shall see it; `own_reply` leads to a temp-queue of the sender. What becomes a message takes its body away,
    /// but not while somebody else is still to be asked.
    #[expect(clippy::too_many_arguments, reason = "each is about another part of a SEND")]
    pub(super) fn admit(
        &self,
        sender: Sender<'_>,
        send: &mut Send,
        address: Address,
        reply_to: Option<&str>,
        own_reply: Option<ReplyRoute>,
        leave: Leave,
        now: Now,
    ) -> Result<Letter, Unruled> {
        let name = &*send.destination;
        // Of what is the broker's own business nobody else is asked.
        let leave = if name == REFRESH || name == status::DESTINATION { Leave::Any } else { leave };
        // What is checked is what is routed: of the ways to write an id, the one under which it is routed counts.
        match &address {
            Address::ReplyQueue(_) => {}
            Address::UserQueue(queue) => {
                self.inquire(sender.principal, Action::Send, queue.as_str(), leave)?;
            }
            _ => self.inquire(sender.principal, Action::Send, name, leave)?,
        }
        let mut headers = forwarded_headers(&send.headers);
        if let Some(reply_to) = reply_to {
            headers.push("reply-to", reply_to);
        }
        match address {
            Address::Topic(destination) | Address::UserQueue(destination) => {
                let user = sender.principal.user.clone();
                let message = self.message(destination, user, headers, take(&mut send.body), now);
                Ok(Letter::Topic(Arc::new(message)))
            }
            address => self.admit_elsewhere(sender, send, address, headers, own_reply, now),
        }
    }

    /// A SEND that whoever may refuse it has let pass, to anywhere but a topic or the queue of a user who is named.
    #[inline(never)]
    fn admit_elsewhere(
        &self,
        sender: Sender<'_>,
        send: &mut Send,
        address: Address,
        mut headers: Headers,
        own_reply: Option<ReplyRoute>,
        now: Now,
    ) -> Result<Letter, Unruled> {
        let name = &*send.destination;
        let mut make = |destination, headers| {
            let user = sender.principal.user.clone();
            Arc::new(self.message(destination, user, headers, take(&mut send.body), now))
        };
        match address {
            Address::Queue(destination) => {
                self.check_private(sender.principal, &destination)?;
                Ok(Letter::Queue(make(destination, headers)))
            }
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
                let message = make(Destination::internal(name), headers);
                match self.replies.find(&token) {
                    Some(route) => Ok(Letter::Reply(route, message)),
                    // Whoever asked did so on another node.
                    None if self.is_of_another_node(&token) => Ok(Letter::Topic(message)),
                    None => Err(Refusal::from(CloseReason::NoSuchReply).at(name).into()),
                }
            }
            Address::App(destination) if destination.as_str() == REFRESH => Ok(refresh(send)?),
            Address::App(_) if name == status::DESTINATION => {
                Ok(self.status_letter(sender.principal, &send.body)?)
            }
            Address::App(_) if self.is_asked_only(name) => Err(asked_only(name).into()),
            Address::App(destination) => match self.parts.settings.rooms.of_command(name) {
                Some(command) => Ok(self.room_command(sender, command?, send, &headers, now)?),
                None => {
                    headers.push("session", sender.session);
                    Ok(self.to_application(make(destination, headers)))
                }
            },
            // [`Broker::admit`] and [`Address::of_send`] have seen to these.
            Address::Topic(_) | Address::UserQueue(_) | Address::Wildcard(_) => {
                Err(Refusal::from(CloseReason::BadDestination).at(name).into())
            }
        }
    }

    /// The broker's own queues hold what others have said: no rule opens them.
    pub(super) fn check_private(&self, principal: &Principal, queue: &Destination) -> Result<(), Refusal> {
        if principal.is_service() || !notices::is_private(queue) {
            return Ok(());
        }
        let text = "this queue is the broker's own";
        Err(Refusal::new(CloseReason::Forbidden, text).at(queue.as_str()))
    }

    /// Whether it is the name of a question to the broker.
    fn is_asked_only(&self, name: &str) -> bool {
        self.parts.settings.rooms.is_unread(name) || name.starts_with(control::PREFIX)
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
            Verb::Read | Verb::Leave => {
                return member_letter(sender.principal, room, verb, &send.body)
                    .map_err(|refusal| refusal.at(name));
            }
            Verb::Members => {
                return Err(asked_only(name));
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
        Ok(Letter::Topic(Arc::new(Message { id, numbered: true, ..message })))
    }
}

fn asked_only(name: &str) -> Refusal {
    Refusal::new(CloseReason::NoHandler, "this destination answers SUBSCRIBE, not SEND").at(name)
}

/// SEND to `/app/chat/<room>/read` and `/app/chat/<room>/leave`.
fn member_letter(principal: &Principal, room: &str, verb: Verb, body: &[u8]) -> Result<Letter, Refusal> {
    let user = principal.user.as_ref();
    let user = user.ok_or_else(|| nobody("only a signed-in user is member of rooms"))?;
    match verb {
        Verb::Read => Ok(Letter::Mark(Mark { room: room.into(), which: rooms::read::which(body)? })),
        _ => Ok(Letter::Leave(Arc::clone(user), room.into())),
    }
}

/// The token is in `Authorization`, or it is the body: bare or `{"token":"..."}`.
fn refresh(send: &Send) -> Result<Letter, Refusal> {
    let header = send.headers.get("Authorization").or_else(|| send.headers.get("authorization"));
    if let Some(value) = header {
        return Ok(fresh(value.strip_prefix("Bearer ").unwrap_or(value).trim()));
    }
    let wrong = || {
        let text = "a fresh token comes in the header Authorization or as body {\"token\":\"...\"}";
        Refusal::new(CloseReason::BadContent, text).at(REFRESH)
    };
    let text = std::str::from_utf8(&send.body).map_err(|_| wrong())?.trim();
    if text.starts_with('{') {
        return users::token_of(text).map(|token| fresh(&token)).ok_or_else(wrong);
    }
    if text.is_empty() { Err(wrong()) } else { Ok(fresh(text)) }
}

fn fresh(token: &str) -> Letter {
    Letter::Refresh(Fresh { token: token.into(), sought: Sought::Not })
}

/// A fresh token of a running session.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) token: Box<str>,
    pub(super) sought: Sought,
}

/// Whether its key was looked for where the issuer publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    Not,
    UnderWay,
    Done,
}

/// Where a session sends a fresh token.
pub(super) const REFRESH: &str = "/app/auth/refresh";
