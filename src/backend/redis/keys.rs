//! Names of all keys and channels.
//!
//! Everything of a destination, a room or a user lies in one of 256 *partitions*, and so in one slot of a Redis Cluster: each
//! name carries the tag `{pXX}`. Only so can a script that stores a message publish it too.
//!
//! ```text
//!  websocket:{p3f}:c:/topic/chat/42        channel of a destination
//!  websocket:{p3f}:u:alice                 channel of all queues of a user
//!  websocket:{p3f}:n:00d1...               channel of all reply addresses of a node
//!  websocket:{p3f}:*                       channel of everything in the partition, for those who want patterns
//!  websocket:{p3f}:<family>:<name>         a key
//! ```

use std::fmt;
use std::sync::Arc;

use crate::model::Destination;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

pub(super) mod presence;

/// Number of partitions. Never changed: a key's place follows from it.
pub(super) const PARTITIONS: usize = 256;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub(super) u8);

impl Partition {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// Where a destination lies: a user's queues with the user, a room's events with the room, a queue with its dead letters.
    pub(super) fn of_destination(name: &str) -> Self {
        if let Some(rest) = name.strip_prefix("/user/") {
            return Self::of_user(rest.split('/').next().unwrap_or(rest));
        }
        if is_reply(name) {
            return Self::of_text(node_of(name));
        }
        if let Some(rest) = name.strip_prefix("/queue/").or_else(|| name.strip_prefix("/app/")) {
            return Self::of_text(rest.strip_prefix("dlq.").unwrap_or(rest));
        }
        Self::of_text(name.strip_suffix("/events").unwrap_or(name))
    }

    /// Where everything of a user lies; `encoded` as it stands in his destinations.
    pub(super) fn of_user(encoded: &str) -> Self {
        Self::of_text(encoded)
    }

    fn of_text(text: &str) -> Self {
        Self(xxh3_64(text.as_bytes()) as u8)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{p{:02x}}}", self.0)
    }
}

/// A channel of Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Channel {
    /// Its partition.
    pub partition: Partition,
    /// Its whole name.
    pub name: Arc<str>,
}

/// What belongs to a work queue.
#[derive(Debug, Clone)]
pub(super) struct QueueKeys {
    /// Where it lies.
    pub(super) partition: Partition,
    /// Keys that all queues of the partition share, as `queue.lua` has them.
    pub(super) of_all: [String; 2],
    /// Its own keys, as `queue.lua` has them.
    pub(super) own: [String; 7],
    /// Its channel: here nodes are called that wait for messages.
    pub(super) channel: Channel,
}

/// Makes names.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// Names that begin with `prefix`.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// A key of a family, in a partition.
    pub(super) fn key(&self, partition: Partition, family: &str, name: &str) -> String {
        format!("{}{partition}:{family}:{name}", self.prefix)
    }

    /// A key of which there is one in a partition.
    pub(super) fn single(&self, partition: Partition, family: &str) -> String {
        format!("{}{partition}:{family}", self.prefix)
    }

    /// The channel of a destination: its own, or its user's.
    pub(super) fn channel(&self, destination: &str) -> Channel {
        let partition = Partition::of_destination(destination);
        let name = match destination.strip_prefix("/user/") {
            Some(rest) => self.key(partition, "u", rest.split('/').next().unwrap_or(rest)),
            None if is_reply(destination) => self.key(partition, "n", node_of(destination)),
            None => self.key(partition, "c", destination),
        };
        Channel { partition, name: name.into() }
    }

    /// The channel of all reply addresses of a node.
    pub(super) fn replies(&self, node: u64) -> Channel {
        self.channel(&format!("{REPLY_PREFIX}{node:016x}"))
    }

    /// The channel of orders to all nodes.
    pub(super) fn control(&self) -> Channel {
        let partition = Partition::of_text("control");
        Channel { partition, name: self.single(partition, "control").into() }
    }

    /// Where it stands which tokens are revoked, and where it lies: with the channel of orders.
    pub(super) fn revoked(&self) -> (Partition, [String; 3]) {
        let partition = Partition::of_text("control");
        (
            partition,
            ["revoked", "revoked-order", "revoked-until"].map(|family| self.single(partition, family)),
        )
    }

    /// Where it stands who has claimed a name.
    pub(super) fn claim(&self, name: &str) -> (Partition, String) {
        let partition = Partition::of_text(name);
        (partition, self.key(partition, "s", name))
    }

    /// The channel of everything in a partition.
    pub(super) fn star(&self, partition: Partition) -> Channel {
        Channel { partition, name: self.single(partition, "*").into() }
    }

    /// Whether it is such a channel. Every other name is longer.
    pub(super) fn is_star(&self, channel: &Channel) -> bool {
        channel.name.len() == self.prefix.len() + STAR_BYTES
    }

    /// Where it is noted that a message with that idempotency key was accepted.
    pub(super) fn idempotency(
        &self,
        partition: Partition,
        destination: &str,
        user: &str,
        key: &str,
    ) -> String {
        // Lengths between, so that no two triples are written alike.
        let said = format!("{} {} {destination}{user}{key}", destination.len(), user.len());
        self.key(partition, "idem", &format!("{:032x}", xxh3_128(said.as_bytes())))
    }

    /// What belongs to a work queue.
    pub(super) fn queue(&self, queue: &str) -> QueueKeys {
        let partition = Partition::of_destination(queue);
        let of_all = ["queues", "queue-alarms"].map(|family| self.single(partition, family));
        let own = ["q", "qm", "qr", "qo", "qt", "qa", "qw"].map(|family| self.key(partition, family, queue));
        let channel = Channel { partition, name: self.key(partition, "w", queue).into() };
        QueueKeys { partition, of_all, own, channel }
    }

    /// The queue that has the channel.
    pub(super) fn queue_of(&self, channel: &Channel) -> Option<Destination> {
        let name = channel.name.get(self.prefix.len() + QUEUE_CHANNEL_BYTES..)?;
        name.starts_with('/').then(|| Destination::internal(name))
    }

    /// When something happens in the queues of a partition.
    pub(super) fn queue_alarms(&self, partition: Partition) -> String {
        self.single(partition, "queue-alarms")
    }

    /// The queues of a partition where an incarnation of a node may have messages.
    pub(super) fn queues_of(&self, partition: Partition, incarnation: &str) -> String {
        self.key(partition, "qi", incarnation)
    }

    /// What an incarnation of a node has put into queues of a partition.
    pub(super) fn queue_sent(&self, partition: Partition, incarnation: &str) -> String {
        self.key(partition, "qs", incarnation)
    }

    /// A name that operators may read, without a tag.
    pub(super) fn view(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Whether it is a reply address: they lie where their node does.
pub(super) fn is_reply(destination: &str) -> bool {
    destination.starts_with(REPLY_PREFIX)
}

/// The node that has made a reply address.
fn node_of(reply: &str) -> &str {
    let token = reply.strip_prefix(REPLY_PREFIX).unwrap_or(reply);
    token.get(..NODE_NAME_BYTES).unwrap_or(token)
}

const REPLY_PREFIX: &str = "/reply-queue/";

/// Hexadecimal digits of a node's number.
const NODE_NAME_BYTES: usize = 16;

/// A tag, a colon and a star.
const STAR_BYTES: usize = "{p00}:*".len();

/// What stands before the name of a queue in that of its channel, beside the prefix.
const QUEUE_CHANNEL_BYTES: usize = "{p00}:w:".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_lies_together() {
        let place = Partition::of_destination;
        assert_eq!(place("/topic/chat/42"), place("/topic/chat/42/events"));
        assert_eq!(place("/user/al%2Fice/queue/a"), place("/user/al%2Fice/queue/b/c"));
        assert_eq!(place("/queue/jobs"), place("/queue/dlq.jobs"));
        assert_eq!(place("/queue/jobs"), place("/app/jobs"));
        assert_eq!(Partition::of_user("alice"), place("/user/alice/queue/a"));
    }

    #[test]
    fn only_the_channel_of_all_is_one() {
        let keys = Keys::new("websocket:");
        assert!(keys.is_star(&keys.star(Partition(7))));
        for name in ["/topic/a", "/user/a/queue/b", "/user/*/queue/b", "/t"] {
            assert!(!keys.is_star(&keys.channel(name)), "{name}");
        }
        assert_eq!(&*keys.channel("/user/bob/queue/a").name, &*keys.channel("/user/bob/queue/b").name);
    }

    #[test]
    fn partitions_never_change_their_places() {
        // What other versions have written is found by them.
        let places: Vec<u8> = ["/topic/a", "/topic/chat/42", "/user/alice/queue/x", "/queue/jobs"]
            .map(|name| Partition::of_destination(name).0)
            .into();
        assert_eq!(places, [213, 138, 176, 15]);
    }
}
