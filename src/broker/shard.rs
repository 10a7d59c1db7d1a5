//! A worker's core: its connections, their subscriptions, what waits for their sockets, and their time.
//!
//! A shard knows no runtime and no socket. The driver feeds it what came, writes what waits, calls it when woken and
//! when time has passed.

mod control;
mod inbox;
mod sockets;
mod time;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{CloseReason, ConnectionId, Refusal, WorkerId};
use crate::routing::{Lanes, Table};

use super::counters::{Sampler, Tally};
use super::door::Broker;
use super::peer::{Call, CallAnswer, Env, Link, Peer, Shown};
use super::settings::Now;
use super::wheel::Wheel;

/// What the driver of a connection should do besides writing what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Read, if [`Shard::wants_input`].
    Open,
    /// Close the socket once everything is written.
    Closing,
    /// Close the socket at once.
    Dead,
}

/// One worker's core.
#[derive(Debug)]
pub struct Shard {
    worker: WorkerId,
    broker: Arc<Broker>,
    tally: Arc<Tally>,
    sampler: Sampler,
    table: Table,
    lanes: Lanes,
    peers: Vec<Option<Box<Peer>>>,
    serial: u32,
    wheel: Wheel,
    calls: Vec<(ConnectionId, Call)>,
    /// Connections with work that waits for room or a handler.
    held: Vec<ConnectionId>,
    due: Vec<(u32, u32)>,
    /// Slots whose socket is to be closed at once.
    dead: Vec<u32>,
    /// Bytes that the peers themselves keep.
    peer_bytes: usize,
    /// Bytes that came since the inbox was drained.
    undrained_bytes: usize,
    /// The backlog was above its mark and is not yet down to half of it.
    over: bool,
}

impl Shard {
    /// An empty shard.
    pub fn new(worker: WorkerId, broker: Arc<Broker>, now: Now) -> Self {
        let tally = Arc::clone(broker.counters().of(worker));
        Self {
            worker,
            broker,
            tally,
            sampler: Sampler::default(),
            table: Table::default(),
            lanes: Lanes::default(),
            peers: Vec::new(),
            serial: 0,
            wheel: Wheel::new(now.mono),
            calls: Vec::new(),
            held: Vec::new(),
            due: Vec::new(),
            dead: Vec::new(),
            peer_bytes: 0,
            undrained_bytes: 0,
            over: false,
        }
    }

    /// The door.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// What this worker counts.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Number of connections.
    pub fn connections(&self) -> usize {
        self.lanes.len()
    }

    /// A client came.
    pub fn open(&mut self, link: Link, shown: Shown, now: Now) -> ConnectionId {
        let slot = self.lanes.open();
        self.serial = self.serial.wrapping_add(1);
        let id = ConnectionId { worker: self.worker, slot, serial: self.serial };
        let peer = Peer::new(id, link, shown, &self.broker, now);
        if self.peers.len() <= slot as usize {
            self.peers.resize_with(slot as usize + 1, || None);
        }
        self.peers[slot as usize] = Some(Box::new(peer));
        self.with(slot, now, |_, _| {});
        id
    }

    /// Bytes came from the client; `text` unless they came in a binary WebSocket message. What it publishes waits in the
    /// inbox: [`Shard::drain`] must follow, after all that came at once. Much is drained here already, so that what the
    /// backlog allows is known before more is taken.
    #[inline(always)]
    pub fn receive(&mut self, slot: u32, bytes: &[u8], text: bool, now: Now) {
        self.with(slot, now, |peer, env| peer.receive(env, bytes, text));
        self.undrained_bytes += bytes.len();
        if self.undrained_bytes > UNDRAINED_BYTES_MAX {
            self.drain(now);
        }
    }

    /// The transport holds `bytes` of a message that is not complete: they count as memory of the connection.
    pub fn holds(&mut self, slot: u32, bytes: usize) {
        let Some(Some(peer)) = self.peers.get_mut(slot as usize) else { return };
        let before = peer.holds_unfinished(bytes);
        self.peer_bytes = self.peer_bytes + bytes - before;
    }

    /// A sign of life that carries no frame.
    pub fn alive(&mut self, slot: u32, now: Now) {
        self.with(slot, now, |peer, env| peer.alive(env));
    }

    /// A frame of the transport's own, such as the answer to a ping.
    pub fn push_control(&mut self, slot: u32, frame: Bytes) {
        // Nothing may follow the close frame of a closing connection.
        if self.peer(slot).is_some_and(|peer| !peer.is_closing()) {
            self.lanes.push_control(slot, frame);
        }
    }

    /// As [`Shard::end`], unless the connection is gone.
    pub fn end_if_current(&mut self, id: ConnectionId, refusal: &Refusal, now: Now) {
        if self.is_current(id) {
            self.end(id.slot, refusal, now);
        }
    }

    /// Nothing that the client sent waits to be handled, except that a CONNECT may wait for its answer: without another
    /// word of the client that answer leads to nothing.
    pub fn is_idle(&self, slot: u32) -> bool {
        self.peer(slot).is_some_and(Peer::is_idle)
    }

    /// The client sends nothing more: its session ends without a word once what waits is written.
    pub fn hang_up(&mut self, slot: u32, now: Now) {
        self.with(slot, now, |peer, env| peer.hang_up(env));
    }

    /// The transport's own goodbye is in the outbox already; nothing follows it.
    pub fn said_goodbye(&mut self, slot: u32) {
        if let Some(Some(peer)) = self.peers.get_mut(slot as usize) {
            peer.said_goodbye();
            self.lanes.seal(slot);
        }
    }

    /// Ends the session from outside.
    pub fn end(&mut self, slot: u32, refusal: &Refusal, now: Now) {
        self.tally.refused(refusal.reason);
        self.with(slot, now, |peer, env| peer.close(env, refusal, None));
    }

    /// The socket is gone, or everything is said: forgets the connection. A second call changes nothing.
    pub fn remove(&mut self, slot: u32, now: Now) {
        self.with(slot, now, |peer, env| peer.lose_socket(env));
        if let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::take) {
            self.peer_bytes -= peer.held_bytes();
            self.lanes.close(peer.id().slot);
            self.dead.retain(|dead| *dead != slot);
        }
        self.drain(now);
    }

    /// What the driver should do.
    #[inline(always)]
    pub fn status(&self, slot: u32) -> Status {
        if self.dead.contains(&slot) {
            return Status::Dead;
        }
        match self.peer(slot) {
            Some(peer) if !peer.is_closing() => Status::Open,
            Some(_) => Status::Closing,
            None => Status::Dead,
        }
    }

    /// Whether more bytes of the client can be handled. Not while its work is held, nor while it leaves our answers
    /// unread.
    #[inline(always)]
    pub fn wants_input(&self, slot: u32) -> bool {
        let outbox_bytes = self.lanes.lane(slot).map_or(0, |lane| lane.outbox.bytes());
        let reads = outbox_bytes <= self.broker.settings().limits.outbox_bytes_max;
        reads && self.peer(slot).is_some_and(Peer::wants_input)
    }

    /// Whether the client has been accepted.
    pub fn is_connected(&self, slot: u32) -> bool {
        self.peer(slot).is_some_and(Peer::is_connected)
    }

    /// Whether the answer to the connection's CONNECT is awaited.
    pub fn is_waiting(&self, connection: ConnectionId) -> bool {
        self.is_current(connection) && self.peer(connection.slot).is_some_and(Peer::is_asking)
    }

    /// Bytes that may be read although they cannot be handled yet, only to notice that the client has gone.
    #[inline(never)]
    pub fn read_ahead_max(&self, slot: u32) -> usize {
        self.peer(slot).map_or(0, |peer| peer.read_ahead_max(&self.broker))
    }

    /// Slow work to be done elsewhere.
    pub fn take_calls(&mut self) -> Vec<(ConnectionId, Call)> {
        std::mem::take(&mut self.calls)
    }

    /// The answer to a call. Nothing happens when the connection is gone.
    pub fn answer(&mut self, connection: ConnectionId, answer: CallAnswer, now: Now) {
        if !self.is_current(connection) {
            return;
        }
        self.with(connection.slot, now, |peer, env| match answer {
            CallAnswer::Authenticated(answer) => {
                peer.authenticated(env, answer);
                peer.read_on(env);
            }
            CallAnswer::KeysSought => peer.keys_sought(env),
        });
        self.lanes.wake(connection.slot);
        self.drain(now);
    }

    /// Subscriptions to topics and user queues.
    pub fn subscriptions(&self) -> usize {
        self.table.len()
    }

    /// Deadlines that wait; a few for each connection.
    pub fn timers(&self) -> usize {
        self.wheel.len()
    }

    /// Ids of all connections.
    pub fn ids(&self) -> Vec<ConnectionId> {
        self.peers.iter().flatten().map(|peer| peer.id()).collect()
    }

    fn backlog_bytes_max(&self) -> usize {
        self.broker.settings().limits.backlog_bytes_max
    }

    fn is_backlogged(&mut self) -> bool {
        let backlogged = self.lanes.is_backlogged(self.backlog_bytes_max());
        self.over |= backlogged;
        backlogged
    }

    fn peer(&self, slot: u32) -> Option<&Peer> {
        self.peers.get(slot as usize).and_then(Option::as_deref)
    }

    fn is_current(&self, id: ConnectionId) -> bool {
        self.peer(id.slot).is_some_and(|peer| peer.id() == id)
    }

    /// Lets the peer act, then sees to its deadline and whether its work is held.
    fn with(&mut self, slot: u32, now: Now, act: impl FnOnce(&mut Peer, &mut Env<'_>)) {
        let Some(mut peer) = self.peers.get_mut(slot as usize).and_then(Option::take) else { return };
        let bytes_before = peer.held_bytes();
        peer.last_wrote(self.lanes.wrote_at(slot));
        let mut env = Env {
            broker: &self.broker,
            tally: &self.tally,
            table: &mut self.table,
            lanes: &mut self.lanes,
            calls: &mut self.calls,
            now,
        };
        if catch_unwind(AssertUnwindSafe(|| act(&mut peer, &mut env))).is_err() {
            fall(&mut peer, &mut env);
        }
        let deadline = peer.deadline(&env);
        if deadline < peer.scheduled {
            let entry = (slot, peer.id().serial);
            peer.scheduled = self.wheel.schedule(entry, deadline, peer.scheduled);
        }
        if peer.is_held() && !peer.listed {
            peer.listed = true;
            self.held.push(peer.id());
        }
        self.peer_bytes = self.peer_bytes + peer.held_bytes() - bytes_before;
        self.over |= self.lanes.is_backlogged(self.backlog_bytes_max());
        self.peers[slot as usize] = Some(peer);
    }
}

/// Bytes of clients that are handled before the inbox is drained: dozens of small messages, not two large ones.
const UNDRAINED_BYTES_MAX: usize = 8 << 10;

/// A fault of ours while one client was served costs that client its session, and nobody else anything.
fn fall(peer: &mut Peer, env: &mut Env<'_>) {
    env.tally.refused(CloseReason::Internal);
    tracing::error!(connection = %peer.label(), "a fault of the broker ends the session");
    let closed = catch_unwind(AssertUnwindSafe(|| peer.close(env, &CloseReason::Internal.into(), None)));
    if closed.is_err() {
        tracing::error!(connection = %peer.label(), "the session could not be ended in order");
        peer.give_up_for_good(env.now.mono);
    }
}
