//! A backend that stands in for the application's workers: it is asked where there is none, and what it answers is sent in its name.

use std::sync::Arc;

use stompede_protocol::Send;

use crate::backend::Attending;
use crate::features::idempotency::derived_key;
use crate::model::{
    Address, Allowance, CloseReason, Content, Destination, Judged, Message, Outgoing, Principal, Refusal,
    StoreError,
};
use crate::policy::hooks::{Case, HookEvent, HookId, Told};

use super::door::Broker;
use super::letters::{Letter, Sender};
use super::pleas::{Leave, Unruled, ask, fits};
use super::settings::Now;

impl Broker {
    /// Asks a backend that stands in for the application's workers, unless there is one.
    pub(super) fn ask_stand_in(&self, message: &Message, case: Case, told: Told) {
        let judge = self.judge.get().cloned();
        let then = move |attending| match attending {
            Ok(Attending::Nobody) => ask(judge.as_ref(), case, told),
            Ok(Attending::Somebody) => told(Judged::by_worker()),
            Ok(Attending::Done) => told(Judged::nothing()),
            Err(error) => {
                let refusal = Refusal::new(CloseReason::Unavailable, StoreError::to_string(&error));
                told(Judged::failed(refusal));
            }
        };
        self.queues.ask_attending(message, Box::new(then));
    }

    /// What was sent to the application: to a worker if there is one here, or if no backend stands in for them; else to that one,
    /// who is asked if there is no worker elsewhere either.
    pub(super) fn to_application(&self, message: Arc<Message>) -> Letter {
        match self.stand_in(&message.destination) {
            Some(hook) if !self.queues.has_members(&message.destination) => Letter::Backend(hook, message),
            _ => Letter::Handler(message),
        }
    }

    /// Where the worker has gone for whom a letter was, it is for the backend that stands in for him. Whether there is one.
    pub(super) fn replaces_worker(&self, letter: &mut Letter) -> bool {
        let Letter::Handler(message) = letter else { return false };
        if self.queues.has_consumers(&message.destination) {
            return false;
        }
        let Some(hook) = self.stand_in(&message.destination) else { return false };
        *letter = Letter::Backend(hook, Arc::clone(message));
        true
    }

    fn stand_in(&self, destination: &Destination) -> Option<HookId> {
        self.parts.access.hooks().find(HookEvent::Message, destination.as_str(), false)
    }

    /// What is to be sent: to the worker that there is, or what the backend that was asked in his place wants.
    ///
    /// # Errors
    /// It wants what nobody can send.
    pub(super) fn outcome(
        &self,
        message: &Arc<Message>,
        allowance: &Allowance,
        now: Now,
    ) -> Result<Vec<Letter>, Refusal> {
        if allowance.is_for_worker {
            return Ok(vec![Letter::Handler(Arc::clone(message))]);
        }
        let principal = Arc::new(Principal::service(BACKEND));
        let sender = Sender { principal: &principal, session: "" };
        let reply_to = message.headers.get("reply-to");
        let reply = reply_to.zip(allowance.reply.as_ref()).map(|(to, content)| {
            let is_gone = |refusal: &Refusal| refusal.reason == CloseReason::NoSuchReply;
            match self.letter_of(sender, to, content.clone(), now) {
                // Whoever asked has gone.
                Err(refusal) if is_gone(&refusal) => Ok(Letter::Nothing),
                letter => letter,
            }
        });
        let of_sender = message.headers.get("idempotency-key");
        let messages = allowance.messages.iter().enumerate().map(|(at, Outgoing { destination, content })| {
            let mut content = content.clone();
            if let Some(key) = of_sender.filter(|_| content.headers.get("idempotency-key").is_none()) {
                let user = message.sender.as_deref().unwrap_or("");
                let key = derived_key(&message.destination, user, key, at);
                content.headers.push("idempotency-key", &key);
            }
            self.letter_of(sender, destination, content, now).map_err(|refusal| {
                tracing::warn!(%refusal, destination = &**destination, "a hook wants to publish what cannot be");
                Refusal::from(CloseReason::Unavailable).at(message.destination.as_str())
            })
        });
        reply.into_iter().chain(messages).collect()
    }

    fn letter_of(
        &self,
        sender: Sender<'_>,
        destination: &str,
        content: Content,
        now: Now,
    ) -> Result<Letter, Refusal> {
        let Content { headers, body } = content;
        fits(destination, &body, &self.parts.settings.limits)?;
        let mut send = Send { destination: destination.into(), headers, body, receipt: None };
        let address = Address::of_send_shared(&send.destination)?;
        if matches!(address, Address::App(_) | Address::TempQueue(_)) {
            // A backend that answers by asking might never come to an end.
            let text = "a hook publishes to topics, queues and users";
            return Err(Refusal::new(CloseReason::BadDestination, text).at(destination));
        }
        self.admit(sender, &mut send, address, None, None, Leave::Any, now).map_err(Unruled::refusal)
    }
}

/// `user-name` of what a backend has published by its answer.
const BACKEND: &str = "backend";
