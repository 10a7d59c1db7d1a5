//! CONNECT, and who it is.

use std::sync::Arc;

use stompede_protocol::{Accepted, Connect};

use crate::broker::door::Broker;
use crate::features::rooms::Typing;
use crate::model::{CloseReason, Principal, Refusal};
use crate::policy::Credentials;
use crate::policy::quota::{UserGuard, UserRate};
use crate::transport::encode::kind;

use super::replies::ReplyBook;
use super::{Env, Identity, Peer};

/// Slow work that the driver does elsewhere and answers later.
#[derive(Debug)]
pub enum Call {
    /// Find out who shows these credentials.
    Authenticate(Box<Credentials>),
}

/// The answer to a [`Call`].
#[derive(Debug)]
pub enum CallAnswer {
    /// Who it is.
    Authenticated(Result<Principal, Refusal>),
}

/// A signed-in client.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) principal: Arc<Principal>,
    /// Header `session` of CONNECTED.
    pub(super) session: Box<str>,
    pub(super) replies: ReplyBook,
    pub(super) rate: Option<UserRate>,
    /// Absent on connections that have never typed.
    pub(super) typing: Option<Box<Typing>>,
    /// Counts the connection as the user's while it lives.
    _counted: Option<UserGuard>,
}

impl Peer {
    pub(super) fn connect(&mut self, env: &mut Env<'_>, connect: Connect) {
        self.kind = kind(self.wire, connect.version);
        if env.broker.is_draining() {
            return self.close(env, &CloseReason::ShuttingDown.into(), None);
        }
        let mut credentials = match std::mem::replace(&mut self.identity, Identity::Asking) {
            Identity::Unknown(credentials) => credentials,
            Identity::Vouched(principal) => return self.authenticated(env, Ok(*principal)),
            Identity::Asking | Identity::Known(_) => {
                return self.close(env, &CloseReason::Internal.into(), None);
            }
        };
        credentials.login = connect.login;
        credentials.passcode = connect.passcode;
        credentials.authorization = connect.authorization;
        if env.broker.authenticator().is_slow(&credentials) {
            env.calls.push((self.id, Call::Authenticate(credentials)));
            return;
        }
        let answer = env.broker.authenticator().authenticate(&credentials, env.now.wall_s());
        self.authenticated(env, answer);
    }

    /// The answer is there: CONNECTED, or ERROR.
    pub(in crate::broker) fn authenticated(&mut self, env: &mut Env<'_>, answer: Result<Principal, Refusal>) {
        if self.is_closing() || !matches!(self.identity, Identity::Asking) {
            return;
        }
        match answer.and_then(|principal| self.admit(env, principal)) {
            Ok(member) => self.accept(env, member),
            Err(refusal) => {
                env.broker.counters().refused(refusal.reason);
                self.close(env, &refusal, None);
            }
        }
    }

    /// The connection counts as the user's from here on.
    fn admit(&self, env: &Env<'_>, principal: Principal) -> Result<Member, Refusal> {
        let limited = principal.user.as_ref().filter(|_| !principal.is_service());
        let counted = limited.map(|user| env.broker.connections().admit_user(user)).transpose()?;
        let rate = limited.map(|user| env.broker.parts.user_rates.join(user));
        let session = format!("{:032x}", (env.broker.parts.random)());
        Ok(Member {
            principal: Arc::new(principal),
            session: session.into(),
            replies: ReplyBook::default(),
            rate,
            typing: None,
            _counted: counted,
        })
    }

    fn accept(&mut self, env: &mut Env<'_>, member: Member) {
        let accepted = Accepted {
            session: &member.session,
            server: &env.broker.settings().server_name,
            user_name: member.principal.user.as_deref(),
            headers: &[],
        };
        self.session.accept(env.now.mono, accepted);
        tracing::debug!(
            connection = %self.label(),
            user = member.principal.name(),
            session = &*member.session,
            version = self.session.version().as_str(),
            "session opened"
        );
        self.identity = Identity::Known(Box::new(member));
        self.go_online(env);
        env.broker.counters().sessions_opened.add(1);
        self.transmit(env);
    }

    /// A fresh token for the same user: the session lives as long as the new one.
    pub(super) fn refresh(&mut self, env: &mut Env<'_>, token: &str) -> Result<(), Refusal> {
        let Identity::Known(member) = &mut self.identity else { return Err(CloseReason::Internal.into()) };
        let fresh = env.broker.authenticator().refresh(&member.principal, token, env.now.wall_s())?;
        member.principal = Arc::new(fresh);
        self.recheck(env)
    }

    /// CONNECT has come and nobody knows yet who it is.
    pub(in crate::broker) fn is_asking(&self) -> bool {
        self.closing.is_none() && matches!(self.identity, Identity::Asking)
    }

    /// Nothing that came waits to be handled.
    pub(in crate::broker) fn is_idle(&self) -> bool {
        self.wants_input() || self.is_asking() && self.input.is_empty()
    }

    /// What a client may send while its CONNECT is judged counts as sent by a stranger.
    pub(in crate::broker) fn read_ahead_max(&self, broker: &Broker) -> usize {
        let bytes_max = broker.settings().limits.unconnected_bytes_max;
        if self.is_asking() { bytes_max.saturating_sub(self.input.len()) } else { 0 }
    }

    pub(super) fn member(&self) -> Option<&Member> {
        match &self.identity {
            Identity::Known(member) => Some(member),
            Identity::Unknown(_) | Identity::Vouched(_) | Identity::Asking => None,
        }
    }

    pub(super) fn is_service(&self) -> bool {
        self.member().is_some_and(|member| member.principal.is_service())
    }

    /// Worker, slot and serial of the connection, for the log.
    pub(in crate::broker) fn label(&self) -> String {
        format!("{}.{}.{}", self.id.worker.0, self.id.slot, self.id.serial)
    }
}
