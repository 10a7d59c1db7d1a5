//! What this node listens to: a channel for each destination that somebody here wants, or all of a partition where somebody
//! wants patterns.
//!
//! A channel is left some time after its last subscriber, so that a page that is loaded again does not cost the cluster
//! anything. Where a partition is heard as a whole its single channels are given up: what is published comes twice in one
//! script, to the one and to the other, so that the change between them, which happens where the confirmation stands among
//! the messages, neither loses nor doubles any.
//!
//! ```text
//!  Singles --- patterns wanted ---> Asking --- confirmed ---> All
//!     ^                                                         |
//!     +------ all singles confirmed --- Leaving <--- unwanted --+
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use smallvec::SmallVec;
use stompede_protocol::Millis;

use super::hub::Hub;
use super::keys::{Channel, PARTITIONS, Partition};
use super::link::Fault;
use crate::model::Destination;

/// Called when a destination is heard.
pub(super) type Ready = Box<dyn FnOnce(Result<(), Fault>) + Send>;

/// What this node listens to.
#[derive(Debug)]
pub(super) struct Interest {
    hub: Arc<Hub>,
    parts: Box<[Part]>,
    /// Destinations that nobody wanted any more, and when that is to be believed.
    leaving: Mutex<VecDeque<(Millis, Option<Destination>)>>,
    /// What the node itself wants: no more than one for each user with sessions.
    held: Mutex<HashSet<Destination, RandomState>>,
}

#[derive(Debug, Default)]
struct Part {
    /// Held while the link is told, so that it is told in order; never locked by what the link calls.
    order: Mutex<()>,
    state: Mutex<State>,
    /// Everything of the partition is heard: its single channels say nothing new.
    is_whole: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    channels: HashMap<Arc<str>, Single, RandomState>,
    whole: Whole,
}

/// One channel.
#[derive(Debug)]
struct Single {
    channel: Channel,
    /// What is wanted of it.
    destinations: SmallVec<[Destination; 1]>,
    is_heard: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Whole {
    #[default]
    Singles,
    Asking,
    All,
    /// So many single channels are not confirmed yet.
    Leaving(usize),
}

impl Interest {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let parts = (0..PARTITIONS).map(|_| Part::default()).collect();
        Self { hub, parts, leaving: Mutex::default(), held: Mutex::default() }
    }

    /// Somebody here wants `destination`; `ready` is called when it is heard. `true` if it is already, and `ready` is not
    /// called.
    pub(super) fn listen(
        self: &Arc<Self>,
        destination: &Destination,
        ready: impl FnOnce() -> Option<Ready>,
    ) -> bool {
        let channel = self.hub.keys.channel(destination.as_str());
        let part = self.part(channel.partition);
        let is_healthy = self.hub.link().is_some_and(|link| link.health().is_ok());
        let _order = part.order.lock();
        {
            let mut state = part.state.lock();
            let is_whole = state.whole == Whole::All;
            let single = state.channels.entry(Arc::clone(&channel.name)).or_insert_with(|| Single {
                channel: channel.clone(),
                destinations: SmallVec::new(),
                is_heard: false,
            });
            if !single.destinations.contains(destination) {
                single.destinations.push(destination.clone());
            }
            if is_healthy && (single.is_heard || is_whole) {
                return true;
            }
            if is_whole {
                drop(state);
                // The partition's own channel is what has to be heard.
                self.ask(&self.hub.keys.star(channel.partition), ready());
                return false;
            }
        }
        let interest = Arc::clone(self);
        let (partition, name) = (channel.partition, Arc::clone(&channel.name));
        let ready = ready();
        let then: Ready = Box::new(move |heard| {
            if heard.is_ok() {
                interest.confirmed(partition, &name);
            }
            ready.into_iter().for_each(|ready| ready(heard.clone()));
        });
        self.ask(&channel, Some(then));
        false
    }

    /// This node itself wants `destination`, which no client can name, until [`Interest::release`].
    pub(super) fn hold(self: &Arc<Self>, destination: &Destination) {
        self.held.lock().insert(destination.clone());
        self.listen(destination, || None);
    }

    /// It does so no more.
    pub(super) fn release(&self, destination: &Destination) {
        self.held.lock().remove(destination);
        self.unlisten(Some(destination));
    }

    /// Somebody here wants patterns; `ready` is called when every partition is heard as a whole, or one is not. `true` if
    /// they are already, and `ready` is not called.
    pub(super) fn listen_all(self: &Arc<Self>, ready: impl FnOnce() -> Option<Ready>) -> bool {
        let is_healthy = self.hub.link().is_some_and(|link| link.health().is_ok());
        if is_healthy && self.parts.iter().all(|part| part.state.lock().whole == Whole::All) {
            return true;
        }
        let ready = ready();
        let left = Arc::new(AtomicUsize::new(PARTITIONS));
        let ready = Arc::new(Mutex::new(ready));
        for partition in Partition::all() {
            let part = self.part(partition);
            let _order = part.order.lock();
            {
                let mut state = part.state.lock();
                if state.whole != Whole::All {
                    state.whole = Whole::Asking;
                }
            }
            let (interest, left, ready) = (Arc::clone(self), Arc::clone(&left), Arc::clone(&ready));
            let then: Ready = Box::new(move |heard| {
                if heard.is_ok() {
                    interest.is_whole(partition);
                }
                let is_last = left.fetch_sub(1, Ordering::AcqRel) == 1;
                if is_last || heard.is_err() {
                    ready.lock().take().into_iter().for_each(|ready| ready(heard.clone()));
                }
            });
            self.ask(&self.hub.keys.star(partition), Some(then));
        }
        false
    }

    /// The last one here who wanted it has gone; `None` for patterns. What is wanted again meanwhile stays.
    pub(super) fn unlisten(&self, destination: Option<&Destination>) {
        let due = (self.hub.clock)().mono.after(LINGER_MS);
        self.leaving.lock().push_back((due, destination.cloned()));
    }

    /// Leaves what nobody has wanted for a while. To be called several times a second.
    pub(super) fn tick(self: &Arc<Self>, now: Millis) {
        loop {
            let next = self.leaving.lock().pop_front_if(|(due, _)| *due <= now);
            match next {
                Some((_, Some(destination))) => self.leave(&destination),
                Some((_, None)) => self.leave_all(),
                None => return,
            }
        }
    }

    /// Whether what comes on this channel is new: a partition is heard either as a whole or by its single channels.
    pub(super) fn is_news(&self, channel: &Channel) -> bool {
        let is_whole = self.part(channel.partition).is_whole.load(Ordering::Acquire);
        is_whole == self.hub.keys.is_star(channel)
    }

    /// Whether the partition is heard as a whole, for the sake of patterns.
    pub(super) fn hears_all_of(&self, partition: Partition) -> bool {
        self.part(partition).is_whole.load(Ordering::Acquire)
    }

    /// Calls `act` with everything that is wanted in the partition, by name.
    pub(super) fn for_each(&self, partition: Partition, mut act: impl FnMut(&Destination)) {
        let mut wanted: Vec<Destination> = {
            let state = self.part(partition).state.lock();
            state.channels.values().flat_map(|single| &single.destinations).cloned().collect()
        };
        wanted.sort_unstable();
        wanted.iter().for_each(&mut act);
    }

    /// Channels.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.state.lock().channels.len()).sum()
    }

    fn leave(&self, destination: &Destination) {
        let channel = self.hub.keys.channel(destination.as_str());
        let part = self.part(channel.partition);
        let _order = part.order.lock();
        {
            let mut state = part.state.lock();
            let Some(single) = state.channels.get_mut(&channel.name) else { return };
            // Whoever came meanwhile is in the directory already, or will be added here behind us.
            single.destinations.retain(|wanted| {
                self.held.lock().contains(wanted)
                    || self.hub.sink().is_some_and(|sink| sink.is_wanted(wanted))
            });
            if !single.destinations.is_empty() {
                return;
            }
            state.channels.remove(&channel.name);
            if state.whole == Whole::All {
                return;
            }
        }
        self.hub.link().into_iter().for_each(|link| link.unlisten(&channel));
    }

    fn leave_all(self: &Arc<Self>) {
        if self.hub.sink().is_some_and(|sink| sink.wants_patterns()) {
            return;
        }
        for partition in Partition::all() {
            let part = self.part(partition);
            let _order = part.order.lock();
            let singles: Vec<Channel> = {
                let mut state = part.state.lock();
                if state.whole != Whole::All {
                    continue;
                }
                state.whole = Whole::Leaving(state.channels.len());
                state.singles()
            };
            if singles.is_empty() {
                self.is_left(partition);
            }
            for channel in singles {
                let interest = Arc::clone(self);
                let name = Arc::clone(&channel.name);
                let then: Ready = Box::new(move |heard| {
                    if heard.is_ok() {
                        interest.confirmed(partition, &name);
                    }
                    interest.one_more_is_heard(partition);
                });
                self.ask(&channel, Some(then));
            }
        }
    }

    fn one_more_is_heard(&self, partition: Partition) {
        let is_last = {
            let mut state = self.part(partition).state.lock();
            let Whole::Leaving(left) = &mut state.whole else { return };
            *left = left.saturating_sub(1);
            *left == 0
        };
        if is_last {
            self.is_left(partition);
        }
    }

    /// The single channels say it all again.
    fn is_left(&self, partition: Partition) {
        let part = self.part(partition);
        part.state.lock().whole = Whole::Singles;
        part.is_whole.store(false, Ordering::Release);
        self.hub.link().into_iter().for_each(|link| link.unlisten(&self.hub.keys.star(partition)));
    }

    fn is_whole(&self, partition: Partition) {
        let part = self.part(partition);
        let singles: Vec<Channel> = {
            let mut state = part.state.lock();
            if state.whole == Whole::All {
                return;
            }
            state.whole = Whole::All;
            part.is_whole.store(true, Ordering::Release);
            state.channels.values_mut().for_each(|single| single.is_heard = false);
            state.singles()
        };
        for channel in singles {
            self.hub.link().into_iter().for_each(|link| link.unlisten(&channel));
        }
    }

    fn confirmed(&self, partition: Partition, name: &str) {
        if let Some(single) = self.part(partition).state.lock().channels.get_mut(name) {
            single.is_heard = true;
        }
    }

    fn ask(&self, channel: &Channel, then: Option<Ready>) {
        match self.hub.link() {
            Some(link) => link.listen(channel.clone(), then),
            None => then.into_iter().for_each(|then| then(Err(Fault::Unreachable))),
        }
    }

    fn part(&self, partition: Partition) -> &Part {
        &self.parts[usize::from(partition.0)]
    }
}

impl State {
    /// All single channels, by name: what is told to Redis has an order of its own, whatever the seed of the map.
    fn singles(&self) -> Vec<Channel> {
        let mut singles: Vec<Channel> = self.channels.values().map(|single| single.channel.clone()).collect();
        singles.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        singles
    }
}

/// A channel that nobody wants is kept so long, milliseconds: a page that is loaded again is back before.
const LINGER_MS: u64 = 2_000;
