//! Work queues: each message to one consumer, and what becomes of it afterwards.

use stompede::model::CloseReason;
use stompede_protocol::{AckMode, Frame, Version};

use crate::person::{Person, bodies};
use crate::world::{Guest, World};

fn redelivered(messages: &[Frame]) -> Vec<&str> {
    messages.iter().map(|message| message.headers.get("redelivered").expect("on every queue")).collect()
}

#[test]
fn messages_wait_for_a_consumer() {
    let world = World::new();
    let alice = world.connect_as("alice");
    for n in 0..3 {
        alice.sends_with("/queue/a", &[("receipt", &n.to_string())], &n.to_string());
    }
    alice.hears(&["RECEIPT 0", "RECEIPT 1", "RECEIPT 2"]);
    let bob = world.connect_as("bob");
    bob.subscribes("/queue/a");
    bob.hears(&["/queue/a: 0", "/queue/a: 1", "/queue/a: 2"]);
    let carol = world.connect_as("carol");
    bob.vanishes();
    carol.subscribes("/queue/a");
    carol.hears(&[]);
}

#[test]
fn client_individual_settles_one_and_client_settles_all_before() {
    for (mode, left) in [(AckMode::ClientIndividual, vec!["0", "2"]), (AckMode::Client, vec!["2"])] {
        let world = World::new();
        let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
        bob.subscribes_with("/queue/a", mode, &[]);
        for n in 0..3 {
            alice.sends("/queue/a", &n.to_string());
        }
        let messages = bob.messages();
        assert_eq!(redelivered(&messages), ["false"; 3]);
        bob.acks(&messages[1]);
        bob.vanishes();
        let carol = world.connect_as("carol");
        carol.subscribes("/queue/a");
        let messages = carol.messages();
        assert_eq!(bodies(&messages), left);
        assert!(redelivered(&messages).iter().all(|it| *it == "true"));
    }
}

#[test]
fn what_returns_stands_before_everything_newer_in_its_order() {
    let world = World::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    let id = bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[("prefetch-count", "3")]);
    for n in 0..6 {
        alice.sends("/queue/a", &n.to_string());
    }
    assert_eq!(bodies(&bob.messages()), ["0", "1", "2"]);
    bob.unsubscribes(&id);
    carol.subscribes("/queue/a");
    let messages = carol.messages();
    assert_eq!(bodies(&messages), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(redelivered(&messages), ["true", "true", "true", "false", "false", "false"]);
}

#[test]
fn prefetch_count_bounds_what_is_out() {
    for mode in [AckMode::Client, AckMode::ClientIndividual] {
        let world = World::new();
        let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
        bob.subscribes_with("/queue/a", mode, &[("prefetch-count", "2")]);
        for n in 0..5 {
            alice.sends("/queue/a", &n.to_string());
        }
        let first = bob.messages();
        assert_eq!(bodies(&first), ["0", "1"]);
        bob.acks(&first[0]);
        let second = bob.messages();
        assert_eq!(bodies(&second), ["2"]);
        bob.acks(&second[0]);
        let expected = if mode == AckMode::Client { vec!["3", "4"] } else { vec!["3"] };
        assert_eq!(bodies(&bob.messages()), expected);
    }
}

#[test]
fn prefetch_count_in_auto_mode_bounds_what_waits_for_the_socket() {
    let world = World::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", AckMode::Auto, &[("prefetch-count", "2")]);
    bob.stalls();
    for n in 0..5 {
        alice.sends("/queue/a", &n.to_string());
    }
    carol.subscribes("/queue/a");
    assert_eq!(bodies(&carol.messages()), ["2", "3", "4"]);
    bob.resumes();
    assert_eq!(bodies(&bob.messages()), ["0", "1"]);
}

#[test]
fn a_prefetch_count_that_is_no_number_is_refused() {
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.subscribes_with("/queue/a", AckMode::Client, &[("prefetch-count", "many")]);
    alice.is_thrown_out("bad-content", "prefetch-count");
}

#[test]
fn more_unacknowledged_than_allowed_are_held_back_and_nobody_is_closed() {
    let world = World::with(|setup| setup.limits.unacked_max = 3);
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[("prefetch-count", "100")]);
    for n in 0..5 {
        alice.sends("/queue/a", &n.to_string());
    }
    let messages = bob.messages();
    assert_eq!(bodies(&messages), ["0", "1", "2"]);
    bob.acks(&messages[2]);
    assert_eq!(bodies(&bob.messages()), ["3"]);
}

#[test]
fn a_refused_message_goes_to_another_first_and_back_after_a_second() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[]);
    alice.sends("/queue/a", "x");
    bob.nacks(&bob.message());
    bob.hears(&[]);
    world.runs_for(1_100);
    let again = bob.message();
    assert_eq!(again.headers.get("redelivered"), Some("true"));
    let carol = world.connect_as("carol");
    carol.subscribes("/queue/a");
    bob.nacks(&again);
    carol.hears(&["/queue/a: x"]);
    bob.hears(&[]);
}

#[test]
fn a_refused_message_of_a_consumer_that_left_is_not_lost() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[]);
    alice.sends("/queue/a", "x");
    bob.nacks(&bob.message());
    bob.vanishes();
    let carol = world.connect_as("carol");
    carol.subscribes("/queue/a");
    carol.hears(&["/queue/a: x"]);
}

#[test]
fn what_is_refused_for_good_is_a_dead_letter_and_refused_again_it_is_dropped() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[]);
    alice.sends_with("/queue/a", &[("x", "y")], "poison");
    let message = bob.message();
    bob.says(|client| client.nack(&message, &[("requeue", "false")]));
    bob.hears(&[]);
    let dead = bob.subscribes_with("/queue/dlq.a", AckMode::ClientIndividual, &[]);
    let letter = bob.message();
    assert_eq!(letter.headers.get("stompede-dead-letter-from"), Some("/queue/a"));
    assert_eq!(letter.headers.get("stompede-dead-letter-reason"), Some("rejected"));
    assert_eq!((letter.headers.get("x"), &letter.body[..]), (Some("y"), &b"poison"[..]));
    bob.says(|client| client.nack(&letter, &[("requeue", "false")]));
    bob.unsubscribes(&dead);
    bob.subscribes("/queue/dlq.a");
    bob.hears(&[]);
    assert_eq!(world.broker().counters().dead_letters.lost.value(), 1);
}

#[test]
fn ack_and_nack_of_a_topic_message_change_nothing_but_must_name_one() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/topic/a", AckMode::ClientIndividual, &[]);
    alice.sends("/topic/a", "x");
    let message = bob.message();
    bob.nacks(&message);
    bob.acks(&message);
    world.runs_for(2_000);
    bob.hears(&[]);
    let id = message.headers.get("ack").unwrap().replace("-1", "-2");
    bob.writes(format!("ACK\nid:{id}\n\n\0").as_bytes());
    bob.is_thrown_out("bad-frame", "no message");
}

#[test]
fn every_version_acknowledges_in_its_own_way() {
    for version in Version::ALL {
        let world = World::new();
        let alice = world.connect_as("alice");
        let versions = [version];
        let bob = world.connect(Guest { versions: &versions, ..Guest::named("bob") });
        bob.subscribes_with("/queue/a", AckMode::Client, &[("prefetch-count", "1")]);
        alice.sends("/queue/a", "1");
        alice.sends("/queue/a", "2");
        let first = bob.message();
        bob.acks(&first);
        assert_eq!(bodies(&bob.messages()), ["2"], "{version}");
    }
}

#[test]
fn in_auto_mode_nothing_comes_twice_when_the_consumer_goes_orderly() {
    // What waits for the socket is still written after UNSUBSCRIBE and after DISCONNECT: it must not go back too.
    for unsubscribes in [true, false] {
        let world = World::new();
        let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
        let id = bob.subscribes("/queue/a");
        bob.stalls();
        for n in 0..3 {
            alice.sends("/queue/a", &n.to_string());
        }
        if unsubscribes {
            bob.unsubscribes(&id)
        } else {
            bob.leaves()
        }
        let carol = world.connect_as("carol");
        carol.subscribes("/queue/a");
        bob.resumes();
        let heard = bob.heard().len() + carol.messages().len();
        let ending = if unsubscribes { 0 } else { 2 };
        assert_eq!(heard - ending, 3);
    }
}

#[test]
fn in_auto_mode_what_the_socket_never_took_returns_when_the_consumer_is_lost() {
    let world = World::with(|setup| setup.limits.outbox_bytes_max = 4_000);
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes("/topic/a");
    bob.subscribes("/queue/a");
    bob.stalls();
    alice.sends("/queue/a", "precious");
    for _ in 0..5 {
        alice.sends("/topic/a", &"x".repeat(1_000));
        world.runs_for(500);
    }
    assert_eq!(world.closes(CloseReason::SlowConsumer), 1);
    let carol = world.connect_as("carol");
    carol.subscribes("/queue/a");
    let lost = bob.is_gone();
    bob.vanishes();
    assert_eq!(bodies(&carol.messages()), ["precious"], "gone at once: {lost}");
}

#[test]
fn dropped_deliveries_do_not_count_as_written_ones() {
    use stompede::model::{DestinationRule, DestinationRules, Overflow, Pattern};
    let world = World::with(|setup| {
        setup.limits.outbox_bytes_max = 4_000;
        let pattern = Pattern::parse("/topic/ticks/**").unwrap();
        setup.rules = DestinationRules::new(vec![DestinationRule {
            pattern,
            overflow: Some(Overflow::DropOldest),
            history: None,
            offline: None,
        }]);
    });
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes("/topic/ticks/a");
    bob.subscribes("/queue/a");
    bob.stalls();
    // A frame in progress is never dropped; the queue's message stands behind it.
    alice.sends("/topic/ticks/a", "first");
    bob.takes(10);
    alice.sends("/queue/a", "precious");
    for _ in 0..50 {
        alice.sends("/topic/ticks/a", &"x".repeat(500));
    }
    bob.takes(10);
    bob.vanishes();
    let carol = world.connect_as("carol");
    carol.subscribes("/queue/a");
    assert_eq!(bodies(&carol.messages()), ["precious"]);
}

#[test]
fn what_is_on_its_way_to_a_consumer_that_leaves_stands_before_newer_messages() {
    let world = World::new();
    let alice = world.connect(Guest { shard: Some(0), ..Guest::named("alice") });
    let bob = world.connect(Guest { shard: Some(1), ..Guest::named("bob") });
    let carol = world.connect(Guest { shard: Some(0), ..Guest::named("carol") });
    let id = bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[]);
    world.holds_still();
    for n in 0..3 {
        alice.sends("/queue/a", &n.to_string());
    }
    bob.unsubscribes(&id);
    carol.subscribes("/queue/a");
    // Alice and Bob are read, Carol subscribes, and only then shard 1 looks into its inbox.
    while world.steps_line() {}
    alice.sends("/queue/a", "3");
    while world.steps_line() {}
    world.moves_again();
    bob.hears(&[]);
    let messages = carol.messages();
    assert_eq!(bodies(&messages), ["0", "1", "2", "3"]);
    assert_eq!(redelivered(&messages), ["false"; 4], "nobody can have seen them");
}

#[test]
fn a_consumer_whose_outbox_is_full_is_passed_over_and_comes_back() {
    let world = World::with(|setup| setup.limits.outbox_bytes_max = 2_000);
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[]);
    bob.stalls();
    for n in 0..10 {
        alice.sends("/queue/a", &format!("{n}{}", "x".repeat(500)));
    }
    let carol = world.connect_as("carol");
    carol.subscribes_with("/queue/a", AckMode::ClientIndividual, &[("prefetch-count", "2")]);
    let other = carol.messages();
    assert_eq!(other.len(), 2);
    assert_eq!(redelivered(&other), ["false"; 2], "nobody had them before");
    bob.resumes();
    let mut got: Vec<String> = bodies(&bob.messages()).into_iter().chain(bodies(&other)).collect();
    got.sort();
    let first: Vec<&str> = got.iter().map(|body| &body[..1]).collect();
    assert_eq!(first, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(world.closes(CloseReason::SlowConsumer), 0);
}

#[test]
fn a_full_queue_refuses_and_says_its_limit() {
    let world = World::with(|setup| setup.limits.queue_messages_max = 2);
    let alice = world.connect_as("alice");
    alice.subscribes("/user/queue/errors");
    for n in 0..3 {
        alice.sends_with("/queue/a", &[("receipt", &n.to_string())], "x");
    }
    let heard = alice.heard();
    let words: Vec<_> = heard.iter().map(crate::person::words).collect();
    assert_eq!(words, ["RECEIPT 0", "RECEIPT 1", "/user/queue/errors error queue-full"]);
    let other = world.connect_as("bob");
    other.sends("/queue/a", "x");
    other.is_thrown_out("queue-full", "2 messages");
}

#[test]
fn a_full_store_refuses_what_would_wait_and_chat_goes_on() {
    let world = World::with(|setup| setup.memory_bytes_max = 20_000);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    bob.subscribes("/topic/a");
    alice.subscribes("/user/queue/errors");
    for n in 0..30 {
        alice.sends_with(&format!("/queue/{n}"), &[("receipt", "r")], &"x".repeat(1_000));
    }
    world.runs_for(200);
    let heard: Vec<_> = alice.heard().iter().map(crate::person::words).collect();
    let refused = heard.iter().filter(|it| *it == "/user/queue/errors error store-full").count();
    let stored = heard.iter().filter(|it| *it == "RECEIPT r").count();
    assert!((6..10).contains(&stored) && stored + refused == 30, "{heard:?}");
    alice.sends("/topic/a", "chat");
    bob.hears(&["/topic/a: chat"]);
    carol.sends("/queue/b", &"x".repeat(1_000));
    carol.is_thrown_out("store-full", "10000 bytes");
    bob.subscribes("/queue/0");
    bob.hears(&[&format!("/queue/0: {}", "x".repeat(1_000))]);
    alice.sends_with("/queue/b", &[("receipt", "room")], "x");
    alice.hears(&["RECEIPT room"]);
}

#[test]
fn queues_are_bounded_in_bytes_and_in_number() {
    let world = World::with(|setup| {
        setup.limits.queue_bytes_max = 1_000;
        setup.limits.queues_max = 2;
    });
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    alice.sends("/queue/a", &"x".repeat(2_000));
    alice.sends("/queue/a", "y");
    alice.is_thrown_out("queue-full", "1000 bytes");
    bob.sends("/queue/b", "x");
    bob.sends("/queue/c", "x");
    bob.is_thrown_out("queue-full", "2 queues");
}

#[test]
fn what_a_lost_consumer_had_not_been_sent_comes_to_the_others_in_order() {
    for leaves in [true, false] {
        let world = World::new();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
        bob.subscribes("/queue/a");
        bob.stalls();
        for n in 0..5 {
            alice.sends("/queue/a", &n.to_string());
        }
        carol.subscribes("/queue/a");
        if leaves {
            bob.leaves();
            carol.hears(&[]);
        }
        bob.vanishes();
        assert_eq!(bodies(&carol.messages()), ["0", "1", "2", "3", "4"]);
    }
}

/// Bob has a message of `/queue/a`, and a transaction with its ACK and SENDs of these bodies to `/queue/b`.
fn transaction(world: &World, bodies: &[&str]) -> (Person, Frame) {
    let bob = world.connect_as("bob");
    bob.sends("/queue/a", "job");
    bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[]);
    let message = bob.message();
    bob.says(|client| client.begin("t", &[]));
    bob.says(|client| client.ack(&message, &[("transaction", "t")]));
    for body in bodies {
        bob.sends_with("/queue/b", &[("transaction", "t")], body);
    }
    (bob, message)
}

#[test]
fn a_transaction_over_two_queues_is_done_at_commit() {
    let world = World::new();
    let carol = world.connect_as("carol");
    carol.subscribes("/queue/b");
    let (bob, _) = transaction(&world, &["1", "2"]);
    carol.hears(&[]);
    bob.says(|client| client.commit("t", &[("receipt", "c")]));
    bob.hears(&["RECEIPT c"]);
    carol.hears(&["/queue/b: 1", "/queue/b: 2"]);
    bob.vanishes();
    carol.subscribes("/queue/a");
    carol.hears(&[]);
}

#[test]
fn a_transaction_that_finds_a_queue_full_has_changed_nothing() {
    let world = World::with(|setup| setup.limits.queue_messages_max = 2);
    let carol = world.connect_as("carol");
    carol.sends("/queue/b", "0");
    let (bob, _) = transaction(&world, &["1", "2"]);
    bob.subscribes("/user/queue/errors");
    bob.says(|client| client.commit("t", &[("receipt", "c")]));
    bob.hears(&["/user/queue/errors error queue-full"]);
    carol.subscribes("/queue/b");
    carol.hears(&["/queue/b: 0"]);
    // The session has forgotten the delivery: the job is for another now.
    carol.subscribes("/queue/a");
    let again = carol.messages();
    assert_eq!((bodies(&again), redelivered(&again)), (vec!["job".to_owned()], vec!["true"]));
}

#[test]
fn what_an_aborted_transaction_acknowledged_is_still_the_consumers() {
    let world = World::new();
    let carol = world.connect_as("carol");
    let (bob, message) = transaction(&world, &["1"]);
    bob.says(|client| client.abort("t", &[]));
    carol.subscribes("/queue/a");
    carol.subscribes("/queue/b");
    world.runs_for(2_000);
    carol.hears(&[]);
    bob.says(|client| client.ack(&message, &[("receipt", "a")]));
    bob.hears(&["RECEIPT a"]);
    bob.vanishes();
    carol.hears(&[]);
}

#[test]
fn a_priority_is_handed_on_and_changes_nothing() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    for priority in ["0", "9"] {
        alice.sends_with("/queue/a", &[("priority", priority)], priority);
    }
    bob.subscribes("/queue/a");
    let messages = bob.messages();
    assert_eq!(bodies(&messages), ["0", "9"]);
    assert_eq!(messages[1].headers.get("priority"), Some("9"));
}
