//! The reply addresses of one session.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{CloseReason, Refusal};
use crate::routing::{Listener, ReplyRoute};

use super::{Env, Identity, Peer};

/// Names of temp-queues and the tokens that lead to them. Empty for most sessions.
#[derive(Debug, Default)]
pub(super) struct ReplyBook(HashMap<Box<str>, Box<str>>);

impl Peer {
    /// The token of the session's temp-queue `name`; made at its first use.
    pub(super) fn reply_token(&mut self, env: &Env<'_>, name: &str) -> Result<Box<str>, Refusal> {
        let id = self.id;
        let Identity::Known(member) = &mut self.identity else { return Err(CloseReason::Internal.into()) };
        if name.is_empty() || name.len() > crate::model::destination::DESTINATION_BYTES_MAX {
            let text = "a reply queue is /temp-queue/<name>";
            return Err(Refusal::new(CloseReason::BadDestination, text));
        }
        let book = &mut member.replies.0;
        if let Some(token) = book.get(name) {
            return Ok(token.clone());
        }
        let limit = env.broker.settings().limits.replies_max;
        if book.len() >= limit {
            let text = format!("more than {limit} reply queues on one connection");
            return Err(Refusal::new(CloseReason::TooManySubscriptions, text));
        }
        let token = env.broker.reply_token();
        let listener = Listener::TempQueue(Arc::from(name));
        env.broker.replies.insert(&token, ReplyRoute { connection: id, listener });
        book.insert(name.into(), token.clone());
        Ok(token)
    }

    /// Whether the session has a temp-queue `name`.
    pub(super) fn has_reply_queue(&self, name: &str) -> bool {
        self.member().is_some_and(|member| member.replies.0.contains_key(name))
    }

    pub(super) fn forget_replies(&mut self, env: &Env<'_>) {
        let Identity::Known(member) = &mut self.identity else { return };
        for (_, token) in std::mem::take(&mut member.replies.0) {
            env.broker.replies.remove(&token);
        }
    }
}
