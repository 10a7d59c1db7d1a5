//! A cluster of six, whose slots move and whose primaries die.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::*;
use crate::backend::redis::keys::{Channel, Keys};
use crate::backend::redis::link::cluster::slot;

/// Notes `ARGV[2]` in a list, publishes it in `ARGV[3]` and gives it back. The channel is no key: see the canary's script.
static NOTE: Script = Script {
    name: "note",
    text: "redis.call('RPUSH', KEYS[1], ARGV[2]) redis.call('SPUBLISH', ARGV[3], ARGV[2]) return ARGV[2]",
};

/// Publishes `ARGV[2]` in `ARGV[3]`.
static CALL: Script =
    Script { name: "call", text: "redis.call('SPUBLISH', ARGV[3], ARGV[2]) return ARGV[2]" };

#[test]
fn partitions_lie_where_redis_says() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    for partition in Partition::all() {
        let said = server.cli(&["CLUSTER", "KEYSLOT", &format!("a{partition}b")]);
        assert_eq!(said, slot(partition).to_string());
    }
}

/// What goes through one partition: numbers that are noted and published, in order.
struct Traffic {
    partition: Partition,
    list: String,
    channel: Channel,
    ends: Receiver<(u32, Result<Value, Fault>)>,
    thread: std::thread::JoinHandle<u32>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Traffic {
    /// Sends a few orders each millisecond, until it is stopped.
    fn begin(
        driven: &Driven,
        keys: &Keys,
        partition: Partition,
        script: &'static Script,
        doubt: Doubt,
    ) -> Self {
        let channel = Channel { partition, name: keys.key(partition, "c", "/topic/traffic").into() };
        driven.listen(&channel);
        let list = keys.single(partition, "list");
        let (sender, ends) = mpsc::channel();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (link, stopped, key, name) = (driven.link(), stop.clone(), list.clone(), channel.name.clone());
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                for _ in 0..3 {
                    let sender = sender.clone();
                    let mine = number;
                    let keys = if std::ptr::eq(script, &NOTE) { vec![key.clone()] } else { Vec::new() };
                    let args = vec![Bytes::from(mine.to_string()), Bytes::copy_from_slice(name.as_bytes())];
                    let then = Box::new(move |result| drop(sender.send((mine, result))));
                    link.force(Order { partition, script, keys, args, doubt, then });
                    number += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            number
        });
        Self { partition, list, channel, ends, thread, stop }
    }

    /// Ends it; every order must have been done, in order. Gives how many there were.
    fn end(self, ears: &Memory) -> Ended {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let count = self.thread.join().unwrap();
        let mut refused = Vec::new();
        for expected in 0..count {
            let (number, result) =
                self.ends.recv_timeout(Duration::from_secs(20)).expect("an end of each order");
            assert_eq!(number, expected, "orders end in order");
            match result {
                Ok(Value::BulkString(reply)) => {
                    assert_eq!(reply, number.to_string().as_bytes(), "its own reply")
                }
                Ok(other) => panic!("{number} gets {other:?}"),
                Err(fault) => refused.push((number, fault)),
            }
        }
        let name = self.channel.name.to_string();
        let last = Told::Heard(name.clone(), Bytes::from((count - 1).to_string()));
        ears.wait(|told| told.contains(&last).then_some(()));
        let told = ears.told();
        let mut heard = Vec::new();
        let mut gaps = Vec::new();
        for told in told {
            match told {
                Told::Heard(channel, payload) if channel == name => {
                    let number: u32 = std::str::from_utf8(&payload).unwrap().parse().unwrap();
                    heard.push(number);
                }
                Told::Missed(partition) if partition == self.partition => gaps.push(heard.len()),
                _ => {}
            }
        }
        Ended { count, refused, heard, gaps, list: self.list }
    }
}

/// What came of it.
struct Ended {
    count: u32,
    refused: Vec<(u32, Fault)>,
    heard: Vec<u32>,
    /// How many had been heard when a gap was told.
    gaps: Vec<usize>,
    list: String,
}

impl Ended {
    /// What was not heard lies before a gap that was told after what was heard before it.
    fn check_heard(&self) {
        assert!(self.heard.is_sorted_by(|a, b| a < b), "heard out of order, or twice: {:?}", self.heard);
        let mut expected = 0;
        for (place, number) in self.heard.iter().copied().chain([self.count]).enumerate() {
            if number != expected {
                let is_told = self.gaps.iter().any(|gap| *gap >= place);
                assert!(is_told, "{expected}..{number} was not heard, and nobody told; gaps {:?}", self.gaps);
            }
            expected = number + 1;
        }
    }

    /// What the list holds is what was sent, in order, but for what was refused.
    fn check_list(&self, server: &RedisServer) {
        let noted = server.cli(&["-c", "LRANGE", &self.list, "0", "-1"]);
        let noted: Vec<u32> = noted.lines().map(|line| line.parse().unwrap()).collect();
        assert!(noted.is_sorted_by(|a, b| a < b), "noted out of order, or twice: {noted:?}");
        let refused: Vec<u32> = self.refused.iter().map(|(number, _)| *number).collect();
        let lacking: Vec<u32> =
            (0..self.count).filter(|number| noted.binary_search(number).is_err()).collect();
        assert_eq!(lacking, refused, "what is not there was refused, and nothing else");
    }
}

#[test]
fn a_slot_on_the_move_keeps_order_and_tells_of_gaps() {
    let cluster = RedisCluster::start();
    let options = Options::parse(&cluster.url()).unwrap();
    let ears = Arc::new(Memory::default());
    let driven = Driven::open(&options, ears.clone());
    let keys = keys(&options);
    let moving = Partition(0x3f);
    let home = cluster.owner(slot(moving));
    // Two more with the same server, one that moves too and is only published to, and one that stays.
    let mut others = Partition::all().filter(|other| *other != moving && cluster.owner(slot(*other)) == home);
    let (called, staying) = (others.next().unwrap(), others.next().unwrap());
    let noted = Traffic::begin(&driven, &keys, moving, &NOTE, Doubt::Repeat);
    let calls = Traffic::begin(&driven, &keys, called, &CALL, Doubt::Repeat);
    let quiet = Traffic::begin(&driven, &keys, staying, &NOTE, Doubt::Repeat);
    ears.take();
    let others: Vec<usize> = (0..6).filter(|server| *server != home).collect();
    let target = others
        .into_iter()
        .find(|server| cluster.servers[*server].cli(&["ROLE"]).starts_with("master"))
        .unwrap();
    for (from, to) in [(home, target), (target, home), (home, target)] {
        for partition in [moving, called] {
            let slot = slot(partition);
            let before = ears.told().len();
            cluster.begin_migration(slot, from, to);
            cluster.move_keys(slot, from, to);
            // While it is on the move, and there is something to be moved, it goes on.
            eventually(|| if ears.told().len() > before + 50 { Ok(()) } else { Err("nothing is heard") });
            cluster.end_migration(slot, from, to);
            ears.wait(|told| told[before..].contains(&Told::Missed(partition)).then_some(()));
        }
    }
    driven.wait_healthy();
    let (noted, calls, quiet) = (noted.end(&ears), calls.end(&ears), quiet.end(&ears));
    assert_eq!((&noted.refused, &calls.refused, &quiet.refused), (&vec![], &vec![], &vec![]));
    noted.check_list(&cluster.servers[home]);
    quiet.check_list(&cluster.servers[home]);
    noted.check_heard();
    calls.check_heard();
    assert_eq!(quiet.heard.len() as u32, quiet.count, "all of what stays is heard");
    assert_eq!(quiet.gaps, Vec::<usize>::new(), "and no gap is told there");
}

#[test]
fn a_cluster_that_loses_a_primary_goes_on_with_its_replica() {
    let mut cluster = RedisCluster::start();
    let options = Options::parse(&cluster.url()).unwrap();
    let ears = Arc::new(Memory::default());
    let driven = Driven::open(&options, ears.clone());
    let keys = keys(&options);
    let partition = Partition(0xa0);
    let traffic = Traffic::begin(&driven, &keys, partition, &NOTE, Doubt::Tell);
    let home = cluster.owner(slot(partition));
    cluster.servers[home].kill();
    driven.wait_unhealthy();
    driven.wait_healthy();
    ears.wait(|told| told.contains(&Told::Missed(partition)).then_some(()));
    assert_ne!(cluster.owner(slot(partition)), home);
    let ended = traffic.end(&ears);
    ended.check_heard();
    assert!(ended.refused.iter().all(|(_, fault)| *fault == Fault::Unknown), "{:?}", ended.refused);
}

/// Appends `ARGV[2]` to two lists.
static PAIR: Script = Script {
    name: "pair",
    text: "redis.call('RPUSH', KEYS[1], ARGV[2]) return redis.call('RPUSH', KEYS[2], ARGV[2])",
};

#[test]
fn an_order_with_several_keys_waits_until_all_of_them_have_arrived_and_so_does_what_follows() {
    let cluster = RedisCluster::start();
    let options = Options::parse(&cluster.url()).unwrap();
    let driven = Driven::open(&options, Arc::new(Memory::default()));
    let keys = keys(&options);
    let partition = Partition(0x77);
    let (one, two) = (keys.key(partition, "l", "one"), keys.key(partition, "l", "two"));
    let both = vec![one.clone(), two.clone()];
    let (sender, ends) = mpsc::channel();
    let send = |script: &'static Script, keys: Vec<String>, text: &'static str| {
        let sender = sender.clone();
        let then = Box::new(move |result| drop(sender.send((text, result))));
        let args = vec![Bytes::from_static(text.as_bytes())];
        driven.line.force(Order { partition, script, keys, args, doubt: Doubt::Tell, then });
    };
    let next = || ends.recv_timeout(Duration::from_secs(10)).expect("an end");
    send(&PAIR, both.clone(), "0");
    assert_eq!(next(), ("0", Ok(Value::Int(1))));
    let slot = slot(partition);
    let from = cluster.owner(slot);
    let to =
        (0..6).find(|to| *to != from && cluster.servers[*to].cli(&["ROLE"]).starts_with("master")).unwrap();
    cluster.begin_migration(slot, from, to);
    let port = cluster.servers[to].port().to_string();
    assert_eq!(cluster.servers[from].cli(&["MIGRATE", "127.0.0.1", &port, &one, "0", "5000"]), "OK");
    // By this it is known that the slot is on the move.
    send(&APPEND, vec![one.clone()], "a");
    assert_eq!(next(), ("a", Ok(Value::Int(2))));
    send(&PAIR, both.clone(), "1");
    send(&APPEND, vec![one.clone()], "2");
    send(&APPEND, vec![two.clone()], "3");
    assert!(
        ends.recv_timeout(Duration::from_millis(500)).is_err(),
        "neither here nor there are both of its keys"
    );
    cluster.move_keys(slot, from, to);
    let said: Vec<_> = (0..3).map(|_| next()).collect();
    assert_eq!(said, [("1", Ok(Value::Int(2))), ("2", Ok(Value::Int(4))), ("3", Ok(Value::Int(3)))]);
    cluster.end_migration(slot, from, to);
    send(&PAIR, both, "4");
    assert_eq!(next(), ("4", Ok(Value::Int(4))));
    assert_eq!(cluster.servers[to].cli(&["LRANGE", &one, "0", "-1"]), "0\na\n1\n2\n4");
    assert_eq!(cluster.servers[to].cli(&["LRANGE", &two, "0", "-1"]), "0\n1\n3\n4");
}
