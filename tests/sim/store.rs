//! A store that answers when it is told to: slow, late, or with a fault.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use stompede::backend::memory::MemoryHistory;
use stompede::backend::{
    Acked, Appended, Bus, BusMaker, Edge, History, Inbound, News, Patience, Question, Report, Sink,
    Unappended, Word,
};
use stompede::model::{Answer, Destination, Full, Message, Now, Retention, StoreError, Ticket, WorkerId};
use tempfile::TempDir;

/// Orders wait in line and are done in their order, as by a thread that writes to a disk.
#[derive(Debug)]
pub(crate) struct LateHistory {
    inner: Arc<dyn History>,
    sink: Arc<dyn Sink>,
    line: Mutex<VecDeque<Order>>,
    is_full: AtomicBool,
}

#[derive(Debug)]
enum Order {
    Append(Arc<Message>, Retention, Ticket),
    Ask(Destination, Question, Ticket, u64),
}

impl LateHistory {
    pub(crate) fn new(sink: Arc<dyn Sink>) -> Self {
        let inner = Arc::new(MemoryHistory::new(Arc::clone(&sink), usize::MAX));
        Self { inner, sink, line: Mutex::default(), is_full: AtomicBool::new(false) }
    }

    /// Makes the bus late; returns where the store will be found.
    pub(crate) fn in_place_of(bus: BusMaker, found: Arc<std::sync::OnceLock<Arc<LateHistory>>>) -> BusMaker {
        Box::new(move |sink| {
            let late = Arc::new(Self::new(Arc::clone(&sink)));
            let _ = found.set(Arc::clone(&late));
            let Bus { relay, control, revocations, .. } = bus(sink);
            Bus { relay, history: late, control, revocations }
        })
    }

    pub(crate) fn is_due(&self) -> bool {
        !self.line.lock().expect("nobody panicked").is_empty()
    }

    /// From now on nothing more is kept, or everything again.
    pub(crate) fn fills(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Does the oldest order.
    pub(crate) fn answers(&self) {
        let order = self.line.lock().expect("nobody panicked").pop_front();
        match order {
            Some(Order::Append(mut message, retention, ticket)) => {
                let stored = if self.is_full.load(Ordering::Relaxed) {
                    Err(StoreError::Full)
                } else {
                    match self.inner.append(&mut message, &retention, Patience::None, ticket) {
                        Ok(Appended::Now(position)) => Ok(position),
                        other => panic!("memory keeps at once: {other:?}"),
                    }
                };
                self.sink.answer(ticket, Answer::Stored(stored));
            }
            Some(Order::Ask(destination, question, ticket, now_ms)) => {
                self.inner.ask(&destination, question, ticket, now_ms);
            }
            None => {}
        }
    }
}

impl History for LateHistory {
    fn append(
        &self,
        message: &mut Arc<Message>,
        retention: &Retention,
        _: Patience,
        ticket: Ticket,
    ) -> Result<Appended, Unappended> {
        let mut line = self.line.lock().expect("nobody panicked");
        if line.len() >= LINE_MAX {
            return Err(Unappended::Busy);
        }
        line.push_back(Order::Append(Arc::clone(message), *retention, ticket));
        Ok(Appended::Later)
    }

    fn ask(&self, destination: &Destination, question: Question, ticket: Ticket, now_ms: u64) {
        self.line.lock().expect("nobody panicked").push_back(Order::Ask(
            destination.clone(),
            question,
            ticket,
            now_ms,
        ));
    }

    fn trim(&self, destination: &Destination, offset: u64) {
        self.inner.trim(destination, offset);
    }

    fn last(&self, destination: &Destination) -> u64 {
        self.inner.last(destination)
    }

    fn tick(&self, now_ms: u64) {
        self.inner.tick(now_ms);
    }

    fn bytes(&self) -> usize {
        self.inner.bytes()
    }

    fn len(&self) -> usize {
        self.inner.len()
    }
}

const LINE_MAX: usize = 32;

/// What a store does wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A page comes behind a message that was published after it was read.
    LatePage,
    /// A page lacks a message.
    Hole,
    /// A page has a message that comes live, too.
    Double,
    /// What sessions are to hear of a change of membership does not come, and that is told.
    Missed,
}

/// Between a store and the broker, where faults are made.
#[derive(Debug)]
pub(crate) struct FaultySink {
    inner: Arc<dyn Sink>,
    fault: Fault,
    page: Mutex<Option<(Ticket, Answer)>>,
    last: Mutex<Option<Arc<Message>>>,
}

impl FaultySink {
    pub(crate) fn in_front_of(bus: BusMaker, fault: Fault) -> BusMaker {
        Box::new(move |sink| {
            let (page, last) = (Mutex::default(), Mutex::default());
            bus(Arc::new(Self { inner: sink, fault, page, last }))
        })
    }

    fn misses(&self, destination: &Destination) -> bool {
        let is_missed = self.fault == Fault::Missed && destination.as_str().starts_with("/memberships/");
        if is_missed {
            self.inner.gap(destination);
        }
        is_missed
    }

    fn release_page(&self) {
        if let Some((ticket, answer)) = self.page.lock().expect("nobody panicked").take() {
            self.inner.answer(ticket, answer);
        }
    }
}

impl Sink for FaultySink {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        let Inbound { destination, cost_bytes, from, make } = inbound;
        if self.misses(destination) {
            return Ok(());
        }
        let mut make = || {
            let message = make();
            *self.last.lock().expect("nobody panicked") = Some(Arc::clone(&message));
            message
        };
        let accepted = self.inner.accept(Inbound { destination, cost_bytes, from, make: &mut make });
        self.release_page();
        accepted
    }

    fn force(&self, message: &Arc<Message>) {
        if self.misses(&message.destination) {
            return;
        }
        *self.last.lock().expect("nobody panicked") = Some(Arc::clone(message));
        self.inner.force(message);
        self.release_page();
    }

    fn room_for(&self, destination: &Destination, cost_bytes: usize, from: WorkerId) -> Result<(), Full> {
        self.inner.room_for(destination, cost_bytes, from)
    }

    fn tell_room(&self, worker: WorkerId) {
        self.inner.tell_room(worker);
    }

    fn answer(&self, ticket: Ticket, mut answer: Answer) {
        if let Answer::Page(Ok(page)) = &mut answer {
            match self.fault {
                Fault::LatePage => {
                    self.release_page();
                    *self.page.lock().expect("nobody panicked") = Some((ticket, answer));
                    return;
                }
                Fault::Hole if page.messages.len() > 1 => drop(page.messages.remove(0)),
                Fault::Double if page.joined => {
                    let last = self.last.lock().expect("nobody panicked").clone();
                    let kept = |message: &Arc<Message>| message.position.is_some();
                    page.messages.extend(last.filter(kept));
                }
                Fault::Hole | Fault::Double | Fault::Missed => {}
            }
        }
        self.inner.answer(ticket, answer);
    }

    fn is_heard(&self, destination: &Destination) -> bool {
        self.inner.is_heard(destination)
    }

    fn is_wanted(&self, destination: &Destination) -> bool {
        self.inner.is_wanted(destination)
    }

    fn wants_patterns(&self) -> bool {
        self.inner.wants_patterns()
    }

    fn gap(&self, destination: &Destination) {
        self.inner.gap(destination);
    }

    fn review(&self) {
        self.inner.review();
    }

    fn gap_in_patterns(&self) {
        self.inner.gap_in_patterns();
    }

    fn ready(&self, queue: &Destination) {
        self.inner.ready(queue);
    }

    fn reply(&self, message: &Arc<Message>) {
        self.inner.reply(message);
    }

    fn obey(&self, order: &Bytes, report: Report) {
        self.inner.obey(order, report);
    }

    fn changed(&self, news: &News<'_>, now: Now) {
        self.inner.changed(news, now);
    }

    fn said(&self, word: &Word<'_>) {
        self.inner.said(word);
    }

    fn edge(&self, edge: &Edge<'_>, acked: Acked) {
        self.inner.edge(edge, acked);
    }
}

/// A directory for a store on disk, gone when nobody holds it any more.
pub(crate) fn directory() -> Rc<TempDir> {
    Rc::new(tempfile::tempdir().expect("a directory can be made"))
}
