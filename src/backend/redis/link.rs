//! What the adapters ask of Redis, and what it tells them: orders (scripts that are run) and channels (what is heard).
//!
//! ```text
//!  adapters --- Order ---> Link ==== connections ====> Redis
//!     ^                     |                            |
//!     +-- then(Value) ------+<======== replies ==========+
//!     +-- Ears::hear -------+<======== pushes ===========+
//! ```
//!
//! Which server, whether it lives, what is sent again: that is the link's affair alone. An adapter knows partitions.
//!
//! ```text
//!  line        what all share, behind one lock:
//!                lanes (orders) · channels · servers · ownership (which server owns which partition)
//!  commands    one server's connection for orders       }  keep dials them, again and again
//!  bus         one server's connection for channels     }  over dial · pipe
//!  canary      proves that both carry, each second
//!  sentinel    where the primary is · cluster   which server owns what
//!  vitals      how all of that is, in figures
//!  driver      the future in which all of that runs · check   once, before the broker starts
//! ```

use std::collections::BTreeSet;
use std::fmt::{self, Debug};

use bytes::Bytes;
use redis::Value;

use crate::model::{Full, WorkerId};

mod bus;
mod calls;
mod canary;
mod channels;
mod check;
mod cluster;
mod commands;
mod dial;
mod driver;
mod keep;
mod lanes;
mod line;
mod options;
mod ownership;
mod patience;
mod pipe;
mod port;
mod replies;
mod sentinel;
mod servers;
#[cfg(test)]
mod tests;
mod vitals;

pub use check::{StartError, check};
pub(super) use driver::open;
#[cfg(test)]
pub(super) use line::Line;
pub use options::{Options, OptionsError};
pub use vitals::Vitals;

pub use super::keys::{Channel, Partition};
pub use super::scripts::Script;

/// The way to Redis. [`Redis::open`](super::Redis::open) makes one that dials, [`Redis::on`](super::Redis::on) takes any other.
pub trait Link: Send + Sync + Debug {
    /// Sends an order behind everything that was given before for the same partition. While Redis cannot be reached it
    /// waits, [`HOLD_MS`] at most.
    ///
    /// # Errors
    /// So much waits already that there is no room; the order comes back. `from`, if any, is told when there is
    /// ([`Ears::room`]).
    fn send(&self, order: Order, from: Option<WorkerId>) -> Result<(), Order>;

    /// As [`Link::send`], room or not: for what is bounded elsewhere.
    fn force(&self, order: Order);

    /// From now on what is published to `channel` is wanted, until [`Link::unlisten`]: the link subscribes again, without end,
    /// wherever the channel's server goes. `then` is called when everything that is published after that moment will be
    /// heard, between the calls of [`Ears::hear`] where it belongs; with a fault if that has not come about within
    /// [`HOLD_MS`], though the channel stays wanted. Called for a channel that is listened to already, it only waits for
    /// its confirmation.
    fn listen(&self, channel: Channel, then: Option<Heard>);

    /// The channel is not wanted any more.
    fn unlisten(&self, channel: &Channel);

    /// Whether everything that is wanted is proven to come through.
    ///
    /// # Errors
    /// Why it is not, in words for an operator.
    fn health(&self) -> Result<(), String>;

    /// No order is taken any more; what waits is sent, for a second at most.
    fn close(&self);

    /// The same in figures; nothing where there is nothing to measure.
    fn vitals(&self) -> Vitals {
        Vitals::default()
    }

    /// Whether partitions lie on several servers, so that what has no partition lies apart from them.
    fn is_clustered(&self) -> bool;
}

/// Whoever hears what is published. Called by one thread, never at once by two for one partition, and must not block.
pub trait Ears: Send + Sync + Debug {
    /// A message of a channel, in the order in which Redis has published them.
    ///
    /// # Errors
    /// It was not taken, since a worker's inbox is full. The link reads nothing more from that connection and offers it
    /// again, [`FULL_MS_MAX`] at most; then it drops the message and calls [`Ears::missed`].
    fn hear(&self, channel: &Channel, payload: &Bytes) -> Result<(), Full>;

    /// Channels of these partitions were not heard for a while. They will be from now on, and when all of them are confirmed
    /// again [`Ears::missed`] is called: what is heard meanwhile may stand behind something that was not.
    fn interrupted(&self, partitions: &BTreeSet<Partition>);

    /// Something that was published to channels of these partitions may not have been heard: the connection was lost, and
    /// has been replaced, all channels being confirmed again; or nobody took it. Called once for all that is missed together.
    fn missed(&self, partitions: &BTreeSet<Partition>);

    /// Orders have room again.
    fn room(&self, worker: WorkerId);

    /// Redis can be reached again, or could not be asked for a while: what the adapters hold must be compared with what
    /// stands there.
    fn reunited(&self);
}

/// A script to be run.
pub struct Order {
    /// Where its keys lie.
    pub partition: Partition,
    /// What is to be done.
    pub script: &'static Script,
    /// `KEYS`, all of the partition, and keys alone: a channel goes into `args`. While a slot of a cluster is on the move, an
    /// order with several keys waits until all of them have arrived, and one that does not exist arrives last. An order without
    /// keys is done by the owner of the partition, where its channels are heard.
    pub keys: Vec<String>,
    /// `ARGV` after the first, which is the link's own: the replication id of the server that it dialled, as that server has
    /// told it, by which a script knows whether the primary is still the one that acknowledged what came before.
    pub args: Vec<Bytes>,
    /// What to do where nobody knows whether it was done.
    pub doubt: Doubt,
    /// Hears how it ended. Called exactly once, by a thread of the link, and must not block.
    pub then: Then,
}

/// What becomes of an order that was sent and whose connection was lost before the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It is sent again, in its place: twice is as good as once.
    Repeat,
    /// It is not: [`Fault::Unknown`].
    Tell,
}

/// Called with the reply.
pub type Then = Box<dyn FnOnce(Result<Value, Fault>) + Send>;

/// Called when a channel is confirmed.
pub type Heard = Box<dyn FnOnce(Result<(), Fault>) + Send>;

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It was not done, and will not be: Redis could not be reached for long, or a slot was on the move and a later order about
    /// the same keys was done first.
    #[error("Redis cannot be reached")]
    Unreachable,
    /// It may have been done: the connection was lost before the reply, or too few replicas have acknowledged it.
    #[error("nobody knows whether Redis has done it for good")]
    Unknown,
    /// Redis, or the script, refuses it: code and text as it said them.
    #[error("Redis says {code}: {text}")]
    Refused {
        /// The first word of the error.
        code: String,
        /// The rest.
        text: String,
    },
}

impl Order {
    /// Whether its key lies in no partition, but in a slot of its own.
    pub(super) fn is_apart(&self) -> bool {
        self.keys.first().is_some_and(|key| !key.contains(&self.partition.to_string()))
    }

    /// Bytes that it takes while it waits, roughly.
    pub(super) fn cost_bytes(&self) -> usize {
        let texts: usize = self.keys.iter().map(String::len).sum();
        let args: usize = self.args.iter().map(Bytes::len).sum();
        size_of::<Self>() + texts + args + ARGUMENT_BYTES * (self.keys.len() + self.args.len())
    }
}

impl Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("script", &self.script.name)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

/// An order, or a channel to be confirmed, waits so long for Redis, milliseconds.
pub const HOLD_MS: u64 = 10_000;

/// A full inbox keeps a connection from being read so long, milliseconds.
pub const FULL_MS_MAX: u64 = 1_000;

/// Orders that may wait or be on their way.
pub(super) const ORDERS_MAX: usize = 16_384;

/// Bytes of those orders.
pub(super) const ORDER_BYTES_MAX: usize = 32 << 20;

/// What an argument costs beside its bytes.
const ARGUMENT_BYTES: usize = 32;
