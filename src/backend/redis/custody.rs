//! What becomes of what a node held in Redis when it is no more: all adapters that hold something are asked, partition by
//! partition.
//!
//! An incarnation that is dead is *fenced* in each partition before anything of it is taken away: from then on no script does
//! there what it wants. If it lives after all, it learns so by that, and goes on as another. Any number of nodes may bury the
//! same incarnation at once, for everything that is done to it may be done twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Debug};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::hub::{Hub, incarnation_name, text};
use super::keys::Partition;
use super::keys::presence::{NODES, NODES_ABOUT, REGISTRY};
use super::scripts::presence as scripts;

/// Called when it is done; `false`: it could not be, and is to be tried again.
pub(super) type Done = Box<dyn FnOnce(bool) + Send>;

/// An adapter that holds something in Redis under the node's incarnation.
pub(super) trait Custodian: Send + Sync + Debug {
    /// About once a second, for each partition that this node looks after: what time does there. Other nodes may do the
    /// same at once.
    fn sweep(&self, partition: Partition);

    /// An incarnation is dead. Those that were registered before have done with it in this partition; the first of all has
    /// fenced it.
    fn bury(&self, partition: Partition, incarnation: u64, done: Done);

    /// This node was taken for dead: what it holds it has to take again under its new name.
    fn reincarnated(&self, before: u64);
}

/// See the module's description.
pub(super) struct Custody {
    hub: Arc<Hub>,
    custodians: RwLock<Vec<Arc<dyn Custodian>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    graves: BTreeMap<u64, Grave>,
    suspects: BTreeSet<u64>,
}

/// An incarnation that is being buried.
#[derive(Debug)]
struct Grave {
    waiting: VecDeque<Partition>,
    digging: usize,
}

impl Custody {
    /// Nobody holds anything.
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, custodians: RwLock::default(), state: Mutex::default() }
    }

    /// From now on this adapter is asked, too. The first one fences.
    pub(super) fn register(&self, custodian: Arc<dyn Custodian>) {
        self.custodians.write().push(custodian);
    }

    /// What time does in a partition.
    pub(super) fn sweep(&self, partition: Partition) {
        for custodian in self.custodians() {
            custodian.sweep(partition);
        }
    }

    /// A script has refused what `incarnation` wanted: it is fenced. If it is this node, it goes on as another.
    pub(super) fn fenced(&self, incarnation: u64) {
        if !self.hub.reincarnate(incarnation) {
            return;
        }
        let (before, now) = (incarnation_name(incarnation), incarnation_name(self.hub.incarnation()));
        tracing::warn!(before, now, "this node was taken for dead, and goes on under another name");
        for custodian in self.custodians() {
            custodian.reincarnated(incarnation);
        }
    }

    /// Something in Redis is held under a name of which nothing else is known.
    pub(super) fn suspect(&self, incarnation: u64) {
        let mut state = self.state.lock();
        if state.suspects.len() < SUSPECTS_MAX {
            state.suspects.insert(incarnation);
        }
    }

    /// Those names, since this was asked before.
    pub(super) fn take_suspects(&self) -> BTreeSet<u64> {
        std::mem::take(&mut self.state.lock().suspects)
    }

    /// An incarnation is dead: what it held is taken away everywhere.
    pub(super) fn bury(self: &Arc<Self>, incarnation: u64) {
        {
            let mut state = self.state.lock();
            if state.graves.len() >= GRAVES_MAX || state.graves.contains_key(&incarnation) {
                return;
            }
            state.graves.insert(incarnation, Grave { waiting: Partition::all().collect(), digging: 0 });
        }
        tracing::info!(incarnation = incarnation_name(incarnation), "what a node held is taken away");
        self.dig(incarnation);
    }

    /// Tries again what could not be done. To be called about once a second.
    pub(super) fn tick(self: &Arc<Self>) {
        let graves: Vec<u64> = self.state.lock().graves.keys().copied().collect();
        graves.into_iter().for_each(|incarnation| self.dig(incarnation));
    }

    /// Whether nobody is being buried.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().graves.is_empty()
    }

    fn dig(self: &Arc<Self>, incarnation: u64) {
        loop {
            let partition = {
                let mut state = self.state.lock();
                let Some(grave) = state.graves.get_mut(&incarnation) else { return };
                if grave.digging >= DIGGING_MAX {
                    return;
                }
                let Some(partition) = grave.waiting.pop_front() else { return };
                grave.digging += 1;
                partition
            };
            self.ask(partition, incarnation, 0);
        }
    }

    /// Asks one custodian after the other.
    fn ask(self: &Arc<Self>, partition: Partition, incarnation: u64, turn: usize) {
        let custodian = self.custodians.read().get(turn).map(Arc::clone);
        let Some(custodian) = custodian else { return self.dug(partition, incarnation, true) };
        let custody = Arc::clone(self);
        custodian.bury(
            partition,
            incarnation,
            Box::new(move |is_done| {
                if is_done {
                    custody.ask(partition, incarnation, turn + 1);
                } else {
                    custody.dug(partition, incarnation, false);
                }
            }),
        );
    }

    fn dug(self: &Arc<Self>, partition: Partition, incarnation: u64, is_done: bool) {
        {
            let mut state = self.state.lock();
            let Some(grave) = state.graves.get_mut(&incarnation) else { return };
            grave.digging -= 1;
            if !is_done {
                // Later: what failed now would fail again.
                return grave.waiting.push_back(partition);
            }
            if grave.digging == 0 && grave.waiting.is_empty() {
                state.graves.remove(&incarnation);
                drop(state);
                return self.strike(incarnation);
            }
        }
        self.dig(incarnation);
    }

    /// Nothing is left of it.
    pub(super) fn strike(&self, incarnation: u64) {
        let names = &self.hub.keys;
        let keys = vec![names.single(REGISTRY, NODES), names.single(REGISTRY, NODES_ABOUT)];
        let args = vec![text(&incarnation_name(incarnation))];
        self.hub.run(REGISTRY, &scripts::STRIKE, keys, args, Box::new(|_| {}));
    }

    fn custodians(&self) -> Vec<Arc<dyn Custodian>> {
        self.custodians.read().clone()
    }
}

impl Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Incarnations that are buried at once; others are found dead again.
const GRAVES_MAX: usize = 64;

/// Partitions in which one is buried at once.
const DIGGING_MAX: usize = 32;

/// Unknown names that are remembered from one look to the next.
const SUSPECTS_MAX: usize = 1_024;
