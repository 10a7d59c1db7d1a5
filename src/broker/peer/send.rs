//! SEND and COMMIT: through the door.

use std::hint::cold_path;
use std::sync::Arc;

use stompede_protocol::{Commit, Send, Step};

use crate::broker::letters::{Letter, Sender};
use crate::broker::pleas::{About, Leave, Plea, Unruled};
use crate::broker::post::Posted;
use crate::model::{Address, CloseReason, Now, Refusal, expiry};
use crate::routing::{Listener, ReplyRoute};

use super::work::{Stage, Work};
use super::{Env, Identity, Peer};

impl Peer {
    pub(super) fn send(&mut self, env: &mut Env<'_>, mut send: Send) {
        let receipt = send.receipt.take();
        if env.broker.is_draining() {
            cold_path();
            // Those who would get it may be gone already: better sent again to another instance.
            return self.end_for(env, &CloseReason::ShuttingDown.into(), receipt);
        }
        if let Err(refusal) = self.check_rate(env) {
            cold_path();
            let refusal = refusal.at(&send.destination);
            return self.refuse(env, &refusal, receipt);
        }
        match self.admit_send(env, &mut send, Leave::Open) {
            Ok(letter) => {
                let mut stage = Stage::Post(letter);
                // What nearly every SEND is needs no book-keeping.
                if matches!(stage, Stage::Post(Letter::Topic(_)))
                    && let Ok(posted) = self.perform(env, &mut stage, false)
                {
                    debug_assert!(posted != Posted::Unsafe, "nothing of it takes effect before it is safe");
                    return self.complete_in_turn(receipt);
                }
                self.work(env, Work::of_one(stage, receipt, None));
            }
            Err(Unruled::Refused(refusal)) => self.refuse(env, &refusal, receipt),
            Err(Unruled::Asks(asks)) => {
                let plea = Stage::Plea(Box::new(Plea::new(asks, About::Send(send))));
                self.work(env, Work::of_one(plea, receipt, None));
            }
        }
    }

    /// All SENDs of a transaction pass the door before the first is posted.
    #[inline(never)]
    pub(super) fn commit(&mut self, env: &mut Env<'_>, commit: Commit) {
        let mut work = Work::default();
        let mut refused = self.check_count(env, &commit).err();
        for step in commit.steps {
            let stage = match step {
                Step::Send(_) if refused.is_some() => continue,
                Step::Send(mut send) => {
                    work.receipts.extend(send.receipt.take());
                    match self.admit_step(env, send) {
                        Ok(stage) => stage,
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

    fn admit_step(&mut self, env: &mut Env<'_>, mut send: Send) -> Result<Stage, Refusal> {
        self.check_rate(env)?;
        match self.admit_send(env, &mut send, Leave::Open) {
            Ok(letter) => Ok(Stage::Post(no_refresh(letter)?)),
            Err(Unruled::Refused(refusal)) => Err(refusal),
            Err(Unruled::Asks(asks)) => Ok(Stage::Plea(Box::new(Plea::new(asks, About::Send(send))))),
        }
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
            env.tally.connection_rate_crossed.count(1);
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
                .inspect_err(|_| env.tally.user_rate_crossed.count(1))
                .map_err(|wait_ms| refusal(per_second, "of one user", wait_ms))?;
        }
        self.rate
            .check(now_us, limits.sends_per_second, limits.sends_burst)
            .inspect_err(|_| env.tally.connection_rate_crossed.count(1))
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

    pub(super) fn admit_send(
        &mut self,
        env: &mut Env<'_>,
        send: &mut Send,
        leave: Leave,
    ) -> Result<Letter, Unruled> {
        let address = Address::of_send_shared(&send.destination)?;
        let own_reply = match &address {
            Address::TempQueue(name) => Some(self.own_reply(name, send)?),
            _ => None,
        };
        let reply_to = match send.headers.get("reply-to") {
            Some(wanted) => Some(self.reply_to(env, wanted, send)?),
            None => None,
        };
        let internal = || Unruled::from(Refusal::from(CloseReason::Internal));
        let member = self.member().ok_or_else(internal)?;
        let sender = Sender { principal: &member.principal, session: &member.session };
        let admitted =
            env.broker.admit(sender, send, address, reply_to.as_deref(), own_reply, leave, env.now);
        let letter = if is_late(send, env.now)? { admitted?.if_late() } else { admitted? };
        Ok(self.quieten(env, letter))
    }

    /// Where a SEND to the session's own temp-queue `name` leads.
    #[inline(never)]
    fn own_reply(&self, name: &str, send: &Send) -> Result<ReplyRoute, Refusal> {
        if !self.has_reply_queue(name) {
            let text = "there is no such reply queue: SUBSCRIBE it, or name it in reply-to";
            return Err(Refusal::new(CloseReason::NoSuchReply, text).at(&send.destination));
        }
        Ok(ReplyRoute { connection: self.id, listener: Listener::TempQueue(Arc::from(name)) })
    }

    /// The reply address that receivers see for the one that is `wanted`.
    #[inline(never)]
    fn reply_to(&mut self, env: &mut Env<'_>, wanted: &str, send: &Send) -> Result<String, Refusal> {
        match wanted.strip_prefix("/temp-queue/") {
            Some(name) => Ok(format!("/reply-queue/{}", self.reply_token(env, name)?)),
            // A worker answers with its own rights: nobody may name an address for it that leads to others.
            None if send.destination.starts_with("/app/") && !self.is_service() => {
                let text = "the reply-to of a request is /temp-queue/<name>";
                Err(Refusal::new(CloseReason::BadDestination, text).at(&send.destination))
            }
            None => Ok(wanted.to_owned()),
        }
    }
}

/// Whether it was good until a time that has passed already.
fn is_late(send: &Send, now: Now) -> Result<bool, Refusal> {
    let expires_ms = expiry::expires_ms(&send.headers, now.wall_ms);
    let bad =
        |bad: expiry::BadExpiry| Refusal::new(CloseReason::BadContent, bad.to_string()).at(&send.destination);
    Ok(expiry::is_past(expires_ms.map_err(bad)?, now.wall_ms))
}

/// It could be refused after other steps were done.
fn no_refresh(letter: Letter) -> Result<Letter, Refusal> {
    if matches!(letter, Letter::Refresh(_)) {
        return Err(Refusal::new(CloseReason::BadContent, "a fresh token is not sent in a transaction"));
    }
    Ok(letter)
}
