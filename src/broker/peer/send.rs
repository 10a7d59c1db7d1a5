//! SEND and COMMIT: through the door, or held until there is room.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use stompede_protocol::{Command, Commit, Millis, Receipt, Send, Settle, Step, SubscriptionKey};

use crate::broker::letters::{Letter, Sender, Unposted};
use crate::model::{Address, CloseReason, Refusal};
use crate::routing::{Listener, ReplyRoute};

use super::{Env, Identity, Peer};

/// What one frame asks for, in order; its receipts come when all is done.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) steps: VecDeque<Stage>,
    pub(super) receipts: SmallVec<[Receipt; 1]>,
    /// The subscription that falls if the work is refused.
    pub(super) undo: Option<SubscriptionKey>,
    /// A step is done: the others follow, whatever happens.
    begun: bool,
}

impl Work {
    pub(super) fn of_one(stage: Stage, receipt: Option<Receipt>, undo: Option<SubscriptionKey>) -> Self {
        let steps = VecDeque::from([stage]);
        Self { steps, receipts: receipt.into_iter().collect(), undo, begun: false }
    }
}

/// One thing to do.
#[derive(Debug)]
pub(super) enum Stage {
    Post(Letter),
    Ack(Settle),
    Nack(Settle),
}

impl Stage {
    fn letter(&self) -> Option<&Letter> {
        match self {
            Self::Post(letter) => Some(letter),
            Self::Ack(_) | Self::Nack(_) => None,
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
    /// Nobody handles the destination; refused after `hold_ms_max`.
    Handler,
}

impl Peer {
    pub(super) fn send(&mut self, env: &mut Env<'_>, mut send: Send) {
        let receipt = send.receipt.take();
        if env.broker.is_draining() {
            // Those who would get it may be gone already: better sent again to another instance.
            return self.end_for(env, &CloseReason::ShuttingDown.into(), receipt);
        }
        if let Err(refusal) = self.check_rate(env) {
            let refusal = refusal.at(&send.destination);
            return self.refuse(env, &refusal, receipt);
        }
        match self.admit_send(env, &send) {
            Ok(letter) => {
                let stage = Stage::Post(letter);
                // What nearly every SEND is needs no book-keeping.
                if matches!(stage, Stage::Post(Letter::Topic(_))) && self.perform(env, &stage, false).is_ok()
                {
                    return self.complete(receipt);
                }
                self.work(env, Work::of_one(stage, receipt, None));
            }
            Err(refusal) => self.refuse(env, &refusal, receipt),
        }
    }

    /// All SENDs of a transaction pass the door before the first is posted.
    pub(super) fn commit(&mut self, env: &mut Env<'_>, commit: Commit) {
        let mut work = Work::default();
        let mut refused = self.check_count(env, &commit).err();
        for step in commit.steps {
            let stage = match step {
                Step::Send(_) if refused.is_some() => continue,
                Step::Send(mut send) => {
                    work.receipts.extend(send.receipt.take());
                    let admitted =
                        self.check_rate(env).and_then(|()| self.admit_send(env, &send)).and_then(no_refresh);
                    match admitted {
                        Ok(letter) => Stage::Post(letter),
                        Err(refusal) => {
                            refused = Some(refusal);
                            continue;
                        }
                    }
                }
                Step::Ack(mut settle) => {
                    work.receipts.extend(settle.receipt.take());
                    Stage::Ack(settle)
                }
                Step::Nack(mut settle) => {
                    work.receipts.extend(settle.receipt.take());
                    Stage::Nack(settle)
                }
            };
            work.steps.push_back(stage);
        }
        if let Some(refusal) = refused {
            self.return_unsettled(env, &work.steps);
            return self.refuse(env, &refusal, commit.receipt);
        }
        work.receipts.extend(commit.receipt);
        self.work(env, work);
    }

    /// Does what can be done now; holds the rest.
    pub(super) fn work(&mut self, env: &mut Env<'_>, work: Work) {
        self.go_on(env, work, None);
        env.broker.counters().sends_held.add(usize::from(self.is_held()));
    }

    /// `waited` is what the work has waited for, and since when. What it waits for next has a time of its own.
    fn go_on(&mut self, env: &mut Env<'_>, mut work: Work, waited: Option<(Why, Millis)>) {
        let now = env.now.mono;
        let since = |why| waited.filter(|(for_what, _)| *for_what == why).map_or(now, |(_, since)| since);
        match self.perform_all(env, &mut work) {
            Ok(()) => {}
            Err(Unposted::Refused(refusal)) => return self.refuse_work(env, work, &refusal),
            Err(Unposted::Ended(refusal)) => {
                self.return_unsettled(env, &work.steps);
                return self.end_for(env, &refusal, work.receipts.into_iter().next_back());
            }
            Err(Unposted::Full) => return self.hold(Held { work, since: since(Why::Room), why: Why::Room }),
            Err(Unposted::NoHandler(destination)) => {
                let since = since(Why::Handler);
                if now.since(since) >= env.broker.settings().limits.hold_ms_max {
                    let refusal = Refusal::from(CloseReason::NoHandler).at(destination.as_str());
                    return self.refuse_work(env, work, &refusal);
                }
                return self.hold(Held { work, since, why: Why::Handler });
            }
        }
        for receipt in work.receipts {
            self.session.complete(receipt);
        }
    }

    fn perform_all(&mut self, env: &mut Env<'_>, work: &mut Work) -> Result<(), Unposted> {
        if !work.begun {
            self.prepare(env, work)?;
        }
        while let Some(stage) = work.steps.front() {
            self.perform(env, stage, work.begun)?;
            work.steps.pop_front();
            work.begun = true;
        }
        Ok(())
    }

    /// Whether every step can be done, as things stand.
    fn prepare(&self, env: &Env<'_>, work: &Work) -> Result<(), Unposted> {
        env.broker.prepare(work.steps.iter().filter_map(Stage::letter))?;
        work.steps.iter().try_for_each(|stage| {
            match stage {
                Stage::Ack(settle) => self.check_issued(env, settle, Command::Ack),
                Stage::Nack(settle) => self.check_issued(env, settle, Command::Nack),
                Stage::Post(_) => Ok(()),
            }
            .map_err(Unposted::Refused)
        })
    }

    /// The client is gone. A transaction that has begun is finished; what has not begun was never accepted.
    pub(super) fn finish_begun(&mut self, env: &mut Env<'_>) {
        let Some(held) = self.held.take().filter(|held| held.work.begun) else { return };
        for stage in &held.work.steps {
            match stage {
                Stage::Post(letter) => env.broker.post_anyway(letter, env.now),
                // Checked before the first step; nothing is left to refuse.
                Stage::Ack(settle) => drop(self.acknowledge(env, settle)),
                Stage::Nack(settle) => drop(self.refuse_messages(env, settle)),
            }
        }
    }

    fn perform(&mut self, env: &mut Env<'_>, stage: &Stage, begun: bool) -> Result<(), Unposted> {
        match stage {
            Stage::Post(Letter::Refresh(token)) => self.refresh(env, token).map_err(Unposted::Ended)?,
            Stage::Post(letter) => {
                let backlog = env.lanes.is_backlogged(env.broker.settings().limits.backlog_bytes_max);
                if backlog || env.broker.is_over_memory() {
                    return Err(Unposted::Full);
                }
                env.broker.post(letter, begun, self.id.worker, env.now)?;
                env.broker.counters().messages_accepted.add(1);
            }
            Stage::Ack(settle) => self.acknowledge(env, settle).map_err(Unposted::Refused)?,
            Stage::Nack(settle) => self.refuse_messages(env, settle).map_err(Unposted::Refused)?,
        }
        Ok(())
    }

    fn hold(&mut self, held: Held) {
        self.session.suspend();
        self.held = Some(Box::new(held));
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

    /// Subscriptions that come and go cost others, too: each may be told to a room.
    pub(super) fn check_subscription_rate(&mut self, env: &Env<'_>) -> Result<(), Refusal> {
        let limits = &env.broker.settings().limits;
        if self.is_service() {
            return Ok(());
        }
        let checked =
            self.subscription_rate.check(env.now.mono.0 * 1_000, limits.sends_per_second, limits.sends_burst);
        checked.map_err(|wait_ms| {
            let text =
                format!("more than {} SUBSCRIBE frames a second on one connection", limits.sends_per_second);
            Refusal::new(CloseReason::RateLimited, text).retry_after(wait_ms)
        })
    }

    fn check_rate(&mut self, env: &Env<'_>) -> Result<(), Refusal> {
        let limits = &env.broker.settings().limits;
        let Identity::Known(member) = &self.identity else { return Err(CloseReason::Internal.into()) };
        if member.principal.is_service() {
            return Ok(());
        }
        let now_us = env.now.mono.0 * 1_000;
        let refusal = |per_second: u32, whose: &str, wait_ms: u32| {
            let text = format!("more than {per_second} SEND frames a second {whose}");
            Refusal::new(CloseReason::RateLimited, text).retry_after(wait_ms)
        };
        if let Some(rate) = &member.rate {
            let per_second = limits.user_sends_per_second;
            rate.check(now_us, per_second, per_second.max(limits.sends_burst))
                .map_err(|wait_ms| refusal(per_second, "of one user", wait_ms))?;
        }
        self.rate
            .check(now_us, limits.sends_per_second, limits.sends_burst)
            .map_err(|wait_ms| refusal(limits.sends_per_second, "on one connection", wait_ms))
    }

    /// More SENDs than may come at once could never be committed.
    fn check_count(&self, env: &Env<'_>, commit: &Commit) -> Result<(), Refusal> {
        let limits = &env.broker.settings().limits;
        let count = commit.steps.iter().filter(|step| matches!(step, Step::Send(_))).count();
        if limits.sends_per_second == 0 || self.is_service() || count <= limits.sends_burst as usize {
            return Ok(());
        }
        let text = format!("a transaction has more than {} SEND frames", limits.sends_burst);
        Err(Refusal::new(CloseReason::TooLarge, text))
    }

    fn admit_send(&mut self, env: &mut Env<'_>, send: &Send) -> Result<Letter, Refusal> {
        let address = Address::of_send(&send.destination)?;
        let own_reply = match &address {
            Address::TempQueue(name) => {
                if !self.has_reply_queue(name) {
                    let text = "there is no such reply queue: SUBSCRIBE it, or name it in reply-to";
                    return Err(Refusal::new(CloseReason::NoSuchReply, text).at(&send.destination));
                }
                let listener = Listener::TempQueue(Arc::from(&**name));
                Some(ReplyRoute { connection: self.id, listener })
            }
            _ => None,
        };
        let reply_to = match send.headers.get("reply-to") {
            Some(wanted) => match wanted.strip_prefix("/temp-queue/") {
                Some(name) => Some(format!("/reply-queue/{}", self.reply_token(env, name)?)),
                // A worker answers with its own rights: nobody may name an address for it that leads to others.
                None if send.destination.starts_with("/app/") && !self.is_service() => {
                    let text = "the reply-to of a request is /temp-queue/<name>";
                    return Err(Refusal::new(CloseReason::BadDestination, text).at(&send.destination));
                }
                None => Some(wanted.to_owned()),
            },
            None => None,
        };
        let Some(member) = self.member() else { return Err(CloseReason::Internal.into()) };
        let sender = Sender { principal: &member.principal, session: &member.session };
        let letter = env.broker.admit(sender, send, address, reply_to.as_deref(), own_reply, env.now)?;
        Ok(self.quieten(env, letter))
    }
}

/// It could be refused after other steps were done.
fn no_refresh(letter: Letter) -> Result<Letter, Refusal> {
    if matches!(letter, Letter::Refresh(_)) {
        return Err(Refusal::new(CloseReason::BadContent, "a fresh token is not sent in a transaction"));
    }
    Ok(letter)
}
