//! A backend that stands in for the application's workers: it is asked where there is none, and what it answers is sent in its name.

use std::sync::Arc;

use stompede_protocol::Send;

use crate::features::idempotency::derived_key;
use crate::model::{
    Address, Allowance, CloseReason, Content, Destination, Judged, Message, Outgoing, Principal, Refusal,
    StoreError,
};
use crate::policy::hooks::{Case, HookEvent, Told};

use super::door::Broker;
use super::letters::{Letter, Sender};
use super::pleas::{Leave, Unruled, ask, fits};
use super::settings::Now;

impl Broker {
    /// Asks a backend that stands in for the application's workers, unless there is one.
    pub(super) fn ask_stand_in(&self, destination: &Destination, case: Case, told: Told) {
        let judge = self.judge.get().cloned();
        let then = move |attended| match attended {
            Ok(true) => told(Judged::by_worker()),
            Ok(false) => ask(judge.as_ref(), case, told),
            Err(error) => {
                let refusal = Refusal::new(CloseReason::Unavailable, StoreError::to_string(&error));
                told(Judged::failed(refusal));
            }
        };
        self.queues.ask_attended(destination, Box::new(then));
    }

    /// What was sent to the application: to a worker, or where a backend stands in for them, to whom there is.
    pub(super) fn to_application(&self, message: Arc<Message>) -> Letter {
        let hook = self.parts.access.hooks().find(HookEvent::Message, message.destination.as_str(), false);
        match hook {
            Some(hook) => Letter::Backend(hook, message),
            None => Letter::Handler(message),
        }
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
        let send = Send { destination: destination.into(), headers, body, receipt: None };
        let address = Address::of_send(destination)?;
        if matches!(address, Address::App(_) | Address::TempQueue(_)) {
            // A backend that answers by asking might never come to an end.
            let text = "a hook publishes to topics, queues and users";
            return Err(Refusal::new(CloseReason::BadDestination, text).at(destination));
        }
        self.admit(sender, &send, address, None, None, Leave::Any, now).map_err(Unruled::refusal)
    }
}

/// `user-name` of what a backend has published by its answer.
const BACKEND: &str = "backend";
