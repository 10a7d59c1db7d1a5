//! A primary, its replicas, and three sentinels.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::Value;

use super::*;

#[test]
fn a_failover_is_followed_and_orders_go_on() {
    let mut primary = RedisServer::start();
    let replicas = [RedisServer::replica_of(&primary), RedisServer::replica_of(&primary)];
    let sentinels: Vec<RedisServer> = (0..3).map(|_| RedisServer::sentinel_of(&primary)).collect();
    for sentinel in &sentinels {
        sentinel.wait_for(&["SENTINEL", "MASTER", "main"], "num-other-sentinels\n2");
        sentinel.wait_for(&["SENTINEL", "MASTER", "main"], "num-slaves\n2");
    }
    let places: Vec<String> =
        sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
    let options = Options::parse(&format!("redis+sentinel://{}/main", places.join(","))).unwrap();
    let ears = Arc::new(Memory::default());
    let driven = Driven::open(&options, ears.clone());
    let channel = keys(&options).channel("/topic/a");
    let list = keys(&options).single(channel.partition, "list");
    driven.listen(&channel);
    // Each ends before the next one begins, so that a hole would show.
    let append = |number: u32| {
        let (sender, receiver) = mpsc::channel();
        driven.line.force(Order {
            partition: channel.partition,
            script: &APPEND,
            keys: vec![list.clone()],
            args: vec![Bytes::from(number.to_string())],
            doubt: Doubt::Tell,
            then: Box::new(move |result| drop(sender.send(result))),
        });
        receiver.recv_timeout(Duration::from_secs(15)).expect("an end")
    };
    for number in 0..20 {
        assert!(append(number).is_ok());
    }
    for replica in &replicas {
        replica.wait_for(&["LLEN", &list], "20");
    }
    ears.take();
    primary.kill();
    let why = driven.wait_unhealthy();
    assert!(why.starts_with("Redis"), "{why}");
    // What is given while nobody is there is done by whoever comes.
    let since = Instant::now();
    assert!(append(20).is_ok());
    driven.wait_healthy();
    assert!(since.elapsed() < Duration::from_secs(12), "{:?}", since.elapsed());
    let new =
        replicas.iter().find(|replica| replica.cli(&["ROLE"]).starts_with("master")).expect("a new primary");
    let noted: Vec<String> = new.cli(&["LRANGE", &list, "0", "-1"]).lines().map(str::to_owned).collect();
    assert_eq!(noted, (0..=20).map(|number| number.to_string()).collect::<Vec<_>>());
    ears.wait(|told| told.contains(&Told::Missed(channel.partition)).then_some(()));
    assert_eq!(driven.run(&PUBLISH, channel.partition, &[&channel.name], &["after"]), Ok(Value::Int(1)));
    let after = Told::Heard(channel.name.to_string(), Bytes::from_static(b"after"));
    ears.wait(|told| told.contains(&after).then_some(()));
    // The old primary comes back as what it is now, and is not taken for the primary.
    primary.restart();
    sentinels[0].cli(&["SENTINEL", "FAILOVER", "main"]);
    driven.wait_healthy();
    assert!(append(21).is_ok());
}

#[test]
fn a_switch_is_followed_at_once_though_the_old_primary_lives() {
    let primary = RedisServer::start();
    let replica = RedisServer::replica_of(&primary);
    let sentinels: Vec<RedisServer> = (0..3).map(|_| RedisServer::sentinel_of(&primary)).collect();
    for sentinel in &sentinels {
        sentinel.wait_for(&["SENTINEL", "MASTER", "main"], "num-other-sentinels\n2");
        sentinel.wait_for(&["SENTINEL", "MASTER", "main"], "num-slaves\n1");
    }
    let places: Vec<String> =
        sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
    let options = Options::parse(&format!("redis+sentinel://{}/main", places.join(","))).unwrap();
    let ears = Arc::new(Memory::default());
    let driven = Driven::open(&options, ears.clone());
    let partition = Partition(9);
    let list = keys(&options).single(partition, "list");
    eventually(|| match sentinels[1].cli(&["SENTINEL", "FAILOVER", "main"]).as_str() {
        "OK" => Ok(()),
        said => Err(said.to_owned()),
    });
    replica.wait_for(&["ROLE"], "master");
    let mut done = 0;
    eventually(|| {
        let result = driven.run(&APPEND, partition, &[&list], &["x"]);
        done += 1;
        assert!(result.is_ok(), "order {done}: {result:?}");
        if replica.cli(&["LLEN", &list]) == "0" { Err("not there yet") } else { Ok(()) }
    });
    driven.wait_healthy();
}

#[test]
fn a_name_that_no_sentinel_knows_is_said() {
    let primary = RedisServer::start();
    let sentinel = RedisServer::sentinel_of(&primary);
    let options = Options::parse(&format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port())).unwrap();
    let driven = Driven::start(&options, Arc::new(Memory::default()));
    eventually(|| match driven.line.health() {
        Err(why) if why.contains("knows no primary of the name other") => Ok(()),
        other => Err(other),
    });
}
