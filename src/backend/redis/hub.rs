//! What all adapters of one node share: the way to Redis, the way to the node's own workers, who the node is.

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::keys::{Keys, Partition};
use super::link::{Doubt, Link, Order, Then};
use super::scripts::Script;
use crate::backend::Sink;
use crate::model::{Counter, Now};

/// Tells the time; the broker's own clock.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// An unguessable number.
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

/// See the module's description.
pub(super) struct Hub {
    pub(super) keys: Keys,
    pub(super) clock: Clock,
    pub(super) random: Random,
    /// What a room's topic begins with: a room lies where its topic does.
    pub(super) topic_prefix: Box<str>,
    link: OnceLock<Arc<dyn Link>>,
    sink: OnceLock<Arc<dyn Sink>>,
    incarnation: AtomicU64,
    pub(super) counted: Counted,
}

/// What came wrong by the bus.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// What was not understood.
    pub(super) unknown: Counter,
    /// Pages that were read of what had not come.
    pub(super) fills: Counter,
    /// Messages out of them.
    pub(super) filled: Counter,
}

impl Hub {
    /// A node that is not connected to anything yet.
    pub(super) fn new(keys: Keys, topic_prefix: &str, clock: Clock, random: Random) -> Self {
        let incarnation = AtomicU64::new(random() as u64 | 1);
        let (link, sink) = (OnceLock::new(), OnceLock::new());
        let topic_prefix = topic_prefix.into();
        Self { keys, clock, random, topic_prefix, link, sink, incarnation, counted: Counted::default() }
    }

    /// The way to Redis, from now on.
    pub(super) fn connect(&self, link: Arc<dyn Link>) {
        let _ = self.link.set(link);
    }

    /// The node's workers, from now on.
    pub(super) fn serve(&self, sink: Arc<dyn Sink>) {
        let _ = self.sink.set(sink);
    }

    /// The way to Redis, once there is one.
    pub(super) fn link(&self) -> Option<&Arc<dyn Link>> {
        self.link.get()
    }

    /// The node's workers, once there are any.
    pub(super) fn sink(&self) -> Option<&Arc<dyn Sink>> {
        self.sink.get()
    }

    /// What the node is called while it lives and holds its lease. Another one after it was taken for dead.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// The node was taken for dead as `fenced`: from now on it is another one. `false` if it is so already.
    pub(super) fn reincarnate(&self, fenced: u64) -> bool {
        let fresh = (self.random)() as u64 | 1;
        self.incarnation.compare_exchange(fenced, fresh, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Where everything of a room lies.
    pub(super) fn partition_of_room(&self, room: &str) -> Partition {
        Partition::of_destination(&format!("{}{room}", self.topic_prefix))
    }

    /// Has a script run that may be repeated, whatever else waits: for what is bounded elsewhere.
    pub(super) fn run(
        &self,
        partition: Partition,
        script: &'static Script,
        keys: Vec<String>,
        args: Vec<Bytes>,
        then: Then,
    ) {
        let order = Order { partition, script, keys, args, doubt: Doubt::Repeat, then };
        match self.link() {
            Some(link) => link.force(order),
            None => (order.then)(Err(super::link::Fault::Unreachable)),
        }
    }

    /// Has a name written that operators read, where it lies apart: in a slot of its own, in no partition.
    pub(super) fn run_apart(&self, key: String, args: Vec<Bytes>, then: Then) {
        // Whose lane it takes is all the same: it is sent on to whoever owns its slot.
        let partition = Partition::of_destination(&key);
        self.run(partition, &super::scripts::presence::VIEW, vec![key], args, then);
    }
}

impl Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("incarnation", &self.incarnation()).finish_non_exhaustive()
    }
}

/// A number as scripts read it.
pub(super) fn number(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}

/// A text as scripts read it.
pub(super) fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// An incarnation as it stands in keys and arguments.
pub(super) fn incarnation_name(incarnation: u64) -> String {
    format!("{incarnation:016x}")
}
