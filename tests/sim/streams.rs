//! Streams of server-sent events, in virtual time.

use std::collections::HashSet;

use stompede::model::{DestinationRule, DestinationRules, Overflow, Pattern, Retention};

use crate::person::Person;
use crate::world::{Setup, World};

const KEPT: &str = "/topic/kept/**";

/// Of topics under `/topic/kept/` so many messages are kept.
fn keeps(setup: &mut Setup, messages_max: usize, overflow: Option<Overflow>) {
    let history = Some(Retention { messages_max, bytes_max: usize::MAX, age_ms_max: u64::MAX });
    let pattern = Pattern::parse(KEPT).expect("a pattern");
    setup.rules = DestinationRules::new(vec![DestinationRule { pattern, overflow, history, offline: None }]);
}

/// The name of each event, and the session of `connected` left out.
fn told(person: &Person) -> Vec<String> {
    let is_first = |event: &String| event.starts_with("connected ");
    person
        .events()
        .into_iter()
        .map(|event| if is_first(&event) { "connected".into() } else { event })
        .collect()
}

/// What is published while some of its destinations are still waited for comes behind the first event, and nothing twice.
#[test]
fn the_first_event_is_connected_however_late_the_store_is() {
    let mut seen = HashSet::new();
    for choice in 0..64 {
        let world = World::with(|setup| {
            keeps(setup, 100, None);
            setup.late_store = true;
        });
        let alice = world.connect_as("alice");
        world.holds_still();
        let destinations = ["/topic/kept/a", "/topic/news", "/topic/kept/b"];
        let page = world.listens("bob", &destinations, None);
        for n in 0..12 {
            alice.sends(destinations[n % 3], &n.to_string());
            for turn in 0..choice % 8 {
                world.steps(choice / 8 + turn);
            }
        }
        world.moves_again();
        let events = told(&page);
        assert_eq!(events.first().map(String::as_str), Some("connected"), "{choice}: {events:?}");
        alice.sends("/topic/kept/a", "end");
        let heard: Vec<String> = events[1..].iter().cloned().chain(told(&page)).collect();
        let distinct: HashSet<_> = heard.iter().collect();
        assert_eq!(distinct.len(), heard.len(), "{choice}: {heard:?}");
        for place in 0..3 {
            let of = |n: usize| (n % 3 == place).then(|| format!("message {n}"));
            let sent: Vec<String> = (0..12).filter_map(of).collect();
            let came: Vec<_> = heard.iter().filter(|event| sent.contains(event)).cloned().collect();
            assert!(sent.ends_with(&came), "{choice}: {came:?} of {sent:?}");
        }
        assert_eq!(heard.last().map(String::as_str), Some("message end"));
        seen.insert(heard.len());
    }
    assert!(seen.len() > 3, "the turns change nothing: {seen:?}");
}

#[test]
fn a_stream_of_one_destination_and_one_of_many_resume_alike() {
    let world = World::with(|setup| keeps(setup, 2, None));
    let alice = world.connect_as("alice");
    let (one, two) = (["/topic/kept/a"], ["/topic/kept/a", "/topic/kept/b"]);
    let pages = [world.listens("bob", &one, None), world.listens("bob", &two, None)];
    alice.sends("/topic/kept/a", "1");
    let last = |page: &Person| {
        let text = page.text();
        text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().expect("a cursor").to_owned()
    };
    let cursors = pages.each_ref().map(last);
    pages.iter().for_each(Person::vanishes);
    alice.sends("/topic/kept/a", "2");
    let resume =
        || [world.listens("bob", &one, Some(&cursors[0])), world.listens("bob", &two, Some(&cursors[1]))];
    for page in &resume() {
        assert_eq!(told(page), ["connected", "message 2"]);
        page.vanishes();
    }
    for n in 3..=4 {
        alice.sends("/topic/kept/a", &n.to_string());
    }
    for page in &resume() {
        assert_eq!(told(page), ["connected", "recovered false", "message 3", "message 4"]);
    }
}

/// Their cursors differ, and each is its own.
#[test]
fn streams_of_one_and_of_several_destinations_share_no_cursor() {
    let world = World::with(|setup| {
        keeps(setup, 100, None);
        setup.late_store = true;
    });
    let alice = world.connect_as("alice");
    world.holds_still();
    let pages = [
        world.listens("bob", &["/topic/kept/a"], None),
        world.listens("bob", &["/topic/kept/a", "/topic/kept/b"], None),
        world.listens("bob", &["/topic/kept/a"], None),
    ];
    alice.sends("/topic/kept/a", "1");
    world.moves_again();
    alice.sends("/topic/kept/a", "2");
    for (page, count) in pages.iter().zip([1, 2, 1]) {
        let text = page.text();
        let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        assert!(ids.len() >= 2 && ids.iter().all(|id| id.split(',').count() == count), "{text}");
        assert!(text.ends_with("data: 2\n\n"), "{text}");
    }
}

/// What it was opened for is refused: there is nothing that could go on.
#[test]
fn a_stream_that_hears_of_refusals_ends_like_any_other() {
    let world = World::with(|setup| setup.limits.subscriptions_max = 2);
    let page = world.listens("bob", &["/user/queue/errors", "/topic/a", "/topic/b"], None);
    let events = page.events();
    assert!(events.len() == 1 && events[0].starts_with("closed "), "{events:?}");
    assert!(events[0].contains("too-many-subscriptions") && page.is_gone());
}

/// Said once for all that was dropped before it is read.
#[test]
fn dropped_deliveries_are_told_and_a_stream_is_slow_like_any_other() {
    for destinations in [&["/topic/kept/a"][..], &["/topic/kept/a", "/topic/kept/b"]] {
        let world = World::with(|setup| {
            keeps(setup, 1_000, Some(Overflow::DropOldest));
            setup.limits.outbox_bytes_max = 16 << 10;
        });
        let alice = world.connect_as("alice");
        let page = world.listens("bob", destinations, None);
        assert_eq!(told(&page), ["connected"]);
        page.stalls();
        for n in 0..40 {
            alice.sends("/topic/kept/a", &format!("{n:01000}"));
        }
        page.resumes();
        let events = told(&page);
        let lost = events.iter().filter(|event| *event == "recovered false").count();
        assert!((1..=2).contains(&lost), "{lost} times");
        assert!(
            events.len() < 40 && events.last().is_some_and(|event| event.ends_with("39")),
            "{}",
            events.len()
        );
        // Where nothing may be dropped it is closed, with a last word.
        let slow = world.listens("carol", &["/topic/news"], None);
        assert_eq!(told(&slow), ["connected"]);
        slow.stalls();
        for wait_ms in [0, 6_000] {
            world.runs_for(wait_ms);
            for _ in 0..40 {
                alice.sends("/topic/news", &"x".repeat(1_000));
            }
        }
        slow.resumes();
        let last = slow.events().pop().unwrap_or_default();
        assert!(last.starts_with("closed ") && last.contains("slow-consumer"), "{last:.100}");
        assert!(slow.is_gone());
    }
}

/// Room, member, present: what the session of a stream is for others is what any session is.
#[test]
fn who_listens_to_a_room_is_present_there() {
    let world = World::new();
    let alice = world.connect_as("alice");
    alice.subscribes("/topic/chat/42");
    alice.heard();
    let page = world.listens("bob", &["/topic/chat/42", "/user/queue/note"], None);
    assert!(alice.messages().iter().any(|event| crate::person::body(event).contains("\"userId\":\"bob\"")));
    alice.sends("/user/bob/queue/note", "for bob");
    let events = told(&page);
    assert_eq!(events.first().map(String::as_str), Some("connected"));
    assert!(events.iter().any(|event| event.starts_with("JOIN ")), "{events:?}");
    assert_eq!(events.last().map(String::as_str), Some("message for bob"));
    page.hangs_up();
    assert!(page.is_gone());
    world.runs_for(20_000);
    assert!(alice.messages().iter().any(|event| crate::person::body(event).contains("LEAVE")));
    alice.leaves();
    alice.heard();
    world.runs_for(20_000);
    world.is_deserted();
}
