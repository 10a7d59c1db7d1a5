use super::*;
use crate::backend::memory::MemoryQueues;
use crate::model::{Limits, MessageId, WorkerId};
use crate::routing::Turn;
use bytes::Bytes;
use std::sync::Barrier;
use stompede_protocol::Millis;

const TICKET: Ticket =
    Ticket { connection: ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 }, call: 1, key: 0 };

struct Bench {
    dispatcher: Dispatcher,
    counters: Arc<DeadLetterCounters>,
    inboxes: Arc<Inboxes>,
    queue: Destination,
    published: u64,
}

impl Bench {
    fn new() -> Self {
        Self::within(&Limits::default())
    }

    fn within(limits: &Limits) -> Self {
        let inboxes = Arc::new(Inboxes::new(1, 100, 1 << 20));
        let store = Arc::new(MemoryQueues::new(limits, usize::MAX));
        let counters = Arc::<DeadLetterCounters>::default();
        let dispatcher =
            Dispatcher::new(store, Arc::clone(&inboxes), limits.redeliveries_max, Arc::clone(&counters));
        Self { dispatcher, counters, inboxes, queue: Destination::internal("/queue/a"), published: 0 }
    }

    fn publish(&mut self) {
        self.publish_with(&[]);
    }

    fn publish_with(&mut self, headers: &[(&str, &str)]) {
        self.published += 1;
        let message = Message {
            id: MessageId { node: 1, number: self.published },
            destination: self.queue.clone(),
            timestamp_ms: 0,
            sender: None,
            headers: headers.iter().copied().collect(),
            body: Bytes::new(),
            text: true,
            position: None,
            numbered: false,
        };
        self.dispatcher.publish(&self.queue, Arc::new(message), TICKET, at(0)).unwrap();
    }

    fn subscribe(&self, slot: u32, credit: usize) -> Consumer {
        let consumer = consumer(slot);
        self.dispatcher.subscribe(&self.queue, consumer, credit, at(0));
        consumer
    }

    fn is_member(&self, consumer: Consumer) -> bool {
        let group = self.dispatcher.groups.lock().get(&self.queue).cloned();
        group.is_some_and(|group| group.lock().place(consumer).is_some())
    }

    /// (slot, tag, message number, redelivered) handed out since the last call.
    fn handed(&self) -> Vec<(u32, u64, u64, bool)> {
        let mut turn = Turn::new(usize::MAX, usize::MAX);
        let items = std::iter::from_fn(|| self.inboxes.of(WorkerId(0)).next(&mut turn).continue_value());
        let row = |item| match item {
            Item::Consume { to, tag, message, deliveries, .. } => {
                (to.slot, tag, message.id.number, deliveries > 0)
            }
            other => panic!("{other:?}"),
        };
        items.map(row).collect()
    }
}

/// How many dead letters are lost by what is done.
fn lost(bench: &Bench, act: impl FnOnce(&Bench)) -> u64 {
    let before = bench.counters.lost.value();
    act(bench);
    bench.counters.lost.value() - before
}

fn has(arrived: u64, kept: &[u64]) -> Belongings<'_> {
    Belongings { arrived, kept, unwritten: &[] }
}

/// Both clocks at `ms`.
fn at(ms: u64) -> Now {
    Now { mono: Millis(ms), wall_ms: ms }
}

fn consumer(slot: u32) -> Consumer {
    Consumer { connection: ConnectionId { worker: WorkerId(0), slot, serial: 0 }, key: SubscriptionKey(0) }
}

#[test]
fn messages_wait_for_a_consumer_and_then_go_round() {
    let mut bench = Bench::new();
    bench.publish();
    bench.publish();
    assert!(!bench.dispatcher.has_consumers(&bench.queue));
    bench.subscribe(1, 1);
    assert_eq!(bench.handed(), [(1, 1, 1, false)]);
    bench.subscribe(2, 10);
    assert_eq!(bench.handed(), [(2, 2, 2, false)]);
    bench.dispatcher.settle(&bench.queue, consumer(1), &[1], at(0));
    bench.publish();
    bench.publish();
    assert_eq!(bench.handed(), [(1, 3, 3, false), (2, 4, 4, false)]);
}

#[test]
fn what_a_leaving_consumer_had_goes_to_the_next_in_order_and_marked() {
    let mut bench = Bench::new();
    let first = bench.subscribe(1, 10);
    for _ in 0..3 {
        bench.publish();
    }
    bench.handed();
    bench.subscribe(2, 1);
    bench.dispatcher.unsubscribe(&bench.queue, first, &has(3, &[]), at(0));
    assert_eq!(bench.handed(), [(2, 1, 1, true)]);
    bench.dispatcher.settle(&bench.queue, consumer(2), &[1], at(0));
    assert_eq!(bench.handed(), [(2, 2, 2, true)]);
}

#[test]
fn a_refused_message_goes_to_another_consumer_first() {
    let mut bench = Bench::new();
    let first = bench.subscribe(1, 1);
    bench.publish();
    bench.subscribe(2, 1);
    bench.handed();
    bench.dispatcher.refuse(&bench.queue, first, &[1], at(0));
    assert_eq!(bench.handed(), [(2, 1, 1, true)]);
}

#[test]
fn a_refused_message_returns_to_the_only_consumer_after_a_second() {
    let mut bench = Bench::new();
    let only = bench.subscribe(1, 5);
    bench.publish();
    bench.publish();
    bench.handed();
    bench.dispatcher.refuse(&bench.queue, only, &[1, 2], at(0));
    bench.dispatcher.tick(at(REST_MS - 1));
    assert_eq!(bench.handed(), []);
    bench.dispatcher.tick(at(REST_MS));
    assert_eq!(bench.handed(), [(1, 1, 1, true), (1, 2, 2, true)]);
}

#[test]
fn a_rejected_message_becomes_a_dead_letter() {
    let mut bench = Bench::new();
    let only = bench.subscribe(1, 1);
    bench.publish();
    bench.handed();
    assert_eq!(lost(&bench, |bench| bench.dispatcher.reject(&bench.queue, only, &[1], at(0))), 0);
    bench.queue = Destination::internal("/queue/dlq.a");
    bench.subscribe(2, 1);
    assert_eq!(bench.handed(), [(2, 1, 1, false)]);
}

#[test]
fn a_paused_consumer_gets_nothing_until_it_resumes() {
    let mut bench = Bench::new();
    let only = bench.subscribe(1, 5);
    bench.publish();
    bench.handed();
    bench.dispatcher.pause(&bench.queue, only, 1, at(0));
    assert_eq!(bench.handed(), []);
    bench.dispatcher.resume(&bench.queue, only, at(0));
    assert_eq!(bench.handed(), [(1, 1, 1, false)]);
}

#[test]
fn what_a_leaving_consumer_still_writes_is_kept_from_the_others() {
    let mut bench = Bench::new();
    let first = bench.subscribe(1, 10);
    for _ in 0..3 {
        bench.publish();
    }
    bench.subscribe(2, 10);
    bench.handed();
    bench.dispatcher.unsubscribe(&bench.queue, first, &has(3, &[1, 2]), at(0));
    assert_eq!(bench.handed(), [(2, 3, 3, true)]);
    bench.dispatcher.settle(&bench.queue, first, &[1], at(0));
    bench.dispatcher.give_back(&bench.queue, first, &[2], at(0));
    assert_eq!(bench.handed(), [(2, 2, 2, false)]);
}

#[test]
fn a_queue_that_nobody_consumes_leaves_no_group_behind() {
    let bench = Bench::new();
    let only = bench.subscribe(1, 5);
    bench.dispatcher.unsubscribe(&bench.queue, only, &has(2, &[]), at(0));
    assert!(bench.dispatcher.groups.lock().is_empty());
}

#[test]
fn whoever_comes_while_the_last_one_leaves_is_a_consumer() {
    let mut bench = Bench::within(&Limits { redeliveries_max: 0, ..Limits::default() });
    // What is handed out and comes back holds the group's lock long enough for them to meet.
    (0..20).for_each(|_| bench.publish());
    let start = Barrier::new(3);
    let comes_and_goes = |slot| {
        start.wait();
        for turn in 0..10_000 {
            let consumer = bench.subscribe(slot, 20);
            assert!(bench.is_member(consumer), "lost at turn {turn}");
            bench.dispatcher.unsubscribe(&bench.queue, consumer, &has(20, &[]), at(0));
            bench.handed();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| comes_and_goes(1));
        scope.spawn(|| comes_and_goes(2));
        scope.spawn(|| comes_and_goes(3));
    });
    assert_eq!(bench.dispatcher.consumed_queues(), 0);
    bench.subscribe(4, 20);
    assert_eq!(bench.handed().len(), 20);
}

#[test]
fn a_message_that_one_refused_does_not_keep_others_from_resting_or_older_ones_from_going_first() {
    let mut bench = Bench::new();
    let [first, second] = [1, 2].map(|slot| bench.subscribe(slot, 2));
    (0..4).for_each(|_| bench.publish());
    assert_eq!(bench.handed(), [(1, 1, 1, false), (2, 2, 2, false), (1, 3, 3, false), (2, 4, 4, false)]);
    bench.dispatcher.refuse(&bench.queue, first, &[1, 3], at(0));
    assert_eq!(bench.handed(), [], "the other one has no credit, and he has refused them");
    bench.dispatcher.refuse(&bench.queue, second, &[4], at(500));
    assert_eq!(bench.handed(), [(2, 1, 1, true), (1, 4, 4, true)]);
    bench.dispatcher.tick(at(REST_MS - 1));
    assert_eq!(bench.handed(), []);
    bench.dispatcher.tick(at(REST_MS));
    assert_eq!(bench.handed(), [(1, 3, 3, true)]);
}

#[test]
fn only_queues_where_something_rests_are_looked_at() {
    let mut bench = Bench::new();
    let only = bench.subscribe(1, 2);
    (0..2).for_each(|_| bench.publish());
    let restless = |bench: &Bench| bench.dispatcher.restless.lock().len();
    assert_eq!(restless(&bench), 0);
    bench.dispatcher.refuse(&bench.queue, only, &[1, 2], at(0));
    assert_eq!(restless(&bench), 1);
    bench.dispatcher.tick(at(REST_MS));
    assert_eq!(restless(&bench), 0);
    bench.dispatcher.refuse(&bench.queue, only, &[1, 2], at(0));
    bench.dispatcher.unsubscribe(&bench.queue, only, &has(2, &[]), at(0));
    assert_eq!(restless(&bench), 0);
}

#[test]
fn the_oldest_dead_letters_make_room_unless_a_consumer_has_them() {
    let mut bench = Bench::within(&Limits { queue_messages_max: 2, ..Limits::default() });
    let only = bench.subscribe(1, 2);
    let reject = |bench: &mut Bench| {
        bench.publish();
        let [(_, tag, ..)] = bench.handed()[..] else { panic!("one message is handed out") };
        lost(bench, |bench| bench.dispatcher.reject(&bench.queue, only, &[tag], at(0)))
    };
    assert_eq!([(); 3].map(|()| reject(&mut bench)), [0, 0, 1]);
    let dead = Destination::internal("/queue/dlq.a");
    bench.dispatcher.subscribe(&dead, consumer(2), 2, at(0));
    let numbers: Vec<u64> = bench.handed().iter().map(|(_, _, number, _)| *number).collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(reject(&mut bench), 1);
    assert_eq!(bench.handed(), []);
    assert_eq!(lost(&bench, |bench| bench.dispatcher.reject(&dead, consumer(2), &[2, 3], at(0))), 2);
    assert_eq!(bench.handed(), []);
}

#[test]
fn what_is_on_its_way_to_a_leaving_consumer_was_never_handed_out() {
    let mut bench = Bench::new();
    let first = bench.subscribe(1, 10);
    (0..3).for_each(|_| bench.publish());
    bench.handed();
    bench.subscribe(2, 10);
    bench.dispatcher.unsubscribe(&bench.queue, first, &has(2, &[1]), at(0));
    assert_eq!(bench.handed(), [(2, 2, 2, true), (2, 3, 3, false)]);
}

#[test]
fn what_has_expired_by_the_time_of_its_turn_is_a_dead_letter_at_once() {
    let mut bench = Bench::new();
    bench.publish_with(&[("expires", "1000")]);
    bench.publish();
    let dead = Destination::internal("/queue/dlq.a");
    bench.dispatcher.subscribe(&dead, consumer(2), 9, at(0));
    bench.dispatcher.subscribe(&bench.queue, consumer(1), 9, at(1_001));
    // The consumer of dead letters has waited for it.
    assert_eq!(bench.handed(), [(1, 2, 2, false), (2, 1, 1, false)]);
    assert_eq!(bench.counters.expired.value(), 1);
}

#[test]
fn a_tick_buries_what_has_expired_of_every_queue_and_hands_out_what_is_due() {
    let mut bench = Bench::new();
    let first = bench.subscribe(1, 9);
    bench.publish();
    bench.dispatcher.postpone(&bench.queue, first, &[1], 700, at(0));
    for name in ["/queue/b", "/queue/c"] {
        bench.queue = Destination::internal(name);
        (0..2).for_each(|_| bench.publish_with(&[("expires", "500")]));
        let dead = Destination::internal(&name.replace("/queue/", "/queue/dlq."));
        bench.dispatcher.subscribe(&dead, consumer(2), 9, at(0));
    }
    bench.handed();
    bench.dispatcher.tick(at(500));
    assert_eq!(bench.handed(), []);
    bench.dispatcher.tick(at(700));
    let numbers: Vec<_> = bench.handed().iter().map(|(slot, _, number, _)| (*slot, *number)).collect();
    assert_eq!(numbers, [(2, 2), (2, 3), (2, 4), (2, 5), (1, 1)]);
}

#[test]
fn a_group_that_dissolves_counts_no_delivery_for_what_rests() {
    let mut bench = Bench::within(&Limits { redeliveries_max: 1, ..Limits::default() });
    let only = bench.subscribe(1, 9);
    bench.publish();
    bench.dispatcher.refuse(&bench.queue, only, &[1], at(0));
    bench.dispatcher.unsubscribe(&bench.queue, only, &has(1, &[]), at(0));
    bench.handed();
    bench.subscribe(2, 9);
    assert_eq!(bench.handed(), [(2, 1, 1, true)]);
}

#[test]
fn the_brokers_own_queues_have_no_limit_of_redeliveries() {
    for (name, expected) in [("/queue/a", 2), ("/queue/stompede.hook.a", 5)] {
        let mut bench = Bench::within(&Limits { redeliveries_max: 1, ..Limits::default() });
        bench.queue = Destination::internal(name);
        let only = bench.subscribe(1, 1);
        bench.publish();
        let mut handed = 0;
        for _ in 0..5 {
            handed += bench.handed().len();
            bench.dispatcher.postpone(&bench.queue, only, &[1], 0, at(0));
        }
        assert_eq!(handed, expected, "{name}");
    }
}
