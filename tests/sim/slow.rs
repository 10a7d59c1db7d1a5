//! Slow consumers cost only themselves: who never reads, who reads a trickle, who lags, and who does so together.

use stompede::broker::Link;
use stompede::model::{CloseReason, DestinationRule, DestinationRules, Overflow, Pattern};
use stompede_protocol::AckMode;

use crate::line::Heard;
use crate::person::Person;
use crate::world::{Guest, World};

/// What may wait for one socket in these worlds, bytes.
const OUTBOX: usize = 10_000;

/// What a MESSAGE has beside its body at most, bytes.
const HEAD: usize = 200;

fn world() -> World {
    World::with(|setup| setup.limits.outbox_bytes_max = OUTBOX)
}

/// `count` subscribers of `/topic/a`, over TCP and WebSocket by turns.
fn subscribers(world: &World, kind: &str, count: usize) -> Vec<Person> {
    let subscriber = |n: usize| {
        let name = format!("{kind}{n}");
        let link = if n.is_multiple_of(2) { Link::Stream } else { Link::WebSocket };
        let person = world.connect(Guest { link, ..Guest::named(&name) });
        person.subscribes("/topic/a");
        person
    };
    (0..count).map(subscriber).collect()
}

/// A kilobyte that says `n`.
fn numbered(n: usize) -> String {
    format!("{n:<1000}")
}

/// The numbers of the messages heard since the last question; whatever else was heard ends them.
fn numbers(person: &Person) -> Vec<usize> {
    let number = |heard: &Heard| match heard {
        Heard::Message(frame) => String::from_utf8_lossy(&frame.body).trim_end().parse().ok(),
        _ => None,
    };
    person.heard().iter().map_while(number).collect()
}

/// One more message with a receipt; whether it was accepted at once.
fn says(alice: &Person, n: usize) -> bool {
    alice.sends_with("/topic/a", &[("receipt", "r")], &numbered(n));
    receipts(alice) > 0
}

fn receipts(alice: &Person) -> usize {
    alice.heard().iter().filter(|heard| matches!(heard, Heard::Receipt(..))).count()
}

fn slow_closes(world: &World) -> u64 {
    world.closes(CloseReason::SlowConsumer)
}

#[test]
fn one_in_ten_that_never_reads_costs_the_others_nothing() {
    let world = world();
    let (never, fine) = (subscribers(&world, "never", 5), subscribers(&world, "fine", 45));
    let alice = world.connect_as("alice");
    never.iter().for_each(Person::stalls);
    for n in 0..60 {
        assert!(says(&alice, n), "the publisher waits for {n}");
        for person in &fine {
            assert_eq!(numbers(person), [n]);
        }
        world.runs_for(100);
    }
    assert_eq!(slow_closes(&world), 5);
    assert!(world.broker().held_bytes() < 5 * (HEAD + 1_000), "what waited for them is given back");
}

#[test]
fn a_burst_waits_a_moment_and_no_longer_for_those_who_have_read_nothing_of_it() {
    let world = World::with(|setup| {
        setup.limits.outbox_bytes_max = OUTBOX;
        setup.shards = 1;
    });
    let (never, fine) = (subscribers(&world, "never", 5), subscribers(&world, "fine", 45));
    let alice = world.connect_as("alice");
    never.iter().for_each(Person::stalls);
    // No time passes: nobody can be told yet from one who reads.
    let accepted = (0..100).filter(|n| says(&alice, *n)).count();
    assert!(
        accepted > 8 * OUTBOX / (HEAD + 1_000),
        "{accepted} accepted, and nobody is eight times above his limit"
    );
    world.runs_for(300);
    assert_eq!(accepted + receipts(&alice), 100);
    for person in &fine {
        assert_eq!(numbers(person), (0..100).collect::<Vec<_>>());
    }
    assert_eq!(slow_closes(&world), 5);
}

#[test]
fn a_burst_waits_for_those_who_had_no_turn_to_read_and_closes_none_of_them() {
    let world = World::with(|setup| {
        setup.limits.outbox_bytes_max = OUTBOX;
        setup.shards = 1;
    });
    let (late, fine) = (subscribers(&world, "late", 2), subscribers(&world, "fine", 20));
    let alice = world.connect_as("alice");
    for round in 0..5 {
        late.iter().for_each(Person::stalls);
        let accepted = (0..200).filter(|n| says(&alice, round * 200 + n)).count();
        assert!(accepted < 200, "nobody waits for who had no turn");
        world.runs_for(100);
        late.iter().for_each(Person::resumes);
        assert_eq!(accepted + receipts(&alice), 200, "all have caught up");
    }
    for person in late.iter().chain(&fine) {
        assert_eq!(numbers(person), (0..1_000).collect::<Vec<_>>());
    }
    assert_eq!(slow_closes(&world), 0);
}

#[test]
fn who_reads_a_trickle_holds_nobody_up_and_is_closed_after_seconds() {
    for count in [3, 20] {
        let world = world();
        let (trickling, fine) = (subscribers(&world, "trickle", count), subscribers(&world, "fine", 30));
        let alice = world.connect_as("alice");
        trickling.iter().for_each(Person::stalls);
        let mut most = 0;
        for n in 0..240 {
            assert!(says(&alice, n), "the publisher waits for {n}");
            if n % 3 == 2 {
                trickling.iter().for_each(|person| person.takes(20));
                world.runs_for(100);
                most = most.max(world.broker().held_bytes());
            }
        }
        assert_eq!(slow_closes(&world), count as u64);
        assert!(most <= count * 5 * OUTBOX, "{most} bytes waited for {count} who hardly read");
        for person in &fine {
            assert_eq!(numbers(person), (0..240).collect::<Vec<_>>());
        }
    }
}

#[test]
fn who_keeps_pace_a_little_behind_is_never_closed() {
    let world = world();
    let (behind, fine) = (subscribers(&world, "behind", 1), subscribers(&world, "fine", 20));
    let alice = world.connect_as("alice");
    behind[0].stalls();
    let mut said = 0;
    let mut says_some = |count: usize| {
        for _ in 0..count {
            assert!(says(&alice, said), "the publisher waits for {said}");
            said += 1;
        }
    };
    says_some(20);
    world.runs_for(100);
    let frame_bytes = world.broker().held_bytes() / 20;
    assert!(20 * frame_bytes > 2 * OUTBOX);
    for _ in 0..150 {
        behind[0].takes(10 * frame_bytes);
        says_some(10);
        world.runs_for(100);
    }
    behind[0].resumes();
    for person in behind.iter().chain(&fine) {
        assert_eq!(numbers(person), (0..1_520).collect::<Vec<_>>());
    }
    assert_eq!(slow_closes(&world), 0);
}

#[test]
fn many_who_lag_slow_the_publisher_and_only_those_who_never_read_are_closed() {
    let world = world();
    let never = subscribers(&world, "never", 2);
    let (lagging, fine) = (subscribers(&world, "lag", 8), subscribers(&world, "fine", 10));
    let alice = world.connect_as("alice");
    never.iter().chain(&lagging).for_each(Person::stalls);
    let (mut said, mut accepted, mut most) = (0, 0, 0);
    for _ in 0..300 {
        // A client that waits for its receipts, twice as fast as the laggards read.
        while said < 400 && said < accepted + 3 {
            alice.sends_with("/topic/a", &[("receipt", "r")], &numbered(said));
            said += 1;
        }
        accepted += receipts(&alice);
        lagging.iter().for_each(|person| person.takes(1_800));
        world.runs_for(100);
        accepted += receipts(&alice);
        most = most.max(world.broker().held_bytes());
    }
    assert_eq!(accepted, 400);
    assert_eq!(slow_closes(&world), 2);
    for person in lagging.iter().chain(&fine) {
        assert_eq!(numbers(person), (0..400).collect::<Vec<_>>());
    }
    assert!(most <= 10 * 2 * OUTBOX, "{most} bytes waited for 10 slow ones");
}

/// Twenty subscribers of one worker who have stopped reading, and a publisher.
fn all_stalled(backlog_bytes_max: usize) -> (World, Vec<Person>, Person) {
    let world = World::with(|setup| {
        setup.limits.outbox_bytes_max = OUTBOX;
        setup.limits.backlog_bytes_max = backlog_bytes_max;
        setup.shards = 1;
    });
    let all = subscribers(&world, "all", 20);
    let alice = world.connect_as("alice");
    all.iter().for_each(Person::stalls);
    (world, all, alice)
}

#[test]
fn when_all_stop_reading_the_publisher_waits_and_nobody_is_closed_though_some_resume_last() {
    let (world, all, alice) = all_stalled(50_000);
    let accepted = (0..100).filter(|n| says(&alice, *n)).count();
    assert!(accepted < 10, "{accepted} accepted although nobody reads");
    world.runs_for(5_000);
    assert!(world.broker().held_bytes() < 50_000 + 20 * (HEAD + 1_000) + 100 * (HEAD + 1_000));
    all.iter().for_each(Person::resumes);
    world.runs_for(200);
    assert_eq!(accepted + receipts(&alice), 100);
    for person in &all {
        assert_eq!(numbers(person), (0..100).collect::<Vec<_>>());
    }
    assert_eq!(slow_closes(&world), 0);
}

#[test]
fn when_all_resume_by_turns_and_only_by_a_little_nobody_is_closed() {
    let (world, all, alice) = all_stalled(100_000);
    let mut accepted = (0..100).filter(|n| says(&alice, *n)).count();
    assert!(accepted < 20, "{accepted} accepted although nobody reads");
    world.runs_for(5_000);
    // Whoever has had a turn is sent more at once than it took: at no moment does anybody's socket take bytes.
    for _ in 0..20 {
        for some in all.chunks(5) {
            some.iter().for_each(|person| person.takes(3 * (HEAD + 1_000)));
            accepted += receipts(&alice);
        }
        world.runs_for(500);
    }
    assert_eq!(slow_closes(&world), 0);
    all.iter().for_each(Person::resumes);
    world.runs_for(200);
    assert_eq!(accepted + receipts(&alice), 100);
    for person in &all {
        assert_eq!(numbers(person), (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn a_flood_that_nobody_reads_waits_in_its_sockets_until_the_readers_are_given_up() {
    let world = World::with(|setup| {
        setup.limits.outbox_bytes_max = OUTBOX;
        setup.limits.backlog_bytes_max = 50_000;
        setup.limits.inbox_bytes_max = 20_000;
    });
    let all = subscribers(&world, "all", 20);
    let floods = [0, 1].map(|n| world.connect(Guest { shard: Some(n), ..Guest::named("flood") }));
    all.iter().for_each(Person::stalls);
    let (mut accepted, mut most) = (0, 0);
    for n in 0..400 {
        for flood in &floods {
            flood.sends_with("/topic/a", &[("receipt", "r")], &numbered(n));
        }
    }
    for _ in 0..95 {
        world.runs_for(100);
        most = most.max(world.broker().held_bytes());
        accepted += floods.iter().map(receipts).sum::<usize>();
    }
    assert!(accepted < 100, "{accepted} accepted although nobody reads");
    // Both workers' backlogs and inboxes, and what each flood has had read of it.
    let bound = 2 * (50_000 + 20_000 + 64 * 1_200) + 2 * (64 << 10);
    assert!(most <= bound, "{most} bytes, {bound} are allowed");
    world.runs_for(2_000);
    assert_eq!(slow_closes(&world), 20, "their sockets have taken nothing for ten seconds");
    assert_eq!(accepted + floods.iter().map(receipts).sum::<usize>(), 800);
}

#[test]
fn a_worker_that_is_behind_closes_nobody_who_reads() {
    let world = World::with(|setup| {
        setup.limits.outbox_bytes_max = OUTBOX;
        setup.limits.backlog_bytes_max = 100_000;
        setup.limits.inbox_bytes_max = 50_000;
        setup.shards = 1;
    });
    let (never, fine) = (subscribers(&world, "never", 2), subscribers(&world, "fine", 18));
    let alice = world.connect_as("alice");
    never.iter().for_each(Person::stalls);
    let behind: Vec<&Person> = fine.iter().collect();
    world.holds_still();
    for n in 0..200 {
        alice.sends_with("/topic/a", &[("receipt", "r")], &numbered(n));
    }
    // The worker sees to everything but to the writing.
    while world.steps_except(&behind) {}
    let accepted = receipts(&alice);
    assert!(accepted < 100, "{accepted} accepted although nothing was written");
    world.moves_again();
    world.runs_for(1_500);
    assert_eq!(accepted + receipts(&alice), 200);
    for person in &fine {
        assert_eq!(numbers(person), (0..200).collect::<Vec<_>>());
    }
    assert_eq!(slow_closes(&world), 2);
}

#[test]
fn one_who_is_slow_in_a_thousand_rooms_leaves_them_all_and_disturbs_none() {
    let world = World::with(|setup| {
        setup.limits.outbox_bytes_max = 10 * OUTBOX;
        setup.limits.subscriptions_max = 1_000;
    });
    let room = |n: usize| format!("/topic/rooms/{n}");
    let slow = world.connect_as("slow");
    let fine: Vec<Person> = (0..10).map(|n| world.connect_as(&format!("fine{n}"))).collect();
    for n in 0..1_000 {
        slow.says(|client| client.subscribe(&format!("s{n}"), &room(n), AckMode::Auto, &[]));
        fine[n % 10].says(|client| client.subscribe(&format!("s{n}"), &room(n), AckMode::Auto, &[]));
    }
    let alice = world.connect_as("alice");
    slow.stalls();
    for n in 0..1_000 {
        alice.sends_with(&room(n), &[("receipt", "r")], &numbered(n));
        assert_eq!(receipts(&alice), 1, "the publisher waits for room {n}");
        assert_eq!(numbers(&fine[n % 10]), [n]);
        if n % 10 == 9 {
            world.runs_for(100);
        }
    }
    assert_eq!(slow_closes(&world), 1);
    assert_eq!(world.broker().subscriptions(), 1_000, "its subscriptions are gone");
}

#[test]
fn where_the_oldest_is_dropped_those_who_never_read_hold_their_limit_and_no_more() {
    let world = World::with(|setup| {
        setup.limits.outbox_bytes_max = OUTBOX;
        let pattern = Pattern::parse("/topic/**").unwrap();
        setup.rules = DestinationRules::new(vec![DestinationRule {
            pattern,
            overflow: Some(Overflow::DropOldest),
            history: None,
            offline: None,
        }]);
    });
    let (never, fine) = (subscribers(&world, "never", 5), subscribers(&world, "fine", 45));
    let alice = world.connect_as("alice");
    never.iter().for_each(Person::stalls);
    for n in 0..90 {
        assert!(says(&alice, n), "the publisher waits for {n}");
        if n % 2 == 1 {
            world.runs_for(100);
            assert!(world.broker().held_bytes() <= 5 * OUTBOX + 1_000);
        }
    }
    assert_eq!(slow_closes(&world), 0);
    for person in &never {
        person.resumes();
        let heard = numbers(person);
        assert!(heard.is_sorted() && heard.len() < 10 && heard.last() == Some(&89), "{heard:?}");
    }
    for person in &fine {
        assert_eq!(numbers(person), (0..90).collect::<Vec<_>>());
    }
}

#[test]
fn above_the_memory_limit_as_many_blocked_outboxes_go_as_must_and_the_publisher_goes_on() {
    let world = World::with(|setup| setup.memory_bytes_max = 30_000);
    let (never, fine) = (subscribers(&world, "never", 10), subscribers(&world, "fine", 20));
    let alice = world.connect_as("alice");
    never.iter().for_each(Person::stalls);
    for n in 0..10 {
        says(&alice, n);
    }
    world.runs_for(200);
    assert!(world.broker().held_bytes() <= 30_000, "{} bytes", world.broker().held_bytes());
    assert!(slow_closes(&world) < 10, "who fits may stay");
    assert!(says(&alice, 10), "the publisher waits");
    for person in &fine {
        assert_eq!(numbers(person), (0..11).collect::<Vec<_>>());
    }
}

#[test]
fn what_waits_in_work_queues_counts_as_memory_too() {
    let world = World::with(|setup| setup.memory_bytes_max = 40_000);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.connect_as(name));
    carol.subscribes("/topic/a");
    for n in 0..15 {
        alice.sends_with("/queue/jobs", &[("receipt", "r")], &numbered(n));
    }
    assert_eq!(receipts(&alice), 15);
    carol.stalls();
    for n in 0..25 {
        bob.sends("/topic/a", &numbered(n));
    }
    world.runs_for(300);
    let held = world.broker().held_bytes();
    assert!(held <= 40_000, "{held} bytes are held, queues included");
}

#[test]
fn large_sends_that_together_pass_the_memory_limit_are_handled_all_the_same() {
    let world = World::with(|setup| setup.memory_bytes_max = 20_000);
    let carol = world.connect_as("carol");
    carol.subscribes("/topic/a");
    let senders: Vec<Person> = (0..4).map(|n| world.connect_as(&format!("sender{n}"))).collect();
    let body = "x".repeat(8_000);
    for sender in &senders {
        sender.writes(format!("SEND\ndestination:/topic/a\nreceipt:r\n\n{body}").as_bytes());
    }
    world.runs_for(200);
    for sender in &senders {
        sender.writes(b"\0");
    }
    world.runs_for(1_000);
    assert_eq!(senders.iter().map(receipts).sum::<usize>(), 4);
    assert_eq!(carol.messages().len(), 4);
}

#[test]
fn those_who_come_round_late_on_a_busy_machine_are_waited_for() {
    let world = world();
    let (late, fine) = (subscribers(&world, "late", 20), subscribers(&world, "fine", 30));
    let alice = world.connect_as("alice");
    let (mut said, mut accepted) = (0, 0);
    late.iter().for_each(Person::stalls);
    for round in 0..400 {
        // A client that waits for its receipts: 20 kB from one turn of somebody late until his next.
        if said == accepted {
            alice.sends_with("/topic/a", &[("receipt", "r")], &numbered(said));
            said += 1;
        }
        let turn = &late[round % late.len()];
        turn.resumes();
        world.runs_for(100);
        turn.stalls();
        accepted += receipts(&alice);
    }
    late.iter().for_each(Person::resumes);
    world.runs_for(1_000);
    assert_eq!(slow_closes(&world), 0);
    assert!(said > 200, "{said} were accepted");
    for person in late.iter().chain(&fine) {
        assert!(numbers(person).into_iter().eq(0..said));
    }
}
