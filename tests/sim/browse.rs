//! SUBSCRIBE with `browser:true`: a look at a work queue that takes nothing.

use stompede::model::CloseReason;
use stompede_protocol::{AckMode, Frame};

use crate::person::{Person, bodies};
use crate::world::{Guest, World};

const BROWSER: &[(&str, &str)] = &[("browser", "true")];

/// What a look has shown, up to its end.
#[track_caller]
fn shown(browser: &Person) -> Vec<Frame> {
    let mut messages = browser.messages();
    let end = messages.pop().expect("an end");
    assert_eq!((end.headers.get("browser"), &end.body[..]), (Some("end"), &b""[..]));
    assert!(messages.iter().all(|message| message.headers.get("browser").is_none()));
    messages
}

#[test]
fn whoever_looks_sees_everything_in_order_and_takes_nothing() {
    let world = World::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", AckMode::ClientIndividual, &[("prefetch-count", "2")]);
    (0..100).for_each(|n| alice.sends("/queue/a", &n.to_string()));
    let first = bob.messages();
    bob.says(|client| client.nack(&first[1], &[("redelivery-delay", "60000")]));
    assert_eq!(bodies(&bob.messages()), ["2"]);
    let id = carol.subscribes_with("/queue/a", AckMode::Auto, BROWSER);
    let seen = shown(&carol);
    // What waits, what consumers have, and what is delayed, as ActiveMQ shows it.
    let all: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&seen), all);
    let counts = [0, 1, 2].map(|n: usize| seen[n].headers.get("stompede-delivery-count"));
    assert_eq!(counts, [None, Some("1"), None]);
    assert!(seen.iter().all(|message| message.headers.get("destination") == Some("/queue/a")));
    carol.unsubscribes(&id);
    bob.vanishes();
    carol.subscribes("/queue/a");
    assert_eq!(carol.messages().len(), 99);
}

#[test]
fn an_empty_queue_has_an_end_as_well() {
    let world = World::new();
    let alice = world.connect_as("alice");
    let id = alice.subscribes_with("/queue/a", AckMode::Auto, BROWSER);
    assert_eq!(shown(&alice).len(), 0);
    alice.unsubscribes(&id);
    alice.leaves();
    world.runs_for(100);
    world.is_deserted();
}

#[test]
fn what_comes_after_the_look_began_is_not_shown() {
    let world = World::with(|setup| setup.limits.outbox_bytes_max = 2_000);
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    (0..20).for_each(|n| alice.sends("/queue/a", &format!("{n}{}", "x".repeat(400))));
    bob.stalls();
    bob.subscribes_with("/queue/a", AckMode::Auto, BROWSER);
    alice.sends("/queue/a", "late");
    bob.resumes();
    assert_eq!(shown(&bob).len(), 20);
    alice.sends("/queue/a", "later");
    bob.hears(&[]);
}

#[test]
fn a_queue_that_was_emptied_and_filled_meanwhile_shows_nothing_new() {
    let world = World::with(|setup| setup.limits.outbox_bytes_max = 2_000);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    (0..20).for_each(|n| alice.sends("/queue/a", &format!("old {n}{}", "x".repeat(400))));
    bob.stalls();
    bob.subscribes_with("/queue/a", AckMode::Auto, BROWSER);
    let id = carol.subscribes("/queue/a");
    assert_eq!(carol.messages().len(), 20);
    carol.unsubscribes(&id);
    (0..20).for_each(|_| alice.sends("/queue/a", "new"));
    bob.resumes();
    let seen = bodies(&shown(&bob));
    assert!(!seen.is_empty() && seen.iter().all(|body| body.starts_with("old")), "{seen:?}");
}

#[test]
fn a_look_waits_for_the_socket_and_makes_nobody_slow() {
    let world = World::with(|setup| setup.limits.outbox_bytes_max = 4_000);
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    (0..50).for_each(|n| alice.sends("/queue/a", &format!("{n:02}{}", "x".repeat(500))));
    world.runs_for(100);
    let before = world.broker().held_bytes();
    bob.stalls();
    bob.subscribes_with("/queue/a", AckMode::Auto, BROWSER);
    world.runs_for(5_000);
    let waits = world.broker().held_bytes() - before;
    assert!((1..=4_000).contains(&waits), "{waits} bytes of a queue of 35,000");
    let mut seen = Vec::new();
    for _ in 0..40 {
        bob.takes(700);
        seen.extend(bob.messages());
    }
    bob.resumes();
    seen.extend(shown(&bob));
    let numbers: Vec<usize> =
        seen.iter().map(|it| bodies(std::slice::from_ref(it))[0][..2].parse().unwrap()).collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    assert_eq!(world.closes(CloseReason::SlowConsumer), 0);
}

#[test]
fn acknowledgement_of_what_was_only_seen_changes_nothing() {
    for mode in [AckMode::Client, AckMode::ClientIndividual] {
        let world = World::new();
        let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
        (0..3).for_each(|n| alice.sends("/queue/a", &n.to_string()));
        let id = bob.subscribes_with("/queue/a", mode, BROWSER);
        let seen = shown(&bob);
        bob.acks(&seen[0]);
        bob.says(|client| client.nack(&seen[1], &[("requeue", "false")]));
        bob.unsubscribes(&id);
        bob.subscribes("/queue/a");
        assert_eq!(bodies(&bob.messages()), ["0", "1", "2"]);
        let ack = seen[0].headers.get("ack").unwrap().replace("@1-1", "@1-9");
        bob.writes(format!("ACK\nid:{ack}\n\n\0").as_bytes());
        bob.is_thrown_out("bad-frame", "no message");
    }
}

#[test]
fn a_look_shows_nothing_that_has_expired() {
    let world = World::new();
    world.holds_still();
    let [alice, bob] = ["alice", "bob"].map(|name| world.knock(Guest::named(name)));
    world.moves_again();
    drop((alice.heard(), bob.heard()));
    let past = (world.core.borrow().now().wall_ms - 1).to_string();
    alice.sends_with("/queue/a", &[("expires", &past)], "late");
    alice.sends("/queue/a", "good");
    bob.subscribes_with("/queue/a", AckMode::Auto, BROWSER);
    assert_eq!(bodies(&shown(&bob)), ["good"]);
}

#[test]
fn only_work_queues_are_looked_at_and_a_word_that_is_none_takes_nothing() {
    let cases = [
        ("/topic/a", "true", "bad-destination"),
        ("/app/a", "true", "bad-destination"),
        ("/user/queue/a", "true", "bad-destination"),
        ("/queue/a", "yes", "bad-content"),
    ];
    for (destination, browser, code) in cases {
        let world = World::new();
        let alice = world.connect_as("alice");
        alice.sends("/queue/a", "x");
        alice.subscribes_with(destination, AckMode::Auto, &[("browser", browser)]);
        alice.is_thrown_out(code, "browser");
    }
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.sends("/queue/a", "x");
    alice.subscribes_with("/queue/a", AckMode::Auto, &[("browser", "false")]);
    alice.hears(&["/queue/a: x"]);
}

#[test]
fn who_may_not_subscribe_may_not_look() {
    let world = World::guarded();
    let [alice, service] = ["alice", "service"].map(|name| world.connect_as(name));
    service.subscribes_with("/queue/a", AckMode::Auto, BROWSER);
    assert_eq!(shown(&service).len(), 0);
    alice.subscribes_with("/queue/a", AckMode::Auto, BROWSER);
    alice.is_thrown_out("forbidden", "/queue/a");
}

#[test]
fn nobody_can_forge_the_end_of_a_look() {
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.sends_with("/queue/a", &[("browser", "end")], "x");
    alice.subscribes_with("/queue/a", AckMode::Auto, BROWSER);
    assert_eq!(bodies(&shown(&alice)), ["x"]);
}
