//! Hears what is published, and hands it to whom it concerns.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::control::RedisControl;
use super::history::RedisHistory;
use super::hub::Hub;
use super::interest::Interest;
use super::keys::{self, Channel, Partition};
use super::link::Ears;
use super::logs::{Logs, Step};
use super::presence::RedisPresence;
use super::queues::RedisQueues;
use super::registry::Registry;
use super::revocations::RedisRevocations;
use super::wire::{self, Heard};
use crate::backend::{Inbound, record};
use crate::model::{Destination, Full, WorkerId};

/// The ears of one node.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) hub: Arc<Hub>,
    pub(super) interest: Arc<Interest>,
    pub(super) logs: Arc<Logs>,
    pub(super) history: Arc<RedisHistory>,
    pub(super) control: Arc<RedisControl>,
    pub(super) presence: Arc<RedisPresence>,
    pub(super) registry: Arc<Registry>,
    pub(super) queues: Arc<RedisQueues>,
    pub(super) revocations: Arc<RedisRevocations>,
    /// When that last happened in each partition, milliseconds.
    pub(super) misunderstood: Box<[AtomicU64]>,
}

impl Listener {
    fn published(&self, destination: &Destination, bytes: &Bytes) -> Result<(), Full> {
        let Some(sink) = self.hub.sink() else { return Ok(()) };
        let is_reply = keys::is_reply(destination.as_str());
        if !is_reply && !sink.is_heard(destination) {
            return Ok(());
        }
        let Ok(message) = record::decode_unplaced(bytes, destination) else {
            self.hub.counted.unknown.add(1);
            sink.gap(destination);
            return Ok(());
        };
        let message = Arc::new(message);
        if is_reply {
            sink.reply(&message);
            return Ok(());
        }
        let cost_bytes = message.cost_bytes();
        sink.accept(Inbound { destination, cost_bytes, from: None, make: &mut || Arc::clone(&message) })
    }
}

impl Listener {
    /// What cannot be read may have been for somebody here. Looked into once a second at most, whoever writes how much.
    fn misunderstood(&self, partition: Partition) {
        let now = (self.hub.clock)().mono.0;
        let seen = &self.misunderstood[usize::from(partition.0)];
        let before = seen.load(Ordering::Relaxed);
        if now >= before.saturating_add(MISUNDERSTOOD_MS) || before == 0 {
            seen.store(now.max(1), Ordering::Relaxed);
            tracing::warn!(partition = %partition, "bytes on the bus that this version does not understand");
            self.missed(&BTreeSet::from([partition]));
        }
    }
}

impl Ears for Listener {
    fn hear(&self, channel: &Channel, payload: &Bytes) -> Result<(), Full> {
        let heard = wire::parse(payload);
        if let Ok(Heard::Called(incarnation)) = heard {
            self.queues.called(channel, incarnation);
            return Ok(());
        }
        if !self.interest.is_news(channel) {
            return Ok(());
        }
        match heard {
            Ok(Heard::Published(destination, record)) => self.published(&destination, &record),
            Ok(Heard::Kept(destination, position, record)) => {
                if let Step::Fill(after) = self.logs.hear(&destination, position, &record)? {
                    self.history.fill(&destination, after);
                }
                Ok(())
            }
            Ok(Heard::Mark(destination, position)) => {
                let left = self.logs.hear_mark(&destination, position);
                self.history.read_each(&destination, left);
                Ok(())
            }
            Ok(Heard::Other(wire::ORDER, rest)) => {
                self.control.hear_order(&rest);
                Ok(())
            }
            Ok(Heard::Other(wire::REPORT, rest)) => {
                self.control.hear_report(&rest);
                Ok(())
            }
            Ok(Heard::Other(wire::REVOKED, _)) => {
                self.revocations.read();
                Ok(())
            }
            Ok(Heard::Other(kind, rest)) if self.presence.hear(kind, &rest, (self.hub.clock)()) => Ok(()),
            Ok(Heard::Called(_) | Heard::Other(..)) | Err(_) => {
                self.hub.counted.unknown.add(1);
                self.misunderstood(channel.partition);
                Ok(())
            }
        }
    }

    fn interrupted(&self, partitions: &BTreeSet<Partition>) {
        for &partition in partitions {
            self.interest.for_each(partition, |destination| self.logs.interrupted(destination));
        }
    }

    fn missed(&self, partitions: &BTreeSet<Partition>) {
        // Whoever has come, or has had something, since the last time has to be told as well: so each time all are.
        if partitions.iter().any(|partition| self.interest.hears_all_of(*partition)) {
            self.hub.sink().into_iter().for_each(|sink| sink.gap_in_patterns());
        }
        self.presence.missed();
        for &partition in partitions {
            self.queues.missed(partition);
            self.interest.for_each(partition, |destination| {
                if let Some(after) = self.logs.missed(destination) {
                    self.history.fill(destination, after);
                }
            });
        }
    }

    fn room(&self, worker: WorkerId) {
        self.hub.sink().into_iter().for_each(|sink| sink.tell_room(worker));
    }

    fn reunited(&self) {
        self.presence.reunited();
        self.registry.reunited();
        self.queues.reunited();
        self.revocations.read();
    }
}

/// Bytes that are not understood are followed up so often, milliseconds.
const MISUNDERSTOOD_MS: u64 = 1_000;
