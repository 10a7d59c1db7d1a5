//! Every limit, crossed; the ERROR says which it was.

use stompede::broker::Link;
use stompede::model::Limits;
use stompede_protocol::AckMode;

use crate::person::Person;
use crate::world::{Guest, World};

fn with(change: impl FnOnce(&mut Limits)) -> (World, Person) {
    let world = World::with(|setup| change(&mut setup.limits));
    let alice = world.connect_as("alice");
    (world, alice)
}

#[test]
fn a_body_has_a_limit() {
    let (_world, alice) = with(|limits| limits.body_bytes_max = 100);
    alice.sends_with("/topic/a", &[("receipt", "r")], &"x".repeat(100));
    alice.hears(&["RECEIPT r"]);
    alice.sends("/topic/a", &"x".repeat(101));
    alice.is_thrown_out("too-large", "100 bytes");
}

#[test]
fn a_websocket_message_has_a_limit() {
    let world = World::with(|setup| setup.limits.body_bytes_max = 100);
    let alice = world.connect(Guest { link: Link::WebSocket, ..Guest::named("alice") });
    alice.sends("/topic/a", &"x".repeat(40_000));
    alice.hears(&["ERROR too-large", "END 1009"]);
}

#[test]
fn a_head_has_a_limit_in_headers_and_bytes() {
    let (_world, alice) = with(|limits| limits.headers_max = 5);
    alice.sends_with("/topic/a", &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")], "");
    alice.is_thrown_out("too-large", "5 headers");
    let (_world, alice) = with(|limits| limits.head_bytes_max = 1_000);
    alice.sends_with("/topic/a", &[("a", &"x".repeat(1_000))], "");
    alice.is_thrown_out("too-large", "1000 bytes");
}

#[test]
fn a_stranger_has_a_limit() {
    let world = World::with(|setup| setup.limits.unconnected_bytes_max = 100);
    let stranger = world.stranger(Link::Stream, None);
    stranger.writes(format!("CONNECT\naccept-version:1.2\nx:{}\n\n\0", "x".repeat(100)).as_bytes());
    stranger.is_thrown_out("too-large", "100 bytes");
}

#[test]
fn subscriptions_have_a_limit() {
    let (_world, alice) = with(|limits| limits.subscriptions_max = 2);
    for n in 0..3 {
        alice.subscribes(&format!("/topic/{n}"));
    }
    alice.is_thrown_out("too-many-subscriptions", "2 subscriptions");
}

#[test]
fn reply_addresses_and_open_requests_have_a_limit() {
    let (world, alice) = with(|limits| limits.replies_max = 2);
    for n in 0..3 {
        alice.subscribes(&format!("/temp-queue/{n}"));
    }
    alice.is_thrown_out("too-many-subscriptions", "2 reply queues");
    let [worker, bob] = ["service", "bob"].map(|name| world.connect_as(name));
    worker.subscribes("/app/jobs");
    for _ in 0..3 {
        bob.subscribes("/app/jobs");
    }
    bob.is_thrown_out("too-many-subscriptions", "2 requests");
}

#[test]
fn transactions_have_a_limit_in_number_and_bytes() {
    let (_world, alice) = with(|limits| limits.transactions_max = 2);
    for n in 0..3 {
        alice.says(|client| client.begin(&n.to_string(), &[]));
    }
    alice.is_thrown_out("too-large", "2 open transactions");
    let (_world, alice) = with(|limits| limits.transaction_bytes_max = 10_000);
    alice.says(|client| client.begin("t", &[]));
    alice.sends_with("/topic/a", &[("transaction", "t")], &"x".repeat(10_000));
    alice.is_thrown_out("too-large", "10000 bytes");
}

#[test]
fn sends_have_a_rate_a_connection_and_services_have_none() {
    let (world, alice) = with(|limits| {
        limits.sends_per_second = 10;
        limits.sends_burst = 20;
    });
    for _ in 0..20 {
        alice.sends("/topic/a", "x");
    }
    alice.hears(&[]);
    world.runs_for(100);
    alice.sends("/topic/a", "x");
    alice.hears(&[]);
    alice.sends("/topic/a", "x");
    let error = alice.error();
    assert_eq!(error.headers.get("error-code"), Some("rate-limited"));
    assert_eq!(error.headers.get("retry-after"), Some("100"));
    assert!(error.headers.get("message").unwrap().contains("10 SEND frames a second on one connection"));
    let service = world.connect_as("service");
    for _ in 0..100 {
        service.sends("/topic/a", "x");
    }
    service.hears(&[]);
}

#[test]
fn sends_have_a_rate_a_user_over_all_connections() {
    let (world, first) = with(|limits| {
        limits.user_sends_per_second = 30;
        limits.sends_burst = 10;
    });
    let second = world.connect_as("alice");
    for _ in 0..15 {
        first.sends("/topic/a", "x");
        second.sends("/topic/a", "x");
    }
    first.hears(&[]);
    second.sends("/topic/a", "x");
    second.is_thrown_out("rate-limited", "30 SEND frames a second of one user");
}

#[test]
fn a_refused_rate_spares_a_session_that_hears_of_it() {
    let (world, alice) = with(|limits| {
        limits.sends_per_second = 1;
        limits.sends_burst = 1;
    });
    alice.subscribes("/user/queue/errors");
    alice.sends("/topic/a", "x");
    alice.sends("/topic/a", "x");
    alice.hears(&["/user/queue/errors error rate-limited"]);
    world.runs_for(1_000);
    alice.sends_with("/topic/a", &[("receipt", "r")], "x");
    alice.hears(&["RECEIPT r"]);
}

#[test]
fn a_user_has_so_many_connections_and_services_any_number() {
    let (world, alice) = with(|limits| limits.user_connections_max = 2);
    let _second = world.connect_as("alice");
    world.knock(Guest::named("alice")).is_thrown_out("too-many-connections", "2 connections of this user");
    for _ in 0..3 {
        world.connect_as("service");
    }
    alice.leaves();
    world.connect_as("alice");
}

#[test]
fn a_subscription_id_an_ack_and_a_transaction_must_be_known() {
    for (frame, part) in [
        ("UNSUBSCRIBE\nid:9\n\n\0", "no subscription"),
        ("ACK\nid:x@9-1\n\n\0", "ACK"),
        ("NACK\nid:nonsense\n\n\0", "NACK"),
        ("COMMIT\ntransaction:t\n\n\0", "no transaction"),
        ("ABORT\ntransaction:t\n\n\0", "no transaction"),
        ("SEND\ndestination:/topic/a\ntransaction:t\n\n\0", "no transaction"),
        ("SUBSCRIBE\nid:s1\ndestination:/topic/b\n\n\0", "open already"),
        ("CONNECT\naccept-version:1.2\nhost:x\n\n\0", "connected already"),
    ] {
        let world = World::new();
        let alice = world.connect_as("alice");
        alice.subscribes_with("/topic/a", AckMode::Client, &[]);
        alice.writes(frame.as_bytes());
        alice.is_thrown_out("bad-frame", part);
        world.is_deserted();
    }
}

#[test]
fn a_send_without_destination_is_refused() {
    let (_world, alice) = with(|_| {});
    alice.writes(b"SEND\n\nx\0");
    alice.is_thrown_out("bad-destination", "'destination'");
}

#[test]
fn members_of_an_answer_are_counted_beyond_those_listed() {
    let (world, alice) = with(|limits| limits.members_listed_max = 2);
    let crowd: Vec<_> = (0..4).map(|n| world.connect_as(&format!("u{n}"))).collect();
    for person in &crowd {
        person.subscribes("/topic/chat/42");
    }
    alice.subscribes("/app/chat/42/members");
    let answer: serde_json::Value = serde_json::from_slice(&alice.message().body).unwrap();
    assert_eq!((answer["members"].as_array().unwrap().len(), &answer["count"]), (2, &4.into()));
}
