//! Each form of a destination, and what it means to those who subscribe and send.

use stompede_protocol::AckMode;

use crate::world::{Guest, World};

#[test]
fn everyone_subscribed_to_a_topic_gets_it_wherever_he_is_connected() {
    let world = World::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    alice.subscribes("/topic/a");
    bob.subscribes("/topic/a");
    carol.subscribes("/topic/b");
    carol.sends("/topic/a", "hello");
    alice.hears(&["/topic/a: hello"]);
    bob.hears(&["/topic/a: hello"]);
    carol.hears(&[]);
}

#[test]
fn wildcards_stand_for_one_segment_or_the_rest() {
    let world = World::new();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect_as(name));
    let one = alice.subscribes("/topic/*/x");
    let rest = alice.subscribes("/topic/a/**");
    bob.sends("/topic/a/x", "both");
    let messages = alice.messages();
    let mut ids: Vec<_> =
        messages.iter().map(|m| m.headers.get("subscription").unwrap().to_owned()).collect();
    ids.sort();
    assert_eq!(ids, [one.clone(), rest.clone()]);
    bob.sends("/topic/b/x", "one");
    bob.sends("/topic/a/b/c", "rest");
    bob.sends("/topic/a", "neither");
    let ids: Vec<_> =
        alice.messages().iter().map(|m| m.headers.get("subscription").unwrap().to_owned()).collect();
    assert_eq!(ids, [one, rest]);
}

#[test]
fn who_subscribes_and_sends_hears_himself() {
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.subscribes("/topic/a");
    alice.sends_with("/topic/a", &[("receipt", "r")], "echo");
    alice.hears(&["RECEIPT r", "/topic/a: echo"]);
}

#[test]
fn wildcards_and_foreign_forms_are_refused_with_our_form() {
    for (destination, part) in [
        ("/topic/a/*", "SUBSCRIBE"),
        ("/exchange/amq.topic/a", "/topic/a"),
        ("/amq/queue/jobs", "/queue/jobs"),
        ("/topic//a", "empty segments"),
        ("/nowhere/a", "/topic/<path>"),
        ("topic", "/topic/<path>"),
    ] {
        let world = World::new();
        let alice = world.connect_as("alice");
        alice.sends(destination, "x");
        alice.is_thrown_out("bad-destination", part);
        world.is_deserted();
    }
    for (destination, part) in [
        ("/topic/a#", "at least"),
        ("/topic/#", "**"),
        ("/topic/**/a", "**"),
        ("/queue/*", "**"),
        ("/reply-queue/abc", "/temp-queue/"),
        ("/topic/a\u{7}", "control"),
    ] {
        let world = World::new();
        let alice = world.connect_as("alice");
        alice.subscribes(destination);
        let part = if part == "at least" { "**" } else { part };
        alice.is_thrown_out("bad-destination", part);
        world.is_deserted();
    }
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.subscribes_with("/topic/a", AckMode::Auto, &[("selector", "x = 1")]);
    alice.is_thrown_out("bad-destination", "no selectors");
}

#[test]
fn a_message_to_a_user_reaches_all_his_sessions_as_he_subscribed() {
    let world = World::guarded();
    let service = world.connect_as("service");
    let [phone, laptop, other] = ["a/b", "a/b", "bob"].map(|name| world.connect_as(name));
    phone.subscribes("/user/queue/mail");
    laptop.subscribes("/user/a%2Fb/queue/mail");
    other.subscribes("/user/queue/mail");
    service.sends("/user/a%2Fb/queue/mail", "hi");
    phone.hears(&["/user/queue/mail: hi"]);
    laptop.hears(&["/user/a%2Fb/queue/mail: hi"]);
    other.hears(&[]);
    service.hears(&[]);
}

#[test]
fn nobody_subscribes_to_the_queue_of_another_user() {
    let world = World::guarded();
    let eve = world.connect_as("eve");
    eve.subscribes("/user/alice/queue/mail");
    eve.is_thrown_out("forbidden", "own queues only");
    let service = world.connect(Guest { shard: Some(0), ..Guest::named("service") });
    service.subscribes("/user/alice/queue/mail");
    service.is_thrown_out("forbidden", "own queues only");
}

#[test]
fn answers_come_to_a_temp_queue_that_was_never_subscribed() {
    let world = World::new();
    let worker = world.connect_as("service");
    let alice = world.connect_as("alice");
    worker.subscribes("/app/price");
    alice.sends_with("/app/price", &[("reply-to", "/temp-queue/x")], "EUR");
    let request = worker.message();
    assert_eq!(request.headers.get("user-name"), Some("alice"));
    assert!(request.headers.get("session").is_some());
    let address = request.headers.get("reply-to").unwrap().to_owned();
    assert!(address.starts_with("/reply-queue/"), "{address}");
    worker.sends(&address, "7");
    let answer = alice.message();
    assert_eq!(answer.headers.get("subscription"), Some("/temp-queue/x"));
    assert_eq!(answer.headers.get("destination"), Some("/temp-queue/x"));
    assert_eq!(&answer.body[..], b"7");
}

#[test]
fn a_subscribed_temp_queue_hears_answers_and_its_owner_only() {
    let world = World::new();
    let [worker, alice, bob] = ["service", "alice", "bob"].map(|name| world.connect_as(name));
    let id = alice.subscribes("/temp-queue/x");
    bob.subscribes("/temp-queue/x");
    worker.subscribes("/app/price");
    alice.sends_with("/app/price", &[("reply-to", "/temp-queue/x")], "EUR");
    let address = worker.message().headers.get("reply-to").unwrap().to_owned();
    worker.sends(&address, "7");
    assert_eq!(alice.message().headers.get("subscription"), Some(&*id));
    alice.sends("/temp-queue/x", "to myself");
    alice.hears(&["/temp-queue/x: to myself"]);
    bob.hears(&[]);
}

#[test]
fn a_reply_address_ends_with_its_session() {
    let world = World::new();
    let [worker, alice] = ["service", "alice"].map(|name| world.connect_as(name));
    worker.subscribes("/app/price");
    alice.sends_with("/app/price", &[("reply-to", "/temp-queue/x")], "EUR");
    let address = worker.message().headers.get("reply-to").unwrap().to_owned();
    alice.leaves();
    alice.hears(&["RECEIPT bye", "END"]);
    worker.sends(&address, "7");
    worker.is_thrown_out("no-such-reply", "reply address");
    world.is_deserted();
}

#[test]
fn workers_of_the_application_take_turns() {
    let world = World::new();
    let [one, two] = ["service-1", "service-2"].map(|name| world.connect_as(name));
    let alice = world.connect_as("alice");
    one.subscribes("/app/jobs");
    two.subscribes("/app/jobs");
    for n in 0..6 {
        alice.sends("/app/jobs", &n.to_string());
    }
    one.hears(&["/app/jobs: 0", "/app/jobs: 2", "/app/jobs: 4"]);
    two.hears(&["/app/jobs: 1", "/app/jobs: 3", "/app/jobs: 5"]);
}

#[test]
fn a_subscribe_to_the_application_is_one_request_with_one_answer() {
    let world = World::new();
    let worker = world.connect_as("service");
    let alice = world.connect_as("alice");
    worker.subscribes("/app/profile");
    let id = alice.subscribes_with("/app/profile", AckMode::Auto, &[("receipt", "r"), ("x", "y")]);
    alice.hears(&["RECEIPT r"]);
    let request = worker.message();
    assert_eq!(request.headers.get("command"), Some("SUBSCRIBE"));
    assert_eq!(request.headers.get("x"), Some("y"));
    let address = request.headers.get("reply-to").unwrap().to_owned();
    worker.sends(&address, "you");
    let answer = alice.message();
    assert_eq!((answer.headers.get("subscription"), &answer.body[..]), (Some(&*id), &b"you"[..]));
    worker.sends(&address, "again");
    worker.is_thrown_out("no-such-reply", "reply address");
    alice.hears(&[]);
}

#[test]
fn a_request_waits_for_its_handler_and_is_refused_when_none_comes() {
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.sends_with("/app/jobs", &[("receipt", "r")], "x");
    alice.hears(&[]);
    world.runs_for(9_900);
    alice.hears(&[]);
    world.runs_for(200);
    let error = alice.error();
    assert_eq!(error.headers.get("error-code"), Some("no-handler"));
    assert_eq!(error.headers.get("receipt-id"), Some("r"));
}

#[test]
fn a_handler_that_arrives_in_time_gets_what_waited() {
    let world = World::new();
    let [alice, worker] = ["alice", "service"].map(|name| world.connect_as(name));
    alice.sends_with("/app/jobs", &[("receipt", "r")], "x");
    alice.sends_with("/topic/a", &[("receipt", "later")], "y");
    world.runs_for(5_000);
    worker.subscribes("/app/jobs");
    world.runs_for(100);
    worker.hears(&["/app/jobs: x"]);
    alice.hears(&["RECEIPT r", "RECEIPT later"]);
}

#[test]
fn built_in_handlers_are_never_taken_by_a_worker() {
    for destination in ["/app/chat/42/send", "/app/auth/refresh"] {
        let world = World::new();
        let worker = world.connect_as("service");
        worker.subscribes(destination);
        worker.is_thrown_out("no-handler", "SEND, not SUBSCRIBE");
    }
}
