//! ACK and NACK.

use std::collections::VecDeque;

use stompede_protocol::{Command, Settle, Violation};

use crate::model::{CloseReason, Refusal};

use super::work::Stage;
use super::{Env, Listening, Peer};

impl Peer {
    #[inline(never)]
    pub(super) fn settle(&mut self, env: &mut Env<'_>, mut settle: Settle) {
        let receipt = settle.receipt.take();
        match self.acknowledge(env, &settle) {
            Ok(()) => self.complete_when_safe(env, receipt),
            Err(refusal) => self.close(env, &refusal, receipt),
        }
    }

    #[inline(never)]
    pub(super) fn settle_negatively(&mut self, env: &mut Env<'_>, mut settle: Settle) {
        let receipt = settle.receipt.take();
        match self.refuse_messages(env, &settle) {
            Ok(()) => self.complete_when_safe(env, receipt),
            Err(refusal) => self.close(env, &refusal, receipt),
        }
    }

    #[inline(never)]
    pub(super) fn acknowledge(&mut self, env: &mut Env<'_>, settle: &Settle) -> Result<(), Refusal> {
        self.check_issued(env, settle, Command::Ack)?;
        self.settle_mail(env, settle);
        if let Some(queue) = self.queue_of(settle) {
            env.broker.queues.settle(&queue, self.consumer(settle.key), &settle.tags, env.now);
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn refuse_messages(&mut self, env: &mut Env<'_>, settle: &Settle) -> Result<(), Refusal> {
        self.check_nack(env, settle)?;
        if settle.headers.get("requeue") == Some("false") {
            self.settle_mail(env, settle);
        }
        let Some(queue) = self.queue_of(settle) else { return Ok(()) };
        let (queues, consumer) = (&env.broker.queues, self.consumer(settle.key));
        if settle.headers.get("requeue") == Some("false") {
            queues.reject(&queue, consumer, &settle.tags, env.now);
        } else if let Some(delay_ms) = redelivery_delay(settle)? {
            queues.postpone(&queue, consumer, &settle.tags, delay_ms, env.now);
        } else {
            queues.refuse(&queue, consumer, &settle.tags, env.now);
        }
        Ok(())
    }

    /// The transaction of these acknowledgements was refused; the session has forgotten the deliveries, so the messages
    /// go back.
    pub(super) fn return_unsettled(&self, env: &Env<'_>, stages: &VecDeque<Stage>) {
        for stage in stages {
            if let Stage::Ack(settle) | Stage::Nack(settle) = stage
                && let Some(queue) = self.queue_of(settle)
            {
                env.broker.queues.refuse(&queue, self.consumer(settle.key), &settle.tags, env.now);
            }
        }
    }

    fn queue_of(&self, settle: &Settle) -> Option<crate::model::Destination> {
        let live = self.live.iter().find(|live| live.key == settle.key)?;
        match &live.what {
            Listening::Queue(share) => Some(share.queue.clone()),
            _ => None,
        }
    }

    /// Whether a NACK can be obeyed.
    pub(super) fn check_nack(&self, env: &Env<'_>, settle: &Settle) -> Result<(), Refusal> {
        self.check_issued(env, settle, Command::Nack)?;
        redelivery_delay(settle).map(drop)
    }

    /// Topics keep no ledger: there an id is known when it was ever issued.
    pub(super) fn check_issued(
        &self,
        env: &Env<'_>,
        settle: &Settle,
        command: Command,
    ) -> Result<(), Refusal> {
        let live = self.live.iter().find(|live| live.key == settle.key);
        let issued = match live.map(|live| (&live.what, live.issued)) {
            Some((Listening::Queue(_) | Listening::Topic { mailbox: Some(_), .. }, _)) => return Ok(()),
            Some((Listening::Topic { subscriber, .. }, _)) => {
                env.table.subscriber(*subscriber).issued.unwrap_or(0)
            }
            Some((_, issued)) => issued,
            // The session knew it at the ACK; it has ended since, before COMMIT.
            None => return Ok(()),
        };
        if settle.id.number >= 1 && settle.id.number <= issued {
            return Ok(());
        }
        let id = settle.headers.get("id").or_else(|| settle.headers.get("message-id")).unwrap_or("");
        let violation = Violation::UnknownAck { command, id: id.chars().take(80).collect::<String>().into() };
        Err(Refusal::new(CloseReason::BadFrame, violation.to_string()))
    }
}

/// Header `redelivery-delay` of NACK, milliseconds.
fn redelivery_delay(settle: &Settle) -> Result<Option<u64>, Refusal> {
    let Some(text) = settle.headers.get("redelivery-delay") else { return Ok(None) };
    let is_whole = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse().ok().filter(|ms| is_whole && *ms <= REDELIVERY_DELAY_MS_MAX) {
        Some(ms) => Ok(Some(ms)),
        None => {
            let text =
                format!("redelivery-delay is a number of milliseconds, at most {REDELIVERY_DELAY_MS_MAX}");
            Err(Refusal::new(CloseReason::BadContent, text))
        }
    }
}

/// A day: what is to come back later than that wants another place than the head of a queue.
const REDELIVERY_DELAY_MS_MAX: u64 = 86_400_000;
