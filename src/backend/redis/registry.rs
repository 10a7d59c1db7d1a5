//! Which nodes live.
//!
//! Each raises a counter under its incarnation once a second, and reads those of all others with the same script. Whose counter
//! stands still for nine seconds is dead; see [`observation`] for what counts as that.

mod observation;

use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::Value;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::custody::Custody;
use super::hub::{Hub, incarnation_name, number, text};
use super::keys::Partition;
use super::keys::presence::{NODES, NODES_ABOUT, REGISTRY, STATE};
use super::link::Fault;
use super::presence::{FENCED, RedisPresence, incarnation, items, number_of, text_of};
use super::scripts::presence as scripts;

use observation::Observation;

/// How a node describes itself, in JSON.
pub type Description = Arc<dyn Fn() -> String + Send + Sync>;

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Between two beats, milliseconds.
    pub(super) beat_ms: u64,
    /// A counter that stands still for so long is a dead node's, milliseconds.
    pub(super) lease_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { beat_ms: BEAT_MS, lease_ms: LEASE_MS }
    }
}

/// See the module's description.
pub(super) struct Registry {
    hub: Arc<Hub>,
    custody: Arc<Custody>,
    pace: Pace,
    describe: Description,
    counter: AtomicU64,
    /// A beat is on its way.
    is_beating: AtomicBool,
    /// This node has said that it ends.
    is_retired: AtomicBool,
    observation: Mutex<Observation>,
}

/// Called with the nodes: their names, and how they describe themselves.
pub(super) type Listed = Box<dyn FnOnce(Result<Vec<(u64, String)>, Fault>) + Send>;

impl Registry {
    /// Knows of nobody yet.
    pub(super) fn new(hub: Arc<Hub>, custody: Arc<Custody>, pace: Pace, describe: Description) -> Self {
        Self {
            hub,
            custody,
            pace,
            describe,
            counter: AtomicU64::new(0),
            is_beating: AtomicBool::new(false),
            is_retired: AtomicBool::new(false),
            observation: Mutex::new(Observation::new(pace)),
        }
    }

    /// Beats, watches the others and looks after this node's part of what time does, as long as it is polled.
    pub(super) async fn run(self: Arc<Self>) -> Infallible {
        let quarter = Duration::from_millis((self.pace.beat_ms / QUARTERS as u64).max(1));
        let mut ticks = interval(quarter);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            for turn in 0..QUARTERS {
                ticks.tick().await;
                if turn == 0 {
                    self.beat();
                    self.custody.tick();
                }
                self.sweep(turn);
            }
        }
    }

    /// Redis was away, or another one: whoever stood still meanwhile could not move.
    pub(super) fn reunited(&self) {
        self.observation.lock().restart();
    }

    /// All nodes that are registered.
    pub(super) fn list(&self, then: Listed) {
        let keys = vec![self.hub.keys.single(REGISTRY, NODES_ABOUT)];
        let then = Box::new(move |reply: Result<Value, Fault>| {
            then(reply.map(|reply| {
                let fields = items(&reply).unwrap_or_default().chunks_exact(2);
                fields
                    .filter_map(|field| Some((incarnation(&field[0])?, text_of(&field[1])?.to_owned())))
                    .collect()
            }));
        });
        self.hub.run(REGISTRY, &scripts::LIST_NODES, keys, Vec::new(), then);
    }

    /// This node ends: what its clients had lingers, and whoever sweeps completes it. To be awaited when all connections are
    /// closed, while the rest still runs; it takes [`RETIRE_MS_MAX`] at most.
    pub(super) async fn retire(&self, presence: &Arc<RedisPresence>) {
        self.is_retired.store(true, Ordering::Release);
        let settled = async {
            while !presence.is_settled() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(Duration::from_millis(RETIRE_MS_MAX / 2), settled).await;
        let (left, all_done) =
            (Arc::new(AtomicUsize::new(Partition::all().count())), Arc::new(Notify::new()));
        let done: Arc<dyn Fn() + Send + Sync> = {
            let all_done = Arc::clone(&all_done);
            Arc::new(move || {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    all_done.notify_one();
                }
            })
        };
        presence.retire(&done);
        let _ = timeout(Duration::from_millis(RETIRE_MS_MAX / 2), all_done.notified()).await;
        self.custody.strike(self.hub.incarnation());
    }

    fn beat(self: &Arc<Self>) {
        let is_healthy = self.hub.link().is_some_and(|link| link.health().is_ok());
        if !is_healthy {
            self.observation.lock().restart();
        }
        if self.is_retired.load(Ordering::Acquire) || self.is_beating.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = self.hub.incarnation();
        let names = &self.hub.keys;
        let keys = vec![
            names.single(REGISTRY, NODES),
            names.single(REGISTRY, NODES_ABOUT),
            names.single(REGISTRY, STATE),
        ];
        let counter = self.counter.fetch_add(1, Ordering::AcqRel) + 1;
        let args = vec![text(&incarnation_name(own)), number(counter), text(&(self.describe)())];
        let registry = Arc::clone(self);
        let then = Box::new(move |reply: Result<Value, Fault>| {
            registry.is_beating.store(false, Ordering::Release);
            registry.handle_beat(own, reply);
        });
        self.hub.run(REGISTRY, &scripts::BEAT, keys, args, then);
    }

    fn handle_beat(&self, own: u64, reply: Result<Value, Fault>) {
        let now = (self.hub.clock)().mono;
        let reply = match reply {
            Ok(reply) => reply,
            Err(fault) => {
                self.observation.lock().restart();
                if matches!(&fault, Fault::Refused { code, .. } if code == FENCED) {
                    self.custody.fenced(own);
                }
                return;
            }
        };
        let fields = items(&reply).unwrap_or_default().chunks_exact(2);
        let counters = fields.filter_map(|field| Some((incarnation(&field[0])?, number_of(&field[1])?)));
        let suspects = self.custody.take_suspects();
        let dead = self.observation.lock().observe(own, counters, &suspects, now);
        dead.into_iter().for_each(|dead| self.custody.bury(dead));
    }

    /// What time does, in one of four parts of the partitions that are this node's to look after.
    fn sweep(&self, turn: usize) {
        if self.hub.link().is_none_or(|link| link.health().is_err()) {
            return;
        }
        let (rank, nodes) = self.observation.lock().rank(self.hub.incarnation());
        let own = Partition::all().filter(|partition| usize::from(partition.0) % nodes == rank);
        own.skip(turn).step_by(QUARTERS).for_each(|partition| self.custody.sweep(partition));
    }
}

impl Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("observation", &self.observation).finish_non_exhaustive()
    }
}

/// Between two beats of a node, milliseconds.
const BEAT_MS: u64 = 1_000;

/// A counter that stands still for so long is a dead node's, milliseconds. What is left of it goes within a second or two,
/// so that nobody is seen 15 s after his node was killed.
const LEASE_MS: u64 = 9_000;

/// An end in an orderly way waits so long for Redis, milliseconds.
const RETIRE_MS_MAX: u64 = 4_000;

/// What time does is done in so many parts of a second.
const QUARTERS: usize = 4;
