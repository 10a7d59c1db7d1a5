//! Chat rooms: what is said there and who is present.

use serde_json::{Value, json};
use stompede::features::rooms::Events;
use stompede_protocol::AckMode;

use crate::person::Person;
use crate::world::{Guest, World};

fn body(message: &stompede_protocol::Frame) -> Value {
    serde_json::from_slice(&message.body).expect("JSON")
}

fn member<'a>(name: &'a str) -> Guest<'a> {
    Guest { rooms: &["42"], ..Guest::named(name) }
}

fn members(person: &Person) -> Value {
    let id = person.subscribes("/app/chat/42/members");
    let answer = body(&person.message());
    person.unsubscribes(&id);
    answer
}

#[test]
fn a_chat_message_says_who_when_and_where() {
    let world = World::guarded();
    let [alice, bob] = ["alice", "bob"].map(|name| world.connect(member(name)));
    bob.subscribes("/topic/chat/42");
    bob.hears(&["/topic/chat/42 JOIN bob"]);
    let said = r#"{"type":"TEXT","content":"hi","senderId":"eve","offset":7,"mood":"good"}"#;
    alice.sends_with("/app/chat/42/send", &[("receipt", "r"), ("event", "JOIN")], said);
    alice.hears(&["RECEIPT r"]);
    let message = bob.message();
    let id = message.headers.get("message-id").unwrap().to_owned();
    let timestamp: u64 = message.headers.get("timestamp").unwrap().parse().unwrap();
    assert_eq!(
        body(&message),
        json!({"messageId": id, "chatRoomId": "42", "senderId": "alice", "type": "TEXT", "content": "hi",
               "timestamp": timestamp, "mood": "good"})
    );
    assert_eq!(message.headers.get("destination"), Some("/topic/chat/42"));
    assert_eq!(message.headers.get("user-name"), Some("alice"));
    assert_eq!(message.headers.get("event"), None);
}

#[test]
fn nobody_speaks_or_listens_in_a_room_that_is_not_his() {
    for (destination, subscribe) in [
        ("/topic/chat/43", true),
        ("/app/chat/43/members", true),
        ("/app/chat/43/send", false),
        ("/topic/chat/42", false),
        ("/topic/chat/*", true),
        ("/topic/**", true),
    ] {
        let world = World::guarded();
        let alice = world.connect(member("alice"));
        if subscribe {
            alice.subscribes(destination);
        } else {
            alice.sends(destination, r#"{"type":"TEXT","content":"hi"}"#);
        }
        alice.is_thrown_out("forbidden", "not allowed");
    }
}

#[test]
fn what_is_no_chat_message_is_refused() {
    let world = World::guarded();
    let alice = world.connect(member("alice"));
    alice.subscribes("/user/queue/errors");
    for (said, code) in [("hello", "bad-content"), (r#"{"type":"SYSTEM","content":"x"}"#, "forbidden")] {
        alice.sends("/app/chat/42/send", said);
        alice.hears(&[&format!("/user/queue/errors error {code}")]);
    }
    alice.sends("/app/chat/42/dance", "{}");
    alice.hears(&["/user/queue/errors error no-handler"]);
}

#[test]
fn all_tabs_of_a_user_are_present_once() {
    let world = World::guarded();
    let bob = world.connect(member("bob"));
    let [first, second] = ["alice", "alice"].map(|name| world.connect(member(name)));
    bob.subscribes("/topic/chat/42");
    let tab = first.subscribes("/topic/chat/42");
    second.subscribes("/topic/chat/42");
    bob.hears(&["/topic/chat/42 JOIN bob", "/topic/chat/42 JOIN alice"]);
    let expected = json!([{"userId": "bob", "status": "online"}, {"userId": "alice", "status": "online"}]);
    assert_eq!(members(&bob)["members"], expected);
    first.unsubscribes(&tab);
    bob.hears(&[]);
    second.leaves();
    bob.hears(&["/topic/chat/42 LEAVE alice"]);
    assert_eq!(members(&bob)["count"], 1);
}

#[test]
fn the_one_who_joins_hears_it_and_the_one_who_leaves_does_not() {
    let world = World::guarded();
    let alice = world.connect(member("alice"));
    let id = alice.subscribes_with("/topic/chat/42", AckMode::Auto, &[("receipt", "r")]);
    alice.hears(&["RECEIPT r", "/topic/chat/42 JOIN alice"]);
    alice.unsubscribes(&id);
    alice.hears(&[]);
}

#[test]
fn a_wildcard_makes_nobody_present() {
    let world = World::guarded();
    let service = world.connect_as("service");
    service.subscribes("/topic/chat/*");
    let alice = world.connect(member("alice"));
    alice.subscribes("/topic/chat/42");
    service.hears(&["/topic/chat/42 JOIN alice"]);
    alice.hears(&["/topic/chat/42 JOIN alice"]);
    assert_eq!(members(&alice)["count"], 1);
}

#[test]
fn events_can_have_a_topic_of_their_own() {
    let world = World::with(|setup| {
        setup.guarded = true;
        setup.events = Events::Separate;
    });
    let alice = world.connect(member("alice"));
    alice.subscribes("/topic/chat/42/events");
    alice.subscribes("/topic/chat/42");
    alice.hears(&["/topic/chat/42/events JOIN alice"]);
}

#[test]
fn a_large_room_is_told_counts_and_the_last_count_is_true() {
    let world = World::guarded();
    let watcher = world.connect_as("service");
    watcher.subscribes("/topic/chat/*");
    let crowd: Vec<_> = (0..205).map(|n| world.connect(member(&format!("u{n}")))).collect();
    for person in &crowd {
        person.subscribes("/topic/chat/42");
    }
    assert_eq!(watcher.messages().len(), 201, "200 JOINs and one PRESENCE_COUNT");
    world.runs_for(1_100);
    watcher.hears(&["/topic/chat/42 PRESENCE_COUNT 205"]);
    for person in &crowd[..10] {
        person.leaves();
    }
    world.runs_for(2_000);
    let heard: Vec<_> = watcher.heard().iter().map(crate::person::words).collect();
    let last_count = heard.iter().rposition(|words| words.contains("PRESENCE_COUNT")).unwrap();
    assert_eq!(heard[last_count], "/topic/chat/42 PRESENCE_COUNT 195", "{heard:?}");
    let leaves = heard.iter().filter(|words| words.contains("LEAVE")).count();
    assert_eq!(leaves, 6, "single events again once the room is small: {heard:?}");
    for person in &crowd[10..] {
        person.leaves();
    }
    watcher.leaves();
    world.runs_for(2_000);
    world.is_deserted();
}
