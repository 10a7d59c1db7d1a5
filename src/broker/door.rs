//! The door: what every frame and every request passes, whichever way it came.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use stompede_protocol::Headers;

use crate::backend::{
    Backend, Bus, Control, Cursors, Done, History, Journal, KnownKey, Memberships, Queues, Relay,
    Revocations, Sink,
};
use crate::features::presence::Edges;
use crate::features::{Attendance, Dispatcher, Idempotency};
use crate::model::{Destination, Message, MessageId, Revocation, WorkerId};
use crate::policy::hooks::{Judge, Verdicts};
use crate::routing::{Desk, Directory, Inboxes, Replies};

use super::counters::Counters;
use super::handle::Host;
use super::local::LocalSink;
use super::notices::Notices;
use super::settings::{Now, Parts, Settings};

/// Everything that the workers share.
pub struct Broker {
    pub(super) parts: Parts,
    pub(super) protocol_limits: Arc<stompede_protocol::Limits>,
    pub(super) directory: Arc<Directory>,
    pub(super) inboxes: Arc<Inboxes>,
    pub(super) replies: Arc<Replies>,
    /// Those who have no connection to a worker.
    pub(super) desk: Arc<Desk>,
    /// This node's own subscribers.
    pub(super) sink: Arc<dyn Sink>,
    pub(super) relay: Arc<dyn Relay>,
    pub(super) history: Arc<dyn History>,
    /// Orders to all nodes.
    pub(super) control: Arc<dyn Control>,
    /// Tokens that are good no more.
    pub(super) revocations: Arc<dyn Revocations>,
    /// When old ones are forgotten next, seconds since the Unix epoch.
    next_forgetting_s: AtomicU64,
    pub(super) memberships: Arc<dyn Memberships>,
    pub(super) cursors: Arc<dyn Cursors>,
    pub(super) attendance: Attendance,
    pub(super) queues: Arc<Dispatcher>,
    pub(super) idempotency: Arc<Idempotency>,
    pub(super) queue_store: Arc<dyn Queues>,
    pub(super) journal: Arc<dyn Journal>,
    counters: Counters,
    next_message: AtomicU64,
    pub(super) worker_loads: Box<[Load]>,
    over_memory: AtomicBool,
    draining: AtomicBool,
    pub(super) host: OnceLock<Arc<dyn Host>>,
    /// Who asks backends.
    pub(super) judge: OnceLock<Arc<dyn Judge>>,
    /// What they are told.
    pub(super) notices: Notices,
    /// What they have said lately.
    pub(super) verdicts: Arc<Verdicts>,
}

impl Broker {
    /// A broker of these parts on this backend.
    pub fn new(parts: Parts, backend: Backend) -> Self {
        let limits = &parts.settings.limits;
        let directory = Arc::new(Directory::new());
        let inboxes =
            Arc::new(Inboxes::new(parts.workers, limits.inbox_messages_max, limits.inbox_bytes_max));
        let idempotency = Arc::<Idempotency>::default();
        let Backend {
            presence,
            memberships,
            cursors,
            queues: queue_store,
            journal,
            known_keys,
            bus,
            claims: _,
        } = backend;
        for KnownKey { destination, user, key } in known_keys {
            idempotency.recall(&destination, &user, &key);
        }
        let (replies, verdicts) = (Arc::<Replies>::default(), Arc::<Verdicts>::default());
        let (desk, notices) = (Arc::<Desk>::default(), Notices::default());
        let edges = if parts.access.hooks().tells_edges() { Edges::Told } else { Edges::Untold };
        let attendance = Attendance::new(Arc::clone(&presence), parts.settings.linger_ms).with_edges(edges);
        let counters = Counters::new(parts.workers);
        let queues = Arc::new(Dispatcher::new(
            Arc::clone(&queue_store),
            Arc::clone(&inboxes),
            limits.redeliveries_max,
            Arc::clone(&counters.dead_letters),
        ));
        let sink: Arc<dyn Sink> = Arc::new(LocalSink {
            presence,
            queues: Arc::clone(&queues),
            directory: Arc::clone(&directory),
            inboxes: Arc::clone(&inboxes),
            idempotency: Arc::clone(&idempotency),
            herald: attendance.herald(),
            replies: Arc::clone(&replies),
            desk: Arc::clone(&desk),
            connections: Arc::clone(&parts.connections),
            node: parts.node,
            rooms: parts.settings.rooms.clone(),
            edges: Arc::clone(&notices.edges),
            verdicts: Arc::clone(&verdicts),
        });
        let Bus { relay, history, control, revocations } = bus(Arc::clone(&sink));
        Self {
            protocol_limits: Arc::new(limits.protocol()),
            relay,
            control,
            revocations,
            next_forgetting_s: AtomicU64::new(0),
            history,
            memberships,
            cursors,
            attendance,
            sink,
            queues,
            queue_store,
            journal,
            idempotency,
            replies,
            desk,
            counters,
            next_message: AtomicU64::new(0),
            worker_loads: (0..parts.workers).map(|_| Load::default()).collect(),
            over_memory: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            host: OnceLock::new(),
            judge: OnceLock::new(),
            notices,
            verdicts,
            directory,
            inboxes,
            parts,
        }
    }

    /// Figures and names.
    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    /// What happened how often.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The inboxes of the workers.
    pub fn inboxes(&self) -> &Inboxes {
        &self.inboxes
    }

    /// Counts of connections.
    pub fn connections(&self) -> &Arc<crate::policy::Connections> {
        &self.parts.connections
    }

    /// Who is it.
    pub fn authenticator(&self) -> &crate::policy::Authenticator {
        &self.parts.authenticator
    }

    /// Destinations and patterns that somebody subscribes.
    pub fn destinations(&self) -> usize {
        self.directory.len()
    }

    /// Whether the stores take messages.
    ///
    /// # Errors
    /// Why not, in words for an operator.
    pub fn health(&self) -> Result<(), String> {
        self.journal.health()
    }

    /// Revokes tokens on all nodes: sessions that they opened end with `token-revoked`, within 5 s wherever the store is
    /// reached, and nobody is let in by them. `done` is called once, on any thread, when it is kept: from then on it is in
    /// force here, and outlives what the store outlives.
    pub fn revoke(&self, revocation: &Revocation, done: Done) {
        tracing::info!(tokens = ?revocation.tokens, before_s = revocation.before_s, "tokens are revoked");
        self.revocations.revoke(revocation, done);
    }

    /// No new session is accepted from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether [`Broker::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether buffers and queues held more than they may at a worker's last tick: every SEND asks, and to add up what all
    /// of them hold is too much for that. Queues have half of it and refuse by themselves what is more: what waits there
    /// for consumers that never come leaves the other half to everybody else's SENDs.
    pub fn is_over_memory(&self) -> bool {
        self.over_memory.load(Ordering::Relaxed)
    }

    /// Subscriptions to topics and user queues, as of the workers' last ticks.
    pub fn subscriptions(&self) -> usize {
        self.worker_loads.iter().map(|load| load.subscriptions.load(Ordering::Relaxed)).sum()
    }

    /// What a worker holds as of its tick; whether all together is more than it may be.
    pub(super) fn report(&self, worker: WorkerId, bytes: usize, subscriptions: usize) -> bool {
        let load = &self.worker_loads[usize::from(worker.0)];
        load.bytes.store(bytes, Ordering::Relaxed);
        load.subscriptions.store(subscriptions, Ordering::Relaxed);
        let is_over = self.held_bytes() > self.parts.settings.memory_bytes_max;
        self.over_memory.store(is_over, Ordering::Relaxed);
        is_over
    }

    /// A message of ours, with identity and time.
    #[inline(always)]
    pub(super) fn message(
        &self,
        destination: Destination,
        sender: Option<Arc<str>>,
        headers: Headers,
        body: Bytes,
        now: Now,
    ) -> Message {
        let text = std::str::from_utf8(&body).is_ok();
        Message {
            id: self.next_id(),
            destination,
            timestamp_ms: now.wall_ms,
            sender,
            headers,
            body,
            text,
            position: None,
            numbered: false,
        }
    }

    /// A name under which answers reach this node, and that nobody guesses.
    pub(super) fn reply_token(&self) -> Box<str> {
        format!("{}{:032x}", node_name(self.parts.node), (self.parts.random)()).into()
    }

    /// Whether another node has made the reply address.
    pub(super) fn is_of_another_node(&self, token: &str) -> bool {
        self.journal.is_shared()
            && token.len() == REPLY_TOKEN_BYTES
            && !token.starts_with(&node_name(self.parts.node))
    }

    pub(super) fn next_id(&self) -> MessageId {
        MessageId { node: self.parts.node, number: self.next_message.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// A device has taken what is kept of its user's queue up to `offset`; what all have taken is forgotten.
    pub(super) fn take_mail(&self, queue: &Destination, device: &str, offset: u64, now: Now) {
        if offset > 0 {
            let all = self.cursors.advance(queue, device, offset, now.wall_ms);
            all.into_iter().for_each(|all| self.history.trim(queue, all));
        }
    }

    /// What comes due with time, whichever worker notices. To be called several times a second by one worker.
    pub(super) fn tick(&self, now: Now) {
        self.queues.tick(now);
        self.idempotency.tick(now.mono);
        self.journal.tick(now.wall_ms);
        self.history.tick(now.wall_ms);
        self.cursors.tick(now.wall_ms.saturating_sub(DEVICE_AGE_MS_MAX));
        self.tick_rooms(now);
        self.tick_notices(now);
        if now.wall_s() >= self.next_forgetting_s.load(Ordering::Relaxed) {
            self.next_forgetting_s.store(now.wall_s() + FORGETTING_S, Ordering::Relaxed);
            self.revocations.forget_old(now.wall_s());
        }
    }
}

/// What a worker holds, as of its last tick.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) bytes: AtomicUsize,
    subscriptions: AtomicUsize,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("parts", &self.parts).finish_non_exhaustive()
    }
}

/// What reply addresses of a node begin with.
fn node_name(node: u64) -> String {
    format!("{node:016x}")
}

/// The node's name and 128 bits of chance, in hexadecimal digits.
const REPLY_TOKEN_BYTES: usize = 48;

/// A device that was not seen for so long has gone for good, milliseconds: 90 days.
const DEVICE_AGE_MS_MAX: u64 = 90 * 24 * 3_600 * 1_000;

/// Revocations of tokens that have expired are forgotten this often, seconds.
const FORGETTING_S: u64 = 60;

/// `content-type` of what the broker itself writes.
pub(super) const JSON: &str = "application/json";
