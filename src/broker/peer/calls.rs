//! Questions to a store that are not answered yet.
//!
//! What a client sends to destinations that are kept goes on while earlier ones are on their way to the store, up to
//! [`CALLS_MAX`]. Everything else waits until all are answered. So effects and RECEIPTs come in the order of the frames.

use std::collections::VecDeque;

use smallvec::SmallVec;
use stompede_protocol::{Event, Receipt, SubscriptionKey};

use crate::backend::Kept;
use crate::broker::letters::Mark;
use crate::broker::post::store_refusal;
use crate::model::{Answer, CloseReason, Destination, Page, Refusal, StoreError, Ticket};

use super::{Env, Peer};

/// Nothing for most sessions.
#[derive(Debug, Default)]
pub(super) struct Calls(Option<Box<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// In the order in which they were asked.
    waiting: VecDeque<Waiting>,
    /// A frame that waits for all answers.
    deferred: Option<Event>,
}

#[derive(Debug)]
struct Waiting {
    call: u32,
    receipts: SmallVec<[Receipt; 1]>,
    asked: Asked,
    answer: Option<Answer>,
}

/// What an answer is for.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// Keep a message sent there.
    Store(Destination),
    /// Read the first page for a subscription.
    Read(SubscriptionKey),
    /// Find what somebody has read.
    Mark(Mark),
    /// Tell when what was done is safe.
    Sync,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// No more may be asked.
    pub(super) fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.waiting.len() >= CALLS_MAX)
    }

    pub(super) fn defers(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.deferred.is_some())
    }

    /// The event, unless something is open and it is no SEND: then it is kept until all is answered.
    pub(super) fn pass(&mut self, event: Event) -> Option<Event> {
        match &mut self.0 {
            Some(open) if !matches!(event, Event::Send(_)) => {
                open.deferred = Some(event);
                None
            }
            _ => Some(event),
        }
    }

    pub(super) fn add(&mut self, call: u32, asked: Asked) {
        let waiting = Waiting { call, receipts: SmallVec::new(), asked, answer: None };
        self.0.get_or_insert_default().waiting.push_back(waiting);
    }

    /// The receipts of a frame whose last question was just asked.
    pub(super) fn attach(&mut self, receipts: impl IntoIterator<Item = Receipt>) {
        if let Some(last) = self.0.as_mut().and_then(|open| open.waiting.back_mut()) {
            last.receipts.extend(receipts);
        }
    }

    /// Keeps the answer to a question of the line; one to another is given back.
    fn note(&mut self, call: u32, answer: Answer) -> Option<Answer> {
        let mut waiting = self.0.iter_mut().flat_map(|open| &mut open.waiting);
        match waiting.find(|waiting| waiting.call == call) {
            Some(waiting) => {
                waiting.answer = Some(answer);
                None
            }
            None => Some(answer),
        }
    }

    /// The oldest question, if it is answered.
    fn next_answered(&mut self) -> Option<Waiting> {
        self.0.as_mut()?.waiting.pop_front_if(|waiting| waiting.answer.is_some())
    }

    /// The deferred frame, if nothing is open any more.
    fn settle(&mut self) -> Option<Event> {
        let open = self.0.take_if(|open| open.waiting.is_empty())?;
        open.deferred
    }
}

impl Peer {
    pub(super) fn ticket(&mut self) -> Ticket {
        self.last_call = self.last_call.wrapping_add(1);
        Ticket { connection: self.id, call: self.last_call, key: 0 }
    }

    /// A store has answered.
    pub(in crate::broker) fn answered(&mut self, env: &mut Env<'_>, call: u32, answer: Answer) {
        if self.is_closing() {
            return;
        }
        match self.calls.note(call, answer) {
            None => {}
            Some(Answer::Unread(counts)) => return self.counted(env, call, counts),
            Some(answer) => return self.read_page(env, call, answer),
        }
        while let Some(waiting) = self.calls.next_answered() {
            self.conclude(env, waiting);
            if self.is_closing() {
                return;
            }
        }
        let deferred = self.calls.settle();
        let waits = deferred.is_some();
        if let Some(event) = deferred {
            self.handle(env, event);
        }
        if self.held.is_some() {
            return self.retry(env);
        }
        if waits && !self.is_closing() {
            self.session.resume(env.now.mono);
        }
        self.transmit(env);
        self.read_on(env);
    }

    /// Completes the receipts of what is done, behind those of what was asked before.
    pub(super) fn complete_in_turn(&mut self, receipts: impl IntoIterator<Item = Receipt>) {
        if self.calls.is_empty() {
            receipts.into_iter().for_each(|receipt| self.session.complete(receipt));
        } else {
            self.calls.attach(receipts);
        }
    }

    /// Completes the receipts of what was done when it is safe.
    pub(super) fn complete_when_safe(&mut self, env: &Env<'_>, receipts: impl IntoIterator<Item = Receipt>) {
        let mut receipts = receipts.into_iter().peekable();
        if receipts.peek().is_none() {
            return;
        }
        let ticket = self.ticket();
        match env.broker.journal.sync(ticket) {
            Kept::Now => receipts.for_each(|receipt| self.session.complete(receipt)),
            Kept::Later => {
                self.calls.add(ticket.call, Asked::Sync);
                self.calls.attach(receipts);
            }
        }
    }

    fn conclude(&mut self, env: &mut Env<'_>, waiting: Waiting) {
        let Waiting { call, receipts, asked, answer } = waiting;
        match (asked, answer) {
            (Asked::Store(destination), Some(Answer::Stored(Err(error)) | Answer::Queued(_, Err(error)))) => {
                let refusal = store_refusal(&destination, error);
                self.refuse(env, &refusal, receipts.into_iter().next_back());
            }
            (Asked::Read(key), Some(Answer::Page(page))) => {
                self.begin_reading(env, key, call, page, receipts)
            }
            (Asked::Mark(mark), Some(Answer::Found(found))) => match self.marked(env, &mark, found) {
                Ok(()) => self.complete_when_safe(env, receipts),
                Err(refusal) => self.refuse(env, &refusal, receipts.into_iter().next_back()),
            },
            (Asked::Sync, Some(Answer::Synced(Err(error)))) => {
                let refusal = Refusal::new(CloseReason::Unavailable, error.to_string());
                self.refuse(env, &refusal, receipts.into_iter().next_back());
            }
            (Asked::Store(_) | Asked::Read(_) | Asked::Mark(_) | Asked::Sync, _) => {
                receipts.into_iter().for_each(|receipt| self.session.complete(receipt));
            }
        }
        self.transmit(env);
    }

    fn begin_reading(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        call: u32,
        page: Result<Page, StoreError>,
        receipts: SmallVec<[Receipt; 1]>,
    ) {
        match page {
            Ok(page) => {
                let headers = [("stompede-position", &*page.after.to_string()), recovered(page.recovered)];
                for receipt in receipts {
                    self.session.complete_with(receipt, &headers);
                }
                self.transmit(env);
                self.read_page(env, call, Answer::Page(Ok(page)));
            }
            Err(error) => {
                let refusal = self.unreadable(key, error);
                self.drop_subscription(env, key);
                self.refuse(env, &refusal, receipts.into_iter().next_back());
            }
        }
    }
}

/// Whether nothing is missing.
pub(super) fn recovered(is_recovered: bool) -> (&'static str, &'static str) {
    ("stompede-recovered", if is_recovered { "true" } else { "false" })
}

/// Questions of one connection that may be open.
pub(super) const CALLS_MAX: usize = 64;
