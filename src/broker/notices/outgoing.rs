//! Notices on their way into queues, and edges of rooms that other nodes, or this one, have noted in the store.

use std::fmt;
use std::sync::Arc;

use stompede_protocol::Headers;

use crate::backend::{Acked, Edge, Kept, QueueError};
use crate::broker::door::{Broker, JSON};
use crate::broker::settings::Now;
use crate::features::notices::{self, Line, Notice};
use crate::model::{Answer, Counter, Message, MessageId, StoreError};
use crate::policy::hooks::{HookEvent, HookId};

/// A notice that is to be put in its queue.
pub(super) struct Outgoing {
    message: Arc<Message>,
    /// Called when it is safe there, or there is no place for it.
    acked: Option<Acked>,
}

/// An edge of a room that the store has noted, and gives again until it is told.
pub(in crate::broker) struct Noted {
    room: Box<str>,
    is_occupied: bool,
    id: MessageId,
    timestamp_ms: u64,
    acked: Acked,
}

/// Edges as the store gives them; a bounded number. What finds no room is given again.
pub(in crate::broker) type NotedEdges = Line<Noted>;

impl Noted {
    /// What the store has given.
    pub(in crate::broker) fn new(edge: &Edge<'_>, acked: Acked) -> Self {
        let Edge { room, is_occupied, id, timestamp_ms } = *edge;
        Self { room: room.into(), is_occupied, id, timestamp_ms, acked }
    }
}

impl Broker {
    /// Notices that were put in queues, and those that were lost for want of room.
    pub fn notices(&self) -> (u64, u64) {
        (self.notices.queued.value(), self.notices.lost.value())
    }

    /// Puts again what could not be put, and tells of edges. To be called several times a second.
    pub(super) fn tick_outgoing(&self, now: Now) {
        for _ in 0..PUT_A_TICK {
            let Some(outgoing) = self.notices.outgoing.next() else { break };
            self.put(outgoing, now);
        }
        for _ in 0..PUT_A_TICK {
            let Some(noted) = self.notices.edges.next() else { break };
            let event = if noted.is_occupied { HookEvent::RoomOccupied } else { HookEvent::RoomVacated };
            let topic = self.parts.settings.rooms.topic(&noted.room);
            match self.parts.access.hooks().find(event, topic.as_str(), false) {
                Some(hook) => {
                    let notice =
                        Notice { event: event.name(), id: noted.id, timestamp_ms: noted.timestamp_ms };
                    let body = notice.of_room(&noted.room, &topic);
                    self.post_notice(hook, &notice, body, Some(noted.acked), now);
                }
                // Another node's configuration may have one, but this one cannot know.
                None => (noted.acked)(),
            }
        }
    }

    pub(super) fn notify(
        &self,
        hook: HookId,
        event: HookEvent,
        now: Now,
        body: impl FnOnce(&Notice<'_>) -> Vec<u8>,
    ) {
        let notice = Notice { event: event.name(), id: self.next_id(), timestamp_ms: now.wall_ms };
        let body = body(&notice);
        self.post_notice(hook, &notice, body, None, now);
    }

    fn post_notice(&self, hook: HookId, notice: &Notice<'_>, body: Vec<u8>, acked: Option<Acked>, now: Now) {
        let Some(rule) = self.parts.access.hooks().rule(hook) else { return };
        let queue = notices::queue_of(&rule.name);
        let mut headers = Headers::new();
        headers.push("content-type", JSON);
        // What is given again is put once, by whichever node.
        headers.push("idempotency-key", &notice.id.to_string());
        let message = Arc::new(self.message(queue, None, headers, body.into(), now));
        self.put(Outgoing { message, acked }, now);
    }

    fn put(&self, outgoing: Outgoing, now: Now) {
        let Outgoing { message, acked } = outgoing;
        let (queue, kept) = (message.destination.clone(), Arc::clone(&message));
        let waiting = Arc::clone(&self.notices.outgoing);
        let (queued, lost) = (Arc::clone(&self.notices.queued), Arc::clone(&self.notices.lost));
        let ticket = self.desk.ask(Box::new(move |answer| {
            match answer {
                Answer::Queued(_, Err(StoreError::Unavailable)) => {
                    if waiting.join(Outgoing { message: kept, acked }, OUTGOING_MAX).is_err() {
                        lose(&lost, "too many notices wait for the store");
                    }
                    return;
                }
                Answer::Queued(_, Err(error)) => lose(&lost, &error.to_string()),
                _ => queued.add(1),
            }
            acked.into_iter().for_each(|acked| acked());
        }));
        let at_once = match self.queues.publish(&queue, message, ticket, now) {
            Ok(Kept::Later) => return,
            Ok(Kept::Now) => Ok(()),
            Err(QueueError::Busy) => Err(StoreError::Unavailable),
            Err(QueueError::Unkept(error)) => Err(error),
            Err(_) => Err(StoreError::QueueFull),
        };
        self.desk.answer(ticket, Answer::Queued(queue, at_once));
    }

    pub(super) fn lose(&self, why: &str) {
        lose(&self.notices.lost, why);
    }
}

fn lose(lost: &Counter, why: &str) {
    lost.add(1);
    tracing::warn!(why, "a notice for a hook is lost");
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("message", &self.message).finish_non_exhaustive()
    }
}

impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noted").field("room", &self.room).field("id", &self.id).finish_non_exhaustive()
    }
}

/// Notices that wait for a store that cannot be reached; more are lost.
const OUTGOING_MAX: usize = 10_000;

/// Edges that wait for their turn. More are given again.
pub(in crate::broker) const EDGES_MAX: usize = 10_000;

/// Put in one tick, of each kind.
const PUT_A_TICK: usize = 1_000;
