//! Presence at the door: who enters and leaves, what he says of himself, and telling it to the rooms.

use std::sync::Arc;

use stompede_protocol::Headers;

use crate::backend::{Row, TooManyRooms};
use crate::features::Rooms;
use crate::features::presence::Announcement;
use crate::features::rooms::status::{DESTINATION, Wish};
use crate::features::rooms::{At, Event};
use crate::features::unread::memberships_topic;
use crate::model::{CloseReason, ConnectionId, Message, MessageId, Place, Principal, Refusal};
use crate::policy::hooks::HookEvent;

use super::door::{Broker, JSON};
use super::letters::Letter;
use super::settings::Now;

impl Broker {
    /// A session of the user begins.
    pub(super) fn begin_session(&self, user: &Arc<str>) {
        self.attendance.begin(user);
    }

    /// A session of the user ends; its rooms it has left before.
    pub(super) fn end_session(&self, user: &Arc<str>, now: Now) {
        self.attendance.end(user, now.mono);
    }

    /// The user has a live subscription to the room on this connection.
    pub(super) fn enter_room(
        &self,
        room: &str,
        user: &Arc<str>,
        session: ConnectionId,
        now: Now,
    ) -> Result<(), Refusal> {
        let row = Row { room, user, session };
        let entered =
            self.attendance.enter(row, now.mono, &mut |announcement| self.announce(room, announcement, now));
        entered
            .map_err(|error: TooManyRooms| Refusal::new(CloseReason::TooManySubscriptions, error.to_string()))
    }

    /// That subscription ended.
    pub(super) fn leave_room(&self, room: &str, user: &Arc<str>, session: ConnectionId, now: Now) {
        let row = Row { room, user, session };
        self.attendance.leave(row, now.mono, &mut |announcement| self.announce(room, announcement, now));
    }

    /// The connection with that subscription broke.
    pub(super) fn lose_from_room(&self, room: Box<str>, user: &Arc<str>, session: ConnectionId, now: Now) {
        self.attendance.lose(room, user, session, now.mono, &mut |room, announcement| {
            self.announce(room, announcement, now);
        });
    }

    /// A user says something of himself.
    pub(super) fn set_status(&self, user: &Arc<str>, wish: &Wish, now: Now) {
        self.attendance.set_status(user, wish.at(now.mono), &mut |room, announcement| {
            self.announce(room, announcement, now);
        });
    }

    /// What comes due in rooms with time.
    pub(super) fn tick_rooms(&self, now: Now) {
        self.attendance.tick(now.mono, &mut |room, announcement| self.announce(room, announcement, now));
    }

    /// SEND to [`DESTINATION`].
    pub(super) fn status_letter(&self, principal: &Principal, body: &[u8]) -> Result<Letter, Refusal> {
        let user = principal.user.as_ref();
        let user = user.ok_or_else(|| nobody("only a signed-in user has a status").at(DESTINATION))?;
        Ok(Letter::Status(Arc::clone(user), Box::new(Wish::parse(body)?)))
    }

    /// SEND to `/app/chat/<room>/typing`, whatever its body.
    pub(super) fn typing_letter(
        &self,
        principal: &Principal,
        room: &str,
        now: Now,
    ) -> Result<Letter, Refusal> {
        let user = principal.user.as_ref().ok_or_else(|| nobody("only a signed-in user can type"))?;
        let event = Event::typing(At { room, timestamp_ms: now.wall_ms }, user);
        Ok(self.event_message(room, event, now).map_or(Letter::Nothing, Letter::Typing))
    }

    /// A user has read up to a message.
    pub(super) fn tell_read(&self, room: &str, user: &Arc<str>, place: Place, now: Now) {
        self.tell_event(room, Event::read(At { room, timestamp_ms: now.wall_ms }, user, place), now);
        self.tell_membership(room, user, now);
    }

    /// The sessions that count the user's unread messages hear that something has changed.
    pub(super) fn tell_membership(&self, room: &str, user: &Arc<str>, now: Now) {
        let topic = memberships_topic(user);
        let body = room.as_bytes().to_vec();
        self.relay.announce(&Arc::new(self.message(topic, None, Headers::new(), body.into(), now)));
    }

    fn announce(&self, room: &str, announcement: Announcement<'_>, now: Now) {
        match announcement {
            Announcement::Occupied => return self.tell_room_edge(HookEvent::RoomOccupied, room, now),
            Announcement::Vacated => return self.tell_room_edge(HookEvent::RoomVacated, room, now),
            _ => {}
        }
        let event = event(At { room, timestamp_ms: now.wall_ms }, announcement);
        let Some(message) = event.and_then(|event| self.event_message(room, event, now)) else { return };
        match announcement {
            Announcement::Status { .. } => self.relay.announce(&message),
            // Every node tells its own: each knows of every change.
            _ => self.sink.force(&message),
        }
    }

    fn tell_event(&self, room: &str, event: Event, now: Now) {
        if let Some(message) = self.event_message(room, event, now) {
            self.relay.announce(&message);
        }
    }

    /// The event as a message, if events appear anywhere.
    fn event_message(&self, room: &str, event: Event, now: Now) -> Option<Arc<Message>> {
        event_message(&self.parts.settings.rooms, room, event, self.next_id(), now.wall_ms)
    }
}

/// What is told.
pub(super) fn event(at: At<'_>, announcement: Announcement<'_>) -> Option<Event> {
    Some(match announcement {
        Announcement::Join { user, version } => Event::join(at, user, version),
        Announcement::Leave { user, version } => Event::leave(at, user, version),
        Announcement::Count { count, version } => Event::count(at, count, version),
        Announcement::Status { user, status } => Event::status(at, user, status),
        Announcement::Occupied | Announcement::Vacated => return None,
    })
}

/// An event as a message, if events appear anywhere.
pub(super) fn event_message(
    rooms: &Rooms,
    room: &str,
    event: Event,
    id: MessageId,
    timestamp_ms: u64,
) -> Option<Arc<Message>> {
    let destination = rooms.events_topic(room)?;
    let mut headers = Headers::new();
    headers.push("content-type", JSON);
    headers.push("event", event.kind);
    Some(Arc::new(Message {
        id,
        destination,
        timestamp_ms,
        sender: None,
        headers,
        body: event.body.into(),
        text: true,
        position: None,
        numbered: false,
    }))
}

/// For what only a signed-in user has.
pub(super) fn nobody(text: &'static str) -> Refusal {
    Refusal::new(CloseReason::Forbidden, text)
}
