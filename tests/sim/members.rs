//! Members of rooms: what they have read, what they have not, and being told.

use serde_json::{Value, json};
use stompede::model::{DestinationRule, DestinationRules, Pattern, Retention};
use stompede_protocol::AckMode;

use crate::line::Heard;
use crate::person::Person;
use crate::store::{Fault, directory};
use crate::world::{Guest, Setup, World};

const ROOM: &str = "/topic/chat/42";

fn keeping(setup: &mut Setup) {
    let history = Some(Retention { messages_max: 2_000, bytes_max: usize::MAX, age_ms_max: u64::MAX });
    let pattern = Pattern::parse("/topic/chat/**").expect("a pattern");
    setup.rules =
        DestinationRules::new(vec![DestinationRule { pattern, overflow: None, history, offline: None }]);
    setup.limits.user_connections_max = 0;
    setup.guarded = true;
}

fn world() -> World {
    World::with(keeping)
}

fn member(world: &World, name: &str) -> Person {
    world.connect(Guest { rooms: &["41", "42", "43"], ..Guest::named(name) })
}

fn chats(person: &Person, room: &str) {
    person.sends(&format!("/app/chat/{room}/send"), r#"{"type":"TEXT","content":"hi"}"#);
}

/// The answer to a question for all unread counts, room and count.
#[track_caller]
fn unread(person: &Person) -> Vec<(String, u64)> {
    let id = person.subscribes("/app/chat/unread");
    let answers: Vec<Value> = bodies(person, "UNREAD");
    person.unsubscribes(&id);
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    counts(answer)
}

fn counts(told: &Value) -> Vec<(String, u64)> {
    let rooms = told["rooms"].as_array().expect("rooms").iter();
    let count = |room: &Value| {
        let name = room["chatRoomId"].as_str().expect("a room").to_owned();
        (name, room["unread"].as_u64().expect("a count"))
    };
    rooms.map(count).collect()
}

/// Bodies of the messages with this event heard since the last question.
fn bodies(person: &Person, event: &str) -> Vec<Value> {
    let told = person.frames().into_iter().filter(|frame| frame.headers.get("event") == Some(event));
    told.map(|frame| serde_json::from_slice(&frame.body).expect("JSON")).collect()
}

fn of(rooms: &[(&str, u64)]) -> Vec<(String, u64)> {
    rooms.iter().map(|(room, count)| ((*room).to_owned(), *count)).collect()
}

#[test]
fn who_has_once_subscribed_a_room_is_a_member_until_he_leaves_it() {
    let world = world();
    let [alice, bob] = ["alice", "bob"].map(|name| member(&world, name));
    chats(&alice, "42");
    assert_eq!(unread(&bob), []);
    bob.subscribes(ROOM);
    assert_eq!(unread(&bob), of(&[("42", 0)]), "what was there before does not wait for him");
    bob.vanishes();
    world.runs_for(60_000);
    (0..3).for_each(|_| chats(&alice, "42"));
    let bob = member(&world, "bob");
    assert_eq!(unread(&bob), of(&[("42", 3)]));
    bob.sends_with("/app/chat/42/leave", &[("receipt", "r")], "");
    bob.hears(&["RECEIPT r"]);
    assert_eq!(unread(&bob), []);
    assert_eq!(unread(&alice), [], "who only sends is no member");
}

#[test]
fn one_reads_forward_only_and_the_room_hears_each_change_once() {
    let world = world();
    let [alice, bob] = ["alice", "bob"].map(|name| member(&world, name));
    [&alice, &bob].iter().for_each(|person| drop(person.subscribes(ROOM)));
    (0..5).for_each(|_| chats(&alice, "42"));
    let ids: Vec<String> = bob
        .heard()
        .iter()
        .filter_map(|heard| match heard {
            Heard::Message(frame) => serde_json::from_slice::<Value>(&frame.body).ok(),
            _ => None,
        })
        .filter_map(|body| Some(body["messageId"].as_str()?.to_owned()))
        .collect();
    alice.heard();
    for (body, expected, left) in [
        (json!({"messageId": ids[2]}).to_string(), Some(3), 2),
        (r#"{"offset":2}"#.to_owned(), None, 2),
        (json!({"messageId": ids[2]}).to_string(), None, 2),
        (r#"{"offset":4}"#.to_owned(), Some(4), 1),
        (String::new(), Some(5), 0),
        (String::new(), None, 0),
    ] {
        bob.sends_with("/app/chat/42/read", &[("receipt", "r")], &body);
        assert!(
            bob.heard().iter().any(|heard| matches!(heard, Heard::Receipt(id, _) if id == "r")),
            "{body}"
        );
        let told = bodies(&alice, "READ");
        match expected {
            None => assert_eq!(told, Vec::<Value>::new(), "{body}"),
            Some(offset) => {
                let [told] = &told[..] else { panic!("{body}: {told:?}") };
                assert_eq!(told["userId"], "bob");
                assert_eq!((&told["offset"], &told["messageId"]), (&json!(offset), &json!(ids[offset - 1])));
            }
        }
        assert_eq!(unread(&bob), of(&[("42", left)]));
    }
    assert_eq!(unread(&alice), of(&[("42", 0)]), "one's own messages are read");
}

#[test]
fn the_receipt_of_what_was_read_does_not_come_behind_those_of_later_frames() {
    let world = World::with(|setup| {
        keeping(setup);
        setup.disk = Some(directory());
    });
    let bob = member(&world, "bob");
    bob.subscribes(ROOM);
    chats(&bob, "42");
    bob.heard();
    world.holds_still();
    bob.sends_with("/app/chat/42/read", &[("receipt", "r1")], "");
    bob.sends_with("/app/chat/42/send", &[("receipt", "r2")], r#"{"type":"TEXT","content":"hi"}"#);
    world.moves_again();
    world.runs_for(500);
    let heard = bob.heard();
    let receipts = heard.iter().filter_map(|heard| match heard {
        Heard::Receipt(id, _) => Some(&**id),
        _ => None,
    });
    assert_eq!(receipts.collect::<Vec<_>>(), ["r1", "r2"]);
}

#[test]
fn what_is_no_message_of_the_room_cannot_be_read() {
    let world = world();
    let alice = member(&world, "alice");
    alice.subscribes("/user/queue/errors");
    alice.subscribes("/topic/chat/41");
    chats(&alice, "41");
    let foreign = json!({"messageId": "beef-1"}).to_string();
    alice.subscribes(ROOM);
    chats(&alice, "42");
    alice.heard();
    for body in
        [&*foreign, r#"{"offset":0}"#, r#"{"offset":2}"#, r#"{"offset":18446744073709551615}"#, "no", "[]"]
    {
        alice.sends("/app/chat/42/read", body);
        alice.hears(&["/user/queue/errors error bad-content"]);
    }
    alice.sends("/app/chat/43/read", "");
    alice.hears(&[]);
    alice.sends("/app/chat/44/read", "");
    alice.hears(&["/user/queue/errors error forbidden"]);
    alice.sends("/app/chat/unread", "");
    alice.hears(&["/user/queue/errors error no-handler"]);
    chats(&alice, "43");
    alice.sends("/app/chat/43/read", "");
    alice.hears(&["/user/queue/errors error forbidden"]);
}

#[test]
fn counts_that_change_are_told_once_a_second_to_all_tabs() {
    let world = world();
    let [alice, first, second] = ["alice", "bob", "bob"].map(|name| member(&world, name));
    for room in ["41", "42"] {
        let id = first.subscribes(&format!("/topic/chat/{room}"));
        first.unsubscribes(&id);
    }
    [&first, &second].iter().for_each(|tab| drop(tab.subscribes("/user/queue/unread")));
    first.heard();
    (0..50).for_each(|_| chats(&alice, "42"));
    world.runs_for(200);
    for tab in [&first, &second] {
        let told = bodies(tab, "UNREAD");
        assert_eq!(told.iter().map(counts).collect::<Vec<_>>(), [of(&[("42", 50)])]);
    }
    for _ in 0..10 {
        chats(&alice, "42");
        chats(&alice, "41");
        world.runs_for(100);
    }
    world.runs_for(1_500);
    let told: Vec<_> = bodies(&first, "UNREAD").iter().map(counts).collect();
    assert!(told.len() <= 3, "{told:?}");
    assert_eq!(told.last().unwrap(), &of(&[("41", 10), ("42", 60)]));
    second.heard();
    // Read in one tab, told in all.
    first.sends("/app/chat/42/read", "");
    world.runs_for(1_500);
    let told: Vec<_> = bodies(&second, "UNREAD").iter().map(counts).collect();
    assert_eq!(told, [of(&[("42", 0)])]);
    // Own messages and events change nothing.
    first.heard();
    chats(&first, "42");
    first.sends("/app/chat/42/typing", "");
    world.runs_for(1_500);
    assert_eq!(bodies(&first, "UNREAD"), Vec::<Value>::new());
}

#[test]
fn a_room_that_is_joined_or_left_while_one_listens_counts_from_then_on() {
    let world = world();
    let [alice, first, second] = ["alice", "bob", "bob"].map(|name| member(&world, name));
    first.subscribes("/user/queue/unread");
    second.subscribes(ROOM);
    chats(&alice, "42");
    world.runs_for(1_500);
    assert_eq!(bodies(&first, "UNREAD").iter().map(counts).collect::<Vec<_>>(), [of(&[("42", 1)])]);
    second.sends("/app/chat/42/leave", "");
    chats(&alice, "42");
    world.runs_for(1_500);
    assert_eq!(bodies(&first, "UNREAD"), Vec::<Value>::new());
}

#[test]
fn changes_of_membership_that_were_missed_are_asked_for() {
    let world = World::with(|setup| {
        keeping(setup);
        setup.fault = Some(Fault::Missed);
    });
    let [alice, first, second] = ["alice", "bob", "bob"].map(|name| member(&world, name));
    let told = || {
        world.runs_for(1_500);
        bodies(&first, "UNREAD").iter().map(counts).collect::<Vec<_>>()
    };
    first.subscribes("/user/queue/unread");
    second.subscribes(ROOM);
    chats(&alice, "42");
    assert_eq!(told(), [of(&[("42", 1)])]);
    second.sends("/app/chat/42/read", "");
    assert_eq!(told(), [of(&[("42", 0)])]);
    second.sends("/app/chat/42/leave", "");
    chats(&alice, "42");
    assert_eq!(told(), Vec::<Vec<(String, u64)>>::new());
}

#[test]
fn many_are_said_to_be_many() {
    let world = world();
    let [alice, bob] = [world.connect_as("service"), member(&world, "bob")];
    bob.subscribes(ROOM);
    (0..1_200).for_each(|_| chats(&alice, "42"));
    bob.heard();
    bob.subscribes("/app/chat/unread");
    let expected = json!({"rooms": [{"chatRoomId": "42", "unread": 1_000, "more": true}]});
    assert_eq!(bodies(&bob, "UNREAD"), [expected]);
}

#[test]
fn subscribing_can_mark_as_read() {
    let world = world();
    let [alice, bob] = ["alice", "bob"].map(|name| member(&world, name));
    let id = bob.subscribes(ROOM);
    bob.unsubscribes(&id);
    chats(&alice, "42");
    alice.subscribes(ROOM);
    alice.heard();
    for headers in [&[][..], &[("stompede-mark-read", "true")]] {
        let id = bob.subscribes_with(ROOM, AckMode::Auto, headers);
        bob.heard();
        let left = u64::from(headers.is_empty());
        assert_eq!(unread(&bob), of(&[("42", left)]));
        bob.unsubscribes(&id);
    }
    assert_eq!(bodies(&alice, "READ").len(), 1);
    let always = World::with(|setup| {
        keeping(setup);
        setup.marks_read = true;
    });
    let [alice, bob] = ["alice", "bob"].map(|name| member(&always, name));
    let id = bob.subscribes(ROOM);
    bob.unsubscribes(&id);
    chats(&alice, "42");
    bob.subscribes_with(ROOM, AckMode::Auto, &[("stompede-history", "5")]);
    bob.heard();
    assert_eq!(unread(&bob), of(&[("42", 0)]));
}

#[test]
fn who_may_no_longer_hear_a_room_is_told_no_count_of_it() {
    let world = world();
    let [alice, bob] = ["alice", "bob"].map(|name| member(&world, name));
    ["41", "42"].iter().for_each(|room| drop(bob.subscribes(&format!("/topic/chat/{room}"))));
    bob.leaves();
    ["41", "42"].iter().for_each(|room| chats(&alice, room));
    let bob = world.connect(Guest { rooms: &["41"], ..Guest::named("bob") });
    assert_eq!(unread(&bob), of(&[("41", 1)]));
    bob.subscribes("/user/queue/unread");
    ["41", "42"].iter().for_each(|room| chats(&alice, room));
    world.runs_for(1_500);
    assert_eq!(bodies(&bob, "UNREAD").iter().map(counts).collect::<Vec<_>>(), [of(&[("41", 2)])]);
}

#[test]
fn memberships_are_bounded() {
    let world = World::with(|setup| {
        keeping(setup);
        setup.limits.memberships_of_user_max = 2;
    });
    let alice = member(&world, "alice");
    alice.subscribes("/user/queue/errors");
    for room in ["41", "42"] {
        alice.subscribes(&format!("/topic/chat/{room}"));
    }
    alice.heard();
    let id = alice.subscribes("/topic/chat/43");
    alice.hears(&["/user/queue/errors error too-many-subscriptions"]);
    alice.sends("/app/chat/41/leave", "");
    // The id of what was refused is free.
    alice.says(|client| client.subscribe(&id, "/topic/chat/43", AckMode::Auto, &[("receipt", "r")]));
    assert!(alice.heard().iter().any(|heard| matches!(heard, Heard::Receipt(..))));
}

#[test]
fn nothing_of_a_session_that_listened_is_left() {
    let world = world();
    let bob = member(&world, "bob");
    for room in ["41", "42"] {
        bob.subscribes(&format!("/topic/chat/{room}"));
    }
    let id = bob.subscribes("/user/queue/unread");
    bob.subscribes("/app/chat/unread");
    bob.unsubscribes(&id);
    bob.subscribes("/user/queue/unread");
    bob.vanishes();
    world.runs_for(60_000);
    world.is_deserted();
}

/// After any walk the counts are what a recount of the history says.
#[test]
fn counts_equal_the_truth_after_any_walk() {
    for seed in 0..60 {
        let mut dice = crate::walk::Dice::new(seed);
        let late_store = dice.below(2) == 0;
        let world = World::with(|setup| {
            keeping(setup);
            setup.late_store = late_store;
        });
        let names = ["a", "b", "c", "d"];
        let people: Vec<Person> = names.iter().map(|name| member(&world, name)).collect();
        people.iter().for_each(|person| drop(person.subscribes("/user/queue/unread")));
        // Sender by offset, and what each has read where: the truth.
        let rooms = ["41", "42", "43"];
        let mut said: [Vec<usize>; 3] = Default::default();
        let mut read = [[None::<usize>; 3]; 4];
        let mut told = [[None::<u64>; 3]; 4];
        for _ in 0..150 {
            let (who, room) = (dice.below(4), dice.below(3));
            match dice.below(8) {
                0 => {
                    let id = people[who].subscribes(&format!("/topic/chat/{}", rooms[room]));
                    people[who].unsubscribes(&id);
                    read[who][room].get_or_insert(said[room].len());
                }
                1 if !said[room].is_empty() && read[who][room].is_some() => {
                    let offset = 1 + dice.below(said[room].len());
                    let body = json!({ "offset": offset }).to_string();
                    people[who].sends(&format!("/app/chat/{}/read", rooms[room]), &body);
                    read[who][room] = read[who][room].max(Some(offset));
                }
                2 => {
                    people[who].sends(&format!("/app/chat/{}/leave", rooms[room]), "");
                    read[who][room] = None;
                    told[who][room] = None;
                }
                3 => world.runs_for(300),
                _ => {
                    chats(&people[who], rooms[room]);
                    said[room].push(who);
                }
            }
            for (who, person) in people.iter().enumerate() {
                note(&mut told[who], person, &rooms);
            }
        }
        world.runs_for(3_000);
        for (who, person) in people.iter().enumerate() {
            note(&mut told[who], person, &rooms);
            let truth: Vec<(String, u64)> = (0..3)
                .filter_map(|room| {
                    let others = said[room][read[who][room]?..].iter().filter(|sender| **sender != who);
                    Some((rooms[room].to_owned(), others.count() as u64))
                })
                .collect();
            for (room, count) in &truth {
                let place = rooms.iter().position(|known| known == room).expect("a room");
                // A room in which nothing ever changed is never told.
                assert_eq!(
                    told[who][place].unwrap_or(0),
                    *count,
                    "seed {seed}: {} told of {room}",
                    names[who]
                );
            }
            assert_eq!(unread(person), truth, "seed {seed}: {}", names[who]);
        }
    }
}

fn note(told: &mut [Option<u64>; 3], person: &Person, rooms: &[&str; 3]) {
    for (room, count) in bodies(person, "UNREAD").iter().flat_map(counts) {
        let place = rooms.iter().position(|known| **known == room).expect("a room");
        told[place] = Some(count);
    }
}
