//! A random walk over a work queue of several nodes, judged whenever it has come to rest: then they are one queue.
//!
//! What becomes of messages on one node is told to Redis behind, and another node may take a newer one before it is. So over
//! nodes an order is promised of what has been told: what nobody took goes back within 200 ms. When so long nothing
//! has happened but one thing, what was handed out since is older than all that is ready, whoever had it before and
//! wherever; nothing is ready that somebody could have; each message is with one consumer at most; and `redelivered` says
//! whether it was with one before.

use std::collections::BTreeSet;

use stompede_protocol::{AckMode, Frame};

use crate::bus::Wrong;
use crate::cluster::Cluster;
use crate::line::Heard;
use crate::person::{Person, body};
use crate::redis_server::RedisServer;
use crate::walk::Dice;
use crate::world::Guest;

const QUEUE: &str = "/queue/work";

struct Client {
    person: Person,
    node: usize,
    /// Messages that it may have at once.
    credit: usize,
    has: Vec<(u64, Frame)>,
}

struct Walk {
    cluster: Cluster,
    dice: Dice,
    clients: Vec<Client>,
    /// Sends, and works not.
    sender: Person,
    serial: u64,
    ready: BTreeSet<u64>,
    /// Everything that was ever handed out.
    seen: BTreeSet<u64>,
}

impl Walk {
    fn new(port: u16, seed: u64, wrong: Option<Wrong>) -> Self {
        let mut dice = Dice::new(seed);
        let nodes = dice.one_of(&[2, 3]);
        let mut cluster = Cluster::new(port, nodes, seed, wrong, |setup| {
            setup.limits.user_connections_max = 0;
            setup.limits.redeliveries_max = 0;
        });
        let sender = cluster.worlds[0].knock(Guest::named("sender"));
        cluster.settles();
        let (clients, ready, seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        Self { cluster, dice, clients, sender, serial: 0, ready, seen }
    }

    fn goes(&mut self, actions: usize) -> Result<(), String> {
        for _ in 0..actions {
            let did = self.acts();
            self.judge().map_err(|fault| format!("{did}: {fault}"))?;
        }
        Ok(())
    }

    /// One thing happens, and what follows from it. What it was.
    fn acts(&mut self) -> String {
        let turn = self.dice.below(40);
        let who = (!self.clients.is_empty()).then(|| self.dice.below(self.clients.len()));
        match (turn, who) {
            (0..=12, _) => self.sends(),
            (13..=20, _) | (_, None) if self.clients.len() < 6 => self.comes(),
            (21..=33, Some(who)) if !self.clients[who].has.is_empty() => self.acknowledges(who),
            (34..=38, Some(who)) => self.goes_away(who),
            (39, _) if self.cluster.awake().len() > 1 => self.kills(),
            _ => self.sends(),
        }
    }

    fn sends(&mut self) -> String {
        let count = 1 + self.dice.below(4);
        for _ in 0..count {
            self.serial += 1;
            self.sender.sends(QUEUE, &self.serial.to_string());
            self.ready.insert(self.serial);
        }
        self.rests(REST_MS);
        format!("{count} were sent up to {}", self.serial)
    }

    fn comes(&mut self) -> String {
        let (node, credit) = (self.dice.one_of(&self.cluster.awake()), self.dice.one_of(&[1, 2, 5]));
        let person = self.cluster.worlds[node].knock(Guest::named("worker"));
        self.cluster.settles();
        let prefetch = credit.to_string();
        person.subscribes_with(QUEUE, AckMode::ClientIndividual, &[("prefetch-count", &prefetch)]);
        self.clients.push(Client { person, node, credit, has: Vec::new() });
        self.rests(REST_MS);
        format!("one with room for {credit} came to node {node}")
    }

    fn acknowledges(&mut self, who: usize) -> String {
        let count = self.clients[who].has.len();
        let (tag, message) = self.clients[who].has.remove(self.dice.below(count));
        self.clients[who].person.acks(&message);
        self.rests(REST_MS);
        format!("{tag} was acknowledged")
    }

    fn goes_away(&mut self, who: usize) -> String {
        let client = self.clients.remove(who);
        let tags: Vec<u64> = client.has.iter().map(|(tag, _)| *tag).collect();
        match self.dice.below(2) {
            0 => client.person.vanishes(),
            _ => client.person.leaves(),
        }
        self.ready.extend(&tags);
        self.rests(REST_MS);
        format!("one with {tags:?} left node {}", client.node)
    }

    /// A node is killed that has no sender: what it has comes back when it is buried.
    fn kills(&mut self) -> String {
        let Some(node) = self.cluster.awake().into_iter().rfind(|node| *node > 0) else {
            return String::new();
        };
        self.cluster.kills(node, 0);
        let (dead, alive) =
            std::mem::take(&mut self.clients).into_iter().partition(|client| client.node == node);
        self.clients = alive;
        let dead: Vec<Client> = dead;
        self.ready.extend(dead.iter().flat_map(|client| &client.has).map(|(tag, _)| *tag));
        self.rests(BURIAL_MS);
        format!("node {node} was killed")
    }

    fn rests(&mut self, ms: u64) {
        self.cluster.settles();
        self.cluster.rests_for(ms);
    }

    fn judge(&mut self) -> Result<(), String> {
        let mut newest = None;
        for client in &mut self.clients {
            let mut last = 0;
            for heard in client.person.heard() {
                let Heard::Message(frame) = heard else { continue };
                let text = body(&frame);
                let tag: u64 = text.parse().map_err(|_| format!("nobody sent {text}"))?;
                if !self.ready.remove(&tag) {
                    return Err(format!("{tag} came and is not ready"));
                }
                if tag < last {
                    return Err(format!("{tag} came behind {last}"));
                }
                let was_seen = !self.seen.insert(tag);
                if (frame.headers.get("redelivered") == Some("true")) != was_seen {
                    return Err(format!("{tag} was handed out before: {was_seen}, {:?}", frame.headers));
                }
                last = tag;
                newest = newest.max(Some(tag));
                client.has.push((tag, frame));
            }
        }
        let Some(oldest) = self.ready.first() else { return Ok(()) };
        if newest.is_some_and(|newest| newest > *oldest) {
            return Err(format!("{newest:?} was handed out, and {oldest} is ready"));
        }
        match self.clients.iter().find(|client| client.has.len() < client.credit) {
            Some(client) => Err(format!("{oldest} is ready, and one on node {} has room", client.node)),
            None => Ok(()),
        }
    }
}

/// What nobody took has gone back, and was taken elsewhere: docs/wire.md, section 10.
const REST_MS: u64 = 200;

/// A node that was killed is buried.
const BURIAL_MS: u64 = 15_000;

const ACTIONS: usize = 60;

fn walks(port: u16, seed: u64, wrong: Option<Wrong>) -> Result<(), String> {
    Walk::new(port, seed, wrong).goes(ACTIONS)
}

#[test]
fn queues_of_all_nodes_are_one_when_they_rest() {
    let seeds = match std::env::var("STOMPEDE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..10).collect::<Vec<u64>>(),
    };
    let server = RedisServer::start();
    for seed in seeds {
        if let Err(fault) = walks(server.port(), seed, None) {
            panic!("seed {seed}: {fault}; run it alone with STOMPEDE_SEED={seed}");
        }
    }
}

#[test]
fn a_queue_with_a_fault_is_not_one() {
    let server = RedisServer::start();
    let faults = [
        // What goes back is put behind everything.
        Wrong::Script(
            "redis.call('ZADD', queue.ready, tag, tag)",
            "redis.call('ZADD', queue.ready, redis.call('HINCRBY', counters, 't', 1), tag)",
        ),
        // The newest is taken first.
        Wrong::Script("redis.call('ZRANGE', queue.ready, 0", "redis.call('ZREVRANGE', queue.ready, 0"),
        // What the dead had stays with them.
        Wrong::Script("return redis.call('SMEMBERS', KEYS[1])", "return {}"),
        // Nobody is called when something is there.
        Wrong::Script("wake(ready, queue)", ""),
    ];
    for wrong in faults {
        let is_seen = |seed| {
            !matches!(std::panic::catch_unwind(|| walks(server.port(), seed, Some(wrong))), Ok(Ok(())))
        };
        assert!((0..20).any(is_seen), "{wrong:?} goes unnoticed");
    }
}
