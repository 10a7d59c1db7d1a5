//! Work queues of all nodes.
//!
//! The truth stands in Redis. A node that has consumers with nothing to do takes some messages for them in the name of its
//! incarnation, and hands them out; what nobody takes soon goes back. What becomes of a message that was handed out is
//! told to Redis behind, in order, and repeated until it is done. When a node is dead, what it has comes back as if it had
//! released it: when its incarnation is buried, and never for being slow.
//!
//! ```text
//!  Dispatcher -- take --> at hand   (local.rs: what this node has of each queue)
//!                            ^ |
//!           claim, called -->+ +--> settle, return, bury      (calls.rs: scripts; replies.rs: what they said)
//!                            | v
//!                           Redis <-- put                     (posts.rs: with the wait for somebody who handles it)
//! ```
//!
//! Limits count within one queue exactly. The number of queues is limited in each partition, at twice its share. The bytes of
//! all queues are limited by the memory of Redis alone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use redis::Value;
use stompede_protocol::Millis;

use super::hub::Hub;
use super::journal::{Entry, Ledger};
use super::keys::{Channel, PARTITIONS, Partition};
use super::link::{Doubt, Fault, Order};
use crate::model::{Destination, Limits, Queued};

use batch::Return;
use calls::{Bounds, Call, Caller};
use local::Local;
use posts::Posts;

mod batch;
mod calls;
mod local;
mod port;
mod posts;
mod replies;
mod standing;
mod survey;
#[cfg(test)]
mod tests;
mod time;

pub(super) use port::QueuesPort;

/// The queues, as one node has them.
#[derive(Debug)]
pub(super) struct RedisQueues {
    hub: Arc<Hub>,
    ledger: Arc<Ledger>,
    bounds: Bounds,
    state: Mutex<State>,
    posts: Posts,
    /// Told when a script says that we are taken for dead.
    fenced: OnceLock<Fenced>,
    /// Bytes of the messages that we have.
    bytes: AtomicUsize,
    /// Scripts that have not returned.
    running: AtomicUsize,
}

/// Called with an incarnation that is taken for dead, maybe several times.
pub(super) struct Fenced(pub(super) Box<dyn Fn(u64) + Send + Sync>);

/// Never locked while the link or the sink is called.
#[derive(Debug)]
struct State {
    incarnation: u64,
    queues: HashMap<Destination, Local, RandomState>,
    /// When a partition is to be looked at, milliseconds since the Unix epoch: something comes due there, as far as we know.
    alarms: BTreeMap<Partition, u64>,
    /// Where something is ready that was postponed.
    ripe: Vec<Destination>,
    /// What has expired and is taken by us.
    expired: VecDeque<(Destination, Queued)>,
    /// What has failed and is to be done again, and when.
    repeats: Vec<(Millis, Task)>,
}

/// Something of which Redis is told until it is done.
#[derive(Debug)]
enum Task {
    Settle { queue: Destination, tags: Vec<u64>, entries: Vec<Entry>, call: Call },
    Return { queue: Destination, returned: Vec<Return>, entries: Vec<Entry>, call: Call },
    Bury { queue: Destination, tag: u64, to: Destination, entry: Entry, call: Call },
}

/// What follows from a change of what we have of a queue, done when nothing is locked any more.
#[derive(Debug, Default)]
struct Moves {
    tasks: Vec<Task>,
    claim: Option<Call>,
    listens: bool,
}

impl RedisQueues {
    pub(super) fn new(hub: Arc<Hub>, ledger: Arc<Ledger>, limits: &Limits) -> Self {
        let state = State {
            incarnation: hub.incarnation(),
            queues: HashMap::default(),
            alarms: BTreeMap::new(),
            ripe: Vec::new(),
            expired: VecDeque::new(),
            repeats: Vec::new(),
        };
        Self {
            hub,
            ledger,
            bounds: Bounds::new(limits, PARTITIONS),
            state: Mutex::new(state),
            posts: Posts::default(),
            fenced: OnceLock::new(),
            bytes: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
        }
    }

    /// From now on `fenced` is told when a script says that this node is taken for dead.
    pub(super) fn tell_when_fenced(&self, fenced: Fenced) {
        let _ = self.fenced.set(fenced);
    }

    /// A node is called, for messages of the queue that has the channel.
    pub(super) fn called(self: &Arc<Self>, channel: &Channel, incarnation: u64) {
        let Some(queue) = self.hub.keys.queue_of(channel) else { return };
        let mut pass_on = None;
        self.with(&queue, |caller, local| {
            if caller.incarnation != incarnation {
                return;
            }
            local.stir();
            if local.wanted == 0 {
                pass_on = Some(caller.claim(&queue, 0));
            }
        });
        if let Some(call) = pass_on {
            self.run(call, Doubt::Tell, |_, _| {});
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.running.load(Ordering::Acquire) == 0
    }

    /// Changes what we have of a queue; then does what follows.
    fn with<R>(self: &Arc<Self>, queue: &Destination, change: impl FnOnce(Caller<'_>, &mut Local) -> R) -> R {
        let (result, moves) = {
            let mut state = self.state.lock();
            let State { incarnation, queues, .. } = &mut *state;
            let local = match queues.get_mut(queue) {
                Some(local) => local,
                None => queues.entry(queue.clone()).or_default(),
            };
            self.change(Caller { keys: &self.hub.keys, incarnation: *incarnation }, queue, local, change)
        };
        self.make(queue, moves);
        result
    }

    /// As [`RedisQueues::with`], if we know the queue.
    fn with_known<R>(
        self: &Arc<Self>,
        queue: &Destination,
        change: impl FnOnce(Caller<'_>, &mut Local) -> R,
    ) -> Option<R> {
        let (result, moves) = {
            let mut state = self.state.lock();
            let State { incarnation, queues, .. } = &mut *state;
            let local = queues.get_mut(queue)?;
            self.change(Caller { keys: &self.hub.keys, incarnation: *incarnation }, queue, local, change)
        };
        self.make(queue, moves);
        Some(result)
    }

    fn change<R>(
        &self,
        caller: Caller<'_>,
        queue: &Destination,
        local: &mut Local,
        change: impl FnOnce(Caller<'_>, &mut Local) -> R,
    ) -> (R, Moves) {
        let before = local.bytes();
        let result = change(caller, local);
        let after = local.bytes();
        self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        (result, Moves::of(caller, queue, local))
    }

    fn make(self: &Arc<Self>, queue: &Destination, moves: Moves) {
        let Moves { tasks, claim, listens } = moves;
        tasks.into_iter().for_each(|task| self.do_task(task));
        if listens {
            self.listen(queue);
        }
        if let Some(call) = claim {
            self.claim(queue, call);
        }
    }

    /// Has a script run; `then` is called when nothing is locked.
    fn run(
        self: &Arc<Self>,
        call: Call,
        doubt: Doubt,
        then: impl FnOnce(&Arc<Self>, Result<Value, Fault>) + Send + 'static,
    ) {
        let Call { partition, script, keys, args } = call;
        let this = Arc::clone(self);
        self.running.fetch_add(1, Ordering::AcqRel);
        let then = Box::new(move |reply| {
            then(&this, reply);
            this.running.fetch_sub(1, Ordering::AcqRel);
        });
        let order = Order { partition, script, keys, args, doubt, then };
        match self.hub.link() {
            Some(link) => link.force(order),
            None => (order.then)(Err(Fault::Unreachable)),
        }
    }
}

impl fmt::Debug for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fenced").finish_non_exhaustive()
    }
}

impl Moves {
    /// What follows from how it is now.
    fn of(caller: Caller<'_>, queue: &Destination, local: &mut Local) -> Self {
        let mut moves = Self::default();
        if let Some((tags, entries)) = local.next_settled() {
            let call = caller.settle(queue, &tags);
            moves.tasks.push(Task::Settle { queue: queue.clone(), tags, entries, call });
        }
        if let Some((returned, entries)) = local.next_returned() {
            let call = caller.give_back(queue, &returned);
            moves.tasks.push(Task::Return { queue: queue.clone(), returned, entries, call });
        }
        if let Some(wanted) = local.begin_search() {
            moves.claim = Some(caller.claim(queue, wanted.min(CLAIM_MAX)));
        }
        moves.listens = local.begin_to_listen();
        moves
    }
}

/// Messages that are taken at once: as much as two nodes may differ in what they have of a queue.
const CLAIM_MAX: usize = 64;
