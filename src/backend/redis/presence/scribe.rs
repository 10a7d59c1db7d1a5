//! Writes orders: which keys a script of presence gets, and which arguments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::backend::Status;
use crate::backend::memory::Standing;
use crate::backend::redis::hub::{Hub, incarnation_name, number, text};
use crate::backend::redis::keys::Partition;
use crate::backend::redis::keys::presence::{
    ARRIVALS, CHANNELS, PEOPLE, PRESENCE_DUE, PRESENCE_MARKS, ROWS, ROWS_OF, STATE, encode,
};
use crate::backend::redis::link::Then;
use crate::backend::redis::scripts::Script;
use crate::backend::redis::scripts::presence as scripts;

use super::PresenceOptions;
use super::ledger::{Place, Tone};
use super::words::Known;

/// See the module's description.
#[derive(Debug)]
pub(in crate::backend::redis) struct Scribe {
    hub: Arc<Hub>,
    /// What stands before and after a room's name in the channel of its events.
    events: Option<(Bytes, Bytes)>,
    /// With which number messages of this node begin.
    node: u64,
    serial: AtomicU64,
    linger_ms: u64,
    /// Whether edges of rooms are noted.
    edges: bool,
}

/// A script with what it needs.
pub(super) struct Draft {
    partition: Partition,
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<Bytes>,
}

impl Scribe {
    /// Writes for a node.
    pub(in crate::backend::redis) fn new(hub: Arc<Hub>, options: &PresenceOptions) -> Self {
        let events = options.events.as_ref().map(|suffix| {
            let prefix = format!("{CHANNELS}:{}", hub.topic_prefix);
            (Bytes::from(prefix), text(suffix))
        });
        let node = (hub.random)() as u64;
        Self {
            hub,
            events,
            node,
            serial: AtomicU64::new(1),
            linger_ms: options.linger_ms,
            edges: options.edges,
        }
    }

    /// Has it run.
    pub(super) fn send(&self, draft: Draft, then: Then) {
        let Draft { partition, script, keys, args } = draft;
        self.hub.run(partition, script, keys, args, then);
    }

    pub(super) fn row(
        &self,
        incarnation: u64,
        Place { room, user }: &Place,
        (standing, tone): (Standing, Tone),
        known: &Known,
    ) -> Draft {
        let partition = self.hub.partition_of_room(room);
        let (room, user) = (encode(room), encode(user));
        let names = &self.hub.keys;
        let mut keys = vec![
            names.single(partition, STATE),
            names.key(partition, ROWS, &room),
            names.key(partition, ARRIVALS, &room),
            names.key(partition, ROWS_OF, &incarnation_name(incarnation)),
        ];
        self.push_views(partition, &mut keys, || [names.room_users(&room), names.user_rooms(&user)]);
        let mut args = self.common(partition, incarnation, 1);
        args.extend([text(&room), text(&user)]);
        let aloud = if tone == Tone::Aloud { "1" } else { "0" };
        let script = match standing {
            Standing::Absent => {
                args.push(text(aloud));
                &scripts::LEAVE
            }
            Standing::Present | Standing::Broken => {
                let cell = if standing == Standing::Present { "+" } else { "~" };
                args.extend([text(cell), number(known.serial), text(&known.text), text(aloud)]);
                &scripts::ENTER
            }
        };
        Draft { partition, script, keys, args }
    }

    pub(super) fn user(&self, incarnation: u64, user: &str, known: Option<&Known>) -> Draft {
        let partition = Partition::of_user_named(user);
        let user = encode(user);
        let names = &self.hub.keys;
        let mut keys = vec![
            names.single(partition, STATE),
            names.single(partition, PEOPLE),
            names.key(partition, ROWS_OF, &incarnation_name(incarnation)),
            names.single(partition, PRESENCE_DUE),
        ];
        self.push_views(partition, &mut keys, || [names.online_users(), names.user_status(&user)]);
        let mut args = self.common(partition, incarnation, 1);
        args.push(text(&user));
        let script = match known {
            None => &scripts::END,
            Some(known) => {
                args.extend([number(known.serial), number(known.until_ms), text(&known.text)]);
                &scripts::BEGIN
            }
        };
        Draft { partition, script, keys, args }
    }

    pub(super) fn say(&self, incarnation: u64, user: &str, status: Option<&Status>) -> Draft {
        let partition = Partition::of_user_named(user);
        let name = encode(user);
        let names = &self.hub.keys;
        let mut keys = vec![
            names.single(partition, STATE),
            names.single(partition, PEOPLE),
            names.single(partition, PRESENCE_DUE),
        ];
        self.push_views(partition, &mut keys, || [names.online_users(), names.user_status(&name)]);
        let mut args = self.common(partition, incarnation, 1);
        let now = (self.hub.clock)().mono;
        let ttl_ms =
            status.and_then(|status| status.until).map_or(0, |until| until.0.saturating_sub(now.0).max(1));
        args.extend([text(&name), status.map_or(Bytes::new(), |status| text(&status.text)), number(ttl_ms)]);
        Draft { partition, script: &scripts::SAY, keys, args }
    }

    pub(super) fn members(&self, room: &str, after: u64, count: usize) -> Draft {
        let partition = self.hub.partition_of_room(room);
        let room = encode(room);
        let names = &self.hub.keys;
        let keys = vec![
            names.single(partition, STATE),
            names.key(partition, ROWS, &room),
            names.key(partition, ARRIVALS, &room),
        ];
        let mut args = self.common(partition, self.hub.incarnation(), 0);
        args.extend([number(after), number(count as u64)]);
        Draft { partition, script: &scripts::MEMBERS, keys, args }
    }

    pub(super) fn audit(&self, incarnation: u64, partition: Partition, cursor: &str) -> Draft {
        let names = &self.hub.keys;
        let keys = vec![
            names.single(partition, STATE),
            names.key(partition, ROWS_OF, &incarnation_name(incarnation)),
        ];
        let mut args = self.common(partition, incarnation, 0);
        args.extend([text(cursor), number(AUDITED)]);
        Draft { partition, script: &scripts::AUDIT, keys, args }
    }

    pub(super) fn bury(&self, partition: Partition, incarnation: u64, rows: u64) -> Draft {
        let names = &self.hub.keys;
        let name = incarnation_name(incarnation);
        let keys = vec![
            names.single(partition, STATE),
            names.single(partition, PEOPLE),
            names.key(partition, ROWS_OF, &name),
            names.single(partition, PRESENCE_DUE),
            names.single(partition, PRESENCE_MARKS),
        ];
        let mut args = self.common(partition, self.hub.incarnation(), rows);
        args.extend([text(&name), number(rows)]);
        Draft { partition, script: &scripts::BURY, keys, args }
    }

    pub(super) fn retire(&self, partition: Partition, incarnation: u64) -> Draft {
        let names = &self.hub.keys;
        let keys = vec![
            names.single(partition, STATE),
            names.key(partition, ROWS_OF, &incarnation_name(incarnation)),
            names.single(partition, PRESENCE_DUE),
        ];
        let mut args = self.common(partition, incarnation, 0);
        args.push(number(self.linger_ms));
        Draft { partition, script: &scripts::RETIRE, keys, args }
    }

    /// `limits` as the script has them, from the first on.
    pub(super) fn sweep(&self, partition: Partition, rows: u64, limits: &[u64]) -> Draft {
        let names = &self.hub.keys;
        let keys = vec![
            names.single(partition, STATE),
            names.single(partition, PEOPLE),
            names.single(partition, PRESENCE_DUE),
            names.single(partition, PRESENCE_MARKS),
        ];
        // Each row that goes, and each status that ends, is told.
        let mut args = self.common(partition, self.hub.incarnation(), rows + DUE_MAX);
        args.push(number(rows));
        args.extend(limits.iter().copied().map(number));
        Draft { partition, script: &scripts::SWEEP, keys, args }
    }

    pub(super) fn settle(&self, partition: Partition, marks: impl Iterator<Item = Bytes>) -> Draft {
        let names = &self.hub.keys;
        let keys = vec![
            names.single(partition, STATE),
            names.single(partition, PRESENCE_MARKS),
            names.single(partition, PRESENCE_DUE),
        ];
        let mut args = self.common(partition, self.hub.incarnation(), 0);
        args.push(number(AGAIN_MS));
        args.extend(marks);
        Draft { partition, script: &scripts::SETTLE, keys, args }
    }

    pub(super) fn told(&self, partition: Partition, edge: Bytes) -> Draft {
        let names = &self.hub.keys;
        let keys = vec![names.single(partition, STATE), names.single(partition, PRESENCE_DUE)];
        let mut args = self.common(partition, self.hub.incarnation(), 0);
        args.push(edge);
        Draft { partition, script: &scripts::TOLD, keys, args }
    }

    /// What every script of presence is told first; `messages` may be published by it.
    fn common(&self, partition: Partition, incarnation: u64, messages: u64) -> Vec<Bytes> {
        let (before, after) = self.events.clone().unwrap_or_default();
        let views = if self.is_apart() { String::new() } else { self.hub.keys.views() };
        let mut args = Vec::with_capacity(16);
        args.extend([
            Bytes::from(incarnation_name(incarnation)),
            Bytes::from(self.hub.keys.base(partition)),
            Bytes::from(views),
            before,
            after,
            Bytes::copy_from_slice(&self.node.to_be_bytes()),
            number(self.serial.fetch_add(messages, Ordering::Relaxed)),
            number((self.hub.clock)().wall_ms),
            number(self.linger_ms),
            text(if self.edges { "1" } else { "0" }),
        ]);
        args
    }

    fn push_views(&self, partition: Partition, keys: &mut Vec<String>, views: impl FnOnce() -> [String; 2]) {
        if self.is_apart() {
            keys.push(self.hub.keys.single(partition, PRESENCE_MARKS));
        } else {
            keys.extend(views());
        }
    }

    /// Whether what operators read lies apart from the truth, in slots of its own.
    pub(super) fn is_apart(&self) -> bool {
        self.hub.link().is_some_and(|link| link.is_clustered())
    }
}

/// Rows that are read at once when what stands in Redis is compared with what is true.
const AUDITED: u64 = 256;

/// What is gone is written once more after so long, milliseconds, for those who read it: longer than a replica lags behind,
/// or than it takes to be made primary.
const AGAIN_MS: u64 = 10_000;

/// Statuses that may end in one sweep of a partition; the script has the same number.
const DUE_MAX: u64 = 64;
