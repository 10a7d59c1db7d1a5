//! What every store of work queues does. Nothing in here knows an adapter: a test is handed a maker of empty stores.

#![expect(clippy::unwrap_used, reason = "every function is a test, whose attribute stands in the macro")]

use std::sync::Arc;

use bytes::Bytes;
use stompede::backend::{QueueError, Queued, Queues};
use stompede::model::{Address, ConnectionId, Destination, Limits, Message, MessageId, Ticket, WorkerId};
use stompede_protocol::Headers;

pub(crate) const TICKET: Ticket =
    Ticket { connection: ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 }, call: 1, key: 0 };

/// Makes an empty store within limits and so many bytes in all.
pub(crate) type Maker = fn(&Limits, usize) -> Arc<dyn Queues>;

/// Every test of this file for the adapter that `$maker` makes.
macro_rules! judge {
    ($maker:expr) => {
        crate::queues::judge! { $maker =>
            what_comes_back_stands_before_everything_newer_in_its_order
            a_hand_out_counts_unless_nobody_can_have_seen_it
            a_message_that_is_taken_again_counts_once_more
            what_is_settled_is_gone_and_leaves_nothing
            what_is_not_taken_cannot_be_given_back_or_settled
            a_full_queue_refuses_and_so_does_one_queue_too_many
            bytes_are_bounded_too_but_one_message_always_fits
            all_queues_together_are_bounded
            what_has_begun_is_finished_past_every_limit
            what_is_out_or_postponed_counts_towards_the_limits
            a_postponed_message_is_ready_when_it_is_due_and_stands_where_it_stood
            what_expires_is_handed_over_once_it_is_past_its_time
            what_is_taken_does_not_expire_until_it_comes_back
            a_postponed_message_may_expire_before_it_is_due
            a_sweep_does_no_more_than_it_is_told_and_the_next_one_goes_on
            a_buried_message_stands_at_the_end_of_the_other_queue
            the_oldest_that_are_ready_make_room_for_what_is_buried
            a_letter_that_nothing_can_make_room_for_is_lost
            burying_what_is_not_taken_changes_nothing
            the_last_message_of_a_queue_makes_room_for_the_queue_of_its_letter
            whoever_looks_sees_everything_in_order_page_by_page
            a_tag_is_never_given_twice
        }
    };
    ($maker:expr => $($test:ident)*) => {
        $(#[test]
        fn $test() {
            crate::queues::$test($maker);
        })*
    };
}
pub(crate) use judge;

fn roomy(make: Maker) -> Arc<dyn Queues> {
    make(&Limits::default(), usize::MAX)
}

fn name(queue: &str) -> Destination {
    match Address::of_send(queue) {
        Ok(Address::Queue(destination)) => destination,
        other => panic!("{queue} is no queue: {other:?}"),
    }
}

fn put(queues: &dyn Queues, queue: &Destination, message: Arc<Message>) -> Result<(), QueueError> {
    queues.put(queue, message, TICKET).map(drop)
}

fn message(number: u64) -> Arc<Message> {
    good_until(number, "0")
}

/// `0`: for ever.
fn good_until(number: u64, expires: &str) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId { node: 1, number },
        destination: name("/queue/a"),
        timestamp_ms: 0,
        sender: None,
        headers: [("expires", expires)].into_iter().collect::<Headers>(),
        body: Bytes::from_static(b"x"),
        text: true,
        position: None,
        numbered: false,
    })
}

/// With messages 1 to `count` in `/queue/a`.
fn filled(queues: &dyn Queues, count: u64) -> Destination {
    let a = name("/queue/a");
    (1..=count).for_each(|number| put(queues, &a, message(number)).unwrap());
    a
}

fn numbers(found: &[Queued]) -> Vec<u64> {
    found.iter().map(|queued| queued.message.id.number).collect()
}

/// Number and deliveries before.
fn take(queues: &dyn Queues, queue: &Destination) -> Option<(u64, u32)> {
    queues.take(queue).map(|queued| (queued.message.id.number, queued.deliveries))
}

fn tag(queues: &dyn Queues, queue: &Destination) -> u64 {
    queues.take(queue).expect("a message is ready").tag
}

fn take_all(queues: &dyn Queues, queue: &Destination) -> Vec<Queued> {
    std::iter::from_fn(|| queues.take(queue)).collect()
}

pub(crate) fn what_comes_back_stands_before_everything_newer_in_its_order(make: Maker) {
    let queues = roomy(make);
    let a = filled(&*queues, 4);
    let [first, second, third] = [(); 3].map(|()| tag(&*queues, &a));
    assert!(first < second && second < third);
    queues.release(&a, third);
    queues.give_back(&a, first);
    queues.release(&a, second);
    assert_eq!(numbers(&take_all(&*queues, &a)), [1, 2, 3, 4]);
}

pub(crate) fn a_hand_out_counts_unless_nobody_can_have_seen_it(make: Maker) {
    let queues = roomy(make);
    let a = filled(&*queues, 1);
    for deliveries in 0..3 {
        let unseen = queues.take(&a).unwrap();
        assert_eq!(unseen.deliveries, deliveries);
        queues.give_back(&a, unseen.tag);
        let seen = queues.take(&a).unwrap();
        assert_eq!(seen.deliveries, deliveries);
        queues.release(&a, seen.tag);
    }
    let seen = queues.take(&a).unwrap();
    queues.postpone(&a, seen.tag, 1);
    queues.sweep(1, 1);
    assert_eq!(take(&*queues, &a), Some((1, 4)));
}

pub(crate) fn a_message_that_is_taken_again_counts_once_more(make: Maker) {
    let queues = roomy(make);
    let a = filled(&*queues, 1);
    let tag = tag(&*queues, &a);
    let again = queues.retake(&a, tag).unwrap();
    assert_eq!((again.tag, again.deliveries, take(&*queues, &a)), (tag, 1, None));
    // It has reached nobody since.
    queues.give_back(&a, tag);
    assert_eq!(take(&*queues, &a), Some((1, 1)));
}

pub(crate) fn what_is_settled_is_gone_and_leaves_nothing(make: Maker) {
    let queues = roomy(make);
    let a = filled(&*queues, 2);
    assert_eq!(queues.len(), 1);
    for number in 1..=2 {
        assert!(queues.bytes() > 0);
        let tag = tag(&*queues, &a);
        assert_eq!(queues.settle(&a, tag).unwrap().id.number, number);
        assert!(queues.settle(&a, tag).is_none());
        queues.release(&a, tag);
    }
    assert_eq!(take(&*queues, &a), None);
    assert!(queues.is_empty());
    assert_eq!(queues.bytes(), 0);
}

pub(crate) fn what_is_not_taken_cannot_be_given_back_or_settled(make: Maker) {
    let queues = roomy(make);
    let a = filled(&*queues, 1);
    let tag = tag(&*queues, &a);
    queues.release(&a, tag);
    queues.give_back(&a, tag);
    queues.postpone(&a, tag, 1_000);
    assert!(queues.settle(&a, tag).is_none() && queues.retake(&a, tag).is_none());
    assert_eq!(take(&*queues, &a), Some((1, 1)));
}

pub(crate) fn a_full_queue_refuses_and_so_does_one_queue_too_many(make: Maker) {
    let limits = Limits { queue_messages_max: 3, queues_max: 1, ..Limits::default() };
    let queues = make(&limits, usize::MAX);
    let (a, b) = (filled(&*queues, 3), name("/queue/b"));
    assert_eq!(put(&*queues, &a, message(4)), Err(QueueError::Messages(3)));
    assert_eq!(queues.admit(&a, 1, 1), Err(QueueError::Messages(3)));
    assert_eq!(put(&*queues, &b, message(4)), Err(QueueError::Queues(1)));
    let tag = tag(&*queues, &a);
    queues.settle(&a, tag);
    assert_eq!(queues.admit(&a, 1, 1), Ok(()));
    assert_eq!(queues.admit(&a, 2, 1), Err(QueueError::Messages(3)));
    put(&*queues, &a, message(4)).unwrap();
    for queued in take_all(&*queues, &a) {
        queues.settle(&a, queued.tag);
    }
    put(&*queues, &b, message(5)).unwrap();
}

pub(crate) fn bytes_are_bounded_too_but_one_message_always_fits(make: Maker) {
    let queues = make(&Limits { queue_bytes_max: 1, ..Limits::default() }, usize::MAX);
    let a = filled(&*queues, 1);
    assert_eq!(put(&*queues, &a, message(2)), Err(QueueError::Bytes(1)));
}

pub(crate) fn all_queues_together_are_bounded(make: Maker) {
    let room = 2 * message(1).cost_bytes();
    let queues = make(&Limits::default(), room);
    let (a, b) = (filled(&*queues, 1), name("/queue/b"));
    put(&*queues, &b, message(2)).unwrap();
    assert_eq!(put(&*queues, &a, message(3)), Err(QueueError::Store(room)));
    assert_eq!(queues.admit(&name("/queue/c"), 1, 1), Err(QueueError::Store(room)));
    let tag = tag(&*queues, &b);
    queues.settle(&b, tag);
    put(&*queues, &a, message(3)).unwrap();
}

pub(crate) fn what_has_begun_is_finished_past_every_limit(make: Maker) {
    let limits = Limits { queue_messages_max: 1, queues_max: 1, queue_bytes_max: 1, ..Limits::default() };
    let queues = make(&limits, 1);
    for queue in ["/queue/a", "/queue/a", "/queue/b"] {
        queues.force(&name(queue), message(1), TICKET);
    }
    assert_eq!(queues.len(), 2);
    assert_eq!(take_all(&*queues, &name("/queue/a")).len(), 2);
}

pub(crate) fn what_is_out_or_postponed_counts_towards_the_limits(make: Maker) {
    let queues = make(&Limits { queue_messages_max: 2, ..Limits::default() }, usize::MAX);
    let a = filled(&*queues, 2);
    let bytes = queues.bytes();
    let [first, _] = [(); 2].map(|()| tag(&*queues, &a));
    queues.postpone(&a, first, 1_000);
    assert_eq!(queues.bytes(), bytes);
    assert_eq!(put(&*queues, &a, message(3)), Err(QueueError::Messages(2)));
}

pub(crate) fn a_postponed_message_is_ready_when_it_is_due_and_stands_where_it_stood(make: Maker) {
    let queues = roomy(make);
    let a = filled(&*queues, 3);
    let [first, second] = [(); 2].map(|()| tag(&*queues, &a));
    queues.postpone(&a, second, 2_000);
    queues.postpone(&a, first, 1_000);
    assert!(queues.sweep(999, 10).ready.is_empty());
    assert_eq!(numbers(&take_all(&*queues, &a)), [3]);
    assert_eq!(queues.sweep(1_000, 10).ready, std::slice::from_ref(&a));
    assert!(queues.sweep(1_000, 10).ready.is_empty());
    put(&*queues, &a, message(4)).unwrap();
    assert_eq!(queues.sweep(5_000, 10).ready, std::slice::from_ref(&a));
    assert_eq!(numbers(&take_all(&*queues, &a)), [1, 2, 4]);
}

pub(crate) fn what_expires_is_handed_over_once_it_is_past_its_time(make: Maker) {
    let queues = roomy(make);
    let (a, b) = (filled(&*queues, 1), name("/queue/b"));
    put(&*queues, &a, good_until(2, "1000")).unwrap();
    put(&*queues, &b, good_until(3, "500")).unwrap();
    assert!(queues.sweep(500, 10).expired.is_empty(), "the last millisecond is still good");
    let expired = queues.sweep(1_001, 10).expired;
    let found: Vec<_> = expired.iter().map(|(queue, queued)| (queue, queued.message.id.number)).collect();
    assert_eq!(found, [(&b, 3), (&a, 2)]);
    assert!(queues.sweep(1_001, 10).expired.is_empty(), "it is taken");
    for (queue, queued) in &expired {
        assert!(queued.is_expired(1_001));
        assert!(queues.settle(queue, queued.tag).is_some());
    }
    assert_eq!(numbers(&take_all(&*queues, &a)), [1]);
    assert_eq!(queues.len(), 1);
}

pub(crate) fn what_is_taken_does_not_expire_until_it_comes_back(make: Maker) {
    let queues = roomy(make);
    let a = name("/queue/a");
    put(&*queues, &a, good_until(1, "1000")).unwrap();
    let taken = queues.take(&a).unwrap();
    assert_eq!(taken.expires_ms, Some(1_000));
    assert!(queues.sweep(2_000, 10).expired.is_empty());
    queues.release(&a, taken.tag);
    assert_eq!(queues.sweep(2_000, 10).expired.len(), 1);
    queues.give_back(&a, taken.tag);
    let late = queues.take(&a).expect("whoever takes it sees for himself that it has expired");
    assert!(late.is_expired(2_000));
    assert!(queues.settle(&a, late.tag).is_some());
    assert!(queues.sweep(u64::MAX, 10).expired.is_empty());
}

pub(crate) fn a_postponed_message_may_expire_before_it_is_due(make: Maker) {
    let queues = roomy(make);
    let a = name("/queue/a");
    put(&*queues, &a, good_until(1, "1000")).unwrap();
    put(&*queues, &a, good_until(2, "3000")).unwrap();
    for queued in take_all(&*queues, &a) {
        queues.postpone(&a, queued.tag, 2_000);
    }
    let due = queues.sweep(1_500, 10);
    assert_eq!((due.expired.len(), due.ready.len()), (1, 0));
    let due = queues.sweep(2_500, 10);
    assert_eq!((due.expired.len(), due.ready.len()), (0, 1));
    assert_eq!(queues.sweep(3_001, 10).expired.len(), 1);
    let due = queues.sweep(u64::MAX, 10);
    assert_eq!((due.expired.len(), due.ready.len()), (0, 0));
}

pub(crate) fn a_sweep_does_no_more_than_it_is_told_and_the_next_one_goes_on(make: Maker) {
    let queues = roomy(make);
    let a = name("/queue/a");
    (1..=5).for_each(|number| put(&*queues, &a, good_until(number, "1000")).unwrap());
    let swept: Vec<usize> = (0..4).map(|_| queues.sweep(1_001, 2).expired.len()).collect();
    assert_eq!(swept, [2, 2, 1, 0]);
}

pub(crate) fn a_buried_message_stands_at_the_end_of_the_other_queue(make: Maker) {
    let queues = roomy(make);
    let (a, dead) = (filled(&*queues, 2), name("/queue/dlq.a"));
    for number in [11, 12] {
        let tag = tag(&*queues, &a);
        assert_eq!(queues.bury(&a, tag, &dead, message(number)), 0);
        assert!(queues.settle(&a, tag).is_none());
    }
    assert_eq!(queues.len(), 1);
    assert_eq!(queues.bytes(), 2 * message(1).cost_bytes());
    let letters = take_all(&*queues, &dead);
    assert_eq!(numbers(&letters), [11, 12]);
    assert!(letters.iter().all(|letter| letter.deliveries == 0));
}

pub(crate) fn the_oldest_that_are_ready_make_room_for_what_is_buried(make: Maker) {
    let queues = make(&Limits { queue_messages_max: 3, ..Limits::default() }, usize::MAX);
    let (a, dead) = (filled(&*queues, 2), name("/queue/dlq.a"));
    (11..=13).for_each(|number| put(&*queues, &dead, message(number)).unwrap());
    assert_eq!(take(&*queues, &dead), Some((11, 0)));
    let first = tag(&*queues, &a);
    assert_eq!(queues.bury(&a, first, &dead, message(14)), 1);
    let second = tag(&*queues, &a);
    assert_eq!(queues.bury(&a, second, &dead, message(15)), 1);
    assert_eq!(numbers(&take_all(&*queues, &dead)), [14, 15], "11 is with its consumer");
}

pub(crate) fn a_letter_that_nothing_can_make_room_for_is_lost(make: Maker) {
    let queues = make(&Limits { queue_messages_max: 1, ..Limits::default() }, usize::MAX);
    let (a, dead) = (filled(&*queues, 1), name("/queue/dlq.a"));
    put(&*queues, &dead, message(11)).unwrap();
    let kept = tag(&*queues, &dead);
    let lost = tag(&*queues, &a);
    assert_eq!(queues.bury(&a, lost, &dead, message(12)), 1);
    assert_eq!((queues.len(), take(&*queues, &dead)), (1, None));
    assert!(queues.settle(&dead, kept).is_some());
    assert!(queues.is_empty());
    assert_eq!(queues.bytes(), 0);
}

pub(crate) fn burying_what_is_not_taken_changes_nothing(make: Maker) {
    let queues = roomy(make);
    let (a, dead) = (filled(&*queues, 1), name("/queue/dlq.a"));
    let tag = tag(&*queues, &a);
    queues.release(&a, tag);
    assert_eq!(queues.bury(&a, tag, &dead, message(11)), 0);
    assert_eq!((take(&*queues, &a), take(&*queues, &dead)), (Some((1, 1)), None));
}

pub(crate) fn the_last_message_of_a_queue_makes_room_for_the_queue_of_its_letter(make: Maker) {
    let queues = make(&Limits { queues_max: 1, ..Limits::default() }, message(1).cost_bytes());
    let (a, dead) = (filled(&*queues, 1), name("/queue/dlq.a"));
    let tag = tag(&*queues, &a);
    assert_eq!(queues.bury(&a, tag, &dead, message(11)), 0);
    assert_eq!(take(&*queues, &dead), Some((11, 0)));
    assert_eq!(queues.len(), 1);
}

pub(crate) fn whoever_looks_sees_everything_in_order_page_by_page(make: Maker) {
    let queues = roomy(make);
    let a = filled(&*queues, 6);
    assert_eq!(queues.newest(&name("/queue/b")), 0);
    assert!(queues.browse(&name("/queue/b"), 0, 10).is_empty());
    let [first, second, third] = [(); 3].map(|()| tag(&*queues, &a));
    queues.release(&a, second);
    let second = tag(&*queues, &a);
    queues.postpone(&a, first, 1_000);
    queues.settle(&a, third);
    let (mut after, mut pages) = (0, Vec::new());
    loop {
        let page = queues.browse(&a, after, 2);
        let Some(last) = page.last() else { break };
        after = last.tag;
        pages.push(page.iter().map(|it| (it.message.id.number, it.deliveries)).collect::<Vec<_>>());
    }
    assert_eq!(after, queues.newest(&a));
    assert_eq!(pages, [vec![(1, 1), (2, 1)], vec![(4, 0), (5, 0)], vec![(6, 0)]]);
    assert!(queues.settle(&a, second).is_some(), "a look takes nothing from who has it");
    assert_eq!(numbers(&take_all(&*queues, &a)), [4, 5, 6]);
}

pub(crate) fn a_tag_is_never_given_twice(make: Maker) {
    let queues = roomy(make);
    let (mut last, a) = (0, name("/queue/a"));
    for number in 1..=3 {
        put(&*queues, &a, message(number)).unwrap();
        assert!(queues.newest(&a) > last, "an empty queue begins anew, its tags do not");
        last = tag(&*queues, &a);
        queues.settle(&a, last);
    }
}
