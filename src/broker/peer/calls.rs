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
use crate::model::{Answer, CloseReason, Destination, Page, Place, Refusal, Revocation, StoreError, Ticket};

use super::listen::Listened;
use super::membership::Entry;
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
    /// Hear what is published, wherever it is, by a subscription.
    Listen(Listened),
    /// Become a member of the room, to be present there by a subscription.
    Enrol(SubscriptionKey, Entry),
    /// Have an order done by all nodes, and tell a subscription what they say.
    Order(SubscriptionKey),
    /// Have tokens revoked, and tell a subscription that they are.
    Revoke(SubscriptionKey, Box<Revocation>),
    /// List who is present in the room, to a subscription.
    Members(SubscriptionKey, Box<str>),
    /// End the membership of a room.
    Withdraw(Box<str>),
    /// Find what somebody has read.
    Mark(Mark),
    /// Move the read position there.
    MarkRead(Box<str>, Place),
    /// Tell when what was done is safe.
    Sync,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What is sent must not overtake what is asked: who subscribes and sends gets his own message.
    pub(super) fn is_barred(&self) -> bool {
        let mut waiting = self.0.iter().flat_map(|open| &open.waiting);
        waiting.any(|waiting| matches!(waiting.asked, Asked::Listen(_)))
    }

    /// No more may be asked.
    pub(super) fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.waiting.len() >= CALLS_MAX)
    }

    pub(super) fn defers(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.deferred.is_some())
    }

    /// Whether the event may be handled now: where something is open, only a SEND.
    pub(super) fn may_pass(&self, event: &Event) -> bool {
        self.is_empty() || matches!(event, Event::Send(_))
    }

    /// Keeps an event that may not pass until all is answered.
    pub(super) fn defer(&mut self, event: Event) {
        if let Some(open) = &mut self.0 {
            open.deferred = Some(event);
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

    /// Questions that are open.
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |open| open.waiting.len())
    }

    /// What was asked since `len` questions were open goes on with what stood before them all, and takes its place.
    fn put_first_since(&mut self, len: usize) {
        if let Some(open) = &mut self.0 {
            let asked = open.waiting.len().saturating_sub(len);
            open.waiting.rotate_right(asked);
        }
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
        if let Answer::Judged(judged) = answer {
            return self.judged(env, call, judged);
        }
        match self.calls.note(call, answer) {
            None => {}
            Some(Answer::Unread(counts)) => return self.counted(env, call, counts),
            Some(Answer::Browsed(look)) => return self.browsed(env, call, look),
            Some(Answer::Membership(found)) => return self.membership_told(env, call, found),
            Some(Answer::Memberships(found)) => return self.memberships_told(env, call, found),
            Some(answer) => return self.read_page(env, call, answer),
        }
        while let Some(waiting) = self.calls.next_answered() {
            let open = self.calls.len();
            self.conclude(env, waiting);
            self.calls.put_first_since(open);
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
            (
                Asked::Store(destination),
                Some(
                    Answer::Stored(Err(error))
                    | Answer::Published(Err(error))
                    | Answer::Queued(_, Err(error)),
                ),
            ) => {
                let refusal = store_refusal(&destination, error);
                self.refuse(env, &refusal, receipts.into_iter().next_back());
            }
            (Asked::Listen(listened), Some(Answer::Listening(heard))) => {
                self.heard(env, listened, heard, receipts)
            }
            (Asked::Enrol(key, entry), Some(Answer::Enrolled(enrolled))) => {
                let entered = self.enrolled(env, key, entry, enrolled);
                self.conclude_subscription(env, key, entered, receipts);
            }
            (Asked::Order(key), Some(Answer::Reports(reports, nodes))) => {
                self.tell_reports(env, key, &reports, nodes);
                self.conclude_subscription(env, key, Ok(()), receipts);
            }
            (Asked::Revoke(key, revocation), Some(Answer::Revoked(kept))) => {
                let told = kept.map_err(|error| self.unreadable(key, error));
                let told = told.map(|()| self.tell_revoked(env, key, &revocation));
                self.conclude_subscription(env, key, told, receipts);
            }
            (Asked::Members(key, room), Some(Answer::Members(members))) => {
                let answered = members.map_err(|error| self.unreadable(key, error));
                let answered = answered.map(|members| self.tell_members(env, key, &room, &members));
                self.conclude_subscription(env, key, answered, receipts);
            }
            (Asked::Withdraw(room), Some(Answer::Withdrawn(withdrawn))) => {
                let done = withdrawn.map(|withdrawn| self.withdrawn(env, &room, withdrawn));
                let done = done.map_err(|error| self.no_membership(env, &room, error));
                self.conclude_change(env, done, receipts);
            }
            (Asked::MarkRead(room, place), Some(Answer::Marked(moved))) => {
                let done = moved.map_err(|error| self.no_membership(env, &room, error));
                let done = done.and_then(|moved| self.has_read(env, &room, place, moved));
                self.conclude_change(env, done, receipts);
            }
            (Asked::Read(key), Some(Answer::Page(page))) => {
                self.begin_reading(env, key, call, page, receipts)
            }
            (Asked::Mark(mark), Some(Answer::Found(found))) => match self.marked(env, &mark, found) {
                Ok(Kept::Now) => self.complete_when_safe(env, receipts),
                Ok(Kept::Later) => self.calls.attach(receipts),
                Err(refusal) => self.refuse(env, &refusal, receipts.into_iter().next_back()),
            },
            (Asked::Sync, Some(Answer::Synced(Err(error)))) => {
                let refusal = Refusal::new(CloseReason::Unavailable, error.to_string());
                self.refuse(env, &refusal, receipts.into_iter().next_back());
            }
            (_, _) => {
                receipts.into_iter().for_each(|receipt| self.session.complete(receipt));
            }
        }
        self.transmit(env);
    }

    /// What a subscription waited for has come, or not.
    fn conclude_subscription(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        done: Result<(), Refusal>,
        receipts: SmallVec<[Receipt; 1]>,
    ) {
        match done {
            Ok(()) => receipts.into_iter().for_each(|receipt| self.session.complete(receipt)),
            Err(refusal) => {
                self.drop_subscription(env, key);
                self.refuse(env, &refusal, receipts.into_iter().next_back());
            }
        }
    }

    fn conclude_change(
        &mut self,
        env: &mut Env<'_>,
        done: Result<(), Refusal>,
        receipts: SmallVec<[Receipt; 1]>,
    ) {
        match done {
            Ok(()) => self.complete_when_safe(env, receipts),
            Err(refusal) => self.refuse(env, &refusal, receipts.into_iter().next_back()),
        }
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
