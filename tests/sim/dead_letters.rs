//! What is delivered no more, or not yet: the redelivery limit, expiry, and how long a refused message stays away.

use stompede_protocol::{AckMode, Frame};

use crate::person::{Person, bodies};
use crate::world::World;

const ONE_BY_ONE: AckMode = AckMode::ClientIndividual;

fn nacks_with(person: &Person, message: &Frame, headers: &[(&str, &str)]) {
    person.says(|client| client.nack(message, headers));
}

fn wall_ms(world: &World) -> u64 {
    world.core.borrow().now().wall_ms
}

/// Of a dead letter: why, whence, and the body.
fn epitaph(letter: &Frame) -> (&str, &str, &[u8]) {
    let header = |name| letter.headers.get(name).unwrap_or_default();
    (header("stompede-dead-letter-reason"), header("stompede-dead-letter-from"), &letter.body)
}

#[test]
fn a_message_says_how_often_it_came_back_and_after_the_limit_is_a_dead_letter() {
    let world = World::with(|setup| setup.limits.redeliveries_max = 2);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    carol.subscribes("/queue/dlq.a");
    bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
    alice.sends_with("/queue/a", &[("x", "y")], "poison");
    for (redelivered, count) in [("false", None), ("true", Some("1")), ("true", Some("2"))] {
        let message = bob.message();
        assert_eq!(message.headers.get("redelivered"), Some(redelivered));
        assert_eq!(message.headers.get("stompede-delivery-count"), count);
        carol.hears(&[]);
        nacks_with(&bob, &message, &[("redelivery-delay", "0")]);
    }
    bob.hears(&[]);
    let letter = carol.message();
    assert_eq!(epitaph(&letter), ("redelivery-limit", "/queue/a", &b"poison"[..]));
    assert_eq!(letter.headers.get("x"), Some("y"));
    assert_eq!(letter.headers.get("redelivered"), Some("false"), "as a dead letter it is new");
    alice.sends("/queue/a", "fresh");
    bob.hears(&["/queue/a: fresh"]);
    assert_eq!(world.broker().counters().dead_letters.redelivery_limit.value(), 1);
}

#[test]
fn sixteen_redeliveries_are_the_default_and_zero_is_no_limit() {
    for (limit, deliveries) in [(None, 17), (Some(0), 40)] {
        let world = World::with(|setup| {
            setup.limits.redeliveries_max = limit.unwrap_or(setup.limits.redeliveries_max);
        });
        let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
        bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
        alice.sends("/queue/a", "x");
        let heard = (0..40).filter_map(|_| {
            let message = bob.messages().pop()?;
            nacks_with(&bob, &message, &[("redelivery-delay", "0")]);
            Some(message)
        });
        assert_eq!(heard.count(), deliveries);
    }
}

#[test]
fn consumers_that_vanish_count_as_well_as_those_that_refuse() {
    let world = World::with(|setup| setup.limits.redeliveries_max = 1);
    let alice = world.connect_as("alice");
    alice.sends("/queue/a", "poison");
    alice.sends("/queue/a", "good");
    for expected in [vec!["poison", "good"], vec!["poison", "good"], vec![]] {
        let bob = world.connect_as("bob");
        bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
        assert_eq!(bodies(&bob.messages()), expected);
        bob.vanishes();
    }
    alice.subscribes("/queue/dlq.a");
    assert_eq!(bodies(&alice.messages()), ["poison", "good"]);
}

#[test]
fn what_was_never_written_to_the_socket_does_not_count() {
    let world = World::with(|setup| setup.limits.redeliveries_max = 1);
    let alice = world.connect_as("alice");
    alice.sends("/queue/a", "x");
    for leaves in [true, false, true, false] {
        let bob = world.connect_as("bob");
        bob.stalls();
        bob.subscribes("/queue/a");
        if leaves {
            bob.leaves();
        }
        bob.vanishes();
    }
    let carol = world.connect_as("carol");
    carol.subscribes("/queue/a");
    assert_eq!(carol.message().headers.get("redelivered"), Some("false"));
}

#[test]
fn dead_letters_themselves_have_no_limit() {
    let world = World::with(|setup| setup.limits.redeliveries_max = 1);
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    let id = bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
    alice.sends_with("/queue/a", &[("expiration", "2000")], "x");
    nacks_with(&bob, &bob.message(), &[("requeue", "false")]);
    bob.unsubscribes(&id);
    bob.subscribes_with("/queue/dlq.a", ONE_BY_ONE, &[]);
    for _ in 0..5 {
        let letter = bob.message();
        assert_eq!(epitaph(&letter).0, "rejected");
        nacks_with(&bob, &letter, &[("redelivery-delay", "0")]);
        // Nor an end of their time.
        world.runs_for(1_000);
    }
    bob.acks(&bob.message());
    assert_eq!(world.broker().counters().dead_letters.lost.value(), 0);
}

#[test]
fn an_expired_message_is_a_dead_letter_though_nobody_consumes() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    let soon = (wall_ms(&world) + 500).to_string();
    bob.subscribes("/queue/dlq.a");
    alice.sends_with("/queue/a", &[("expires", &soon), ("x", "y")], "absolute");
    alice.sends_with("/queue/a", &[("expiration", "500")], "relative");
    alice.sends_with("/queue/a", &[("expiration", "1"), ("expires", &soon)], "absolute first");
    alice.sends_with("/queue/a", &[("expires", "0")], "for ever");
    world.runs_for(400);
    bob.hears(&[]);
    world.runs_for(300);
    let letters = bob.messages();
    assert_eq!(bodies(&letters), ["absolute", "relative", "absolute first"]);
    for letter in &letters {
        assert_eq!(epitaph(letter).0, "expired");
        assert_eq!(letter.headers.get("stompede-dead-letter-expires"), Some(&*soon));
        assert_eq!((letter.headers.get("expires"), letter.headers.get("expiration")), (None, None));
    }
    assert_eq!(letters[0].headers.get("x"), Some("y"));
    let carol = world.connect_as("carol");
    carol.subscribes("/queue/a");
    assert_eq!(bodies(&carol.messages()), ["for ever"]);
}

#[test]
fn what_was_late_already_when_it_came_is_accepted_and_never_delivered() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes("/queue/a");
    bob.subscribes("/topic/a");
    bob.subscribes("/user/queue/a");
    let late = (wall_ms(&world) - 1).to_string();
    for destination in ["/queue/a", "/topic/a", "/user/bob/queue/a"] {
        alice.sends_with(destination, &[("expires", &late), ("receipt", destination)], "late");
    }
    alice.hears(&["RECEIPT /queue/a", "RECEIPT /topic/a", "RECEIPT /user/bob/queue/a"]);
    bob.hears(&[]);
    bob.subscribes("/queue/dlq.a");
    assert_eq!(epitaph(&bob.message()), ("expired", "/queue/a", &b"late"[..]));
    assert_eq!(world.broker().counters().sum(|tally| &tally.sends_expired), 2);
}

#[test]
fn what_is_in_time_goes_its_way_with_its_headers() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    let now = wall_ms(&world).to_string();
    for destination in ["/queue/a", "/topic/a"] {
        bob.subscribes(destination);
        alice.sends_with(destination, &[("expires", &now)], "just in time");
        assert_eq!(bob.message().headers.get("expires"), Some(&*now));
        // As with RabbitMQ: who is there gets it, and nobody else.
        alice.sends_with(destination, &[("expiration", "0")], "now or never");
        assert_eq!(bob.message().headers.get("expiration"), Some("0"));
    }
}

#[test]
fn a_malformed_expiry_is_refused_wherever_it_goes() {
    for (name, value) in
        [("expires", "tomorrow"), ("expires", "-1"), ("expiration", "1.5"), ("expiration", "")]
    {
        for destination in ["/queue/a", "/topic/a", "/app/x"] {
            let world = World::new();
            let alice = world.connect_as("alice");
            alice.sends_with(destination, &[(name, value)], "x");
            alice.is_thrown_out("bad-content", name);
            assert_eq!(world.broker().census().queues, 0);
        }
    }
}

#[test]
fn who_has_a_message_may_settle_it_after_its_time() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
    for body in ["settled", "refused"] {
        alice.sends_with("/queue/a", &[("expiration", "500")], body);
    }
    let [settled, refused] = <[Frame; 2]>::try_from(bob.messages()).unwrap();
    world.runs_for(2_000);
    bob.acks(&settled);
    bob.nacks(&refused);
    world.runs_for(200);
    bob.hears(&[]);
    bob.subscribes("/queue/dlq.a");
    assert_eq!(epitaph(&bob.message()), ("expired", "/queue/a", &b"refused"[..]));
}

#[test]
fn a_refused_message_that_nobody_can_take_expires_too() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", ONE_BY_ONE, &[("prefetch-count", "1")]);
    alice.sends_with("/queue/a", &[("expiration", "3000")], "short");
    alice.sends("/queue/a", "long");
    bob.nacks(&bob.message());
    // He has no credit any more.
    assert_eq!(bodies(&bob.messages()), ["long"]);
    let carol = world.connect_as("carol");
    carol.subscribes("/queue/dlq.a");
    world.runs_for(2_500);
    carol.hears(&[]);
    world.runs_for(700);
    assert_eq!(epitaph(&carol.message()), ("expired", "/queue/a", &b"short"[..]));
}

#[test]
fn thousands_that_expire_at_once_are_gone_within_a_second() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    for n in 0..2_500 {
        alice.sends_with("/queue/a", &[("expiration", "100")], &n.to_string());
    }
    world.runs_for(200);
    bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
    bob.hears(&[]);
    world.runs_for(800);
    assert_eq!(world.broker().counters().dead_letters.expired.value(), 2_500);
}

#[test]
fn a_delayed_message_stays_away_from_everybody_and_then_stands_before_newer_ones() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", ONE_BY_ONE, &[("prefetch-count", "1")]);
    alice.sends("/queue/a", "first");
    nacks_with(&bob, &bob.message(), &[("redelivery-delay", "5000")]);
    let carol = world.connect_as("carol");
    let id = carol.subscribes("/queue/a");
    world.runs_for(4_800);
    carol.hears(&[]);
    carol.unsubscribes(&id);
    alice.sends("/queue/a", "second");
    alice.sends("/queue/a", "third");
    let second = bob.message();
    world.runs_for(300);
    bob.acks(&second);
    let first = bob.message();
    assert_eq!(bodies(std::slice::from_ref(&first)), ["first"]);
    assert_eq!(first.headers.get("stompede-delivery-count"), Some("1"));
    bob.acks(&first);
    assert_eq!(bodies(&bob.messages()), ["third"]);
}

#[test]
fn a_delayed_message_comes_back_even_to_who_refused_it_and_though_he_left_meanwhile() {
    for leaves in [false, true] {
        let world = World::new();
        let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
        let id = bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
        alice.sends("/queue/a", "x");
        nacks_with(&bob, &bob.message(), &[("redelivery-delay", "3000")]);
        if leaves {
            bob.unsubscribes(&id);
            bob.subscribes("/queue/a");
        }
        world.runs_for(2_900);
        bob.hears(&[]);
        world.runs_for(200);
        bob.hears(&["/queue/a: x"]);
    }
}

#[test]
fn a_delay_holds_for_all_that_a_cumulative_nack_refuses() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", AckMode::Client, &[]);
    (0..3).for_each(|n| alice.sends("/queue/a", &n.to_string()));
    nacks_with(&bob, &bob.messages()[1], &[("redelivery-delay", "2000")]);
    world.runs_for(1_900);
    bob.hears(&[]);
    world.runs_for(200);
    assert_eq!(bodies(&bob.messages()), ["0", "1"]);
}

#[test]
fn a_rejected_message_is_not_delayed() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
    bob.subscribes("/queue/dlq.a");
    alice.sends("/queue/a", "x");
    nacks_with(&bob, &bob.message(), &[("redelivery-delay", "1000"), ("requeue", "false")]);
    assert_eq!(epitaph(&bob.message()).0, "rejected");
}

#[test]
fn a_delay_that_is_none_or_longer_than_a_day_is_refused_and_the_message_not_lost() {
    for delay in ["", "-1", "soon", "1.5", "86400001"] {
        let world = World::new();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
        bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
        alice.sends("/queue/a", "x");
        nacks_with(&bob, &bob.message(), &[("redelivery-delay", delay)]);
        bob.is_thrown_out("bad-content", "redelivery-delay");
        carol.subscribes("/queue/a");
        carol.hears(&["/queue/a: x"]);
    }
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
    alice.sends("/queue/a", "x");
    nacks_with(&bob, &bob.message(), &[("redelivery-delay", "86400000")]);
    bob.hears(&[]);
}

#[test]
fn a_malformed_delay_refuses_its_whole_transaction() {
    let world = World::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    bob.subscribes_with("/queue/a", ONE_BY_ONE, &[]);
    (0..2).for_each(|n| alice.sends("/queue/a", &n.to_string()));
    let messages = bob.messages();
    bob.says(|client| client.begin("t", &[]));
    bob.sends_with("/queue/b", &[("transaction", "t")], "never");
    bob.says(|client| client.ack(&messages[0], &[("transaction", "t")]));
    nacks_with(&bob, &messages[1], &[("transaction", "t"), ("redelivery-delay", "soon")]);
    bob.says(|client| client.commit("t", &[]));
    bob.is_thrown_out("bad-content", "redelivery-delay");
    carol.subscribes("/queue/a");
    carol.subscribes("/queue/b");
    carol.hears(&["/queue/a: 0", "/queue/a: 1"]);
}

#[test]
fn requests_to_the_application_become_dead_letters_too() {
    let world = World::with(|setup| setup.limits.redeliveries_max = 1);
    let [alice, worker, watcher] = ["alice", "service", "service2"].map(|name| world.connect_as(name));
    watcher.subscribes("/queue/dlq.jobs/x");
    worker.subscribes_with("/app/jobs/x", ONE_BY_ONE, &[("prefetch-count", "1")]);
    alice.sends("/app/jobs/x", "poison");
    for _ in 0..2 {
        nacks_with(&worker, &worker.message(), &[("redelivery-delay", "0")]);
    }
    assert_eq!(epitaph(&watcher.message()), ("redelivery-limit", "/app/jobs/x", &b"poison"[..]));
    alice.sends("/app/jobs/x", "slow");
    alice.sends_with("/app/jobs/x", &[("expiration", "500")], "impatient");
    world.runs_for(700);
    assert_eq!(epitaph(&watcher.message()), ("expired", "/app/jobs/x", &b"impatient"[..]));
}

#[test]
fn what_expires_in_a_queue_of_dead_letters_is_dropped_and_counted() {
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.sends_with("/queue/dlq.a", &[("expiration", "100")], "sent there by hand");
    world.runs_for(300);
    assert_eq!(world.broker().census().queues, 0);
    assert_eq!(world.broker().counters().dead_letters.lost.value(), 1);
}
