//! Who is present: lost and found again, counted by versions, listed by pages, with a status, typing.

use serde_json::{Value, json};
use stompede::broker::Link;
use stompede::features::rooms::Events;
use stompede::features::rooms::status::STATUS_BYTES_MAX;
use stompede::model::{CloseReason, Principal, Refusal};
use stompede_protocol::{AckMode, Frame, HeartBeat};

use crate::person::{Person, words};
use crate::world::{Guest, World};

const ROOM: &str = "/topic/chat/42";

fn body(message: &Frame) -> Value {
    serde_json::from_slice(&message.body).expect("JSON")
}

fn member<'a>(name: &'a str) -> Guest<'a> {
    Guest { rooms: &["42", "43"], ..Guest::named(name) }
}

/// The answer about room 42, asked with these headers.
fn members(person: &Person, headers: &[(&str, &str)]) -> Value {
    let id = person.subscribes_with("/app/chat/42/members", AckMode::Auto, headers);
    let answer = body(&person.message());
    person.unsubscribes(&id);
    answer
}

fn users(answer: &Value) -> Vec<&str> {
    let members = answer["members"].as_array().expect("a list of members").iter();
    members.map(|member| member["userId"].as_str().expect("a user")).collect()
}

/// A service that hears everything of rooms and is in none.
fn watcher(world: &World) -> Person {
    let watcher = world.connect_as("service");
    watcher.subscribes("/topic/chat/*");
    watcher
}

#[test]
fn who_is_back_before_the_linger_is_over_was_never_away() {
    let world = World::guarded();
    let watcher = watcher(&world);
    for link in [Link::Stream, Link::WebSocket] {
        let alice = world.connect(Guest { link, ..member("alice") });
        alice.subscribes(ROOM);
        watcher.hears(&["/topic/chat/42 JOIN alice"]);
        alice.vanishes();
        world.runs_for(9_000);
        assert_eq!(users(&members(&watcher, &[])), ["alice"]);
        let again = world.connect(Guest { link, ..member("alice") });
        again.subscribes(ROOM);
        again.hears(&[]);
        world.runs_for(20_000);
        watcher.hears(&[]);
        assert_eq!(users(&members(&watcher, &[])), ["alice"]);
        again.vanishes();
        world.runs_for(9_900);
        watcher.hears(&[]);
        world.runs_for(200);
        watcher.hears(&["/topic/chat/42 LEAVE alice"]);
    }
    watcher.leaves();
    world.is_deserted();
}

#[test]
fn who_came_back_and_means_to_go_leaves_at_once() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let alice = world.connect(member("alice"));
    [ROOM, ROOM].iter().for_each(|room| drop(alice.subscribes(room)));
    alice.vanishes();
    let again = world.connect(member("alice"));
    again.subscribes(ROOM);
    again.leaves();
    watcher.hears(&["/topic/chat/42 JOIN alice", "/topic/chat/42 LEAVE alice"]);
    // A tab that was there before lingers for itself.
    let [first, second] = ["bob", "bob"].map(|name| world.connect(member(name)));
    [&first, &second].iter().for_each(|tab| drop(tab.subscribes(ROOM)));
    first.vanishes();
    second.leaves();
    watcher.hears(&["/topic/chat/42 JOIN bob"]);
    world.runs_for(10_100);
    watcher.hears(&["/topic/chat/42 LEAVE bob"]);
    watcher.leaves();
    world.is_deserted();
}

#[test]
fn whoever_means_to_go_leaves_at_once() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let enters = || {
        let alice = world.connect(member("alice"));
        let id = alice.subscribes(ROOM);
        watcher.hears(&["/topic/chat/42 JOIN alice"]);
        (alice, id)
    };
    let (alice, id) = enters();
    alice.unsubscribes(&id);
    watcher.hears(&["/topic/chat/42 LEAVE alice"]);
    let (alice, _) = enters();
    alice.leaves();
    watcher.hears(&["/topic/chat/42 LEAVE alice"]);
    let (alice, _) = enters();
    world.ends(&alice, &CloseReason::Kicked.into());
    watcher.hears(&["/topic/chat/42 LEAVE alice"]);
    let (alice, _) = enters();
    world.ends(&alice, &CloseReason::TokenRevoked.into());
    watcher.hears(&["/topic/chat/42 LEAVE alice"]);
    world.runs_for(20_000);
    watcher.hears(&[]);
}

#[test]
fn a_room_that_a_fresh_token_no_longer_allows_is_left_at_once_the_others_linger() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let alice = world.connect(member("alice"));
    alice.subscribes(ROOM);
    alice.subscribes("/topic/chat/43");
    watcher.heard();
    let narrower = world.token(&Guest { rooms: &["43"], ..Guest::named("alice") });
    alice.sends("/app/auth/refresh", &narrower);
    let heard: Vec<_> = alice.heard().iter().map(words).collect();
    assert_eq!(heard[heard.len() - 2..], ["ERROR forbidden", "END"]);
    watcher.hears(&["/topic/chat/42 LEAVE alice"]);
    world.runs_for(10_100);
    watcher.hears(&["/topic/chat/43 LEAVE alice"]);
}

#[test]
fn however_a_session_breaks_its_user_lingers() {
    let ended = |reason: CloseReason| move |world: &World, alice: &Person| world.ends(alice, &reason.into());
    type Break = Box<dyn Fn(&World, &Person)>;
    let breaks: [(&str, Break); 7] = [
        ("vanishes", Box::new(|_, alice| alice.vanishes())),
        ("hangs up", Box::new(|_, alice| alice.hangs_up())),
        ("violates", Box::new(|_, alice| alice.writes(b"NONSENSE\n\n\0"))),
        ("refused", Box::new(|_, alice| alice.sends("/queue/x", ""))),
        ("slow", Box::new(ended(CloseReason::SlowConsumer))),
        ("expired", Box::new(|world, _| world.runs_for(61_000))),
        (
            "silent",
            Box::new(|world, alice| {
                alice.freezes();
                world.runs_for(25_000);
            }),
        ),
    ];
    for (how, breaks) in breaks {
        let world = World::guarded();
        let watcher = watcher(&world);
        let ttl_s = if how == "expired" { 60 } else { 3_600 };
        let heart_beat = HeartBeat { send_ms: 12_000, receive_ms: 0 };
        let alice = world.connect(Guest { ttl_s, heart_beat, ..member("alice") });
        alice.subscribes(ROOM);
        watcher.hears(&["/topic/chat/42 JOIN alice"]);
        breaks(&world, &alice);
        assert!(alice.is_gone(), "{how}");
        watcher.hears(&[]);
        world.runs_for(10_100);
        watcher.hears(&["/topic/chat/42 LEAVE alice"]);
        watcher.leaves();
        world.is_deserted();
    }
}

#[test]
fn the_row_that_lingers_is_one_of_many() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let [first, second] = ["alice", "alice"].map(|name| world.connect(member(name)));
    first.subscribes(ROOM);
    second.subscribes(ROOM);
    watcher.hears(&["/topic/chat/42 JOIN alice"]);
    first.vanishes();
    world.runs_for(5_000);
    second.leaves();
    watcher.hears(&[]);
    world.runs_for(5_100);
    watcher.hears(&["/topic/chat/42 LEAVE alice"]);
    world.runs_for(20_000);
    watcher.hears(&[]);
}

#[test]
fn without_a_linger_who_is_lost_leaves_at_once() {
    let world = World::with(|setup| setup.linger_ms = 0);
    let watcher = watcher(&world);
    let alice = world.connect_as("alice");
    alice.subscribes(ROOM);
    alice.vanishes();
    watcher.hears(&["/topic/chat/42 JOIN alice", "/topic/chat/42 LEAVE alice"]);
}

#[test]
fn versions_grow_by_one_and_the_list_says_which_it_reflects() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let mut versions = Vec::new();
    for _ in 0..3 {
        let [alice, bob] = ["alice", "bob"].map(|name| world.connect(member(name)));
        alice.subscribes(ROOM);
        bob.subscribes(ROOM);
        versions.extend(watcher.messages().iter().map(|event| body(event)["version"].as_u64().unwrap()));
        assert_eq!(members(&watcher, &[])["version"].as_u64(), versions.last().copied());
        alice.leaves();
        bob.leaves();
        versions.extend(watcher.messages().iter().map(|event| body(event)["version"].as_u64().unwrap()));
        let empty = members(&watcher, &[]);
        assert_eq!((empty["count"].as_u64(), empty["version"].as_u64()), (Some(0), versions.last().copied()));
    }
    // Across the times at which the room was forgotten.
    assert_eq!(versions, (1..=12).collect::<Vec<_>>());
}

#[test]
fn a_count_carries_the_version_of_which_it_is_true() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let crowd: Vec<_> = (0..205).map(|n| world.connect(member(&format!("u{n}")))).collect();
    crowd.iter().for_each(|person| {
        person.subscribes(ROOM);
    });
    world.runs_for(1_100);
    let told: Vec<_> = watcher.messages().iter().map(body).collect();
    let counts: Vec<_> = told[200..].iter().map(|event| (&event["count"], &event["version"])).collect();
    assert_eq!(counts, [(&json!(201), &json!(201)), (&json!(205), &json!(205))]);
    crowd.iter().for_each(|person| person.leaves());
    world.runs_for(1_100);
    let told: Vec<_> = watcher.messages().iter().map(body).collect();
    let (last_leave, count) = (&told[told.len() - 2], &told[told.len() - 1]);
    assert_eq!((&last_leave["type"], &last_leave["version"]), (&json!("LEAVE"), &json!(410)));
    assert_eq!((&count["count"], &count["version"]), (&json!(0), &json!(410)));
}

#[test]
fn a_list_comes_in_pages() {
    let world = World::guarded();
    let service = world.connect_as("service");
    let names: Vec<_> = (0..7).map(|n| format!("u{n}")).collect();
    let crowd: Vec<_> = names.iter().map(|name| world.connect(member(name))).collect();
    crowd.iter().for_each(|person| {
        person.subscribes(ROOM);
    });
    let mut page = members(&service, &[("stompede-limit", "3")]);
    let mut seen: Vec<String> = Vec::new();
    loop {
        assert_eq!(page["count"], 7);
        seen.extend(users(&page).iter().map(|user| (*user).to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(seen.len() % 3, 0);
        let headers = [("stompede-limit", "3"), ("stompede-after", next)];
        page = members(&service, &headers);
    }
    assert_eq!(seen, names);
    assert_eq!(members(&service, &[]).get("next"), None);
}

#[test]
fn one_answer_lists_no_more_than_its_limit() {
    let world = World::with(|setup| setup.limits.members_listed_max = 2);
    let people: Vec<_> = ["a", "b", "c"].map(|name| world.connect_as(name)).into();
    people.iter().for_each(|person| {
        person.subscribes(ROOM);
    });
    let asks = world.connect_as("asks");
    asks.subscribes("/user/queue/errors");
    let page = members(&asks, &[]);
    assert_eq!((users(&page), page["next"].is_string()), (vec!["a", "b"], true));
    for (header, value) in
        [("stompede-limit", "3"), ("stompede-limit", "0"), ("stompede-limit", "x"), ("stompede-after", "?")]
    {
        asks.subscribes_with("/app/chat/42/members", AckMode::Auto, &[(header, value)]);
        asks.hears(&["/user/queue/errors error bad-content"]);
    }
}

#[test]
fn a_status_is_told_where_its_user_is_and_held_for_all_his_tabs() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let [first, second] = ["alice", "alice"].map(|name| world.connect(member(name)));
    first.subscribes(ROOM);
    second.subscribes("/topic/chat/43");
    watcher.heard();
    first.sends_with("/app/user/status", &[("receipt", "r")], r#"{"status":"away"}"#);
    let told: Vec<_> = watcher.messages();
    let events: Vec<_> = told.iter().map(|event| event.headers.get("event").unwrap()).collect();
    assert_eq!(events, ["STATUS", "STATUS"]);
    let mut bodies: Vec<_> = told.iter().map(body).collect();
    bodies.sort_by_key(|event| event["chatRoomId"].to_string());
    for (event, room) in bodies.iter().zip(["42", "43"]) {
        let expected = json!({"type": "STATUS", "chatRoomId": room, "userId": "alice", "status": "away",
                              "timestamp": event["timestamp"]});
        assert_eq!((event, event["timestamp"].is_u64()), (&expected, true));
    }
    assert!(first.heard().iter().any(|heard| words(heard) == "RECEIPT r"));
    // The same again, from another tab and as a bare word, is no news.
    second.sends("/app/user/status", "away");
    watcher.hears(&[]);
    assert_eq!(members(&watcher, &[])["members"], json!([{"userId": "alice", "status": "away"}]));
    // It holds while any session lives, and for the linger after.
    first.leaves();
    watcher.hears(&["/topic/chat/42 LEAVE alice"]);
    world.runs_for(30_000);
    second.leaves();
    let third = world.connect(member("alice"));
    third.subscribes(ROOM);
    watcher.hears(&["/topic/chat/43 LEAVE alice", "/topic/chat/42 JOIN alice"]);
    assert_eq!(members(&watcher, &[])["members"][0]["status"], "away");
    third.leaves();
    world.runs_for(10_100);
    let fourth = world.connect(member("alice"));
    fourth.subscribes(ROOM);
    watcher.heard();
    assert_eq!(members(&watcher, &[])["members"][0]["status"], "online");
    fourth.sends("/app/user/status", "\"online\"");
    watcher.hears(&[]);
    fourth.leaves();
    watcher.leaves();
    world.is_deserted();
}

#[test]
fn a_status_for_a_time_falls_back() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let alice = world.connect(member("alice"));
    alice.subscribes(ROOM);
    watcher.heard();
    alice.sends("/app/user/status", r#"{"status":"in a call","ttlMs":5000}"#);
    assert_eq!(body(&watcher.message())["status"], "in a call");
    world.runs_for(4_800);
    watcher.hears(&[]);
    world.runs_for(300);
    assert_eq!(body(&watcher.message())["status"], "online");
    world.runs_for(60_000);
    watcher.hears(&[]);
}

#[test]
fn what_is_no_status_is_refused_and_nobody_handles_it_for_us() {
    let world = World::guarded();
    let alice = world.connect(member("alice"));
    alice.subscribes("/user/queue/errors");
    for said in ["", "{}", r#"{"status":"a","ttlMs":5}"#, "a\tb", &"x".repeat(STATUS_BYTES_MAX + 1)] {
        alice.sends("/app/user/status", said);
        alice.hears(&["/user/queue/errors error bad-content"]);
    }
    alice.subscribes("/app/user/status");
    alice.hears(&["/user/queue/errors error no-handler"]);
    let service = world.connect_as("service");
    service.subscribes("/user/queue/errors");
    service.subscribes("/app/user/status");
    service.hears(&["/user/queue/errors error no-handler"]);
}

#[test]
fn who_is_nobody_has_no_status_and_does_not_type() {
    let world = World::guarded();
    for destination in ["/app/user/status", "/app/chat/42/typing"] {
        // Whatever the rules may allow him.
        let nobody = Principal { unrestricted: true, ..Principal::anonymous() };
        let nobody = world.connect_vouched(nobody);
        nobody.sends(destination, "away");
        nobody.is_thrown_out("forbidden", "only a signed-in user");
    }
    world.is_deserted();
}

#[test]
fn a_status_in_a_transaction_is_said_at_commit() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let alice = world.connect(member("alice"));
    alice.subscribes(ROOM);
    watcher.heard();
    alice.says(|client| client.begin("t", &[]));
    alice.sends_with("/app/user/status", &[("transaction", "t")], "away");
    watcher.hears(&[]);
    alice.says(|client| client.commit("t", &[]));
    watcher.hears(&["/topic/chat/42 STATUS alice"]);
}

#[test]
fn typing_is_told_once_a_second_and_always_accepted() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let alice = world.connect(member("alice"));
    let types = |room: &str| {
        let destination = format!("/app/chat/{room}/typing");
        alice.sends_with(&destination, &[("receipt", "r"), ("event", "JOIN")], "whatever");
        alice.hears(&["RECEIPT r"]);
    };
    types("42");
    let event = watcher.message();
    assert_eq!(event.headers.get("event"), Some("TYPING"));
    let told = body(&event);
    let expected =
        json!({"type": "TYPING", "chatRoomId": "42", "userId": "alice", "timestamp": told["timestamp"]});
    assert_eq!(told, expected);
    types("42");
    types("43");
    watcher.hears(&["/topic/chat/43 TYPING alice"]);
    world.runs_for(900);
    types("42");
    watcher.hears(&[]);
    world.runs_for(100);
    types("42");
    watcher.hears(&["/topic/chat/42 TYPING alice"]);
    alice.sends("/app/chat/44/typing", "");
    alice.is_thrown_out("forbidden", "/app/chat/44/typing");
}

#[test]
fn events_that_are_off_change_nothing_in_what_is_known() {
    let world = World::with(|setup| setup.events = Events::Off);
    let watcher = watcher(&world);
    let alice = world.connect_as("alice");
    alice.subscribes(ROOM);
    alice.sends("/app/user/status", "away");
    alice.sends_with("/app/chat/42/typing", &[("receipt", "r")], "");
    alice.hears(&["RECEIPT r"]);
    watcher.hears(&[]);
    let answer = members(&watcher, &[]);
    assert_eq!(answer["members"], json!([{"userId": "alice", "status": "away"}]));
    assert_eq!(answer["version"], 1);
}

#[test]
fn a_user_is_in_so_many_rooms_at_most_in_all_his_tabs() {
    let world = World::with(|setup| setup.limits.user_rooms_max = 2);
    let [first, second] = ["alice", "alice"].map(|name| world.connect_as(name));
    first.subscribes("/topic/chat/1");
    let id = first.subscribes("/topic/chat/2");
    second.subscribes("/user/queue/errors");
    second.subscribes("/topic/chat/2");
    second.subscribes("/topic/chat/3");
    second.hears(&["/user/queue/errors error too-many-subscriptions"]);
    // What was refused is no subscription.
    first.sends("/topic/chat/3", "x");
    second.hears(&[]);
    first.unsubscribes(&id);
    second.hears(&[]);
    first.subscribes("/topic/chat/3");
    first.is_thrown_out("too-many-subscriptions", "in 2 rooms at most");
}

#[test]
fn an_operators_refusal_of_a_closing_session_changes_nothing() {
    let world = World::guarded();
    let watcher = watcher(&world);
    let alice = world.connect(member("alice"));
    alice.subscribes(ROOM);
    alice.stalls();
    world.ends(&alice, &Refusal::from(CloseReason::Internal));
    world.ends(&alice, &Refusal::from(CloseReason::Kicked));
    watcher.hears(&["/topic/chat/42 JOIN alice"]);
    world.runs_for(30_000);
    watcher.hears(&["/topic/chat/42 LEAVE alice"]);
    assert_eq!(world.broker().census().online_users, 1, "the watcher");
}
