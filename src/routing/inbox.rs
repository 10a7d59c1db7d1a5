//! The queue of what a worker has to do, and how a message gets into those of several.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::model::{Full, Message, WorkerId};

use super::directory::WorkerSet;
use super::item::Item;

/// How much a worker does before others get their turn: so many items, and no more once they held so many bytes.
#[derive(Debug)]
pub struct Turn {
    items: usize,
    bytes: usize,
}

impl Turn {
    /// A turn of up to `items`, which ends with the one that makes it more than `bytes`.
    pub fn new(items: usize, bytes: usize) -> Self {
        Self { items, bytes }
    }

    fn is_over(&self) -> bool {
        self.items == 0
    }

    fn count(&mut self, bytes: usize) {
        match self.bytes.checked_sub(bytes) {
            Some(left) => (self.items, self.bytes) = (self.items - 1, left),
            None => self.items = 0,
        }
    }
}

/// A worker's queue of things to do, bounded in number and bytes.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    messages_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    waker: Option<Waker>,
    /// Workers that found it full.
    waiting: WorkerSet,
}

impl Inbox {
    fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { state: Mutex::default(), messages_max, bytes_max }
    }

    /// The next item of a turn. At its end come those workers that waited for room, if half of it is free again; and if
    /// something is left, whoever watches is woken.
    // Not before the end: word of room takes room itself, and one that waits for its own inbox would only ever hear of it.
    #[inline(always)]
    pub fn next(&self, turn: &mut Turn) -> ControlFlow<WorkerSet, Item> {
        let mut state = self.state.lock();
        let item = if turn.is_over() { None } else { state.items.pop_front() };
        let Some(item) = item else { return ControlFlow::Break(self.end(state)) };
        let bytes = item.cost_bytes();
        state.bytes -= bytes;
        turn.count(bytes);
        ControlFlow::Continue(item)
    }

    fn end(&self, mut state: MutexGuard<'_, State>) -> WorkerSet {
        if state.items.is_empty() && state.items.capacity() > KEPT_ITEMS {
            state.items = VecDeque::new();
        }
        let has_room = state.items.len() * 2 <= self.messages_max && state.bytes * 2 <= self.bytes_max;
        let waiting = if has_room { std::mem::take(&mut state.waiting) } else { WorkerSet::default() };
        let waker = if state.items.is_empty() { None } else { state.waker.clone() };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        waiting
    }

    /// Adds the item of `bytes` that is made when there is room for it; who is to be woken. If there is none, `from` is told
    /// when there is.
    #[inline(always)]
    fn offer(
        &self,
        bytes: usize,
        from: Option<WorkerId>,
        make: impl FnOnce() -> Item,
    ) -> Result<Option<Waker>, Full> {
        let mut state = self.state.lock();
        self.admit(&mut state, bytes, from)?;
        Ok(state.push(make()).cloned())
    }

    /// Registers who is woken by the next item; `true` when some wait already.
    pub fn watch(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        !state.items.is_empty()
    }

    /// Bytes that the items hold.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an item of `bytes` has room; if not, `from` is told when it has.
    // One item larger than the limit is taken by an empty inbox.
    #[inline(always)]
    fn admit(&self, state: &mut State, bytes: usize, from: Option<WorkerId>) -> Result<(), Full> {
        let has_room = state.items.is_empty()
            || state.items.len() < self.messages_max && state.bytes + bytes <= self.bytes_max;
        if !has_room {
            state.waiting = from.map_or(state.waiting, |from| state.waiting.with(from));
            return Err(Full);
        }
        Ok(())
    }
}

impl State {
    /// Adds an item; who is to be woken for it.
    #[inline(always)]
    fn push(&mut self, item: Item) -> Option<&Waker> {
        self.bytes += item.cost_bytes();
        self.items.push_back(item);
        self.waker.as_ref().filter(|_| self.items.len() == 1)
    }
}

/// The inboxes of all workers.
#[derive(Debug)]
pub struct Inboxes(Box<[Inbox]>);

impl Inboxes {
    /// One inbox a worker.
    pub fn new(workers: usize, messages_max: usize, bytes_max: usize) -> Self {
        Self((0..workers).map(|_| Inbox::new(messages_max, bytes_max)).collect())
    }

    /// The inbox of a worker.
    pub fn of(&self, worker: WorkerId) -> &Inbox {
        &self.0[usize::from(worker.0)]
    }

    /// Every worker.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> {
        (0..self.0.len() as u8).map(WorkerId)
    }

    /// Hands a message of `cost_bytes` to all of `workers` or to none; it is made when there is room for it. `from` is told
    /// when room comes; its own inbox wakes nobody, for it looks there itself once it has handled what is at hand.
    #[inline(always)]
    pub fn publish(
        &self,
        workers: WorkerSet,
        cost_bytes: usize,
        from: Option<WorkerId>,
        make: impl FnOnce() -> Arc<Message>,
    ) -> Result<(), Full> {
        let bytes = size_of::<Item>() + cost_bytes;
        if let Some(worker) = workers.only() {
            let waker = self.of(worker).offer(bytes, from, || Item::Publish(make()))?;
            waker.filter(|_| from != Some(worker)).into_iter().for_each(Waker::wake);
            return Ok(());
        }
        self.publish_to_many(workers, bytes, from, make)
    }

    /// As [`Inboxes::publish`]; an item takes `bytes`.
    #[inline(never)]
    fn publish_to_many(
        &self,
        workers: WorkerSet,
        bytes: usize,
        from: Option<WorkerId>,
        make: impl FnOnce() -> Arc<Message>,
    ) -> Result<(), Full> {
        // Ascending order: two publishers never wait for each other.
        let mut states: SmallVec<[(&Inbox, MutexGuard<'_, State>); 4]> =
            workers.iter().map(|worker| (self.of(worker), self.of(worker).state.lock())).collect();
        for (inbox, state) in &mut states {
            inbox.admit(state, bytes, from)?;
        }
        let message = make();
        let mut wakers: SmallVec<[Waker; 4]> = SmallVec::new();
        for (worker, (_, state)) in workers.iter().zip(&mut states) {
            let waker = state.push(Item::Publish(Arc::clone(&message)));
            wakers.extend(waker.filter(|_| from != Some(worker)).cloned());
        }
        drop(states);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Whether a message of `cost_bytes` has room in all of `workers`; if not, `from` is told when it has.
    pub fn check(&self, workers: WorkerSet, cost_bytes: usize, from: WorkerId) -> Result<(), Full> {
        for worker in workers.iter() {
            let inbox = self.of(worker);
            inbox.admit(&mut inbox.state.lock(), size_of::<Item>() + cost_bytes, Some(from))?;
        }
        Ok(())
    }

    /// Hands one item to one worker if there is room.
    pub fn offer(&self, worker: WorkerId, item: Item, from: Option<WorkerId>) -> Result<(), Full> {
        let waker = self.of(worker).offer(item.cost_bytes(), from, || item)?;
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Hands over an item that is bounded elsewhere: by a consumer's credit, by one per connection, by one per worker.
    pub fn force(&self, worker: WorkerId, item: Item) {
        let waker = self.of(worker).state.lock().push(item).cloned();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Capacity that an empty inbox may keep.
const KEPT_ITEMS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Destination, MessageId};
    use bytes::Bytes;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    fn message() -> Arc<Message> {
        Arc::new(Message {
            id: MessageId { node: 1, number: 1 },
            destination: Destination::internal("/topic/a"),
            timestamp_ms: 0,
            sender: None,
            headers: stompede_protocol::Headers::new(),
            body: Bytes::new(),
            text: true,
            position: None,
            numbered: false,
        })
    }

    fn publish(inboxes: &Inboxes, workers: WorkerSet, from: Option<WorkerId>) -> Result<(), Full> {
        inboxes.publish(workers, message().cost_bytes(), from, message)
    }

    fn drain(inboxes: &Inboxes, worker: u8, count: usize) -> (usize, WorkerSet) {
        take(inboxes, worker, Turn::new(count, usize::MAX))
    }

    fn take(inboxes: &Inboxes, worker: u8, mut turn: Turn) -> (usize, WorkerSet) {
        let mut count = 0;
        loop {
            match inboxes.of(WorkerId(worker)).next(&mut turn) {
                ControlFlow::Continue(_) => count += 1,
                ControlFlow::Break(waiting) => return (count, waiting),
            }
        }
    }

    #[test]
    fn a_publish_reaches_all_workers_or_none_and_the_refused_one_is_told() {
        let inboxes = Inboxes::new(2, 2, usize::MAX / 2);
        let both = WorkerSet::default().with(WorkerId(0)).with(WorkerId(1));
        let one = WorkerSet::default().with(WorkerId(1));
        for _ in 0..2 {
            assert_eq!(publish(&inboxes, one, None), Ok(()));
        }
        assert_eq!(publish(&inboxes, both, Some(WorkerId(0))), Err(Full));
        assert!(inboxes.of(WorkerId(0)).is_empty());
        let (taken, waiting) = drain(&inboxes, 1, 1);
        assert_eq!((taken, waiting), (1, WorkerSet::default().with(WorkerId(0))));
        assert_eq!(publish(&inboxes, both, Some(WorkerId(0))), Ok(()));
    }

    #[test]
    fn a_publish_to_one_worker_wakes_it_unless_it_is_its_own_and_tells_whom_it_refuses() {
        let inboxes = Inboxes::new(2, 2, usize::MAX / 2);
        let one = WorkerSet::default().with(WorkerId(1));
        let woken = Arc::new(Woken::default());
        inboxes.of(WorkerId(1)).watch(&Waker::from(Arc::clone(&woken)));
        for (from, expected) in [(Some(WorkerId(1)), 0), (Some(WorkerId(0)), 1), (None, 2)] {
            drain(&inboxes, 1, 2);
            assert_eq!(publish(&inboxes, one, from), Ok(()));
            assert_eq!(woken.0.load(Ordering::Relaxed), expected, "{from:?}");
        }
        assert_eq!(publish(&inboxes, one, None), Ok(()));
        let unmade = || panic!("it is made only where there is room");
        assert_eq!(inboxes.publish(one, 1, Some(WorkerId(0)), unmade), Err(Full));
        assert_eq!(drain(&inboxes, 1, 1), (1, WorkerSet::default().with(WorkerId(0))));
    }

    #[test]
    fn what_comes_within_a_turn_is_done_in_it_and_what_is_left_wakes_the_watcher() {
        let inboxes = Inboxes::new(1, 100, usize::MAX / 2);
        let own = WorkerSet::default().with(WorkerId(0));
        let woken = Arc::new(Woken::default());
        let inbox = inboxes.of(WorkerId(0));
        inbox.watch(&Waker::from(Arc::clone(&woken)));
        let mut turn = Turn::new(3, usize::MAX);
        publish(&inboxes, own, Some(WorkerId(0))).unwrap();
        for _ in 0..3 {
            assert!(matches!(inbox.next(&mut turn), ControlFlow::Continue(Item::Publish(_))));
            publish(&inboxes, own, Some(WorkerId(0))).unwrap();
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(inbox.next(&mut turn).is_break());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(drain(&inboxes, 0, 3).0, 1);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "nothing is left");
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn bytes_are_bounded_but_one_large_item_always_fits_an_empty_inbox() {
        let inboxes = Inboxes::new(1, 100, 1);
        let own = WorkerSet::default().with(WorkerId(0));
        assert_eq!(publish(&inboxes, own, None), Ok(()));
        assert_eq!(publish(&inboxes, own, None), Err(Full));
        drain(&inboxes, 0, 10);
        assert_eq!(publish(&inboxes, own, None), Ok(()));
    }

    #[test]
    fn large_items_are_taken_a_few_at_a_time_and_small_ones_many() {
        let inboxes = Inboxes::new(1, 100, usize::MAX / 2);
        let own = WorkerSet::default().with(WorkerId(0));
        for _ in 0..10 {
            publish(&inboxes, own, None).unwrap();
        }
        let one = inboxes.of(WorkerId(0)).bytes() / 10;
        for (bytes, expected) in [(0, 1), (3 * one, 4), (usize::MAX, 5)] {
            assert_eq!(take(&inboxes, 0, Turn::new(8, bytes)).0, expected);
        }
    }
}
