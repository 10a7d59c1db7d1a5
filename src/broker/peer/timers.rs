//! What comes due on one connection.

use stompede_protocol::{Millis, Timeout};

use crate::broker::liveness::Demand;
use crate::model::CloseReason;

use super::{Env, Manner, Peer};

/// What became of a connection whose time came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Fate {
    /// It goes on.
    Lives,
    /// It takes no bytes any more: the socket is closed without another word.
    Dead,
}

impl Peer {
    /// When [`Peer::handle_timeout`] must be called next.
    pub(in crate::broker) fn deadline(&self, env: &Env<'_>) -> Millis {
        let limits = &env.broker.settings().limits;
        let stalled = env.lanes.blocked_since(self.id.slot).map(|since| since.after(limits.write_ms_max));
        let mut deadline = stalled.unwrap_or(NEVER);
        if let Some(closing) = self.closing {
            return deadline.min(closing.deadline);
        }
        deadline = deadline.min(self.session.poll_timeout().unwrap_or(NEVER));
        deadline = deadline.min(self.hold_deadline(limits.hold_ms_max).unwrap_or(NEVER));
        deadline = deadline.min(self.unread_due().unwrap_or(NEVER));
        deadline = deadline.min(match &self.manner {
            Manner::Plain | Manner::Requests => NEVER,
            Manner::WebSocket(liveness) => liveness.deadline(),
            Manner::Events(stream) => stream.deadline(),
        });
        let expires_s = self.member().and_then(|member| member.principal.expires_s);
        deadline.min(expires_s.map_or(NEVER, |expires_s| {
            env.now.mono.after(expires_s.saturating_mul(1_000).saturating_sub(env.now.wall_ms))
        }))
    }

    pub(in crate::broker) fn handle_timeout(&mut self, env: &mut Env<'_>) -> Fate {
        let now = env.now.mono;
        let limits = &env.broker.settings().limits;
        if let Some(since) = env.lanes.blocked_since(self.id.slot)
            && now >= since.after(limits.write_ms_max)
        {
            return self.give_up(env, CloseReason::SlowConsumer);
        }
        if let Some(closing) = self.closing {
            return if now >= closing.deadline { Fate::Dead } else { Fate::Lives };
        }
        if self.hold_deadline(limits.hold_ms_max).is_some_and(|deadline| now >= deadline) {
            self.retry(env);
        }
        self.count_dirty(env);
        let expires_s = self.member().and_then(|member| member.principal.expires_s);
        if expires_s.is_some_and(|expires_s| env.now.wall_s() >= expires_s) {
            self.close(env, &CloseReason::TokenExpired.into(), None);
            return Fate::Lives;
        }
        if matches!(&self.manner, Manner::Events(stream) if stream.has_ended(now)) {
            self.retire(env);
            return Fate::Lives;
        }
        let outbox_bytes = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.bytes());
        match self.session.handle_timeout(now) {
            // Nothing was read of it: what it sent meanwhile still waits.
            Some(Timeout::Silent) if outbox_bytes > limits.outbox_bytes_max => self.session.touch(now),
            // Browsers stop the timers of background tabs, and receive on.
            Some(Timeout::Silent) if matches!(self.manner, Manner::Requests) => self.session.touch(now),
            Some(timeout) => {
                if let (Timeout::Silent, Manner::WebSocket(liveness)) = (timeout, &mut self.manner) {
                    liveness.silent(now);
                } else {
                    let violation = self.session.violation_of(timeout);
                    self.violated(env, &violation, None);
                }
            }
            None => {}
        }
        self.transmit(env);
        self.ping(env, outbox_bytes)
    }

    /// Asks for a sign of life, if it is time. `before` is how many bytes waited already: a heart-beat of ours that falls
    /// due at the same moment is none of them, or it would keep away every answer of a client whose interval is ours.
    fn ping(&mut self, env: &mut Env<'_>, before: usize) -> Fate {
        if self.is_closing() {
            return Fate::Lives;
        }
        let settings = env.broker.settings();
        // While we do not read, or other bytes stand before the ping, no answer can be expected.
        let answerable = self.wants_input() && before == 0;
        let demand = match &mut self.manner {
            Manner::Plain | Manner::Requests => None,
            Manner::WebSocket(liveness) => {
                liveness.poll(env.now.mono, settings.websocket_ping_ms, settings.pong_ms, answerable)
            }
            Manner::Events(stream) => {
                stream.beats(env.now.mono, settings.events.heart_beat_ms).then_some(Demand::Ping)
            }
        };
        match demand {
            None => Fate::Lives,
            Some(Demand::GiveUp) => {
                let silent_ms = settings.pong_ms;
                let text = format!("a ping was not answered within {silent_ms} ms");
                let refusal = crate::model::Refusal::new(CloseReason::HeartBeatLost, text);
                env.tally.refused(refusal.reason);
                self.close(env, &refusal, None);
                Fate::Lives
            }
            Some(Demand::Ping) => {
                if let Some(ping) = env.broker.parts.encoders.of(self.kind).ping() {
                    env.lanes.push_control(self.id.slot, ping);
                }
                Fate::Lives
            }
        }
    }

    /// The socket does not take a last word: the connection ends without.
    fn give_up(&mut self, env: &mut Env<'_>, reason: CloseReason) -> Fate {
        if !self.is_closing() {
            env.tally.refused(reason);
            env.tally.ended(reason);
            tracing::info!(
                connection = %self.label(),
                user = self.member().map_or("", |member| member.principal.name()),
                reason = reason.code(),
                "session abandoned"
            );
        }
        self.lose_socket(env);
        Fate::Dead
    }

    /// A sign of life that carries no frame.
    pub(in crate::broker) fn alive(&mut self, env: &Env<'_>) {
        self.session.touch(env.now.mono);
        if let Manner::WebSocket(liveness) = &mut self.manner {
            liveness.alive();
        }
    }
}

const NEVER: Millis = Millis(u64::MAX);
