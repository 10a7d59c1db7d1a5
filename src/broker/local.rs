//! What comes back from the bus, to the workers that want it.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Acked, Edge, Inbound, News, Presence, Report, Sink, Word};
use crate::features::control::{self, Order, SIZES_MAX};
use crate::features::presence::{Announcement, Herald};
use crate::features::rooms::At;
use crate::features::{Dispatcher, Idempotency, Rooms};
use crate::model::{Answer, Destination, Findings, Full, Message, Now, Task, Ticket, Whom, WorkerId};
use crate::policy::Connections;
use crate::policy::hooks::Verdicts;
use crate::routing::{DESK, Desk, Directory, Inboxes, Item, Replies, Round};

use super::attendance::{event, event_message};
use super::notices::{EDGES_MAX, Noted, NotedEdges};

/// The node's own side of the bus.
#[derive(Debug)]
pub(super) struct LocalSink {
    pub(super) directory: Arc<Directory>,
    pub(super) inboxes: Arc<Inboxes>,
    pub(super) idempotency: Arc<Idempotency>,
    pub(super) herald: Arc<Herald>,
    pub(super) presence: Arc<dyn Presence>,
    pub(super) queues: Arc<Dispatcher>,
    pub(super) connections: Arc<Connections>,
    pub(super) node: u64,
    pub(super) replies: Arc<Replies>,
    pub(super) desk: Arc<Desk>,
    pub(super) rooms: Rooms,
    /// Of rooms, as the store gives them.
    pub(super) edges: Arc<NotedEdges>,
    /// What backends have said of users.
    pub(super) verdicts: Arc<Verdicts>,
}

impl Sink for LocalSink {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        let _order = self.directory.order(inbound.destination);
        let workers = self.directory.interested(inbound.destination);
        self.inboxes.publish(workers, inbound.cost_bytes, inbound.from, inbound.make)
    }

    fn force(&self, message: &Arc<Message>) {
        let _order = self.directory.order(&message.destination);
        for worker in self.directory.interested(&message.destination).iter() {
            self.inboxes.force(worker, Item::Publish(Arc::clone(message)));
        }
    }

    fn room_for(&self, destination: &Destination, cost_bytes: usize, from: WorkerId) -> Result<(), Full> {
        self.inboxes.check(self.directory.interested(destination), cost_bytes, from)
    }

    fn tell_room(&self, worker: WorkerId) {
        match worker {
            DESK => self.desk.tell_room(),
            worker => self.inboxes.force(worker, Item::Room),
        }
    }

    fn answer(&self, ticket: Ticket, answer: Answer) {
        if let Some(is_accepted) = answer.accepted().filter(|_| ticket.key != 0) {
            // Here, for whoever sent it may be gone.
            self.idempotency.settle(ticket.key, is_accepted);
        }
        if ticket.connection.worker != DESK {
            return self.inboxes.force(ticket.connection.worker, Item::Answer { ticket, answer });
        }
        if let Answer::Queued(queue, Ok(())) = &answer {
            self.ready(queue);
        }
        self.desk.answer(ticket, answer);
    }

    fn is_heard(&self, destination: &Destination) -> bool {
        !self.directory.interested(destination).is_empty()
    }

    fn is_wanted(&self, destination: &Destination) -> bool {
        self.directory.is_wanted(destination)
    }

    fn wants_patterns(&self) -> bool {
        self.directory.has_patterns()
    }

    fn gap(&self, destination: &Destination) {
        let _order = self.directory.order(destination);
        for worker in self.directory.interested(destination).iter() {
            self.inboxes.force(worker, Item::Gap(destination.clone()));
        }
    }

    fn gap_in_patterns(&self) {
        for worker in self.inboxes.workers() {
            self.inboxes.force(worker, Item::PatternGap);
        }
    }

    fn review(&self) {
        self.verdicts.forget(None);
        let workers = self.inboxes.workers().count();
        let done = Box::new(|found: Findings| {
            if found.sessions > 0 {
                tracing::info!(sessions = found.sessions, "sessions of revoked tokens ended");
            }
        });
        let round = Arc::new(Round::new(Whom::default(), Task::Review, workers, done));
        for worker in self.inboxes.workers() {
            self.inboxes.force(worker, Item::Round(Arc::clone(&round)));
        }
    }

    fn ready(&self, queue: &Destination) {
        // Any worker may hand out; one queue is always the same one's affair.
        let workers = self.inboxes.workers().count();
        let turn = self.directory.stripe(queue) % workers.max(1);
        self.inboxes.force(WorkerId(turn as u8), Item::Ready(queue.clone()));
    }

    fn reply(&self, message: &Arc<Message>) {
        let token = message.destination.as_str().strip_prefix(REPLY_PREFIX);
        if let Some(route) = token.and_then(|token| self.replies.find(token)) {
            let item = Item::Reply { route: route.clone(), message: Arc::clone(message) };
            self.inboxes.force(route.connection.worker, item);
        }
    }

    fn obey(&self, order: &Bytes, report: Report) {
        // An order that this version does not know is reported as done to nobody.
        let Some(order) = Order::decode(order) else { return report(Bytes::new()) };
        match order.task {
            Task::Rooms => {
                let rooms = self.presence.largest_rooms(SIZES_MAX);
                return report(control::report_sizes(
                    self.node,
                    rooms.iter().map(|(room, size)| (&**room, *size)),
                ));
            }
            Task::Consumers => {
                let queues = self.queues.consumers_by_queue();
                return report(control::report_sizes(
                    self.node,
                    queues.iter().map(|(queue, count)| (queue.as_str(), *count)),
                ));
            }
            _ => {}
        }
        if let Task::Kick(_) | Task::Unsubscribe(_) = order.task {
            // Who is sent away, or out of a room, was let in by what a backend said once.
            self.verdicts.forget(order.whom.user.as_deref());
        }
        let (node, sessions) = (self.node, Arc::clone(&self.connections));
        let told = order.clone();
        let done = Box::new(move |findings: Findings| {
            report(control::report(node, sessions.total(), &told, &findings));
        });
        let workers = self.inboxes.workers().count();
        let round = Arc::new(Round::new(order.whom, order.task, workers, done));
        for worker in self.inboxes.workers() {
            self.inboxes.force(worker, Item::Round(Arc::clone(&round)));
        }
    }

    fn changed(&self, news: &News<'_>, now: Now) {
        let News { room, user, came, present, version, id, timestamp_ms } = *news;
        let single =
            if came { Announcement::Join { user, version } } else { Announcement::Leave { user, version } };
        let told = self.herald.judge(room, present, single, now.mono);
        let at = At { room, timestamp_ms };
        let message = told
            .and_then(|told| event(at, told))
            .and_then(|event| event_message(&self.rooms, room, event, id, timestamp_ms));
        if let Some(message) = message {
            self.force(&message);
        }
    }

    fn said(&self, word: &Word<'_>) {
        let Word { room, user, status, id, timestamp_ms } = *word;
        let told = event(At { room, timestamp_ms }, Announcement::Status { user, status });
        if let Some(message) = told.and_then(|told| event_message(&self.rooms, room, told, id, timestamp_ms))
        {
            self.force(&message);
        }
    }

    fn edge(&self, edge: &Edge<'_>, acked: Acked) {
        // What finds no room is given again.
        let _ = self.edges.join(Noted::new(edge, acked), EDGES_MAX);
    }
}

/// Where answers are sent.
const REPLY_PREFIX: &str = "/reply-queue/";
