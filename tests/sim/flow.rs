//! Slow sockets, full inboxes, backlogs and memory: who waits for whom, and who is closed.

use stompede::broker::Link;
use stompede::model::{CloseReason, DestinationRule, DestinationRules, Overflow, Pattern};
use stompede_protocol::Frame;

use crate::line::Heard;
use crate::person::Person;
use crate::world::{Guest, World};

fn numbers(messages: &[Frame]) -> Vec<usize> {
    let number = |message: &Frame| {
        String::from_utf8_lossy(&message.body).trim_end_matches('.').parse().expect("a number")
    };
    messages.iter().map(number).collect()
}

/// A body of `bytes` that says `n`.
fn numbered(n: usize, bytes: usize) -> String {
    format!("{n}{}", ".".repeat(bytes))
}

fn on<'a>(shard: usize, name: &'a str) -> Guest<'a> {
    Guest { shard: Some(shard), ..Guest::named(name) }
}

fn receipts(person: &Person) -> usize {
    person.heard().iter().filter(|heard| matches!(heard, Heard::Receipt(..))).count()
}

#[test]
fn a_blocked_socket_is_closed_by_its_rule_and_never_slows_the_publisher() {
    let world = World::with(|setup| setup.limits.outbox_bytes_max = 10_000);
    let [slow, fast, alice] = ["slow", "fast", "alice"].map(|name| world.connect_as(name));
    slow.subscribes("/topic/a");
    fast.subscribes("/topic/a");
    slow.stalls();
    for n in 0..30 {
        alice.sends_with("/topic/a", &[("receipt", "r")], &numbered(n, 1_000));
        assert_eq!(receipts(&alice), 1, "not held");
        // Who has read nothing for a second is slow; before, the limit is lenient.
        world.runs_for(100);
    }
    assert_eq!(numbers(&fast.messages()), (0..30).collect::<Vec<_>>());
    assert_eq!(world.closes(CloseReason::SlowConsumer), 1);
    slow.resumes();
    let heard: Vec<_> = slow.heard().iter().map(crate::person::words).collect();
    assert_eq!(heard, ["ERROR slow-consumer", "END"]);
}

#[test]
fn a_client_that_never_takes_its_last_word_is_dropped_after_the_write_limit() {
    let world = World::new();
    let [slow, alice] = ["slow", "alice"].map(|name| world.connect_as(name));
    slow.subscribes("/topic/a");
    slow.stalls();
    alice.sends("/topic/a", "x");
    world.runs_for(9_000);
    assert!(!slow.is_gone());
    world.runs_for(1_200);
    assert!(slow.is_gone());
    slow.hears(&["END"]);
    assert_eq!(world.closes(CloseReason::SlowConsumer), 1);
}

#[test]
fn where_the_oldest_is_dropped_the_newest_arrives_and_nobody_is_closed() {
    let world = World::with(|setup| {
        setup.limits.outbox_bytes_max = 10_000;
        let pattern = Pattern::parse("/topic/ticks/**").unwrap();
        setup.rules = DestinationRules::new(vec![DestinationRule {
            pattern,
            overflow: Some(Overflow::DropOldest),
            history: None,
            offline: None,
        }]);
    });
    let [slow, alice] = ["slow", "alice"].map(|name| world.connect_as(name));
    slow.subscribes("/topic/ticks/a");
    slow.stalls();
    for n in 0..100 {
        alice.sends("/topic/ticks/a", &numbered(n, 1_000));
    }
    slow.takes(100);
    slow.resumes();
    let got = numbers(&slow.messages());
    assert!(got.is_sorted() && got.len() < 12, "{got:?}");
    assert_eq!(got.last(), Some(&99));
    assert_eq!(world.broker().counters().sum(|tally| &tally.deliveries_dropped) as usize, 100 - got.len());
}

#[test]
fn an_empty_outbox_takes_one_message_of_any_legal_size() {
    let world = World::with(|setup| setup.limits.outbox_bytes_max = 1_000);
    let [slow, alice] = ["slow", "alice"].map(|name| world.connect_as(name));
    slow.subscribes("/topic/a");
    slow.stalls();
    alice.sends("/topic/a", &"x".repeat(100_000));
    slow.resumes();
    assert_eq!(slow.message().body.len(), 100_000);
}

#[test]
fn a_full_inbox_holds_the_publisher_and_nothing_is_lost() {
    let world = World::with(|setup| setup.limits.inbox_messages_max = 4);
    let alice = world.connect(on(0, "alice"));
    let bob = world.connect(on(1, "bob"));
    bob.subscribes("/topic/a");
    world.holds_still();
    for n in 0..50 {
        alice.sends_with("/topic/a", &[("receipt", "r")], &n.to_string());
    }
    while world.steps_line() {}
    assert_eq!(receipts(&alice), 4, "the fifth waits");
    world.moves_again();
    assert_eq!(receipts(&alice), 46);
    assert_eq!(numbers(&bob.messages()), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_transaction_that_has_begun_is_finished_though_its_sender_vanishes() {
    let world = World::with(|setup| setup.limits.inbox_messages_max = 4);
    let alice = world.connect(on(0, "alice"));
    let bob = world.connect(on(1, "bob"));
    bob.subscribes("/topic/a");
    world.holds_still();
    alice.says(|client| client.begin("t", &[]));
    for n in 0..10 {
        alice.sends_with("/topic/a", &[("transaction", "t")], &n.to_string());
    }
    alice.says(|client| client.commit("t", &[]));
    alice.sends("/topic/a", "99");
    while world.steps_line() {}
    alice.vanishes();
    world.moves_again();
    assert_eq!(numbers(&bob.messages()), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_workers_backlog_slows_publishers_and_closes_nobody() {
    let world = World::with(|setup| {
        setup.limits.backlog_bytes_max = 20_000;
        setup.limits.outbox_bytes_max = 5_000;
        setup.limits.inbox_bytes_max = 20_000;
    });
    let alice = world.connect(on(0, "alice"));
    let [bob, carol] = ["bob", "carol"].map(|name| world.connect(on(1, name)));
    bob.subscribes("/topic/a");
    carol.subscribes("/topic/a");
    world.holds_still();
    for n in 0..200 {
        alice.sends_with("/topic/a", &[("receipt", "r")], &numbered(n, 1_000));
    }
    // Shard 1 is slow: its connections get their turn last.
    while world.steps_except(&[&bob, &carol]) {}
    let accepted = receipts(&alice);
    assert!(accepted < 100, "{accepted} accepted although nobody wrote a byte");
    world.moves_again();
    world.runs_for(100);
    assert_eq!(accepted + receipts(&alice), 200);
    for person in [&bob, &carol] {
        assert_eq!(numbers(&person.messages()), (0..200).collect::<Vec<_>>());
    }
    assert_eq!(world.closes(CloseReason::SlowConsumer), 0);
}

#[test]
fn a_transaction_that_has_begun_finds_room_in_a_queue_that_others_filled_meanwhile() {
    for stays in [true, false] {
        let world = World::with(|setup| {
            setup.limits.inbox_messages_max = 4;
            setup.limits.queue_messages_max = 1;
        });
        let [alice, carol] = ["alice", "carol"].map(|name| world.connect(on(0, name)));
        let bob = world.connect(on(1, "bob"));
        bob.subscribes("/topic/a");
        world.holds_still();
        alice.says(|client| client.begin("t", &[]));
        for n in 0..10 {
            alice.sends_with("/topic/a", &[("transaction", "t")], &n.to_string());
        }
        alice.sends_with("/queue/a", &[("transaction", "t")], "committed");
        alice.says(|client| client.commit("t", &[("receipt", "r")]));
        while world.steps_line() {}
        carol.sends_with("/queue/a", &[("receipt", "r")], "filled");
        while world.steps_line() {}
        assert_eq!(receipts(&carol), 1, "the queue has room until now");
        if !stays {
            alice.vanishes();
        }
        world.moves_again();
        if stays {
            alice.hears(&["RECEIPT r"]);
        }
        carol.subscribes("/queue/a");
        carol.hears(&["/queue/a: filled", "/queue/a: committed"]);
    }
}

#[test]
fn above_the_memory_limit_no_send_is_read_until_there_is_room() {
    let world = World::with(|setup| setup.memory_bytes_max = 20_000);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    carol.subscribes("/topic/a");
    bob.writes(format!("SEND\ndestination:/topic/b\n\n{}", numbered(0, 30_000)).as_bytes());
    world.runs_for(200);
    alice.sends_with("/topic/a", &[("receipt", "r")], "x");
    world.runs_for(1_000);
    assert_eq!(receipts(&alice), 0);
    carol.hears(&[]);
    bob.vanishes();
    world.runs_for(200);
    assert_eq!(receipts(&alice), 1);
    carol.hears(&["/topic/a: x"]);
}

#[test]
fn above_the_memory_limit_the_fullest_blocked_outbox_goes_first() {
    let world = World::with(|setup| setup.memory_bytes_max = 30_000);
    let alice = world.connect(on(0, "alice"));
    let [less, most, fine] = ["less", "most", "fine"].map(|name| world.connect(on(1, name)));
    for person in [&less, &most, &fine] {
        person.subscribes("/topic/a");
    }
    most.subscribes("/topic/b");
    less.stalls();
    most.stalls();
    for n in 0..10 {
        alice.sends("/topic/a", &numbered(n, 1_000));
        alice.sends("/topic/b", &numbered(n, 1_000));
    }
    world.runs_for(300);
    assert_eq!(world.closes(CloseReason::SlowConsumer), 1);
    most.resumes();
    most.is_thrown_out("slow-consumer", "fast enough");
    less.resumes();
    assert_eq!(numbers(&less.messages()), (0..10).collect::<Vec<_>>());
    fine.messages();
}

#[test]
fn toggling_sockets_leave_no_timers_behind() {
    let world = World::guarded();
    let [slow, alice] =
        ["slow", "service"].map(|name| world.connect(Guest { ttl_s: 7_200, ..Guest::named(name) }));
    slow.subscribes("/user/queue/a");
    for _ in 0..50 {
        slow.stalls();
        alice.sends("/user/slow/queue/a", "x");
        world.runs_for(1_000);
        slow.resumes();
        world.runs_for(11_000);
    }
    assert_eq!(slow.messages().len(), 50);
    let timers = world.timers();
    // Those that a sooner one replaced stay for a turn of the wheel, not longer.
    assert!(timers <= 8, "{timers} timers for two connections");
}

#[test]
fn a_client_that_sends_leaves_no_timers_behind() {
    let world = World::new();
    // No deadline stands at a tick of the wheel.
    world.passes(37);
    let alice = world.connect(Guest { link: Link::WebSocket, ..Guest::named("service") });
    // What is due next is the ping: the deadline of the handshake has come up.
    world.runs_for(20_000);
    for n in 0..1_000 {
        alice.sends("/topic/a", &format!("{n}"));
        world.passes(1);
    }
    let timers = world.timers();
    assert!(timers <= 4, "{timers} timers for one connection");
}

#[test]
fn all_subscribers_hear_one_order_whoever_takes_his_turn_when() {
    use proptest::prelude::*;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let choices = prop::collection::vec(any::<usize>(), 0..400);
    runner
        .run(&choices, |choices| {
            let world = World::with(|setup| {
                setup.shards = 3;
                setup.limits.inbox_messages_max = 3;
            });
            let publishers: Vec<_> = (0..3).map(|n| world.connect(on(n, &format!("p{n}")))).collect();
            let subscribers: Vec<_> = (0..3).map(|n| world.connect(on(n, &format!("s{n}")))).collect();
            subscribers[0].subscribes("/topic/a");
            subscribers[1].subscribes("/topic/*");
            subscribers[2].subscribes("/topic/**");
            world.holds_still();
            for n in 0..8 {
                for (who, publisher) in publishers.iter().enumerate() {
                    publisher.sends("/topic/a", &(who * 100 + n).to_string());
                }
            }
            for choice in choices {
                if !world.steps(choice) {
                    break;
                }
            }
            world.moves_again();
            let heard: Vec<_> =
                subscribers.iter().map(|subscriber| numbers(&subscriber.messages())).collect();
            prop_assert_eq!(heard[0].len(), 24);
            prop_assert_eq!(&heard[0], &heard[1]);
            prop_assert_eq!(&heard[0], &heard[2]);
            for who in 0..3 {
                let own: Vec<_> = heard[0].iter().filter(|n| *n / 100 == who).collect();
                prop_assert!(own.is_sorted());
            }
            Ok(())
        })
        .unwrap();
}
