//! What time brings, and what becomes of the dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use redis::Value;

use super::calls::{self, Caller};
use super::local::{Local, Search};
use super::replies::REPEAT_MS;
use super::{QueuesPort, RedisQueues, State, Task};
use crate::backend::Due;
use crate::backend::redis::custody::{Custodian, Done};
use crate::backend::redis::hub::Hub;
use crate::backend::redis::keys::Partition;
use crate::backend::redis::link::Doubt;
use crate::model::{Destination, Now};

impl RedisQueues {
    /// See [`Queues::sweep`](crate::backend::Queues::sweep). What Redis is asked for now is there when it is called again.
    pub(super) fn sweep(self: &Arc<Self>, now_ms: u64, count: usize) -> Due {
        self.tick((self.hub.clock)());
        let mut due = self.take_due(count);
        let room = count.saturating_sub(due.expired.len());
        self.take_expired_here(now_ms, room, &mut due);
        due.expired.sort_by_key(|(_, queued)| queued.expires_ms);
        let partitions: Vec<Partition> = {
            let state = self.state.lock();
            state
                .alarms
                .iter()
                .filter(|(_, at_ms)| **at_ms <= now_ms)
                .map(|(partition, _)| *partition)
                .collect()
        };
        for partition in partitions {
            self.sweep_partition(partition, now_ms, count);
        }
        due
    }

    /// A dead incarnation takes nothing more in the partition, and what it had comes back.
    pub(in crate::backend::redis) fn bury_incarnation(
        self: &Arc<Self>,
        partition: Partition,
        dead: u64,
        then: Done,
    ) {
        let call = Caller { keys: &self.hub.keys, incarnation: dead }.end(partition);
        self.run(call, Doubt::Repeat, move |this, reply| {
            let names = match &reply {
                Ok(Value::Array(parts) | Value::Set(parts)) => calls::read_names(parts),
                _ => None,
            };
            match names {
                Some(queues) => this.fence(&queues, dead, then),
                None => then(false),
            }
        });
    }

    /// We were taken for dead as `fenced`, and are another incarnation now. What that had is not ours any more; what
    /// consumers have of it, others may get too.
    pub(in crate::backend::redis) fn reincarnated(self: &Arc<Self>, fenced: u64) {
        let (queues, entries) = {
            let mut state = self.state.lock();
            if state.incarnation != fenced {
                return;
            }
            state.incarnation = self.hub.incarnation();
            state.repeats.clear();
            state.expired.clear();
            let mut entries = Vec::new();
            for local in state.queues.values_mut() {
                let before = local.bytes();
                entries.extend(local.lose_all());
                self.bytes.fetch_sub(before - local.bytes(), Ordering::Relaxed);
            }
            entries.sort_unstable();
            (state.known(|_, _| true), entries)
        };
        entries.into_iter().for_each(|entry| self.ledger.fail(entry));
        // What we did after it was buried, and before we heard of it.
        self.fence(&queues, fenced, Box::new(|_| {}));
        for queue in queues {
            self.tell_attendance(&queue);
            self.with_known(&queue, |_, _| {});
        }
    }

    /// Redis can be reached again: calls were not heard, and it may have forgotten something.
    pub(in crate::backend::redis) fn reunited(self: &Arc<Self>) {
        let queues = self.state.lock().known(|_, _| true);
        for queue in queues {
            self.with_known(&queue, |_, local| {
                local.is_doubtful = true;
                local.stir();
            });
            self.tell_attendance(&queue);
        }
    }

    /// Calls to queues of the partition may not have been heard.
    pub(in crate::backend::redis) fn missed(self: &Arc<Self>, partition: Partition) {
        let here = |queue: &Destination, _: &Local| Partition::of_destination(queue.as_str()) == partition;
        let queues = self.state.lock().known(here);
        for queue in queues {
            self.with_known(&queue, |_, local| local.stir());
        }
    }

    fn fence(self: &Arc<Self>, queues: &[Destination], dead: u64, then: Done) {
        let (left, is_done) = (Arc::new(AtomicUsize::new(queues.len() + 1)), Arc::new(AtomicBool::new(true)));
        let then = Arc::new(parking_lot::Mutex::new(Some(then)));
        let one_less = move |done: bool| {
            is_done.fetch_and(done, Ordering::AcqRel);
            if left.fetch_sub(1, Ordering::AcqRel) == 1
                && let Some(then) = then.lock().take()
            {
                then(is_done.load(Ordering::Acquire));
            }
        };
        for queue in queues {
            let call = Caller { keys: &self.hub.keys, incarnation: dead }.fence(queue);
            let (one_less, queue) = (one_less.clone(), queue.clone());
            self.run(call, Doubt::Repeat, move |this, reply| {
                // It may have had messages that expire.
                this.state.lock().note_alarm(Partition::of_destination(queue.as_str()), 0);
                this.with_known(&queue, |_, local| local.stir_unattended());
                one_less(reply.is_ok());
            });
        }
        one_less(true);
    }

    fn tick(self: &Arc<Self>, now: Now) {
        let (repeats, busy) = {
            let mut state = self.state.lock();
            let repeats: Vec<Task> =
                state.repeats.extract_if(.., |(at, _)| *at <= now.mono).map(|(_, task)| task).collect();
            (repeats, state.known(|_, local| local.needs_care(now.mono)))
        };
        repeats.into_iter().for_each(|task| self.do_task(task));
        for queue in busy {
            self.care(&queue, now);
        }
        self.retry_all(now.mono);
    }

    /// Does for a queue what time asks for.
    fn care(self: &Arc<Self>, queue: &Destination, now: Now) {
        let (tells, compares) = self
            .with_known(queue, |_, local| {
                local.turn_back(now.mono, PATIENCE_MS);
                if !local.is_attended && now.mono.since(local.asked) >= ASK_AGAIN_MS {
                    local.wanted = 0;
                }
                if matches!(local.search, Search::Waiting(since) if now.mono.since(since) >= ASK_AGAIN_MS) {
                    local.search = Search::Idle;
                }
                (local.is_to_tell(now.mono), local.is_doubtful)
            })
            .unwrap_or_default();
        if tells {
            self.tell_attendance(queue);
        }
        if compares {
            self.compare(queue);
        }
        self.forget(queue);
    }

    /// Forgets a queue of which we have nothing, and want nothing.
    fn forget(self: &Arc<Self>, queue: &Destination) {
        let was_heard = {
            let mut state = self.state.lock();
            if !state.queues.get(queue).is_some_and(Local::is_forgettable) {
                return;
            }
            state.queues.remove(queue).is_some_and(|local| local.is_heard)
        };
        if let Some(link) = self.hub.link().filter(|_| was_heard) {
            link.unlisten(&self.hub.keys.queue(queue.as_str()).channel);
        }
    }

    fn take_due(&self, count: usize) -> Due {
        let mut state = self.state.lock();
        let State { ripe, expired, .. } = &mut *state;
        let count = expired.len().min(count);
        let (ready, expired) = (std::mem::take(ripe), expired.drain(..count).collect());
        Due { ready, expired }
    }

    fn take_expired_here(self: &Arc<Self>, now_ms: u64, count: usize, due: &mut Due) {
        let queues = self.state.lock().known(|_, local| local.has_expired(now_ms));
        let mut room = count;
        for queue in queues {
            let expired = self.with_known(&queue, |_, local| local.take_expired(now_ms, room));
            let expired = expired.unwrap_or_default();
            room -= expired.len();
            due.expired.extend(expired.into_iter().map(|queued| (queue.clone(), queued)));
        }
    }
}

impl Custodian for QueuesPort {
    fn sweep(&self, partition: Partition) {
        self.0.sweep_partition(partition, (self.0.hub.clock)().wall_ms, SWEEP_MAX);
    }

    fn bury(&self, partition: Partition, incarnation: u64, done: Done) {
        self.0.bury_incarnation(partition, incarnation, done);
    }

    fn reincarnated(&self, before: u64) {
        self.0.reincarnated(before);
    }
}

impl State {
    pub(super) fn caller<'a>(&self, hub: &'a Hub) -> Caller<'a> {
        Caller { keys: &hub.keys, incarnation: self.incarnation }
    }

    /// The queues of which that is true, by name: so what is done with them has an order, whatever the seed of the map.
    fn known(&self, is_meant: impl Fn(&Destination, &Local) -> bool) -> Vec<Destination> {
        let meant = self.queues.iter().filter(|(queue, local)| is_meant(queue, local));
        let mut names: Vec<Destination> = meant.map(|(queue, _)| queue.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Something in the partition comes due then.
    pub(super) fn note_alarm(&mut self, partition: Partition, at_ms: u64) {
        let at = self.alarms.entry(partition).or_insert(at_ms);
        *at = at_ms.min(*at);
    }
}

/// What was taken and finds nobody here goes back after so long, milliseconds.
const PATIENCE_MS: u64 = 100;

/// Whoever wants messages and is not called asks again after so long, milliseconds: a call may be lost.
pub(super) const ASK_AGAIN_MS: u64 = REPEAT_MS;

/// Messages of one queue that one look at a partition sees to.
const SWEEP_MAX: usize = 1_000;
