use super::*;
use crate::backend::memory::MemoryQueues;
use crate::model::{Limits, MessageId, WorkerId};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Barrier;

struct Bench {
    dispatcher: Dispatcher,
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
        let dispatcher = Dispatcher::new(store, Arc::clone(&inboxes));
        Self { dispatcher, inboxes, queue: Destination::internal("/queue/a"), published: 0 }
    }

    fn publish(&mut self) {
        self.published += 1;
        let message = Message {
            id: MessageId { node: 1, number: self.published },
            destination: self.queue.clone(),
            timestamp_ms: 0,
            sender: None,
            headers: stompede_protocol::Headers::new(),
            body: Bytes::new(),
            text: true,
            position: None,
            numbered: false,
        };
        self.dispatcher.publish(&self.queue, Arc::new(message), Millis(0)).unwrap();
    }

    fn subscribe(&self, slot: u32, credit: usize) -> Consumer {
        let consumer = consumer(slot);
        self.dispatcher.subscribe(&self.queue, consumer, credit, Millis(0));
        consumer
    }

    fn is_member(&self, consumer: Consumer) -> bool {
        let group = self.dispatcher.groups.lock().get(&self.queue).cloned();
        group.is_some_and(|group| group.lock().place(consumer).is_some())
    }

    /// (slot, tag, message number, redelivered) handed out since the last call.
    fn handed(&self) -> Vec<(u32, u64, u64, bool)> {
        let mut items = VecDeque::new();
        self.inboxes.of(WorkerId(0)).take(&mut items, usize::MAX, usize::MAX);
        let row = |item| match item {
            Item::Consume { to, tag, message, redelivered, .. } => {
                (to.slot, tag, message.id.number, redelivered)
            }
            other => panic!("{other:?}"),
        };
        items.into_iter().map(row).collect()
    }
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
    bench.dispatcher.settle(&bench.queue, consumer(1), &[1], Millis(0));
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
    bench.dispatcher.unsubscribe(&bench.queue, first, 3, &[], Millis(0));
    assert_eq!(bench.handed(), [(2, 1, 1, true)]);
    bench.dispatcher.settle(&bench.queue, consumer(2), &[1], Millis(0));
    assert_eq!(bench.handed(), [(2, 2, 2, true)]);
}

#[test]
fn a_refused_message_goes_to_another_consumer_first() {
    let mut bench = Bench::new();
    let first = bench.subscribe(1, 1);
    bench.publish();
    bench.subscribe(2, 1);
    bench.handed();
    bench.dispatcher.refuse(&bench.queue, first, &[1], Millis(0));
    assert_eq!(bench.handed(), [(2, 1, 1, true)]);
}

#[test]
fn a_refused_message_returns_to_the_only_consumer_after_a_second() {
    let mut bench = Bench::new();
    let only = bench.subscribe(1, 5);
    bench.publish();
    bench.publish();
    bench.handed();
    bench.dispatcher.refuse(&bench.queue, only, &[1, 2], Millis(0));
    bench.dispatcher.tick(Millis(REST_MS - 1));
    assert_eq!(bench.handed(), []);
    bench.dispatcher.tick(Millis(REST_MS));
    assert_eq!(bench.handed(), [(1, 1, 1, true), (1, 2, 2, true)]);
}

#[test]
fn a_rejected_message_becomes_a_dead_letter() {
    let mut bench = Bench::new();
    let only = bench.subscribe(1, 1);
    bench.publish();
    bench.handed();
    assert_eq!(bench.dispatcher.reject(&bench.queue, only, &[1], Millis(0)), 0);
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
    bench.dispatcher.pause(&bench.queue, only, 1, Millis(0));
    assert_eq!(bench.handed(), []);
    bench.dispatcher.resume(&bench.queue, only, Millis(0));
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
    bench.dispatcher.unsubscribe(&bench.queue, first, 3, &[1, 2], Millis(0));
    assert_eq!(bench.handed(), [(2, 3, 3, true)]);
    bench.dispatcher.settle(&bench.queue, first, &[1], Millis(0));
    bench.dispatcher.give_back(&bench.queue, first, &[2], Millis(0));
    assert_eq!(bench.handed(), [(2, 2, 2, false)]);
}

#[test]
fn a_queue_that_nobody_consumes_leaves_no_group_behind() {
    let bench = Bench::new();
    let only = bench.subscribe(1, 5);
    bench.dispatcher.unsubscribe(&bench.queue, only, 2, &[], Millis(0));
    assert!(bench.dispatcher.groups.lock().is_empty());
}

#[test]
fn whoever_comes_while_the_last_one_leaves_is_a_consumer() {
    let mut bench = Bench::new();
    // What is handed out and comes back holds the group's lock long enough for them to meet.
    (0..20).for_each(|_| bench.publish());
    let start = Barrier::new(3);
    let comes_and_goes = |slot| {
        start.wait();
        for turn in 0..10_000 {
            let consumer = bench.subscribe(slot, 20);
            assert!(bench.is_member(consumer), "lost at turn {turn}");
            bench.dispatcher.unsubscribe(&bench.queue, consumer, 20, &[], Millis(0));
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
    bench.dispatcher.refuse(&bench.queue, first, &[1, 3], Millis(0));
    assert_eq!(bench.handed(), [], "the other one has no credit, and he has refused them");
    bench.dispatcher.refuse(&bench.queue, second, &[4], Millis(500));
    assert_eq!(bench.handed(), [(2, 1, 1, true), (1, 4, 4, true)]);
    bench.dispatcher.tick(Millis(REST_MS - 1));
    assert_eq!(bench.handed(), []);
    bench.dispatcher.tick(Millis(REST_MS));
    assert_eq!(bench.handed(), [(1, 3, 3, true)]);
}

#[test]
fn only_queues_where_something_rests_are_looked_at() {
    let mut bench = Bench::new();
    let only = bench.subscribe(1, 2);
    (0..2).for_each(|_| bench.publish());
    let restless = |bench: &Bench| bench.dispatcher.restless.lock().len();
    assert_eq!(restless(&bench), 0);
    bench.dispatcher.refuse(&bench.queue, only, &[1, 2], Millis(0));
    assert_eq!(restless(&bench), 1);
    bench.dispatcher.tick(Millis(REST_MS));
    assert_eq!(restless(&bench), 0);
    bench.dispatcher.refuse(&bench.queue, only, &[1, 2], Millis(0));
    bench.dispatcher.unsubscribe(&bench.queue, only, 2, &[], Millis(0));
    assert_eq!(restless(&bench), 0);
}

#[test]
fn the_oldest_dead_letters_make_room_unless_a_consumer_has_them() {
    let mut bench = Bench::within(&Limits { queue_messages_max: 2, ..Limits::default() });
    let only = bench.subscribe(1, 2);
    let reject = |bench: &mut Bench| {
        bench.publish();
        let [(_, tag, ..)] = bench.handed()[..] else { panic!("one message is handed out") };
        bench.dispatcher.reject(&bench.queue, only, &[tag], Millis(0))
    };
    assert_eq!([(); 3].map(|()| reject(&mut bench)), [0, 0, 1]);
    let dead = Destination::internal("/queue/dlq.a");
    bench.dispatcher.subscribe(&dead, consumer(2), 2, Millis(0));
    let numbers: Vec<u64> = bench.handed().iter().map(|(_, _, number, _)| *number).collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(reject(&mut bench), 1);
    assert_eq!(bench.handed(), []);
    assert_eq!(bench.dispatcher.reject(&dead, consumer(2), &[2, 3], Millis(0)), 2);
    assert_eq!(bench.handed(), []);
}

#[test]
fn what_is_on_its_way_to_a_leaving_consumer_was_never_handed_out() {
    let mut bench = Bench::new();
    let first = bench.subscribe(1, 10);
    (0..3).for_each(|_| bench.publish());
    bench.handed();
    bench.subscribe(2, 10);
    bench.dispatcher.unsubscribe(&bench.queue, first, 2, &[1], Millis(0));
    assert_eq!(bench.handed(), [(2, 2, 2, true), (2, 3, 3, false)]);
}
