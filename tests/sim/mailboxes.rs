//! Messages to users who are away.

use stompede::model::{DestinationRule, DestinationRules, Pattern, Retention};
use stompede_protocol::AckMode;

use crate::person::{self, Person};
use crate::store::directory;
use crate::walk::Dice;
use crate::world::{Setup, World};

const OWN: &str = "/user/queue/notices";

fn offline(messages_max: usize) -> impl Fn(&mut Setup) {
    move |setup| {
        let offline = Some(Retention { messages_max, bytes_max: usize::MAX, age_ms_max: 60_000 });
        let pattern = Pattern::parse("/user/queue/notices/**").expect("a pattern");
        let rule = DestinationRule { pattern, overflow: None, history: None, offline };
        let exact = DestinationRule { pattern: Pattern::parse(OWN).expect("a pattern"), ..rule.clone() };
        setup.rules = DestinationRules::new(vec![rule, exact]);
        setup.limits.unacked_max = 5;
        setup.limits.user_connections_max = 0;
    }
}

fn says(sender: &Person, range: std::ops::Range<usize>) {
    range.for_each(|n| sender.sends("/user/bob/queue/notices", &n.to_string()));
}

fn bodies(person: &Person) -> Vec<String> {
    person::bodies(&person.frames())
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn what_is_sent_to_who_is_away_waits_for_him_and_comes_once() {
    let world = World::with(offline(100));
    let service = world.connect_as("service");
    says(&service, 0..3);
    let bob = world.connect_as("bob");
    bob.subscribes(OWN);
    says(&service, 3..5);
    let heard = bob.frames();
    assert_eq!(heard.len(), 5);
    assert!(heard.iter().all(|frame| frame.headers.get("destination") == Some(OWN)));
    bob.vanishes();
    says(&service, 5..7);
    for expected in [numbers(5..7), numbers(0..0)] {
        let bob = world.connect_as("bob");
        bob.subscribes(OWN);
        assert_eq!(bodies(&bob), expected);
        bob.leaves();
    }
    assert_eq!(world.broker().census().histories, 0, "what was taken is forgotten");
    // Other queues of the user keep nothing.
    service.sends("/user/bob/queue/other", "x");
    let bob = world.connect_as("bob");
    bob.subscribes("/user/queue/other");
    bob.hears(&[]);
}

#[test]
fn what_did_not_get_through_the_socket_is_kept() {
    let world = World::with(offline(100));
    let [service, bob] = ["service", "bob"].map(|name| world.connect_as(name));
    bob.subscribes(OWN);
    says(&service, 0..2);
    assert_eq!(bodies(&bob), numbers(0..2));
    bob.stalls();
    says(&service, 2..5);
    bob.vanishes();
    let bob = world.connect_as("bob");
    bob.subscribes(OWN);
    assert_eq!(bodies(&bob), numbers(2..5));
}

#[test]
fn in_the_client_modes_it_is_kept_until_it_is_acknowledged() {
    for mode in [AckMode::Client, AckMode::ClientIndividual] {
        let world = World::with(offline(100));
        let service = world.connect_as("service");
        says(&service, 0..4);
        let bob = world.connect_as("bob");
        bob.subscribes_with(OWN, mode, &[]);
        let heard = bob.frames();
        assert_eq!(heard.len(), 4);
        bob.acks(&heard[1]);
        bob.vanishes();
        let bob = world.connect_as("bob");
        bob.subscribes_with(OWN, mode, &[]);
        // One by one nothing was taken before the first.
        let left = if mode == AckMode::Client { 2..4 } else { 0..4 };
        let heard = bob.frames();
        assert_eq!(heard.len(), left.len());
        heard.iter().for_each(|frame| {
            bob.acks(frame);
        });
        bob.vanishes();
        let bob = world.connect_as("bob");
        bob.subscribes_with(OWN, mode, &[]);
        assert_eq!(bodies(&bob), numbers(0..0), "{mode:?}");
    }
}

#[test]
fn a_nack_leaves_it_for_the_next_subscription_and_requeue_false_does_not() {
    let world = World::with(offline(100));
    let service = world.connect_as("service");
    says(&service, 0..2);
    let bob = world.connect_as("bob");
    bob.subscribes_with(OWN, AckMode::ClientIndividual, &[]);
    let heard = bob.frames();
    bob.says(|client| client.nack(&heard[0], &[("requeue", "false")]));
    bob.nacks(&heard[1]);
    bob.leaves();
    let bob = world.connect_as("bob");
    bob.subscribes(OWN);
    assert_eq!(bodies(&bob), ["1"]);
}

#[test]
fn so_many_may_be_unacknowledged_and_the_others_wait() {
    let world = World::with(offline(100));
    let service = world.connect_as("service");
    says(&service, 0..8);
    let bob = world.connect_as("bob");
    bob.subscribes_with(OWN, AckMode::ClientIndividual, &[]);
    let mut open = bob.frames();
    assert_eq!(open.len(), 5);
    says(&service, 8..20);
    let mut seen = open.len();
    while let Some(frame) = (!open.is_empty()).then(|| open.remove(0)) {
        bob.acks(&frame);
        let more = bob.frames();
        seen += more.len();
        open.extend(more);
        assert!(open.len() <= 5);
    }
    assert_eq!(seen, 20);
    assert_eq!(world.broker().census().histories, 0);
}

#[test]
fn each_device_that_says_its_name_gets_all() {
    let world = World::with(offline(100));
    let service = world.connect_as("service");
    let visit = |device: &str, expected: std::ops::Range<usize>| {
        let bob = world.connect_as("bob");
        let headers = [("client-id", device)];
        bob.subscribes_with(OWN, AckMode::Auto, if device.is_empty() { &[] } else { &headers });
        assert_eq!(bodies(&bob), numbers(expected), "{device}");
        bob.leaves();
    };
    visit("phone", 0..0);
    visit("desk", 0..0);
    says(&service, 0..3);
    visit("phone", 0..3);
    says(&service, 3..5);
    visit("desk", 0..5);
    visit("phone", 3..5);
    visit("phone", 5..5);
    assert_eq!(world.broker().census().histories, 0);
    // Who comes without a name, or for the first time, has what is still kept.
    says(&service, 5..6);
    visit("", 5..6);
    visit("tablet", 5..6);
    visit("phone", 5..6);
}

#[test]
fn all_tabs_without_a_name_hear_it_and_one_takes_it_for_all() {
    let world = World::with(offline(100));
    let [service, first, second] = ["service", "bob", "bob"].map(|name| world.connect_as(name));
    [&first, &second].iter().for_each(|tab| drop(tab.subscribes(OWN)));
    says(&service, 0..3);
    assert_eq!((bodies(&first), bodies(&second)), (numbers(0..3), numbers(0..3)));
    first.stalls();
    says(&service, 3..4);
    assert_eq!(bodies(&second), numbers(3..4));
    [first, second].iter().for_each(Person::vanishes);
    let bob = world.connect_as("bob");
    bob.subscribes(OWN);
    assert_eq!(bodies(&bob), numbers(0..0));
}

#[test]
fn number_and_age_bound_what_waits() {
    let world = World::with(offline(3));
    let service = world.connect_as("service");
    says(&service, 0..5);
    let bob = world.connect_as("bob");
    bob.subscribes(OWN);
    assert_eq!(bodies(&bob), numbers(2..5));
    bob.leaves();
    says(&service, 5..6);
    world.runs_for(61_000);
    let bob = world.connect_as("bob");
    bob.subscribes(OWN);
    assert_eq!(bodies(&bob), numbers(0..0));
}

#[test]
fn a_slow_reader_of_his_own_queue_gets_it_when_he_reads() {
    let world = World::with(|setup| {
        offline(10_000)(setup);
        setup.limits.outbox_bytes_max = 2_000;
    });
    let [service, bob] = ["service", "bob"].map(|name| world.connect_as(name));
    bob.subscribes(OWN);
    bob.stalls();
    says(&service, 0..500);
    world.runs_for(5_000);
    bob.resumes();
    world.runs_for(1_000);
    assert_eq!(bodies(&bob), numbers(0..500));
    says(&service, 500..501);
    assert_eq!(bodies(&bob), numbers(500..501));
}

/// Connections that come, read a little and break: in the end each message was delivered, in order but for what came twice.
#[test]
fn whatever_breaks_nothing_is_lost() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let store = dice.below(3);
        let world = World::with(|setup| {
            offline(100_000)(setup);
            setup.late_store = store == 1;
            setup.disk = (store == 2).then(directory);
            setup.limits.outbox_bytes_max = 1_000;
        });
        let service = world.connect_as("service");
        let mode = dice.one_of(&[AckMode::Auto, AckMode::Client, AckMode::ClientIndividual]);
        let (mut sent, mut heard, mut bob) = (0, Vec::new(), None::<Person>);
        let listen = |bob: &Person, heard: &mut Vec<usize>, acks: bool| {
            for frame in bob.frames() {
                heard.push(String::from_utf8_lossy(&frame.body).parse().expect("a number"));
                if acks && mode != AckMode::Auto {
                    bob.acks(&frame);
                }
            }
        };
        for _ in 0..120 {
            match (dice.below(8), &bob) {
                (0, None) => {
                    let person = world.connect_as("bob");
                    person.subscribes_with(OWN, mode, &[]);
                    bob = Some(person);
                }
                (0, Some(person)) => {
                    // What arrived before the break was heard.
                    listen(person, &mut heard, false);
                    person.vanishes();
                    bob = None;
                }
                (1, Some(person)) => person.stalls(),
                (2, Some(person)) => person.takes(dice.below(800)),
                (3, Some(person)) => person.resumes(),
                (4, Some(person)) => listen(person, &mut heard, true),
                _ => {
                    says(&service, sent..sent + 1);
                    sent += 1;
                }
            }
        }
        if let Some(person) = bob {
            person.resumes();
            (0..100).for_each(|_| listen(&person, &mut heard, true));
            person.leaves();
        }
        let person = world.connect_as("bob");
        person.subscribes_with(OWN, mode, &[]);
        (0..100).for_each(|_| listen(&person, &mut heard, true));
        let mut all = heard.clone();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..sent).collect::<Vec<_>>(), "seed {seed}");
        // On disk it is known for a while where an empty queue ended.
        let known = usize::from(store == 2);
        assert!(world.broker().census().histories <= known, "seed {seed}: something is left");
        let tablet = world.connect_as("bob");
        tablet.subscribes_with(OWN, AckMode::Auto, &[("client-id", "tablet")]);
        assert_eq!(tablet.messages(), [], "seed {seed}: something is left");
    }
}
