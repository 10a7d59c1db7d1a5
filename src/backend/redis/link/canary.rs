//! A message to ourselves, each second and through each server: it proves that orders are taken there and that what is
//! published is heard.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::backend::redis::keys::{Channel, Keys, Partition};
use crate::backend::redis::link::{Doubt, Fault, Order};
use crate::backend::redis::scripts::Script;

use super::dial::{field, text};
use super::line::Line;
use super::servers::{Server, ServerId};

/// What is ours of it.
pub(super) struct Canary {
    /// Keeps our canaries apart from those of others.
    nest: String,
}

impl Canary {
    pub(super) fn new() -> Self {
        let chance = || foldhash::fast::RandomState::default().hash_one(0_u8);
        Self { nest: format!("{:016x}{:016x}", chance(), chance()) }
    }

    /// The channel of our canaries in a partition.
    pub(super) fn channel(&self, keys: &Keys, partition: Partition) -> Channel {
        Channel { partition, name: keys.key(partition, "canary", &self.nest).into() }
    }
}

/// Lets a canary go to each server on which it is time; where one has not come back both connections are dropped.
pub(super) fn release(line: &Arc<Line>, now: Instant) {
    for server in line.servers() {
        let Some(partition) = line.partition_of(server) else { continue };
        match line.with_server(server, |known| judge(known, partition, now)) {
            Some(Act::Send(number)) => send(line, server, partition, number),
            Some(Act::Listen) => {
                let channel = line.canary.channel(&line.keys, partition);
                line.listen_to_canaries(channel, server);
            }
            Some(Act::Wait) | None => {}
        }
    }
}

enum Act {
    Send(u64),
    Listen,
    Wait,
}

fn judge(known: &mut Server, partition: Partition, now: Instant) -> Act {
    if known.commands.trouble.is_some() || known.bus.trouble.is_some() {
        return Act::Wait;
    }
    if known.nest.confirmed != Some(partition) {
        known.canary = None;
        let is_asked = known.nest.asked.replace(partition) == Some(partition);
        return if is_asked { Act::Wait } else { Act::Listen };
    }
    let number = match known.canary {
        None => 0,
        Some((_, since)) if now - since < PERIOD => return Act::Wait,
        Some((number, since)) if known.proven.is_some_and(|proven| proven >= since) => number + 1,
        Some((_, since)) if now - since < LATE => return Act::Wait,
        // Its turn has not come: there is much to be done, and it is being done.
        Some((number, _)) if known.answered != Some(number) && now - known.replied < LATE => {
            return Act::Wait;
        }
        Some(_) => {
            known.cut("carries no messages");
            return Act::Wait;
        }
    };
    known.canary = Some((number, now));
    Act::Send(number)
}

/// A canary has come back.
pub(super) fn hear(line: &Line, server: ServerId, payload: &[u8]) {
    line.with_server(server, |known| {
        if let Some((number, since)) = known.canary
            && number.to_string().as_bytes() == payload
        {
            known.proven = Some(since);
            known.round_trip = Some(since.elapsed());
        }
    });
}

fn send(line: &Arc<Line>, server: ServerId, partition: Partition, number: u64) {
    let channel = line.canary.channel(&line.keys, partition);
    let witness = Arc::downgrade(line);
    let then = move |result| {
        let Some(line) = witness.upgrade() else { return };
        line.with_server(server, |known| match result {
            Ok(said) => match doubt(&text(&said), &known.commands.replication_id) {
                Some(why) => known.cut(why),
                None => known.answered = Some(number),
            },
            Err(Fault::Refused { code, text }) => known.cut(&format!("refuses EVALSHA: {code} {text}")),
            Err(Fault::Unreachable | Fault::Unknown) => {}
        });
    };
    line.hurry(Order {
        partition,
        script: &CANARY,
        keys: Vec::new(),
        args: vec![Bytes::copy_from_slice(channel.name.as_bytes()), Bytes::from(number.to_string())],
        doubt: Doubt::Tell,
        then: Box::new(then),
    });
}

/// Why a server is not the primary that was dialled any more, by what it says of itself.
fn doubt(said: &str, replication_id: &[u8]) -> Option<&'static str> {
    if field(said, "role") != Some("master") {
        return Some("is a replica");
    }
    let is_same = field(said, "master_replid").is_some_and(|id| id.as_bytes() == replication_id);
    (!is_same).then_some("has begun another history of writes")
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canary").finish_non_exhaustive()
    }
}

/// Publishes a canary.
pub(super) static CANARY: Script = Script { name: "canary", text: include_str!("../scripts/canary.lua") };

const PERIOD: Duration = Duration::from_secs(1);

/// A canary that has not come back for so long will not.
const LATE: Duration = Duration::from_secs(2);
