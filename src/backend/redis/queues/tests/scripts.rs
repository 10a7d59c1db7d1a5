//! What the scripts do where things go wrong.

use super::*;
use crate::backend::redis::scripts::Script;

/// Runs a call as if the server had that replication id.
fn run_as(server: &RedisServer, call: &Call, replication_id: &str) -> String {
    let mut arguments: Vec<String> = vec!["EVAL".into(), text_of(call.script), call.keys.len().to_string()];
    arguments.extend(call.keys.iter().cloned());
    arguments.push(replication_id.into());
    arguments.extend(call.args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    server.cli(&arguments)
}

fn text_of(script: &Script) -> String {
    script.text.to_owned()
}

fn put(keys: &Keys, sequence: u64, flags: &'static str, bounds: &Bounds) -> Call {
    let caller = Caller { keys, incarnation: 7 };
    let queue = Destination::internal("/queue/a");
    let mut call = caller.put(&queue, None, flags, None, Bytes::from(format!("record {sequence}")), bounds);
    calls::number_put(&mut call, sequence);
    call
}

fn bounds(messages_max: usize) -> Bounds {
    Bounds::new(&Limits { queue_messages_max: messages_max, ..Limits::default() }, PARTITIONS)
}

#[test]
fn a_put_that_is_repeated_is_answered_as_before_and_done_once() {
    let server = RedisServer::start();
    let keys = keys(&options(&server));
    let bounds = bounds(1);
    let queue = keys.queue("/queue/a");
    for _ in 0..2 {
        assert_eq!(run_as(&server, &put(&keys, 1, "", &bounds), "p"), "k");
        assert_eq!(run_as(&server, &put(&keys, 2, "", &bounds), "p"), "m");
        assert_eq!(run_as(&server, &put(&keys, 3, "f", &bounds), "p"), "k");
    }
    assert_eq!(server.cli(&["HLEN", &queue.own[1]]), "2");
    assert_eq!(server.cli(&["ZCARD", &queue.own[2]]), "2");
}

#[test]
fn a_tag_is_not_given_again_by_another_primary_or_after_all_was_lost() {
    let server = RedisServer::start();
    let keys = keys(&options(&server));
    let bounds = bounds(10);
    let ready = keys.queue("/queue/a").own[2].clone();
    let newest = || -> u64 { server.cli(&["ZRANGE", &ready, "-1", "-1"]).parse().unwrap() };
    run_as(&server, &put(&keys, 1, "", &bounds), "p");
    let first = newest();
    run_as(&server, &put(&keys, 2, "", &bounds), "p");
    assert_eq!(newest(), first + 1);
    run_as(&server, &put(&keys, 3, "", &bounds), "q");
    let other = newest();
    assert!(other >= first + 1 + (1 << 20));
    std::thread::sleep(std::time::Duration::from_millis(1));
    server.cli(&["FLUSHALL"]);
    eventually(|| {
        // Tags follow the clock then: a second later at the latest nothing is given again.
        server.cli(&["FLUSHALL"]);
        run_as(&server, &put(&keys, 4, "", &bounds), "r");
        (newest() > first + 1).then_some(()).ok_or("not above")
    });
}

#[test]
fn what_failover_took_from_a_node_it_may_still_end_unless_another_has_it() {
    let server = RedisServer::start();
    let keys = keys(&options(&server));
    let queue = Destination::internal("/queue/a");
    let names = keys.queue("/queue/a");
    let bounds = bounds(10);
    (1..=2).for_each(|sequence| drop(run_as(&server, &put(&keys, sequence, "", &bounds), "p")));
    let tag = |place: &str| -> u64 { server.cli(&["ZRANGE", &names.own[2], place, place]).parse().unwrap() };
    let (first, second) = (tag("0"), tag("1"));
    let (mine, other) = (Caller { keys: &keys, incarnation: 7 }, Caller { keys: &keys, incarnation: 8 });
    run_as(&server, &other.claim(&queue, 1), "p");
    assert_eq!(run_as(&server, &mine.settle(&queue, &[first]), "p"), "0", "another has it");
    assert_eq!(run_as(&server, &mine.settle(&queue, &[second]), "p"), "1", "nobody has it");
    assert_eq!(run_as(&server, &other.settle(&queue, &[first, first]), "p"), "1");
    assert_eq!(server.cli(&["EXISTS", &names.own[0], &names.own[1], &names.own[2], &names.own[3]]), "0");
}

#[test]
fn redis_without_memory_takes_nothing_and_still_gives() {
    let server = RedisServer::start();
    let node = Node::new(&server);
    let (a, _) = name("/queue/a");
    node.fill(&a, 1..=2);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(node.put(&a, message(&a, 3, &[])), Err(StoreError::Full));
    for number in 1..=2 {
        let queued = node.take(&a);
        assert_eq!(queued.message.id.number, number);
        node.port.settle(&a, queued.tag);
    }
    node.settles();
    assert_eq!(node.look(&a), []);
}

#[test]
fn a_claim_whose_reply_is_lost_brings_its_messages_back() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes"]);
    let node = Node::new(&server);
    let (a, _) = name("/queue/a");
    node.fill(&a, 1..=3);
    // As if a claim had been done whose reply never came.
    let claim = Caller { keys: &node.queues.hub.keys, incarnation: node.incarnation() }.claim(&a, 2);
    run_as(&server, &claim, "p");
    assert_eq!(node.take_number(&a), (3, 0));
    server.restart();
    node.driven.wait_healthy();
    node.queues.reunited();
    assert_eq!([(); 2].map(|()| node.take_number(&a)), [(1, 1), (2, 1)]);
}
