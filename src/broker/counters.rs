//! What happened how often, ready to be exported.
//!
//! Each worker counts for itself, in a place that no other thread writes; the sums are made when somebody asks.

use std::sync::Arc;

use stompede_protocol::{Event, Step};

use crate::features::DeadLetterCounters;
use crate::model::{CloseReason, WorkerId};

pub use crate::model::Counter;

/// Counters of the whole process. Labels are the rows of the reason table, never names that clients choose.
#[derive(Debug)]
pub struct Counters {
    /// And last who is none.
    workers: Box<[Arc<Tally>]>,
    /// Messages of work queues that are delivered no more.
    pub dead_letters: Arc<DeadLetterCounters>,
}

/// What one worker has counted: its thread alone writes it, so [`Counter::count`] will do. Two cache lines apart from what others
/// write.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    /// Bytes that sockets gave, WebSocket framing included and TLS not.
    pub bytes_received: Counter,
    /// Bytes that sockets took, WebSocket framing included and TLS not.
    pub bytes_sent: Counter,
    /// Frames of the broker's own: CONNECTED, RECEIPT, ERROR, heart-beats. MESSAGE counts as a delivery.
    pub answers_sent: Counter,
    /// SEND frames that were accepted.
    pub messages_accepted: Counter,
    /// Deliveries put in an outbox.
    pub deliveries: Counter,
    /// Deliveries dropped by an overflow rule.
    pub deliveries_dropped: Counter,
    /// How long it takes to put one message in the outboxes of the worker's subscribers.
    pub fan_outs: Durations,
    /// Sessions that reached CONNECTED.
    pub sessions_opened: Counter,
    /// Sessions that ended before.
    pub sessions_failed: Counter,
    /// SENDs that were past their time when they came, and reached nobody.
    pub sends_expired: Counter,
    /// SENDs that had to wait for room.
    pub sends_held: Counter,
    /// Subscriptions that were told that something may be missing, or will be with what comes next.
    pub gaps_told: Counter,
    /// Messages given to a history.
    pub history_appends: Counter,
    /// Pages read from a history.
    pub history_reads: Counter,
    /// SENDs above the rate of one connection.
    pub connection_rate_crossed: Counter,
    /// SENDs above the rate of one user.
    pub user_rate_crossed: Counter,
    /// Bytes in all outboxes, as of the last tick; so for the next three.
    pub outbox_bytes: Counter,
    /// Of these, bytes whose socket takes none.
    pub blocked_bytes: Counter,
    /// Connections whose socket takes no bytes.
    pub blocked_connections: Counter,
    /// The most bytes that ever waited for one socket that took none.
    pub outbox_high_water: Counter,
    /// How long the worker's thread has been at work, not waiting for something to do, nanoseconds.
    pub busy_ns: Counter,
    frames: [Counter; Asked::ALL.len()],
    opened: [Counter; Transport::ALL.len()],
    closed: [Counter; Transport::ALL.len()],
    refusals: [Counter; CloseReason::ALL.len()],
    closes: [Counter; CloseReason::ALL.len()],
}

/// What a client's frame asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// CONNECT or STOMP.
    Connect,
    /// SEND.
    Send,
    /// SUBSCRIBE.
    Subscribe,
    /// UNSUBSCRIBE.
    Unsubscribe,
    /// ACK.
    Ack,
    /// NACK.
    Nack,
    /// COMMIT.
    Commit,
    /// DISCONNECT.
    Disconnect,
}

/// By what a session's bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// WebSocket, with or without TLS.
    WebSocket,
    /// STOMP over TCP.
    Tcp,
    /// STOMP over TLS.
    Tls,
    /// A stream of server-sent events.
    Events,
    /// A pipe of the embedding program.
    Embedded,
    /// SockJS over WebSocket.
    SockJsWebSocket,
    /// SockJS over requests.
    SockJsRequests,
}

/// Durations, by how long they were.
#[derive(Debug, Default)]
pub struct Durations {
    /// Of each bucket those that belong there and to none before; the last has no bound.
    buckets: [Counter; DURATION_BOUNDS_NS.len() + 1],
    sum_ns: Counter,
}

/// Says of which fan-outs the time is taken: to look at the clock costs as much as a few deliveries.
#[derive(Debug, Default)]
pub(super) struct Sampler(u8);

impl Sampler {
    /// Whether it is this one's turn: the first, and one in [`FAN_OUTS_A_SAMPLE`].
    pub(super) fn next(&mut self) -> bool {
        let turn = self.0 == 0;
        self.0 = (self.0 + 1) % FAN_OUTS_A_SAMPLE;
        turn
    }
}

impl Counters {
    /// All at 0, for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers: (0..=workers).map(|_| Arc::default()).collect(), dead_letters: Arc::default() }
    }

    /// What a worker counts; who is none counts together with all others that are none, by [`Counter::add`] alone.
    pub fn of(&self, worker: WorkerId) -> &Arc<Tally> {
        let outside = self.workers.len() - 1;
        &self.workers[usize::from(worker.0).min(outside)]
    }

    /// What each worker has counted, in their order.
    pub fn workers(&self) -> impl Iterator<Item = &Tally> {
        self.workers[..self.workers.len() - 1].iter().map(|tally| &**tally)
    }

    /// The sum over all workers, and who is none.
    pub fn sum(&self, of: impl Fn(&Tally) -> &Counter) -> u64 {
        self.workers.iter().map(|tally| of(tally).value()).sum()
    }

    /// Refusals for `reason`, those that ended the session included.
    pub fn refusals(&self, reason: CloseReason) -> u64 {
        self.sum(|tally| &tally.refusals[reason.index()])
    }

    /// Sessions ended for `reason`.
    pub fn closes(&self, reason: CloseReason) -> u64 {
        self.sum(|tally| &tally.closes[reason.index()])
    }

    /// Frames of clients, those of a transaction with its COMMIT.
    pub fn received(&self, asked: Asked) -> u64 {
        self.sum(|tally| &tally.frames[asked as usize])
    }

    /// Connections that have come by `transport`.
    pub fn opened(&self, transport: Transport) -> u64 {
        self.sum(|tally| &tally.opened[transport as usize])
    }

    /// Connections by `transport` that are gone.
    pub fn closed(&self, transport: Transport) -> u64 {
        self.sum(|tally| &tally.closed[transport as usize])
    }
}

impl Tally {
    /// Something was refused for `reason`.
    pub fn refused(&self, reason: CloseReason) {
        self.refusals[reason.index()].add(1);
    }

    /// A session was ended for `reason`.
    pub fn ended(&self, reason: CloseReason) {
        self.closes[reason.index()].add(1);
    }

    /// Frames have come, one or those of a transaction.
    #[inline(never)]
    pub(super) fn heard(&self, event: &Event) {
        let heard = |asked: Asked| self.frames[asked as usize].count(1);
        match event {
            Event::Connect(_) => heard(Asked::Connect),
            Event::Send(_) => heard(Asked::Send),
            Event::Subscribe(_) => heard(Asked::Subscribe),
            Event::Unsubscribe(_) => heard(Asked::Unsubscribe),
            Event::Ack(_) => heard(Asked::Ack),
            Event::Nack(_) => heard(Asked::Nack),
            Event::Commit(commit) => {
                heard(Asked::Commit);
                commit.steps.iter().for_each(|step| match step {
                    Step::Send(_) => heard(Asked::Send),
                    Step::Ack(_) => heard(Asked::Ack),
                    Step::Nack(_) => heard(Asked::Nack),
                });
            }
            Event::Disconnect(_) => heard(Asked::Disconnect),
            // Refusals count violations; BEGIN and ABORT are the session's own business.
            Event::Violation(..) | Event::Receipted(_) => {}
        }
    }

    /// A connection has come.
    pub fn came(&self, transport: Transport) {
        self.opened[transport as usize].add(1);
    }

    /// A connection is gone.
    pub fn went(&self, transport: Transport) {
        self.closed[transport as usize].add(1);
    }
}

impl Asked {
    /// All of them.
    pub const ALL: [Self; 8] = {
        use Asked::*;
        [Connect, Send, Subscribe, Unsubscribe, Ack, Nack, Commit, Disconnect]
    };

    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Ack => "ack",
            Self::Nack => "nack",
            Self::Commit => "commit",
            Self::Disconnect => "disconnect",
        }
    }
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::WebSocket,
        Self::Tcp,
        Self::Tls,
        Self::Events,
        Self::Embedded,
        Self::SockJsWebSocket,
        Self::SockJsRequests,
    ];

    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Events => "sse",
            Self::Embedded => "embedded",
            Self::SockJsWebSocket => "sockjs-websocket",
            Self::SockJsRequests => "sockjs-requests",
        }
    }
}

impl Durations {
    /// Something took so long.
    pub fn record(&self, ns: u64) {
        let bucket = DURATION_BOUNDS_NS.iter().position(|bound| ns <= *bound);
        self.buckets[bucket.unwrap_or(DURATION_BOUNDS_NS.len())].add(1);
        self.sum_ns.add(usize::try_from(ns).unwrap_or(usize::MAX));
    }

    /// How many there were in each bucket, and in none before; the last has no bound.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Counter::value)
    }

    /// All of them together, nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns.value()
    }
}

/// Of so many fan-outs of a worker one is timed.
pub const FAN_OUTS_A_SAMPLE: u8 = 16;

/// Up to where the buckets of [`Durations`] reach, nanoseconds: from one subscriber to a hundred thousand.
pub const DURATION_BOUNDS_NS: [u64; 11] = [
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fan_out_in_so_many_is_timed_and_the_first_is() {
        let mut sampler = Sampler::default();
        let turns: Vec<bool> = (0..FAN_OUTS_A_SAMPLE as usize * 3).map(|_| sampler.next()).collect();
        assert!(turns[0]);
        assert_eq!(turns.iter().filter(|turn| **turn).count(), 3);
    }

    #[test]
    fn sums_are_over_all_workers() {
        let counters = Counters::new(3);
        for worker in 0..3 {
            let tally = counters.of(WorkerId(worker));
            tally.deliveries.count(10);
            tally.came(Transport::Tcp);
            tally.refused(CloseReason::Forbidden);
        }
        counters.of(WorkerId(1)).went(Transport::Tcp);
        for stranger in [3, u8::MAX] {
            counters.of(WorkerId(stranger)).deliveries.add(1);
        }
        assert_eq!((counters.sum(|tally| &tally.deliveries), counters.workers().count()), (32, 3));
        assert_eq!((counters.opened(Transport::Tcp), counters.closed(Transport::Tcp)), (3, 1));
        assert_eq!((counters.opened(Transport::Tls), counters.refusals(CloseReason::Forbidden)), (0, 3));
    }

    #[test]
    fn every_label_has_its_own_place() {
        for (place, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport as usize, place);
        }
        for (place, asked) in Asked::ALL.into_iter().enumerate() {
            assert_eq!(asked as usize, place);
        }
    }
}
