//! One server.

use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use redis::Value;

use super::*;

#[test]
fn orders_are_done_in_order_and_messages_are_heard() {
    let server = RedisServer::start();
    let options = options(&server);
    let ears = Arc::new(Memory::default());
    let driven = Driven::open(&options, ears.clone());
    let keys = keys(&options);
    let partition = Partition(7);
    let list = keys.single(partition, "list");
    for number in 1..=3 {
        assert_eq!(driven.run(&APPEND, partition, &[&list], &["x"]), Ok(Value::Int(number)));
    }
    let channel = keys.channel("/topic/a");
    driven.listen(&channel);
    let told = driven.run(&PUBLISH, channel.partition, &[&channel.name], &["hello"]);
    assert_eq!(told, Ok(Value::Int(1)));
    let heard = Told::Heard(channel.name.to_string(), Bytes::from_static(b"hello"));
    ears.wait(|told| told.contains(&heard).then_some(()));
    driven.line.unlisten(&channel);
    eventually(|| match driven.run(&PUBLISH, channel.partition, &[&channel.name], &["gone"]) {
        Ok(Value::Int(0)) => Ok(()),
        other => Err(other),
    });
}

#[test]
fn many_orders_of_many_partitions_each_end_once_and_in_order() {
    let server = RedisServer::start();
    let options = options(&server);
    let driven = Driven::open(&options, Arc::new(Memory::default()));
    let keys = keys(&options);
    let (sender, receiver) = mpsc::channel();
    for number in 0..20_000_u32 {
        let partition = Partition((number % 256) as u8);
        let sender = sender.clone();
        driven.line.force(Order {
            partition,
            script: &APPEND,
            keys: vec![keys.single(partition, "list")],
            args: vec![Bytes::from(number.to_string())],
            doubt: Doubt::Tell,
            then: Box::new(move |result| drop(sender.send((number, result)))),
        });
    }
    drop(sender);
    let mut ends = 0;
    for (number, result) in receiver {
        assert_eq!(result, Ok(Value::Int(i64::from(number / 256) + 1)), "order {number}");
        ends += 1;
    }
    assert_eq!(ends, 20_000);
}

#[test]
fn what_too_few_replicas_have_is_not_said_to_be_done() {
    let server = RedisServer::start();
    let options = options(&server).wait_replicas(1);
    let driven = Driven::open(&options, Arc::new(Memory::default()));
    let partition = Partition(7);
    let list = keys(&options).single(partition, "list");
    assert_eq!(driven.run(&APPEND, partition, &[&list], &["alone"]), Err(Fault::Unknown));
    let replica = RedisServer::replica_of(&server);
    eventually(|| driven.run(&APPEND, partition, &[&list], &["together"]));
    assert!(replica.cli(&["LRANGE", &list, "0", "-1"]).ends_with("together"));
    // With its first replica a primary begins another history of writes, so the connections are dialled anew.
    driven.wait_healthy();
}

#[test]
fn closing_sends_what_waits_and_leaves_nobody_waiting() {
    let server = RedisServer::start();
    let options = options(&server);
    let driven = Driven::open(&options, Arc::new(Memory::default()));
    let list = keys(&options).single(Partition(1), "list");
    let line = Arc::clone(&driven.line);
    let (sender, receiver) = mpsc::channel();
    for _ in 0..5_000 {
        let sender = sender.clone();
        line.force(Order {
            partition: Partition(1),
            script: &APPEND,
            keys: vec![list.clone()],
            args: vec![Bytes::from_static(b"x")],
            doubt: Doubt::Tell,
            then: Box::new(move |result| drop(sender.send(result))),
        });
    }
    drop(driven);
    drop(sender);
    assert_eq!(receiver.iter().filter(Result::is_ok).count(), 5_000);
    assert_eq!(server.cli(&["LLEN", &list]), "5000");
    let (sender, receiver) = mpsc::channel();
    let channel = keys(&options).channel("/topic/a");
    line.listen(channel, Some(Box::new(move |result| drop(sender.send(result)))));
    assert_eq!(receiver.recv().unwrap(), Err(Fault::Unreachable));
    assert!(line.health().is_err());
}
