//! Several brokers that are one: a world for each node, one clock, and the bus between them.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stompede::backend::redis::{NodeOptions, Redis};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::bus::{Bus, Life, Wrong};
use crate::walk::Dice;
use crate::world::{Node, Setup, World, both, mixed};

pub(crate) struct Cluster {
    pub(crate) bus: Bus,
    pub(crate) worlds: Vec<World>,
    clock: Arc<AtomicU64>,
    /// Stands still but for [`Cluster::runs_for`]: whatever the nodes do by the clock they do here.
    runtime: Runtime,
    works: Vec<JoinHandle<()>>,
    lives: Vec<Life>,
    gates: Vec<Arc<Gate>>,
    /// How long each node has stood still.
    behind: Vec<u64>,
}

/// Before the work of a node, that it may stand still.
#[derive(Default)]
struct Gate {
    is_shut: AtomicBool,
    waiting: Mutex<Option<Waker>>,
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
        let gates: Vec<Arc<Gate>> = (0..nodes).map(|_| Arc::default()).collect();
        for (number, gate) in gates.iter().enumerate() {
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
                    edges: true,
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
            let (gate, work) = (Arc::clone(gate), work.into_inner().expect("the node was opened"));
            let mut work = Box::pin(work);
            works.push(runtime.spawn(poll_fn(move |context| match gate.holds(context) {
                true => Poll::Pending,
                false => work.as_mut().poll(context),
            })));
        }
        worlds.iter().for_each(World::holds_still);
        bus.tick(both(BEGIN_MS).wall_ms);
        let (lives, behind) = (vec![Life::Awake; nodes], vec![0; nodes]);
        let mut cluster = Self { bus, worlds, clock, runtime, works, lives, gates, behind };
        cluster.settles();
        cluster
    }

    /// Nodes of which that is true.
    fn nodes(&self, is_meant: impl Fn(Life) -> bool) -> Vec<usize> {
        (0..self.worlds.len()).filter(|node| is_meant(self.lives[*node])).collect()
    }

    /// Nodes that go on.
    pub(crate) fn awake(&self) -> Vec<usize> {
        self.nodes(|life| life == Life::Awake)
    }

    /// Nodes that stand still.
    pub(crate) fn paused(&self) -> Vec<usize> {
        self.nodes(|life| life == Life::Paused)
    }

    /// A node stands still, as one that was sent SIGSTOP.
    pub(crate) fn pauses(&mut self, node: usize) {
        self.lives[node] = Life::Paused;
        self.gates[node].is_shut.store(true, Ordering::Relaxed);
        self.bus.pauses(node);
    }

    /// It goes on: the time that has passed for others has passed for it, too.
    pub(crate) fn wakes(&mut self, node: usize) {
        self.lives[node] = Life::Awake;
        self.bus.wakes(node);
        self.worlds[node].passes(std::mem::take(&mut self.behind[node]));
        self.gates[node].opens();
    }

    /// A node is killed; so many of the orders that it has sent are executed.
    pub(crate) fn kills(&mut self, node: usize, executed: usize) {
        self.lives[node] = Life::Dead;
        self.gates[node].is_shut.store(true, Ordering::Relaxed);
        self.bus.kills(node, executed);
        self.worlds[node].dies();
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
            0 if self.lives[node] != Life::Awake => false,
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
            for node in 0..self.worlds.len() {
                match self.lives[node] {
                    Life::Awake => self.worlds[node].passes(TICK_MS),
                    Life::Paused => self.behind[node] += TICK_MS,
                    Life::Dead => {}
                }
            }
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

impl Gate {
    /// Whether the node stands still; if it does, it is woken when it goes on.
    fn holds(&self, context: &Context<'_>) -> bool {
        let is_shut = self.is_shut.load(Ordering::Relaxed);
        if is_shut {
            *self.waiting.lock().expect("nobody panicked") = Some(context.waker().clone());
        }
        is_shut
    }

    fn opens(&self) {
        self.is_shut.store(false, Ordering::Relaxed);
        let waiting = self.waiting.lock().expect("nobody panicked").take();
        waiting.into_iter().for_each(Waker::wake);
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
