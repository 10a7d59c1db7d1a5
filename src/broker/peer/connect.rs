//! CONNECT, and who it is.

use std::sync::Arc;

use bytes::Bytes;
use stompede_protocol::{Accepted, Connect, Headers, Millis};

use crate::broker::door::Broker;
use crate::broker::letters::{Fresh, Sought};
use crate::broker::post::{Posted, Unposted};
use crate::features::rooms::Typing;
use crate::model::message::forwarded_headers;
use crate::model::{self, Answer, CloseReason, Judged, Principal, Refusal};
use crate::policy::hooks::{Case, HookEvent, HookId};
use crate::policy::quota::{UserGuard, UserRate};
use crate::policy::{Credentials, Unproven};
use crate::transport::encode::kind;

use super::replies::ReplyBook;
use super::{Env, Identity, Manner, Peer};

/// Slow work that the driver does elsewhere and answers later.
#[derive(Debug)]
pub enum Call {
    /// Find out who shows these credentials.
    Authenticate(Box<Credentials>),
    /// As above, once the keys of this source were looked for.
    FetchKeys(Box<Credentials>, usize),
    /// Look for the keys of this source.
    SeekKeys(usize),
}

/// The answer to a [`Call`].
#[derive(Debug)]
pub enum CallAnswer {
    /// Who it is.
    Authenticated(Result<Principal, Refusal>),
    /// The keys were looked for, whether or not there are new ones.
    KeysSought,
}

/// A client of whom a backend is asked.
#[derive(Debug)]
pub(super) struct Introduced {
    hook: HookId,
    /// The number of the question, once it is asked.
    pub(super) call: Option<u32>,
    /// Who it is so far.
    principal: Arc<Principal>,
    /// Of CONNECT, but for its secrets.
    headers: Headers,
}

impl Introduced {
    fn new(hook: HookId, headers: &Headers) -> Self {
        let principal = Arc::new(Principal::anonymous());
        Self { hook, call: None, principal, headers: forwarded_headers(headers) }
    }
}

/// What a backend has said of who somebody is: it holds for the session, whatever token comes later.
#[derive(Debug)]
struct Known {
    /// Who it was by what he had shown; a fresh token is for the same user.
    shown: Arc<Principal>,
    identity: model::Identity,
}

impl Known {
    /// The fresh token shows `principal`; the session ends no later than the backend has said.
    fn apply(&self, principal: &mut Principal) {
        let token_expires_s = principal.expires_s;
        self.identity.apply(principal);
        principal.expires_s = [token_expires_s, self.identity.expires_s].into_iter().flatten().min();
    }

    /// Whose token may follow.
    fn owner<'a>(&'a self, principal: &'a Principal) -> &'a Principal {
        if self.shown.user.is_some() { &self.shown } else { principal }
    }
}

/// A signed-in client.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) principal: Arc<Principal>,
    /// Where a backend has said who it is.
    known: Option<Box<Known>>,
    /// Header `session` of CONNECTED.
    pub(super) session: Box<str>,
    pub(super) replies: ReplyBook,
    pub(super) rate: Option<UserRate>,
    /// When it was signed in, until the backend was told of its end.
    pub(super) since: Option<Millis>,
    /// Absent on connections that have never typed.
    pub(super) typing: Option<Box<Typing>>,
    /// Counts the connection as the user's while it lives.
    _counted: Option<UserGuard>,
}

impl Peer {
    #[inline(never)]
    pub(super) fn connect(&mut self, env: &mut Env<'_>, connect: Connect) {
        self.kind = kind(self.wire, connect.version);
        self.begin_stream(&connect.headers);
        if env.broker.is_draining() {
            return self.close(env, &CloseReason::ShuttingDown.into(), None);
        }
        // Whom the embedding program vouches for, nobody else is asked about.
        let is_embedded = matches!((&self.identity, &self.manner), (Identity::Vouched(_), Manner::Plain));
        let hook = env.broker.parts.access.hooks().of(HookEvent::Connect).filter(|_| !is_embedded);
        let introduced = hook.map(|hook| Box::new(Introduced::new(hook, &connect.headers)));
        let mut credentials = match std::mem::replace(&mut self.identity, Identity::Asking(introduced)) {
            Identity::Unknown(credentials) => credentials,
            Identity::Vouched(principal) => return self.authenticated(env, Ok(*principal)),
            Identity::Asking(_) | Identity::Known(_) => {
                return self.close(env, &CloseReason::Internal.into(), None);
            }
        };
        credentials.login = connect.login;
        credentials.passcode = connect.passcode;
        credentials.authorization = connect.authorization;
        let rule = hook.and_then(|hook| env.broker.parts.access.hooks().rule(hook));
        if rule.is_some_and(|rule| rule.authenticates) {
            return self.introduce(env, Principal::anonymous(), Some(credentials));
        }
        if env.broker.authenticator().is_slow(&credentials) {
            env.calls.push((self.id, Call::Authenticate(credentials)));
            return;
        }
        match env.broker.authenticator().attempt(&credentials, env.now.wall_s()) {
            Ok(principal) => self.authenticated(env, Ok(principal)),
            Err(Unproven::Refused(refusal)) => self.authenticated(env, Err(refusal)),
            Err(Unproven::Keys(source)) => {
                env.calls.push((self.id, Call::FetchKeys(credentials, source.number())));
            }
        }
    }

    /// The answer is there: CONNECTED, or ERROR.
    pub(in crate::broker) fn authenticated(&mut self, env: &mut Env<'_>, answer: Result<Principal, Refusal>) {
        if self.is_closing() || !matches!(self.identity, Identity::Asking(_)) {
            return;
        }
        match answer {
            Ok(principal)
                if matches!(self.identity, Identity::Asking(Some(_))) && !principal.is_service() =>
            {
                self.introduce(env, principal, None);
            }
            answer => self.decide(env, answer.map(|principal| (principal, None))),
        }
    }

    /// Asks a backend who it is, or whether he may come.
    fn introduce(&mut self, env: &mut Env<'_>, principal: Principal, credentials: Option<Box<Credentials>>) {
        let ticket = self.ticket();
        let Identity::Asking(Some(introduced)) = &mut self.identity else { return };
        introduced.call = Some(ticket.call);
        introduced.principal = Arc::new(principal);
        let case = Case {
            hook: introduced.hook,
            event: HookEvent::Connect,
            principal: Arc::clone(&introduced.principal),
            session: "".into(),
            destination: "".into(),
            headers: introduced.headers.clone(),
            body: Bytes::new(),
            credentials,
            generation: 0,
        };
        let sink = Arc::clone(&env.broker.sink);
        env.broker.ask(case, Box::new(move |judged| sink.answer(ticket, Answer::Judged(judged))));
    }

    /// The backend has said who it is, and whether he may come.
    pub(super) fn recognised(&mut self, env: &mut Env<'_>, judged: Judged) {
        let Identity::Asking(Some(introduced)) = &self.identity else { return };
        let shown = Arc::clone(&introduced.principal);
        let answer = judged.verdict.map(|allowance| {
            let mut principal = Principal::clone(&shown);
            allowance.identity.apply(&mut principal);
            (principal, Some(Box::new(Known { shown, identity: allowance.identity })))
        });
        self.decide(env, answer);
        self.read_on(env);
    }

    fn decide(&mut self, env: &mut Env<'_>, answer: Result<(Principal, Option<Box<Known>>), Refusal>) {
        match answer.and_then(|(principal, known)| self.admit(env, principal, known)) {
            Ok(member) => self.accept(env, member),
            Err(refusal) => {
                env.tally.refused(refusal.reason);
                self.close(env, &refusal, None);
            }
        }
    }

    /// The connection counts as the user's from here on.
    fn admit(
        &self,
        env: &Env<'_>,
        principal: Principal,
        known: Option<Box<Known>>,
    ) -> Result<Member, Refusal> {
        env.broker.revocations.check(&principal)?;
        let limited = principal.user.as_ref().filter(|_| !principal.is_service());
        let counted = limited.map(|user| env.broker.connections().admit_user(user)).transpose()?;
        let rate = limited.map(|user| env.broker.parts.user_rates.join(user));
        let session = format!("{:032x}", (env.broker.parts.random)());
        Ok(Member {
            principal: Arc::new(principal),
            known,
            session: session.into(),
            replies: ReplyBook::default(),
            rate,
            since: Some(env.now.mono),
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
        env.tally.sessions_opened.count(1);
        self.transmit(env);
    }

    /// A fresh token for the same user: the session lives as long as the new one, unless a backend has said for how long.
    #[inline(never)]
    pub(super) fn refresh(&mut self, env: &mut Env<'_>, fresh: &mut Fresh) -> Result<Posted, Unposted> {
        let Identity::Known(member) = &mut self.identity else {
            return Err(Unposted::Ended(CloseReason::Internal.into()));
        };
        let now_s = env.now.wall_s();
        let known = member.known.as_deref();
        let owner = known.map_or(&*member.principal, |known| known.owner(&member.principal));
        let mut principal = match env.broker.authenticator().refresh(owner, &fresh.token, now_s) {
            Ok(principal) => principal,
            Err(Unproven::Keys(source)) if fresh.sought != Sought::Done => {
                if fresh.sought == Sought::Not {
                    fresh.sought = Sought::UnderWay;
                    env.calls.push((self.id, Call::SeekKeys(source.number())));
                }
                return Err(Unposted::Full);
            }
            Err(unproven) => return Err(Unposted::Ended(unproven.refusal())),
        };
        if let Some(known) = known {
            known.apply(&mut principal);
        }
        env.broker.revocations.check(&principal).map_err(Unposted::Ended)?;
        member.principal = Arc::new(principal);
        self.recheck(env).map_err(Unposted::Ended)?;
        Ok(Posted::Now)
    }

    /// CONNECT has come and nobody knows yet who it is.
    pub(in crate::broker) fn is_asking(&self) -> bool {
        self.closing.is_none() && matches!(self.identity, Identity::Asking(_))
    }

    /// Nothing that came waits to be handled.
    pub(in crate::broker) fn is_idle(&self) -> bool {
        self.wants_input() && self.calls.is_empty() || self.is_asking() && self.input.is_empty()
    }

    /// What a client may send while its CONNECT is judged counts as sent by a stranger.
    pub(in crate::broker) fn read_ahead_max(&self, broker: &Broker) -> usize {
        let bytes_max = broker.settings().limits.unconnected_bytes_max;
        if self.is_asking() { bytes_max.saturating_sub(self.input.len()) } else { 0 }
    }

    pub(super) fn member(&self) -> Option<&Member> {
        match &self.identity {
            Identity::Known(member) => Some(member),
            Identity::Unknown(_) | Identity::Vouched(_) | Identity::Asking(_) => None,
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
