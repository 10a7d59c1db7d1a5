//! What every store of work queues does. Nothing in here knows an adapter: a test is handed a maker of empty stores.

#![expect(clippy::unwrap_used, reason = "every function is a test, whose attribute stands in the macro")]

use std::sync::Arc;

use bytes::Bytes;
use stompede::backend::{Due, Kept, Move, QueueError, Queues};
use stompede::model::{
    Address, Answer, Depth, Destination, Limits, Look, Message, MessageId, Queued, StoreError, Ticket,
};
use stompede_protocol::Headers;

use crate::subject::Subject;

/// Makes an empty store within limits and so many bytes in all.
pub(crate) type Maker = fn(&Limits, usize) -> Subject<dyn Queues>;

/// Every test of this file for the adapter that `$maker` makes.
macro_rules! judge {
    ($maker:expr) => {
        crate::queues::judge!($maker, shared);
        crate::queues::judge! { $maker =>
            a_full_queue_refuses_and_so_does_one_queue_too_many
            all_queues_together_are_bounded
        }
    };
    // Of all queues together a shared store keeps as much as it has memory for, and as many as it likes.
    ($maker:expr, shared) => {
        crate::queues::judge! { $maker =>
            what_comes_back_stands_before_everything_newer_in_its_order
            a_hand_out_counts_unless_nobody_can_have_seen_it
            a_message_that_is_taken_again_counts_once_more
            what_is_settled_is_gone_and_leaves_nothing
            what_is_not_taken_cannot_be_given_back_or_settled
            bytes_are_bounded_too_but_one_message_always_fits
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
            how_much_is_in_a_queue_is_told_and_which_there_are
            what_is_with_nobody_can_be_removed
            what_is_with_nobody_can_be_put_elsewhere_where_there_is_room
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

/// What of the port is done sooner or later. A shared store goes for what it has not here when it is asked for it.
impl Subject<dyn Queues> {
    pub(crate) fn put(&self, queue: &Destination, message: Arc<Message>) -> Result<(), QueueError> {
        let ticket = self.ticket();
        let kept = (**self).put(queue, message, ticket)?;
        self.kept(kept, ticket).map_err(QueueError::Unkept)
    }

    fn force(&self, queue: &Destination, message: Arc<Message>) {
        let ticket = self.ticket();
        let kept = (**self).force(queue, message, ticket);
        assert_eq!(self.kept(kept, ticket), Ok(()));
    }

    fn kept(&self, kept: Kept, ticket: Ticket) -> Result<(), StoreError> {
        if kept == Kept::Now {
            return Ok(());
        }
        match self.answer(ticket) {
            Answer::Queued(_, queued) => queued,
            other => panic!("{other:?}"),
        }
    }

    fn take(&self, queue: &Destination) -> Option<Queued> {
        self.settles();
        let taken = (**self).take(queue);
        if taken.is_some() || !self.is_shared {
            return taken;
        }
        self.settles();
        (**self).take(queue)
    }

    fn sweep(&self, now_ms: u64, count: usize) -> Due {
        self.settles();
        let due = (**self).sweep(now_ms, count);
        if self.is_shared && due.ready.is_empty() && due.expired.is_empty() {
            self.settles();
            return (**self).sweep(now_ms, count);
        }
        due
    }

    fn look(&self, queue: &Destination, after: u64, count: usize) -> Look {
        self.settles();
        self.says(
            |port, ticket| port.browse(queue, after, count, ticket),
            |answer| if let Answer::Browsed(Ok(look)) = answer { Ok(look) } else { Err(answer) },
        )
    }

    fn browse(&self, queue: &Destination, after: u64, count: usize) -> Vec<Queued> {
        self.look(queue, after, count).listed
    }

    fn depth(&self, queue: &Destination) -> Depth {
        self.settles();
        self.says(
            |port, ticket| port.depth(queue, ticket),
            |answer| if let Answer::Depth(Ok(depth)) = answer { Ok(depth) } else { Err(answer) },
        )
    }

    fn names(&self) -> Vec<String> {
        self.settles();
        let names = self.says(
            |port, ticket| port.names(ticket),
            |answer| if let Answer::Queues(Ok(names)) = answer { Ok(names) } else { Err(answer) },
        );
        names.iter().map(ToString::to_string).collect()
    }

    fn purge(&self, queue: &Destination, count: usize) -> usize {
        self.settles();
        self.says(|port, ticket| port.purge(queue, count, ticket), removed)
    }

    fn transfer(&self, queue: &Destination, moves: Vec<Move>) -> usize {
        self.settles();
        self.says(|port, ticket| port.transfer(queue, moves, ticket), removed)
    }

    fn newest(&self, queue: &Destination) -> u64 {
        self.look(queue, 0, 1).newest
    }

    /// Exactly these queues hold messages.
    fn holds(&self, queues: &[&str]) {
        for queue in ["/queue/a", "/queue/b", "/queue/dlq.a"] {
            assert_eq!(
                self.browse(&name(queue), 0, 1).len(),
                usize::from(queues.contains(&queue)),
                "{queue}"
            );
        }
        if !self.is_shared {
            assert_eq!((self.len(), self.is_empty()), (queues.len(), queues.is_empty()));
        }
    }

    /// What it holds takes so much memory, where it is in this process.
    fn takes_bytes(&self, bytes: usize) {
        if !self.is_shared {
            assert_eq!(self.bytes(), bytes);
        }
    }

    /// Does not keep the message. A shared store says so later, in the words of whoever asked.
    fn refuses(&self, queue: &Destination, message: Arc<Message>, error: QueueError) {
        let later = match error {
            QueueError::Store(_) => StoreError::Full,
            _ => StoreError::QueueFull,
        };
        let put = self.put(queue, message);
        assert!(put == Err(error) || put == Err(QueueError::Unkept(later)) && self.is_shared, "{put:?}");
    }

    /// There is no room; a shared store may learn of that only when something is put there.
    fn admits_not(&self, queue: &Destination, messages: usize, error: QueueError) {
        let admitted = self.admit(queue, messages, 1);
        assert!(admitted == Err(error) || admitted == Ok(()) && self.is_shared, "{admitted:?}");
    }

    /// Buries, and so many messages are lost by that; a shared store may not know at once.
    fn buries(&self, queue: &Destination, tag: u64, letter: Arc<Message>, lost: usize) {
        let told = self.bury(queue, tag, &name("/queue/dlq.a"), letter);
        assert!(told == lost || told == 0 && self.is_shared, "{told}");
    }
}

fn roomy(make: Maker) -> Subject<dyn Queues> {
    make(&Limits::default(), usize::MAX)
}

fn name(queue: &str) -> Destination {
    match Address::of_send(queue) {
        Ok(Address::Queue(destination)) => destination,
        other => panic!("{queue} is no queue: {other:?}"),
    }
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
fn filled(queues: &Subject<dyn Queues>, count: u64) -> Destination {
    let a = name("/queue/a");
    (1..=count).for_each(|number| queues.put(&a, message(number)).unwrap());
    a
}

fn numbers(found: &[Queued]) -> Vec<u64> {
    found.iter().map(|queued| queued.message.id.number).collect()
}

/// Number and deliveries before.
fn take(queues: &Subject<dyn Queues>, queue: &Destination) -> Option<(u64, u32)> {
    queues.take(queue).map(|queued| (queued.message.id.number, queued.deliveries))
}

fn tag(queues: &Subject<dyn Queues>, queue: &Destination) -> u64 {
    queues.take(queue).expect("a message is ready").tag
}

fn take_all(queues: &Subject<dyn Queues>, queue: &Destination) -> Vec<Queued> {
    std::iter::from_fn(|| queues.take(queue)).collect()
}

pub(crate) fn what_comes_back_stands_before_everything_newer_in_its_order(make: Maker) {
    let queues = roomy(make);
    let a = filled(&queues, 4);
    let [first, second, third] = [(); 3].map(|()| tag(&queues, &a));
    assert!(first < second && second < third);
    queues.release(&a, third);
    queues.give_back(&a, first);
    queues.release(&a, second);
    assert_eq!(numbers(&take_all(&queues, &a)), [1, 2, 3, 4]);
}

pub(crate) fn a_hand_out_counts_unless_nobody_can_have_seen_it(make: Maker) {
    let queues = roomy(make);
    let a = filled(&queues, 1);
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
    assert_eq!(take(&queues, &a), Some((1, 4)));
}

pub(crate) fn a_message_that_is_taken_again_counts_once_more(make: Maker) {
    let queues = roomy(make);
    let a = filled(&queues, 1);
    let tag = tag(&queues, &a);
    let again = queues.retake(&a, tag).unwrap();
    assert_eq!((again.tag, again.deliveries, take(&queues, &a)), (tag, 1, None));
    // It has reached nobody since.
    queues.give_back(&a, tag);
    assert_eq!(take(&queues, &a), Some((1, 1)));
}

pub(crate) fn what_is_settled_is_gone_and_leaves_nothing(make: Maker) {
    let queues = roomy(make);
    let a = filled(&queues, 2);
    queues.holds(&["/queue/a"]);
    for number in 1..=2 {
        assert!(queues.bytes() > 0 || queues.is_shared);
        let tag = tag(&queues, &a);
        assert_eq!(queues.settle(&a, tag).unwrap().id.number, number);
        assert!(queues.settle(&a, tag).is_none());
        queues.release(&a, tag);
    }
    assert_eq!(take(&queues, &a), None);
    queues.holds(&[]);
    queues.takes_bytes(0);
}

pub(crate) fn what_is_not_taken_cannot_be_given_back_or_settled(make: Maker) {
    let queues = roomy(make);
    let a = filled(&queues, 1);
    let tag = tag(&queues, &a);
    queues.release(&a, tag);
    queues.give_back(&a, tag);
    queues.postpone(&a, tag, 1_000);
    assert!(queues.settle(&a, tag).is_none() && queues.retake(&a, tag).is_none());
    assert_eq!(take(&queues, &a), Some((1, 1)));
}

pub(crate) fn a_full_queue_refuses_and_so_does_one_queue_too_many(make: Maker) {
    let limits = Limits { queue_messages_max: 3, queues_max: 1, ..Limits::default() };
    let queues = make(&limits, usize::MAX);
    let (a, b) = (filled(&queues, 3), name("/queue/b"));
    queues.refuses(&a, message(4), QueueError::Messages(3));
    queues.admits_not(&a, 1, QueueError::Messages(3));
    queues.refuses(&b, message(4), QueueError::Queues(1));
    let tag = tag(&queues, &a);
    queues.settle(&a, tag);
    assert_eq!(queues.admit(&a, 1, 1), Ok(()));
    queues.admits_not(&a, 2, QueueError::Messages(3));
    queues.put(&a, message(4)).unwrap();
    for queued in take_all(&queues, &a) {
        queues.settle(&a, queued.tag);
    }
    queues.put(&b, message(5)).unwrap();
}

pub(crate) fn bytes_are_bounded_too_but_one_message_always_fits(make: Maker) {
    let queues = make(&Limits { queue_bytes_max: 1, ..Limits::default() }, usize::MAX);
    let a = filled(&queues, 1);
    queues.refuses(&a, message(2), QueueError::Bytes(1));
}

pub(crate) fn all_queues_together_are_bounded(make: Maker) {
    let room = 2 * message(1).cost_bytes();
    let queues = make(&Limits::default(), room);
    let (a, b) = (filled(&queues, 1), name("/queue/b"));
    queues.put(&b, message(2)).unwrap();
    queues.refuses(&a, message(3), QueueError::Store(room));
    queues.admits_not(&name("/queue/c"), 1, QueueError::Store(room));
    let tag = tag(&queues, &b);
    queues.settle(&b, tag);
    queues.put(&a, message(3)).unwrap();
}

pub(crate) fn what_has_begun_is_finished_past_every_limit(make: Maker) {
    let limits = Limits { queue_messages_max: 1, queues_max: 1, queue_bytes_max: 1, ..Limits::default() };
    let queues = make(&limits, 1);
    for queue in ["/queue/a", "/queue/a", "/queue/b"] {
        queues.force(&name(queue), message(1));
    }
    queues.holds(&["/queue/a", "/queue/b"]);
    assert_eq!(take_all(&queues, &name("/queue/a")).len(), 2);
}

pub(crate) fn what_is_out_or_postponed_counts_towards_the_limits(make: Maker) {
    let queues = make(&Limits { queue_messages_max: 2, ..Limits::default() }, usize::MAX);
    let a = filled(&queues, 2);
    let bytes = queues.bytes();
    let [first, _] = [(); 2].map(|()| tag(&queues, &a));
    queues.postpone(&a, first, 1_000);
    queues.takes_bytes(bytes);
    queues.refuses(&a, message(3), QueueError::Messages(2));
}

pub(crate) fn a_postponed_message_is_ready_when_it_is_due_and_stands_where_it_stood(make: Maker) {
    let queues = roomy(make);
    let a = filled(&queues, 3);
    let [first, second] = [(); 2].map(|()| tag(&queues, &a));
    queues.postpone(&a, second, 2_000);
    queues.postpone(&a, first, 1_000);
    assert!(queues.sweep(999, 10).ready.is_empty());
    assert_eq!(numbers(&take_all(&queues, &a)), [3]);
    assert_eq!(queues.sweep(1_000, 10).ready, std::slice::from_ref(&a));
    assert!(queues.sweep(1_000, 10).ready.is_empty());
    queues.put(&a, message(4)).unwrap();
    assert_eq!(queues.sweep(5_000, 10).ready, std::slice::from_ref(&a));
    assert_eq!(numbers(&take_all(&queues, &a)), [1, 2, 4]);
}

pub(crate) fn what_expires_is_handed_over_once_it_is_past_its_time(make: Maker) {
    let queues = roomy(make);
    let (a, b) = (filled(&queues, 1), name("/queue/b"));
    queues.put(&a, good_until(2, "1000")).unwrap();
    queues.put(&b, good_until(3, "500")).unwrap();
    assert!(queues.sweep(500, 10).expired.is_empty(), "the last millisecond is still good");
    let expired = queues.sweep(1_001, 10).expired;
    let found: Vec<_> = expired.iter().map(|(queue, queued)| (queue, queued.message.id.number)).collect();
    assert_eq!(found, [(&b, 3), (&a, 2)]);
    assert!(queues.sweep(1_001, 10).expired.is_empty(), "it is taken");
    for (queue, queued) in &expired {
        assert!(queued.is_expired(1_001));
        assert!(queues.settle(queue, queued.tag).is_some());
    }
    assert_eq!(numbers(&take_all(&queues, &a)), [1]);
    queues.holds(&["/queue/a"]);
}

pub(crate) fn what_is_taken_does_not_expire_until_it_comes_back(make: Maker) {
    let queues = roomy(make);
    let a = name("/queue/a");
    queues.put(&a, good_until(1, "1000")).unwrap();
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
    queues.put(&a, good_until(1, "1000")).unwrap();
    queues.put(&a, good_until(2, "3000")).unwrap();
    for queued in take_all(&queues, &a) {
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
    (1..=5).for_each(|number| queues.put(&a, good_until(number, "1000")).unwrap());
    let swept: Vec<usize> = (0..4).map(|_| queues.sweep(1_001, 2).expired.len()).collect();
    assert_eq!(swept, [2, 2, 1, 0]);
}

pub(crate) fn a_buried_message_stands_at_the_end_of_the_other_queue(make: Maker) {
    let queues = roomy(make);
    let (a, dead) = (filled(&queues, 2), name("/queue/dlq.a"));
    for number in [11, 12] {
        let tag = tag(&queues, &a);
        queues.buries(&a, tag, message(number), 0);
        assert!(queues.settle(&a, tag).is_none());
    }
    queues.holds(&["/queue/dlq.a"]);
    queues.takes_bytes(2 * message(1).cost_bytes());
    let letters = take_all(&queues, &dead);
    assert_eq!(numbers(&letters), [11, 12]);
    assert!(letters.iter().all(|letter| letter.deliveries == 0));
}

pub(crate) fn the_oldest_that_are_ready_make_room_for_what_is_buried(make: Maker) {
    let queues = make(&Limits { queue_messages_max: 3, ..Limits::default() }, usize::MAX);
    let (a, dead) = (filled(&queues, 2), name("/queue/dlq.a"));
    (11..=13).for_each(|number| queues.put(&dead, message(number)).unwrap());
    assert_eq!(take(&queues, &dead), Some((11, 0)));
    let first = tag(&queues, &a);
    queues.buries(&a, first, message(14), 1);
    let second = tag(&queues, &a);
    queues.buries(&a, second, message(15), 1);
    assert_eq!(numbers(&take_all(&queues, &dead)), [14, 15], "11 is with its consumer");
}

pub(crate) fn a_letter_that_nothing_can_make_room_for_is_lost(make: Maker) {
    let queues = make(&Limits { queue_messages_max: 1, ..Limits::default() }, usize::MAX);
    let (a, dead) = (filled(&queues, 1), name("/queue/dlq.a"));
    queues.put(&dead, message(11)).unwrap();
    let kept = tag(&queues, &dead);
    let lost = tag(&queues, &a);
    queues.buries(&a, lost, message(12), 1);
    queues.holds(&["/queue/dlq.a"]);
    assert_eq!(take(&queues, &dead), None);
    assert!(queues.settle(&dead, kept).is_some());
    queues.holds(&[]);
    queues.takes_bytes(0);
}

pub(crate) fn burying_what_is_not_taken_changes_nothing(make: Maker) {
    let queues = roomy(make);
    let (a, dead) = (filled(&queues, 1), name("/queue/dlq.a"));
    let tag = tag(&queues, &a);
    queues.release(&a, tag);
    queues.buries(&a, tag, message(11), 0);
    assert_eq!((take(&queues, &a), take(&queues, &dead)), (Some((1, 1)), None));
}

pub(crate) fn the_last_message_of_a_queue_makes_room_for_the_queue_of_its_letter(make: Maker) {
    let queues = make(&Limits { queues_max: 1, ..Limits::default() }, message(1).cost_bytes());
    let (a, dead) = (filled(&queues, 1), name("/queue/dlq.a"));
    let tag = tag(&queues, &a);
    queues.buries(&a, tag, message(11), 0);
    assert_eq!(take(&queues, &dead), Some((11, 0)));
    queues.holds(&["/queue/dlq.a"]);
}

pub(crate) fn whoever_looks_sees_everything_in_order_page_by_page(make: Maker) {
    let queues = roomy(make);
    let a = filled(&queues, 6);
    assert_eq!(queues.newest(&name("/queue/b")), 0);
    assert!(queues.browse(&name("/queue/b"), 0, 10).is_empty());
    let [first, second, third] = [(); 3].map(|()| tag(&queues, &a));
    queues.release(&a, second);
    let second = tag(&queues, &a);
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
    assert_eq!(numbers(&take_all(&queues, &a)), [4, 5, 6]);
}

pub(crate) fn a_tag_is_never_given_twice(make: Maker) {
    let queues = roomy(make);
    let (mut last, a) = (0, name("/queue/a"));
    for number in 1..=3 {
        queues.put(&a, message(number)).unwrap();
        assert!(queues.newest(&a) > last, "an empty queue begins anew, its tags do not");
        last = tag(&queues, &a);
        queues.settle(&a, last);
    }
}

fn removed(answer: Answer) -> Result<usize, Answer> {
    if let Answer::Removed(Ok(count)) = answer { Ok(count) } else { Err(answer) }
}

pub(crate) fn how_much_is_in_a_queue_is_told_and_which_there_are(maker: Maker) {
    let (queues, a) = (maker(&Limits::default(), usize::MAX), name("/queue/a"));
    assert_eq!(queues.depth(&a), Depth::default());
    assert!(queues.names().is_empty());
    for n in 1..=3 {
        queues.put(&a, Arc::new(Message { timestamp_ms: 1_000 * n, ..(*message(n)).clone() })).unwrap();
    }
    queues.put(&name("/queue/b"), message(9)).unwrap();
    let taken = queues.take(&a).unwrap();
    queues.settles();
    let depth = queues.depth(&a);
    // What a node has at hand is out for all the others.
    assert!(depth.out >= 1 && depth.bytes > 0, "{depth:?}");
    assert_eq!((depth.messages, depth.oldest_ms), (3, Some(1_000)));
    assert_eq!(queues.names(), ["/queue/a", "/queue/b"]);
    queues.settle(&a, taken.tag);
    let depth = queues.depth(&a);
    assert_eq!((depth.messages, depth.oldest_ms), (2, Some(2_000)));
}

pub(crate) fn what_is_with_nobody_can_be_removed(maker: Maker) {
    let (queues, a) = (maker(&Limits::default(), usize::MAX), name("/queue/a"));
    assert_eq!(queues.purge(&a, 10), 0);
    for n in 1..=4 {
        queues.put(&a, message(n)).unwrap();
    }
    assert_eq!(queues.purge(&a, 3), 3, "the oldest");
    let left = queues.take(&a).unwrap();
    assert_eq!(left.message.id.number, 4);
    assert_eq!(queues.purge(&a, 10), 0, "somebody has it");
    queues.postpone(&a, left.tag, 1_000_000_000_000_000);
    assert_eq!(queues.purge(&a, 10), 1, "it waits for its time");
    queues.holds(&[]);
    assert!(queues.names().is_empty());
}

pub(crate) fn what_is_with_nobody_can_be_put_elsewhere_where_there_is_room(maker: Maker) {
    let limits = Limits { queue_messages_max: 2, ..Limits::default() };
    let (queues, dead, a) = (maker(&limits, usize::MAX), name("/queue/dlq.a"), name("/queue/a"));
    for n in 1..=2 {
        queues.put(&dead, message(n)).unwrap();
    }
    queues.put(&a, message(7)).unwrap();
    let tags: Vec<u64> = queues.browse(&dead, 0, 10).iter().map(|queued| queued.tag).collect();
    let to_a = |tag: u64, n: u64| Move { tag, to: a.clone(), message: message(n) };
    assert_eq!(queues.transfer(&dead, vec![to_a(tags[0], 1), to_a(tags[1], 2)]), 1, "there is room for one");
    assert_eq!(queues.transfer(&dead, vec![to_a(tags[0], 1)]), 0, "it is there no more");
    let bodies = |queue: &Destination| -> Vec<_> {
        queues.browse(queue, 0, 10).iter().map(|queued| queued.message.id.number).collect()
    };
    assert_eq!((bodies(&dead), bodies(&a)), (vec![2], vec![7, 1]));
    assert_eq!(queues.purge(&a, 10), 2);
    assert_eq!(queues.transfer(&dead, vec![to_a(tags[1], 2)]), 1);
    queues.holds(&["/queue/a"]);
}
