//! One server that dies, freezes, is cut off, or sends us away.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::Value;

use super::*;
use crate::backend::redis::keys::Channel;
use crate::backend::redis::testing::{FaultProxy, Way};

/// Takes a while, and then does as `APPEND` does.
static SLOW: Script = Script {
    name: "slow",
    text: "local since = redis.call('TIME') \
           repeat local now = redis.call('TIME') \
           until (now[1] - since[1]) * 1000000 + now[2] - since[2] > 300000 \
           return redis.call('RPUSH', KEYS[1], ARGV[2])",
};

/// A server, a proxy before it, and a link through the proxy.
struct Scene {
    driven: Driven,
    ears: Arc<Memory>,
    proxy: FaultProxy,
    server: RedisServer,
    channel: Channel,
    list: String,
}

impl Scene {
    fn new() -> Self {
        let server = RedisServer::start();
        let proxy = FaultProxy::before(([127, 0, 0, 1], server.port()).into());
        let options = Options::parse(&format!("redis://127.0.0.1:{}", proxy.port())).unwrap();
        let ears = Arc::new(Memory::default());
        let driven = Driven::open(&options, ears.clone());
        let channel = keys(&options).channel("/topic/a");
        let list = keys(&options).single(channel.partition, "list");
        driven.listen(&channel);
        ears.take();
        Self { driven, ears, proxy, server, channel, list }
    }

    /// Sends an order that appends, and gives where its end will be told.
    fn append(&self, script: &'static Script, text: &str, doubt: Doubt) -> Receiver<Result<Value, Fault>> {
        let (sender, receiver) = mpsc::channel();
        self.driven.line.force(Order {
            partition: self.channel.partition,
            script,
            keys: vec![self.list.clone()],
            args: vec![Bytes::copy_from_slice(text.as_bytes())],
            doubt,
            then: Box::new(move |result| drop(sender.send(result))),
        });
        receiver
    }

    fn list(&self) -> String {
        self.server.cli(&["LRANGE", &self.list, "0", "-1"]).replace('\n', " ")
    }

    fn publish(&self, text: &str) -> Result<Value, Fault> {
        self.driven.run(&PUBLISH, self.channel.partition, &[&self.channel.name], &[text])
    }

    fn heard(&self, text: &str) -> Told {
        Told::Heard(self.channel.name.to_string(), Bytes::copy_from_slice(text.as_bytes()))
    }

    /// It is noticed within three seconds that nothing comes through.
    fn notices(&self) {
        let since = Instant::now();
        self.driven.wait_unhealthy();
        assert!(since.elapsed() < Duration::from_secs(3), "noticed after {:?}", since.elapsed());
    }

    /// Both connections are given up, and dialled in vain.
    fn gives_up(&self) {
        self.notices();
        eventually(|| match self.driven.line.health() {
            Err(why) if why.contains("does not answer") => Ok(()),
            other => Err(other),
        });
    }

    /// It is whole again, within five seconds: what is published is heard, after the gap was told.
    fn heals(&self) {
        let since = Instant::now();
        self.driven.wait_healthy();
        assert!(since.elapsed() < Duration::from_secs(5), "healed after {:?}", since.elapsed());
        assert_eq!(self.publish("after"), Ok(Value::Int(1)));
        let (missed, after) = (Told::Missed(self.channel.partition), self.heard("after"));
        self.ears.wait(|told| told.contains(&after).then_some(()));
        let told = self.ears.told();
        let place = |what: &Told| told.iter().position(|told| told == what);
        assert!(place(&missed).is_some_and(|missed| Some(missed) < place(&after)), "{told:?}");
    }
}

fn end(receiver: &Receiver<Result<Value, Fault>>) -> Result<Value, Fault> {
    receiver.recv_timeout(Duration::from_secs(15)).expect("an end of the order")
}

#[test]
fn what_was_under_way_when_the_connection_is_lost_is_repeated_in_its_place_or_told_of() {
    let scene = Scene::new();
    // No reply comes back, so that nobody knows of any.
    scene.proxy.set_swallow(Way::ToClient, true);
    let slow = scene.append(&SLOW, "0", Doubt::Tell);
    let repeated: Vec<_> = (1..=3).map(|n| scene.append(&APPEND, &n.to_string(), Doubt::Repeat)).collect();
    let told = scene.append(&APPEND, "4", Doubt::Tell);
    let later: Vec<_> = (5..=6).map(|n| scene.append(&APPEND, &n.to_string(), Doubt::Repeat)).collect();
    scene.server.wait_for(&["LRANGE", &scene.list, "0", "-1"], "6");
    scene.proxy.reset();
    scene.proxy.set_swallow(Way::ToClient, false);
    assert_eq!(end(&slow), Err(Fault::Unknown));
    assert_eq!(end(&told), Err(Fault::Unknown));
    for receiver in repeated.iter().chain(&later) {
        assert!(end(receiver).is_ok());
    }
    assert_eq!(
        scene.list(),
        "0 1 2 3 4 5 6 1 2 3 5 6",
        "all were done, and those that may be were repeated, in order"
    );
    scene.heals();
}

#[test]
fn what_was_not_sent_waits_for_the_server_and_keeps_its_order() {
    let mut scene = Scene::new();
    scene.server.kill();
    scene.notices();
    let waiting: Vec<_> = (0..100).map(|n| scene.append(&APPEND, &n.to_string(), Doubt::Tell)).collect();
    scene.server.restart();
    for (number, receiver) in waiting.iter().enumerate() {
        assert_eq!(end(receiver), Ok(Value::Int(number as i64 + 1)));
    }
    scene.heals();
    assert!(scene.ears.told().contains(&Told::Reunited));
}

#[test]
fn what_waits_too_long_is_not_done() {
    let mut scene = Scene::new();
    scene.server.kill();
    scene.notices();
    let since = Instant::now();
    let late = scene.append(&APPEND, "late", Doubt::Repeat);
    let channel =
        Channel { partition: scene.channel.partition, name: format!("{}x", scene.channel.name).into() };
    let (sender, heard) = mpsc::channel();
    scene.driven.line.listen(channel.clone(), Some(Box::new(move |result| drop(sender.send(result)))));
    assert_eq!(end(&late), Err(Fault::Unreachable));
    assert_eq!(heard.recv_timeout(Duration::from_secs(5)).unwrap(), Err(Fault::Unreachable));
    let waited = since.elapsed();
    assert!(waited > Duration::from_secs(9) && waited < Duration::from_secs(12), "{waited:?}");
    scene.server.restart();
    scene.heals();
    assert_eq!(scene.list(), "");
    // The channel is wanted still.
    scene.driven.listen(&channel);
}

#[test]
fn a_frozen_server_is_noticed_and_taken_back() {
    let scene = Scene::new();
    scene.server.freeze();
    scene.gives_up();
    let waiting = scene.append(&APPEND, "x", Doubt::Repeat);
    scene.server.thaw();
    scene.heals();
    assert!(end(&waiting).is_ok());
}

#[test]
fn a_paused_server_is_noticed_and_taken_back() {
    let scene = Scene::new();
    scene.server.cli(&["CLIENT", "PAUSE", "6000", "ALL"]);
    scene.gives_up();
    scene.heals();
}

#[test]
fn a_server_that_was_frozen_for_a_moment_costs_nothing() {
    let scene = Scene::new();
    scene.server.freeze();
    let waiting = scene.append(&APPEND, "x", Doubt::Tell);
    std::thread::sleep(Duration::from_millis(800));
    scene.server.thaw();
    assert!(end(&waiting).is_ok());
    assert_eq!(scene.publish("after"), Ok(Value::Int(1)));
    let after = scene.heard("after");
    scene.ears.wait(|told| told.contains(&after).then_some(()));
    assert_eq!(scene.ears.told(), [after]);
    assert_eq!(scene.driven.line.health(), Ok(()));
}

#[test]
fn a_way_to_the_server_that_is_shut_is_noticed() {
    half_open(&[Way::ToServer]);
}

#[test]
fn a_way_from_the_server_that_is_shut_is_noticed() {
    half_open(&[Way::ToClient]);
}

#[test]
fn both_ways_shut_are_noticed() {
    half_open(&[Way::ToServer, Way::ToClient]);
}

fn half_open(ways: &[Way]) {
    let scene = Scene::new();
    ways.iter().for_each(|way| scene.proxy.set_swallow(*way, true));
    scene.gives_up();
    ways.iter().for_each(|way| scene.proxy.set_swallow(*way, false));
    scene.heals();
}

#[test]
fn a_killed_bus_connection_costs_nothing_else() {
    let scene = Scene::new();
    let orders: Vec<_> = (0..50).map(|n| scene.append(&APPEND, &n.to_string(), Doubt::Tell)).collect();
    assert_eq!(scene.server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
    let more: Vec<_> = (50..100).map(|n| scene.append(&APPEND, &n.to_string(), Doubt::Tell)).collect();
    for (number, receiver) in orders.iter().chain(&more).enumerate() {
        assert_eq!(end(receiver), Ok(Value::Int(number as i64 + 1)));
    }
    let missed = Told::Missed(scene.channel.partition);
    scene.ears.wait(|told| told.contains(&missed).then_some(()));
    scene.heals();
    assert!(!scene.ears.told().contains(&Told::Reunited), "orders were never interrupted");
}

#[test]
fn pieces_and_delays_are_nothing() {
    let scene = Scene::new();
    scene.proxy.set_piece_bytes(3);
    scene.proxy.set_latency(Duration::from_millis(20));
    for number in 1..=20 {
        let text = "x".repeat(number);
        assert_eq!(end(&scene.append(&APPEND, &text, Doubt::Tell)), Ok(Value::Int(number as i64)));
        assert_eq!(scene.publish(&text), Ok(Value::Int(1)));
        let heard = scene.heard(&text);
        scene.ears.wait(|told| told.contains(&heard).then_some(()));
    }
    assert_eq!(scene.driven.line.health(), Ok(()));
}

#[test]
fn a_server_that_forgets_its_scripts_is_told_them_again() {
    let scene = Scene::new();
    assert_eq!(end(&scene.append(&APPEND, "1", Doubt::Tell)), Ok(Value::Int(1)));
    assert_eq!(end(&scene.append(&APPEND, "2", Doubt::Tell)), Ok(Value::Int(2)));
    assert_eq!(scene.server.cli(&["SCRIPT", "FLUSH"]), "OK");
    assert_eq!(end(&scene.append(&APPEND, "3", Doubt::Tell)), Ok(Value::Int(3)));
    assert_eq!(scene.list(), "1 2 3");
}

#[test]
fn a_primary_that_becomes_a_replica_is_left_and_nothing_is_lost() {
    let scene = Scene::new();
    let other = RedisServer::start();
    scene.server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let waiting = scene.append(&APPEND, "x", Doubt::Tell);
    assert!(scene.driven.wait_unhealthy().contains("Redis"));
    eventually(|| {
        let why = scene.driven.line.health().err().unwrap_or_default();
        if why.contains("is a replica") { Ok(()) } else { Err(why) }
    });
    scene.server.cli(&["REPLICAOF", "NO", "ONE"]);
    assert!(end(&waiting).is_ok());
    scene.heals();
}

#[test]
fn a_primary_that_has_become_another_is_noticed_though_nobody_writes() {
    let scene = Scene::new();
    let other = RedisServer::start();
    scene.server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    eventually(|| {
        let why = scene.driven.line.health().err().unwrap_or_default();
        if why.contains("is a replica") { Ok(()) } else { Err(why) }
    });
    scene.server.cli(&["REPLICAOF", "NO", "ONE"]);
    scene.driven.wait_healthy();
    scene.ears.take();
    // Again, and so quickly that it is never seen as a replica.
    scene.server.cli(&["DEBUG", "CHANGE-REPL-ID"]);
    scene.ears.wait(|told| told.contains(&Told::Reunited).then_some(()));
    scene.driven.wait_healthy();
    static WHO: Script = Script { name: "who", text: "return ARGV[1]" };
    let Ok(Value::BulkString(id)) = scene.driven.run(&WHO, scene.channel.partition, &[], &[]) else {
        panic!()
    };
    let said = scene.server.cli(&["INFO", "replication"]);
    assert!(said.contains(&format!("master_replid:{}", String::from_utf8_lossy(&id))), "{said}");
}

#[test]
fn ten_thousand_channels_are_confirmed_anew() {
    let scene = Scene::new();
    let channel = |number: u32| Channel {
        partition: Partition(number as u8),
        name: format!("websocket:{}:c:/topic/{number}", Partition(number as u8)).into(),
    };
    (0..10_000).for_each(|number| scene.driven.line.listen(channel(number), None));
    scene.driven.listen(&channel(9_999));
    assert_eq!(scene.server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
    for partition in Partition::all() {
        scene.ears.wait(|told| told.contains(&Told::Missed(partition)).then_some(()));
    }
    assert_eq!(scene.server.cli(&["PUBSUB", "SHARDCHANNELS", "*/topic/*"]).lines().count(), 10_001);
    scene.driven.wait_healthy();
}

#[test]
fn errors_of_scripts_are_refusals() {
    let scene = Scene::new();
    assert_eq!(scene.server.cli(&["SET", &scene.list, "text"]), "OK");
    let Err(Fault::Refused { code, .. }) = end(&scene.append(&APPEND, "x", Doubt::Repeat)) else {
        panic!("done")
    };
    assert_eq!(code, "WRONGTYPE");
    scene.server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let Err(Fault::Refused { code, .. }) = end(&scene.append(&APPEND, "x", Doubt::Repeat)) else {
        panic!("done")
    };
    assert_eq!(code, "OOM");
}

#[test]
fn a_full_inbox_stops_the_connection_for_a_second_and_then_costs_a_gap() {
    let scene = Scene::new();
    scene.ears.set_full(true);
    let since = Instant::now();
    assert_eq!(scene.publish("held"), Ok(Value::Int(1)));
    assert_eq!(scene.publish("behind"), Ok(Value::Int(1)));
    let missed = Told::Missed(scene.channel.partition);
    scene.ears.wait(|told| told.contains(&missed).then_some(()));
    let waited = since.elapsed();
    assert!(waited > Duration::from_millis(1_000) && waited < Duration::from_millis(2_000), "{waited:?}");
    assert_eq!(scene.driven.line.health(), Ok(()), "the connection is good");
    scene.ears.set_full(false);
    eventually(|| {
        assert_eq!(scene.publish("again"), Ok(Value::Int(1)));
        if scene.ears.told().contains(&scene.heard("again")) { Ok(()) } else { Err("not heard") }
    });
    assert!(!scene.ears.told().contains(&scene.heard("held")));
}

#[test]
fn a_short_rush_is_held_and_nothing_is_lost() {
    let scene = Scene::new();
    scene.ears.set_full(true);
    for number in 0..100 {
        assert_eq!(scene.publish(&number.to_string()), Ok(Value::Int(1)));
    }
    scene.ears.set_full(false);
    let last = scene.heard("99");
    scene.ears.wait(|told| told.contains(&last).then_some(()));
    let expected: Vec<Told> = (0..100).map(|number| scene.heard(&number.to_string())).collect();
    assert_eq!(scene.ears.told(), expected);
}

#[test]
fn too_many_orders_come_back_and_room_is_told() {
    let scene = Scene::new();
    scene.server.freeze();
    let order = |text: &str| Order {
        partition: scene.channel.partition,
        script: &APPEND,
        keys: vec![scene.list.clone()],
        args: vec![Bytes::copy_from_slice(text.as_bytes())],
        doubt: Doubt::Repeat,
        then: Box::new(|_| {}),
    };
    let mut taken = 0;
    while scene.driven.line.send(order("x"), Some(crate::model::WorkerId(3))).is_ok() {
        taken += 1;
        assert!(taken <= ORDERS_MAX);
    }
    assert!(taken >= ORDERS_MAX - 2, "a canary or two may be among them: {taken}");
    scene.server.thaw();
    let room = Told::Room(crate::model::WorkerId(3));
    scene.ears.wait(|told| told.contains(&room).then_some(()));
}
