//! Runs errands and asks questions, and waits for what a store or a worker has to say.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use stompede_protocol::Send;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::timeout;

use super::problem::Refused;
use crate::backend::Soon;
use crate::broker::{Accepted, Broker, Errand, NamedRoom, Now, Passed, Progress};
use crate::features::control::Order;
use crate::model::{Answer, CloseReason, Judged, Principal, Refusal, Revocation, StoreError, Ticket};
use crate::policy::access::Action;
use crate::routing::desk::{Answered, Desk};
use crate::server::clock::Clock;

/// The API's way to the broker.
pub(super) struct Office {
    broker: Arc<Broker>,
    clock: Clock,
    /// An inbox or a store has room again.
    room: Arc<Notify>,
    /// Bounds the errands that wait.
    waiting: Semaphore,
    /// Bounds the orders that are under way: each is done by every worker of every node.
    orders: Semaphore,
}

/// What became of each of several messages.
pub(super) type Outcomes = Vec<Result<Accepted, Refusal>>;

impl Office {
    pub(super) fn new(broker: Arc<Broker>, clock: Clock, waiting_max: usize) -> Self {
        let room = Arc::new(Notify::new());
        let told = Arc::clone(&room);
        broker.desk().watch_room(Box::new(move || told.notify_waiters()));
        Self { broker, clock, room, waiting: Semaphore::new(waiting_max), orders: Semaphore::new(ORDERS_MAX) }
    }

    pub(super) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Posts one message; returns when a RECEIPT would have come.
    pub(super) async fn post(&self, principal: &Arc<Principal>, send: Send) -> Result<Accepted, Refused> {
        let outcomes = self.post_all(principal, vec![send]).await?;
        let outcome = outcomes.into_iter().next().unwrap_or_else(|| Err(CloseReason::Internal.into()));
        Ok(outcome?)
    }

    /// Posts messages in their order; returns when a RECEIPT would have come for each.
    ///
    /// # Errors
    /// None was posted.
    pub(super) async fn post_all(
        &self,
        principal: &Arc<Principal>,
        sends: Vec<Send>,
    ) -> Result<Outcomes, Refused> {
        let is_alone = sends.len() == 1;
        let refused = |(at, refusal): (usize, Refusal)| {
            if is_alone { refusal.into() } else { Refused::at(refusal, at) }
        };
        let mut errand = self.broker.admit_errand(principal, sends, self.now()).map_err(refused)?;
        let mut answers = Vec::new();
        let stopped = self.run(&mut errand, &mut answers).await.err();
        let posted = errand.posted();
        let mut outcomes = Vec::with_capacity(errand.len());
        let mut failed = None;
        for at in 0..posted {
            let answer = match answers.get_mut(at).and_then(Option::take) {
                Some(answer) if errand.is_late(at) => answer.await.ok(),
                _ => None,
            };
            let accepted = errand.accepted(at, answer.as_ref());
            if errand.goes_on(at) {
                failed = failed.or(accepted.err());
            } else {
                outcomes.push(failed.take().map_or(accepted, Err));
            }
        }
        match stopped {
            Some(refusal) if posted == 0 => Err(refused((0, refusal))),
            Some(refusal) => {
                outcomes.push(Err(refusal));
                Ok(outcomes)
            }
            None => Ok(outcomes),
        }
    }

    async fn run(
        &self,
        errand: &mut Errand,
        answers: &mut Vec<Option<oneshot::Receiver<Answer>>>,
    ) -> Result<(), Refusal> {
        let mut answered = |at: usize| -> Answered {
            let (tell, told) = oneshot::channel();
            answers.resize_with(answers.len().max(at + 1), || None);
            answers[at] = Some(told);
            Box::new(move |answer| drop(tell.send(answer)))
        };
        if self.broker.run_errand(errand, self.now(), &mut answered)? == Progress::Done {
            return Ok(());
        }
        let busy = || Refusal::new(CloseReason::Unavailable, "too many requests wait already");
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let since = self.now().mono;
        loop {
            let mut room = pin!(self.room.notified());
            // What comes while the errand is tried must not be missed.
            room.as_mut().enable();
            let now = self.now();
            let progress = self.broker.run_errand(errand, now, &mut answered)?;
            let is_over = now.mono.since(since) >= self.broker.settings().limits.hold_ms_max;
            match progress {
                Progress::Done => return Ok(()),
                Progress::Waits if is_over => {
                    let text = "there was no room for it in time";
                    return Err(Refusal::new(CloseReason::Unavailable, text));
                }
                Progress::Unhandled(destination) if is_over => {
                    return Err(Refusal::from(CloseReason::NoHandler).at(destination.as_str()));
                }
                Progress::Waits | Progress::Unhandled(_) => {
                    // Not all that can be waited for tells when it has come.
                    let _ = timeout(AGAIN, room).await;
                }
            }
        }
    }

    /// Refuses whoever may not do all of `actions` to the room, where it is asked of a backend by its word.
    pub(super) async fn may_room(
        &self,
        principal: &Arc<Principal>,
        actions: &[Action],
        room: &NamedRoom,
    ) -> Result<(), Refusal> {
        let mut passed = Passed::default();
        loop {
            let (tell, told) = oneshot::channel();
            let told_by = Box::new(move |judged| drop(tell.send(judged)));
            let asked = self.broker.ask_room(principal, actions, room, passed, told_by, self.now())?;
            let Some(inquiry) = asked else { return Ok(()) };
            let judged = told.await.unwrap_or_else(|_| Judged::failed(CloseReason::Unavailable.into()));
            passed = self.broker.may_room_by(inquiry, judged, self.now())?;
        }
    }

    /// Asks a port. `told` takes what it wants out of the answer.
    pub(super) async fn ask<T>(
        &self,
        begin: impl FnOnce(&Broker, Ticket) -> Soon<T>,
        told: impl FnOnce(Answer) -> Option<Result<T, StoreError>>,
    ) -> Result<T, Refusal> {
        let (question, asked) = self.open(begin);
        match asked {
            Soon::Now(answer) => Ok(answer),
            Soon::Later => question.told(told).await,
        }
    }

    /// Asks a port that always answers later.
    pub(super) fn begin(&self, begin: impl FnOnce(&Broker, Ticket)) -> Question<'_> {
        self.open(begin).0
    }

    /// Has an order done by all nodes. What they report, and how many there are, if some have not.
    pub(super) async fn order(&self, order: &Order) -> Result<(Vec<Bytes>, Option<usize>), Refusal> {
        let _turn = self.orders.acquire().await.map_err(|_| CloseReason::Unavailable)?;
        let question = self.begin(|broker, ticket| broker.order(order, ticket));
        let told = |answer| match answer {
            Answer::Reports(reports, nodes) => Some(Ok((reports, nodes))),
            _ => None,
        };
        question.told(told).await
    }

    /// Has tokens revoked; returns when that is kept, and in force here.
    pub(super) async fn revoke(&self, revocation: &Revocation) -> Result<(), Refusal> {
        let (tell, kept) = oneshot::channel();
        self.broker.revoke(revocation, Box::new(move |kept| _ = tell.send(kept)));
        let kept = kept.await.unwrap_or(Err(StoreError::Unavailable));
        kept.map_err(|error| Refusal::new(CloseReason::Unavailable, error.to_string()))
    }

    fn open<R>(&self, begin: impl FnOnce(&Broker, Ticket) -> R) -> (Question<'_>, R) {
        let (tell, answer) = oneshot::channel();
        let ticket = self.broker.desk().ask(Box::new(move |answer| drop(tell.send(answer))));
        let question = Question { desk: self.broker.desk(), ticket, answer };
        let begun = begin(&self.broker, ticket);
        (question, begun)
    }
}

/// A question that is open. It is forgotten when whoever asked has gone.
pub(super) struct Question<'a> {
    desk: &'a Desk,
    ticket: Ticket,
    answer: oneshot::Receiver<Answer>,
}

impl Question<'_> {
    /// The answer; `told` takes what it wants out of it.
    pub(super) async fn told<T>(
        mut self,
        told: impl FnOnce(Answer) -> Option<Result<T, StoreError>>,
    ) -> Result<T, Refusal> {
        let answer = (&mut self.answer).await.map_err(|_| Refusal::from(CloseReason::Unavailable))?;
        let told = told(answer).ok_or_else(|| Refusal::from(CloseReason::Internal))?;
        told.map_err(|error| Refusal::new(CloseReason::Unavailable, error.to_string()))
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.desk.forget(self.ticket);
    }
}

/// Orders of requests that are under way at once; more wait for their turn.
const ORDERS_MAX: usize = 8;

/// What waits is tried again so often.
const AGAIN: Duration = Duration::from_millis(100);
