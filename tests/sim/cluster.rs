//! Several brokers that are one: a world for each node, one clock, and the bus between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stompede::backend::redis::{NodeOptions, Redis};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::bus::{Bus, Wrong};
use crate::walk::Dice;
use crate::world::{Node, Setup, World, both, mixed};

pub(crate) struct Cluster {
    pub(crate) bus: Bus,
    pub(crate) worlds: Vec<World>,
    clock: Arc<AtomicU64>,
    /// Stands still but for [`Cluster::runs_for`]: whatever the nodes do by the clock they do here.
    runtime: Runtime,
    works: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// So many nodes on the server at `port`.
    pub(crate) fn new(
        port: u16,
        nodes: usize,
        seed: u64,
        wrong: Option<Wrong>,
        change: impl Fn(&mut Setup),
    ) -> Self {
        let clock = Arc::new(AtomicU64::new(BEGIN_MS));
        let mut bus = Bus::new(port, nodes, &clock, wrong);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let (mut works, mut worlds) = (Vec::new(), Vec::new());
        for number in 0..nodes {
            let link = bus.link(number);
            let work = std::cell::RefCell::new(None);
            worlds.push(World::with(|setup| {
                change(setup);
                let (rules, limits, clock) = (setup.rules.clone(), setup.limits.clone(), Arc::clone(&clock));
                let draws = AtomicU64::new(mixed(mixed(seed) + number as u64));
                let options = NodeOptions {
                    node: NODE + number as u64,
                    topic_prefix: "/topic/chat/".into(),
                    events: Some("".into()),
                    linger_ms: setup.linger_ms,
                    describe: Arc::new(String::new),
                    rules,
                    limits,
                    clock: Arc::new(move || both(clock.load(Ordering::Relaxed))),
                    random: Arc::new(move || {
                        let turn = draws.fetch_add(1, Ordering::Relaxed);
                        u128::from(mixed(turn)) << 64 | u128::from(mixed(!turn))
                    }),
                };
                let (_, backend, works) = Redis::on("websocket:", options, link);
                *work.borrow_mut() = Some(works);
                setup.node = Some(Node { number: NODE + number as u64, backend });
            }));
            let work = work.into_inner().expect("the node was opened");
            works.push(runtime.spawn(work));
        }
        worlds.iter().for_each(World::holds_still);
        bus.tick(both(BEGIN_MS).wall_ms);
        let mut cluster = Self { bus, worlds, clock, runtime, works };
        cluster.settles();
        cluster
    }

    /// Somebody who has something to do takes a turn; `choice` picks who and what. `false` when nobody has.
    pub(crate) fn steps(&mut self, choice: usize) -> bool {
        let actors = 2 * self.worlds.len();
        (0..actors).any(|turn| {
            let actor = (choice + turn) % actors;
            self.acts(actor, choice / actors)
        })
    }

    fn acts(&mut self, actor: usize, choice: usize) -> bool {
        let node = actor / 2;
        let acts = match actor % 2 {
            0 => self.worlds[node].steps(choice),
            _ => self.bus.step(node, choice),
        };
        if acts {
            self.bus.unblock(node);
            // Who was woken by it goes on.
            self.runtime.block_on(tokio::task::yield_now());
        }
        acts
    }

    /// Everybody takes turns until nobody has anything to do.
    pub(crate) fn settles(&mut self) {
        for turn in 0..TURNS_MAX {
            let acted = (0..2 * self.worlds.len()).filter(|actor| self.acts(*actor, turn)).count();
            if acted == 0 {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Time passes, and only that which goes by the clock is done; `between` is called after each tick.
    pub(crate) fn runs_for(&mut self, ms: u64, mut between: impl FnMut(&mut Self)) {
        for _ in 0..ms / TICK_MS {
            self.clock.fetch_add(TICK_MS, Ordering::Relaxed);
            self.bus.tick(both(self.clock.load(Ordering::Relaxed)).wall_ms);
            self.runtime.block_on(async {
                tokio::time::advance(Duration::from_millis(TICK_MS)).await;
                for _ in 0..YIELDS {
                    tokio::task::yield_now().await;
                }
            });
            assert!(!self.works.iter().any(JoinHandle::is_finished), "a node's work has ended");
            self.worlds.iter().for_each(|world| world.passes(TICK_MS));
            between(self);
        }
    }

    /// Time passes, and everything is done at once.
    pub(crate) fn rests_for(&mut self, ms: u64) {
        self.runs_for(ms, Self::settles);
    }

    /// Time passes, and in each tick some do something, drawn by the dice.
    pub(crate) fn dawdles_for(&mut self, ms: u64, dice: &mut Dice) {
        self.runs_for(ms, |cluster| {
            for _ in 0..dice.below(12) {
                let choice = dice.below(1 << 20);
                cluster.steps(choice);
            }
        });
    }
}

/// The clock of a world begins here.
const BEGIN_MS: u64 = 1_000;

const TICK_MS: u64 = 100;

/// What was woken by the clock has done what it has to do after so many.
const YIELDS: usize = 8;

/// The first node's number.
const NODE: u64 = 0xbeef_0000;

/// More turns than any conversation takes.
const TURNS_MAX: usize = 500_000;
