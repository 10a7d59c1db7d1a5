//! What a backend says where it is asked.

use std::sync::Arc;

use bytes::Bytes;
use stompede_protocol::Headers;

use super::close::Refusal;
use super::principal::{Claims, Principal, Role};

/// The answer to one question.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Whether it may be, and what goes with it.
    pub verdict: Result<Box<Allowance>, Refusal>,
    /// So long the same question need not be asked again, milliseconds; 0 = it is asked each time.
    pub keep_ms: u64,
}

impl Judged {
    /// Nobody knows: what was asked is refused.
    pub fn failed(refusal: Refusal) -> Self {
        Self { verdict: Err(refusal), keep_ms: 0 }
    }

    /// A yes, and that is all.
    pub fn nothing() -> Self {
        Self { verdict: Ok(Box::default()), keep_ms: 0 }
    }

    /// A worker is asked instead.
    pub fn by_worker() -> Self {
        let allowance = Allowance { is_for_worker: true, ..Allowance::default() };
        Self { verdict: Ok(Box::new(allowance)), keep_ms: 0 }
    }
}

/// What goes with a yes.
#[derive(Debug, Clone, Default)]
pub struct Allowance {
    /// What stands in place of the body.
    pub body: Option<Bytes>,
    /// Headers that are added, or stand in place of those of the same name.
    pub headers: Headers,
    /// What is sent to whoever asked the application.
    pub reply: Option<Content>,
    /// What is published besides.
    pub messages: Vec<Outgoing>,
    /// Who it is.
    pub identity: Identity,
    /// There is a worker whom the application is asked of: it goes to him.
    pub is_for_worker: bool,
}

/// What is sent.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Bytes,
}

/// A message to some destination.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// Where to.
    pub destination: Box<str>,
    /// What.
    pub content: Content,
}

/// What is said of who somebody is; what is not said stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// His id.
    pub user: Option<Arc<str>>,
    /// What he may claim to be.
    pub role: Option<Role>,
    /// Claims, each in place of those of the same name.
    pub claims: Claims,
    /// When that ends, seconds since the Unix epoch.
    pub expires_s: Option<u64>,
}

impl Identity {
    /// Makes of `principal` what is said of him.
    pub fn apply(&self, principal: &mut Principal) {
        if let Some(user) = &self.user {
            principal.role = principal.role.max(Role::User);
            principal.user = Some(Arc::clone(user));
        }
        principal.role = self.role.unwrap_or(principal.role);
        principal.claims.extend(self.claims.clone());
        principal.expires_s = self.expires_s.or(principal.expires_s);
    }
}
