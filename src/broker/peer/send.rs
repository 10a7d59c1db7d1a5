//! SEND and COMMIT: through the door, or held until there is room.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use stompede_protocol::{Commit, Millis, Receipt, Send, Settle, Step, SubscriptionKey};

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
}

/// One thing to do.
#[derive(Debug)]
pub(super) enum Stage {
    Post(Letter),
    Ack(Settle),
    Nack(Settle),
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
        if let Err(refusal) = self.check_rate(env) {
            let refusal = refusal.at(&send.destination);
            return self.refuse(env, refusal, receipt);
        }
        match self.admit_send(env, send) {
            Ok(letter) => self.work(
                env,
                Work { steps: VecDeque::from([Stage::Post(letter)]), receipts: receipt.into_iter().collect(), undo: None },
            ),
            Err(refusal) => self.refuse(env, refusal, receipt),
        }
    }

    /// All SENDs of a transaction pass the door before the first is posted.
    pub(super) fn commit(&mut self, env: &mut Env<'_>, commit: Commit) {
        let mut work = Work::default();
        for step in commit.steps {
            let stage = match step {
                Step::Send(mut send) => {
                    work.receipts.extend(send.receipt.take());
                    let admitted = self.check_rate(env).and_then(|()| self.admit_send(env, send));
                    match admitted {
                        Ok(letter) => Stage::Post(letter),
                        Err(refusal) => return self.refuse(env, refusal, commit.receipt),
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
        work.receipts.extend(commit.receipt);
        self.work(env, work);
    }

    /// Does what can be done now; holds the rest.
    pub(super) fn work(&mut self, env: &mut Env<'_>, work: Work) {
        self.work_since(env, work, env.now.mono);
    }

    fn work_since(&mut self, env: &mut Env<'_>, mut work: Work, since: Millis) {
        while let Some(stage) = work.steps.front() {
            match self.perform(env, stage) {
                Ok(()) => {
                    work.steps.pop_front();
                }
                Err(Unposted::Refused(refusal)) => return self.refuse_work(env, work, refusal),
                Err(Unposted::Full) => return self.hold(env, Held { work, since, why: Why::Room }),
                Err(Unposted::NoHandler) => {
                    if env.now.mono.since(since) >= env.broker.settings().limits.hold_ms_max {
                        return self.refuse_work(env, work, CloseReason::NoHandler.into());
                    }
                    return self.hold(env, Held { work, since, why: Why::Handler });
                }
            }
        }
        for receipt in work.receipts {
            self.session.complete(receipt);
        }
    }

    fn perform(&mut self, env: &mut Env<'_>, stage: &Stage) -> Result<(), Unposted> {
        match stage {
            Stage::Post(Letter::Refresh(token)) => self.refresh(env, token).map_err(Unposted::Refused)?,
            Stage::Post(letter) => {
                let backlog = env.lanes.backlog_bytes() > env.broker.settings().limits.backlog_bytes_max;
                if backlog || env.broker.is_over_memory() {
                    return Err(Unposted::Full);
                }
                env.broker.post(letter, self.id.worker, env.now)?;
                env.broker.counters().messages_accepted.add(1);
            }
            Stage::Ack(settle) => self.acknowledge(env, settle).map_err(Unposted::Refused)?,
            Stage::Nack(settle) => self.refuse_messages(env, settle).map_err(Unposted::Refused)?,
        }
        Ok(())
    }

    fn hold(&mut self, env: &Env<'_>, held: Held) {
        env.broker.counters().sends_held.add(1);
        self.session.suspend();
        self.held = Some(Box::new(held));
    }

    /// Tries held work again.
    pub(in crate::broker) fn retry(&mut self, env: &mut Env<'_>) {
        let Some(held) = self.held.take() else { return };
        let Held { work, since, .. } = *held;
        self.work_since(env, work, since);
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

    fn refuse_work(&mut self, env: &mut Env<'_>, work: Work, refusal: Refusal) {
        if let Some(key) = work.undo {
            self.drop_subscription(env, key);
        }
        let refusal = match (&refusal.destination, work.steps.front()) {
            (None, Some(Stage::Post(Letter::Handler(message)))) => refusal.at(message.destination.as_str()),
            _ => refusal,
        };
        self.refuse(env, refusal, work.receipts.into_iter().next_back());
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

    fn admit_send(&mut self, env: &mut Env<'_>, send: Send) -> Result<Letter, Refusal> {
        let address = Address::of_send(&send.destination)?;
        let own_reply = match &address {
            Address::TempQueue(name) => {
                self.reply_token(env, name)?;
                let listener = Listener::TempQueue(Arc::from(&**name));
                Some(ReplyRoute { connection: self.id, listener })
            }
            _ => None,
        };
        let reply_to = match send.headers.get("reply-to") {
            Some(wanted) => match wanted.strip_prefix("/temp-queue/") {
                Some(name) => Some(format!("/reply-queue/{}", self.reply_token(env, name)?)),
                None => Some(wanted.to_owned()),
            },
            None => None,
        };
        let Some(member) = self.member() else { return Err(CloseReason::Internal.into()) };
        let sender = Sender { principal: &member.principal, session: &member.session };
        env.broker.admit(sender, send, address, reply_to.as_deref(), own_reply, env.now)
    }
}
