//! What a frame asks for, done at once or held until it can be.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use stompede_protocol::{Command, Millis, Receipt, Settle, SubscriptionKey};

use crate::broker::door::Broker;
use crate::broker::letters::{Letter, Sought};
use crate::broker::pleas::Plea;
use crate::broker::post::{Posted, Unposted};
use crate::model::{CloseReason, Refusal};

use super::calls::Asked;
use super::{Env, Peer};

/// What one frame asks for, in order; its receipts come when all is done.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) steps: VecDeque<Stage>,
    pub(super) receipts: SmallVec<[Receipt; 1]>,
    /// The subscription that falls if the work is refused.
    pub(super) undo: Option<SubscriptionKey>,
    /// A step is done: the others follow, whatever happens.
    begun: bool,
    /// What became of the steps that are done.
    posted: Posted,
}

impl Work {
    pub(super) fn of_one(stage: Stage, receipt: Option<Receipt>, undo: Option<SubscriptionKey>) -> Self {
        let steps = VecDeque::from([stage]);
        Self { steps, receipts: receipt.into_iter().collect(), undo, ..Self::default() }
    }

    /// Where the worker has gone for whom something of it was, a backend may stand in for him.
    fn finds_stand_in(&mut self, broker: &Broker) -> bool {
        let mut letters = self.steps.iter_mut().filter_map(|stage| match stage {
            Stage::Post(letter) => Some(letter),
            _ => None,
        });
        letters.any(|letter| broker.replaces_worker(letter))
    }
}

/// One thing to do.
#[derive(Debug)]
pub(super) enum Stage {
    Post(Letter),
    Ack(Settle),
    Nack(Settle),
    /// Something on which a backend is to say a word.
    Plea(Box<Plea>),
}

impl Stage {
    fn letter(&self) -> Option<&Letter> {
        match self {
            Self::Post(letter) => Some(letter),
            Self::Ack(_) | Self::Nack(_) | Self::Plea(_) => None,
        }
    }
}

/// Work that waits; meanwhile nothing is read from the client.
#[derive(Debug)]
pub(super) struct Held {
    work: Work,
    since: Millis,
    why: Why,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The worker's backlog or the process's memory is above its mark, or an inbox is full. Until then the publisher
    /// waits: that is what slows it down.
    Room,
    /// What was asked of a store before is not answered yet.
    Answers,
    /// A backend has not said its word yet.
    Word,
    /// Nobody handles the destination; refused after `hold_ms_max`.
    Handler,
}

impl Peer {
    /// Does what can be done now; holds the rest.
    pub(super) fn work(&mut self, env: &mut Env<'_>, work: Work) {
        self.go_on(env, work, None);
        env.tally.sends_held.count(usize::from(self.is_held()));
    }

    /// `waited` is what the work has waited for, and since when. What it waits for next has a time of its own.
    fn go_on(&mut self, env: &mut Env<'_>, mut work: Work, waited: Option<(Why, Millis)>) {
        let now = env.now.mono;
        let since = |why| waited.filter(|(for_what, _)| *for_what == why).map_or(now, |(_, since)| since);
        match self.perform_as_one(env, &mut work) {
            Ok(Posted::Unsafe) => self.complete_when_safe(env, work.receipts),
            Ok(Posted::Now | Posted::Later) => self.complete_in_turn(work.receipts),
            Err(Unposted::Refused(refusal)) => self.refuse_work(env, work, &refusal),
            Err(Unposted::Ended(refusal)) => {
                self.return_unsettled(env, &work.steps);
                self.end_for(env, &refusal, work.receipts.into_iter().next_back());
            }
            Err(Unposted::Full) => self.hold(Held { work, since: since(Why::Room), why: Why::Room }),
            Err(Unposted::Unanswered) => self.hold(Held { work, since: now, why: Why::Answers }),
            Err(Unposted::Unjudged) => self.hold(Held { work, since: now, why: Why::Word }),
            Err(Unposted::Granted(granted)) => {
                let (subscribe, leave) = *granted;
                let receipt = work.receipts.into_iter().next_back();
                self.begin_subscription(env, subscribe, receipt, leave);
            }
            Err(Unposted::NoHandler(_)) if work.finds_stand_in(env.broker) => self.go_on(env, work, waited),
            Err(Unposted::NoHandler(destination)) => {
                let since = since(Why::Handler);
                if now.since(since) >= env.broker.settings().limits.hold_ms_max {
                    let refusal = Refusal::from(CloseReason::NoHandler).at(destination.as_str());
                    return self.refuse_work(env, work, &refusal);
                }
                self.hold(Held { work, since, why: Why::Handler });
            }
        }
    }

    /// The steps of a transaction are safe together, as far as none of them has to wait.
    fn perform_as_one(&mut self, env: &mut Env<'_>, work: &mut Work) -> Result<Posted, Unposted> {
        if work.steps.len() < 2 {
            return self.perform_all(env, work);
        }
        let journal = Arc::clone(&env.broker.journal);
        let mut performed = Ok(Posted::Now);
        journal.as_one(&mut || performed = self.perform_all(env, work));
        performed
    }

    fn perform_all(&mut self, env: &mut Env<'_>, work: &mut Work) -> Result<Posted, Unposted> {
        if !work.begun {
            self.hear_out(env, &mut work.steps)?;
            self.prepare(env, work)?;
        }
        while let Some(stage) = work.steps.front_mut() {
            work.posted = match (self.perform(env, stage, work.begun)?, work.posted) {
                (Posted::Now, before) => before,
                // What is kept later is kept behind everything that was done before.
                (posted, _) => posted,
            };
            work.steps.pop_front();
            work.begun = true;
        }
        Ok(work.posted)
    }

    /// Whether every step can be done, as things stand.
    fn prepare(&self, env: &Env<'_>, work: &Work) -> Result<(), Unposted> {
        env.broker.prepare(work.steps.iter().filter_map(Stage::letter))?;
        work.steps.iter().try_for_each(|stage| {
            match stage {
                Stage::Ack(settle) => self.check_issued(env, settle, Command::Ack),
                Stage::Nack(settle) => self.check_nack(env, settle),
                Stage::Post(_) | Stage::Plea(_) => Ok(()),
            }
            .map_err(Unposted::Refused)
        })
    }

    /// The client is gone. A transaction that has begun is finished; what has not begun was never accepted.
    pub(super) fn finish_begun(&mut self, env: &mut Env<'_>) {
        let Some(mut held) = self.held.take().filter(|held| held.work.begun) else { return };
        for stage in &mut held.work.steps {
            match stage {
                Stage::Post(letter) => {
                    let ticket = self.ticket();
                    env.broker.post_anyway(letter, ticket, env.now);
                }
                // Checked before the first step; nothing is left to refuse.
                Stage::Ack(settle) => drop(self.acknowledge(env, settle)),
                Stage::Nack(settle) => drop(self.refuse_messages(env, settle)),
                // What has begun was judged before.
                Stage::Plea(_) => {}
            }
        }
    }

    pub(super) fn perform(
        &mut self,
        env: &mut Env<'_>,
        stage: &mut Stage,
        begun: bool,
    ) -> Result<Posted, Unposted> {
        if !self.calls.is_empty() && !self.may_follow(env, stage) {
            return Err(Unposted::Unanswered);
        }
        match stage {
            Stage::Post(Letter::Refresh(fresh)) => self.refresh(env, fresh),
            Stage::Post(Letter::Mark(mark)) => {
                self.mark(env, mark);
                Ok(Posted::Later)
            }
            Stage::Post(Letter::Leave(user, room)) => Ok(self.withdraw(env, user, room)),
            Stage::Post(letter) => {
                let backlog = env.lanes.is_backlogged(env.broker.settings().limits.backlog_bytes_max);
                if backlog || env.broker.is_over_memory() {
                    return Err(Unposted::Full);
                }
                let ticket = self.ticket();
                let posted = env.broker.post(letter, begun, ticket, env.now)?;
                env.tally.messages_accepted.count(1);
                if let (Posted::Later, Some(destination)) = (posted, letter.kept_at()) {
                    self.calls.add(ticket.call, Asked::Store(destination.clone()));
                }
                Ok(posted)
            }
            Stage::Ack(settle) => {
                self.acknowledge(env, settle).map_err(Unposted::Refused)?;
                Ok(Posted::Unsafe)
            }
            Stage::Nack(settle) => {
                self.refuse_messages(env, settle).map_err(Unposted::Refused)?;
                Ok(Posted::Unsafe)
            }
            Stage::Plea(_) => Err(Unposted::Refused(CloseReason::Internal.into())),
        }
    }

    /// Whether it keeps the order of the frames while answers of a store are awaited.
    #[inline(never)]
    fn may_follow(&self, env: &Env<'_>, stage: &Stage) -> bool {
        let follows = match stage {
            Stage::Post(letter) => env.broker.is_answered_later(letter),
            // It takes effect now and is safe behind what the store was given before.
            Stage::Ack(_) | Stage::Nack(_) => env.broker.journal.is_late(),
            Stage::Plea(_) => false,
        };
        follows && !self.calls.is_full() && !self.calls.is_barred()
    }

    fn hold(&mut self, held: Held) {
        self.session.suspend();
        self.held = Some(Box::new(held));
    }

    /// The keys of a fresh token were looked for.
    pub(in crate::broker) fn keys_sought(&mut self, env: &mut Env<'_>) {
        let first = self.held.as_mut().and_then(|held| held.work.steps.front_mut());
        if let Some(Stage::Post(Letter::Refresh(fresh))) = first {
            fresh.sought = Sought::Done;
            self.retry(env);
        }
    }

    /// The steps of held work.
    pub(super) fn held_steps(&mut self) -> Option<&mut VecDeque<Stage>> {
        self.held.as_mut().map(|held| &mut held.work.steps)
    }

    /// Tries held work again.
    pub(in crate::broker) fn retry(&mut self, env: &mut Env<'_>) {
        let Some(held) = self.held.take() else { return };
        let Held { work, since, why } = *held;
        self.go_on(env, work, Some((why, since)));
        if self.held.is_none() && !self.is_closing() {
            self.session.resume(env.now.mono);
            self.transmit(env);
            self.read_on(env);
        }
    }

    /// When held work is given up.
    pub(super) fn hold_deadline(&self, hold_ms_max: u64) -> Option<Millis> {
        let held = self.held.as_ref()?;
        (held.why == Why::Handler).then(|| held.since.after(hold_ms_max))
    }

    fn refuse_work(&mut self, env: &mut Env<'_>, work: Work, refusal: &Refusal) {
        if let Some(key) = work.undo {
            self.drop_subscription(env, key);
        }
        self.return_unsettled(env, &work.steps);
        self.refuse(env, refusal, work.receipts.into_iter().next_back());
    }
}
