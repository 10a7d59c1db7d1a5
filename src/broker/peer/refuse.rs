//! Saying no: on the errors queue where the session listens there, else by ERROR and close.

use stompede_protocol::{ErrorFrame, Headers, Receipt, SubscriptionKey, Violation, ViolationKind};

use crate::broker::door::JSON;
use crate::features::users;
use crate::model::{CloseReason, Destination, Refusal};

use super::presence::Departure;
use super::{Env, Listening, Live, Manner, Peer};

impl Peer {
    /// Refuses one frame.
    #[cold]
    pub(super) fn refuse(&mut self, env: &mut Env<'_>, refusal: &Refusal, receipt: Option<Receipt>) {
        if self.is_closing() {
            return;
        }
        env.tally.refused(refusal.reason);
        // Of a stream there is nothing that could go on: what is refused is what it was opened for.
        let may_go_on = refusal.reason.spares_session() && !matches!(self.manner, Manner::Events(_));
        let Some(key) = self.errors().filter(|_| may_go_on) else {
            return self.close(env, refusal, receipt);
        };
        tracing::info!(
            connection = %self.label(),
            user = self.member().map_or("", |member| member.principal.name()),
            reason = refusal.reason.code(),
            destination = refusal.destination.as_deref().unwrap_or(""),
            "refused"
        );
        let body = users::refusal_body(refusal, receipt.as_ref().map(Receipt::id));
        let mut headers = Headers::new();
        headers.push("content-type", JSON);
        headers.push("event", "error");
        let name = self.member().map_or("", |member| member.principal.name());
        let destination = Destination::of_user(name, users::ERRORS_PATH);
        let message = env.broker.message(destination, None, headers, body.into(), env.now);
        self.deliver_direct(env, key, &message);
    }

    pub(super) fn hears_refusals(&self) -> bool {
        self.errors().is_some()
    }

    /// The subscription that hears of refusals.
    fn errors(&self) -> Option<SubscriptionKey> {
        let hears = |live: &&Live| matches!(live.what, Listening::Topic { errors: true, .. });
        self.live.iter().find(hears).map(|live| live.key)
    }

    /// A refusal that no session survives, whoever listens for refusals.
    #[cold]
    pub(super) fn end_for(&mut self, env: &mut Env<'_>, refusal: &Refusal, receipt: Option<Receipt>) {
        env.tally.refused(refusal.reason);
        self.close(env, refusal, receipt);
    }

    /// ERROR, then the end.
    pub(in crate::broker) fn close(
        &mut self,
        env: &mut Env<'_>,
        refusal: &Refusal,
        receipt: Option<Receipt>,
    ) {
        if self.is_closing() {
            return;
        }
        env.tally.ended(refusal.reason);
        env.tally.sessions_failed.count(usize::from(!self.is_connected()));
        tracing::info!(
            connection = %self.label(),
            user = self.member().map_or("", |member| member.principal.name()),
            reason = refusal.reason.code(),
            destination = refusal.destination.as_deref().unwrap_or(""),
            detail = detail(refusal),
            "session refused"
        );
        if let Manner::Events(_) = self.manner {
            self.say_closed(env, refusal);
        } else {
            self.say_error(env, refusal, receipt);
        }
        let departure = Departure::of(refusal.reason);
        self.leave(env, refusal.websocket_code(), refusal.reason.code(), departure);
    }

    fn say_error(&mut self, env: &mut Env<'_>, refusal: &Refusal, receipt: Option<Receipt>) {
        let retry_after = refusal.retry_after_value();
        self.session.close(&ErrorFrame {
            message: &refusal.message,
            code: refusal.reason.code(),
            receipt,
            retry_after: retry_after.as_deref(),
            headers: &[],
            body: &[],
        });
        self.transmit(env);
    }

    /// The outbox is full: what has not begun to leave is dropped, so that the reason can be told.
    pub(in crate::broker) fn too_slow(&mut self, env: &mut Env<'_>) {
        let kept = env.lanes.abandon(self.id.slot);
        self.lose_unwritten(env, kept);
        self.close(env, &CloseReason::SlowConsumer.into(), None);
    }

    #[cold]
    pub(super) fn violated(&mut self, env: &mut Env<'_>, violation: &Violation, receipt: Option<Receipt>) {
        let reason = match violation.kind() {
            ViolationKind::BadFrame => CloseReason::BadFrame,
            ViolationKind::UnsupportedVersion => CloseReason::UnsupportedVersion,
            ViolationKind::LoginTimeout => CloseReason::LoginTimeout,
            ViolationKind::BadDestination => CloseReason::BadDestination,
            ViolationKind::TooLarge => CloseReason::TooLarge,
            ViolationKind::TooManySubscriptions => CloseReason::TooManySubscriptions,
            ViolationKind::TooManyUnacked => CloseReason::TooManyUnacked,
            ViolationKind::HeartBeatLost => CloseReason::HeartBeatLost,
        };
        env.tally.refused(reason);
        self.close(env, &Refusal::new(reason, violation.to_string()), receipt);
    }
}

/// What of a refusal may be logged: texts about broken frames and bodies repeat pieces of them, and those may be a
/// passcode or what somebody wrote.
fn detail(refusal: &Refusal) -> &str {
    match refusal.reason {
        CloseReason::BadFrame | CloseReason::BadContent => "",
        _ => &refusal.message,
    }
}
