//! From what a client shows to who it is.
//!
//! The first of these that is present decides, and an invalid one is never followed by the next: `login` naming a
//! configured account, with its `passcode`; the STOMP header `Authorization`; a `passcode` that has a token's shape; the
//! handshake's `Authorization`; the query's `token`. So a filler like `guest`/`guest` beside a token does no harm.

use std::fmt;
use std::sync::Arc;

use super::accounts::Accounts;
use super::fault_of_user_id;
use super::jwks::KeySource;
use super::jwt::{JwtVerifier, Unproven, has_jwt_shape};
use crate::model::{CloseReason, Principal, Refusal};

/// What a client has shown. `Debug` says only what is there.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Header `login` of CONNECT.
    pub login: Option<Box<str>>,
    /// Header `passcode` of CONNECT.
    pub passcode: Option<Box<str>>,
    /// Header `Authorization` of CONNECT.
    pub authorization: Option<Box<str>>,
    /// Header `Authorization` of the HTTP request that opened the connection.
    pub handshake_authorization: Option<Box<str>>,
    /// Query parameter `token` of that request.
    pub query_token: Option<Box<str>>,
}

/// Decides who somebody is.
#[derive(Debug)]
pub struct Authenticator {
    jwt: Option<JwtVerifier>,
    accounts: Accounts,
    mode: Mode,
}

/// What is true besides keys and accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Somebody without credentials is refused.
    Closed,
    /// Somebody without credentials is anonymous.
    AllowAnonymous,
    /// Any login with the passcode `guest` is that user, and nobody is restricted.
    Development,
}

/// What decides, by order of precedence.
enum Shown<'a> {
    Account { login: &'a str, passcode: &'a str },
    Header(&'a str),
    Token(&'a str),
    Login { login: &'a str, passcode: &'a str },
    Nothing,
}

impl Authenticator {
    /// Without a verifier tokens are refused, without accounts no login is known.
    pub fn new(jwt: Option<JwtVerifier>, accounts: Accounts, mode: Mode) -> Self {
        Self { jwt, accounts, mode }
    }

    /// Who shows these credentials, as far as keys are known. May be slow: see [`Authenticator::is_slow`].
    pub fn authenticate(&self, credentials: &Credentials, now_s: u64) -> Result<Principal, Refusal> {
        self.attempt(credentials, now_s).map_err(Unproven::refusal)
    }

    /// As [`Authenticator::authenticate`], but with [`Unproven::Keys`] where keys should be fetched first.
    pub fn attempt(&self, credentials: &Credentials, now_s: u64) -> Result<Principal, Unproven> {
        let mut principal = match self.decisive(credentials) {
            Shown::Account { login, passcode } => self.account(login, passcode)?,
            Shown::Header(value) => self.token(bearer(value)?, now_s)?,
            Shown::Token(token) => self.token(token, now_s)?,
            Shown::Login { login, passcode } if self.is_development() => development_user(login, passcode)?,
            Shown::Login { passcode, .. } => {
                self.accounts.verify_unknown(passcode);
                return Err(unauthorized(WRONG_LOGIN).into());
            }
            Shown::Nothing if self.mode == Mode::AllowAnonymous => return Ok(Principal::anonymous()),
            Shown::Nothing => return Err(unauthorized(self.how_to_log_in()).into()),
        };
        principal.unrestricted = self.is_development();
        Ok(principal)
    }

    /// As [`Authenticator::attempt`], of a client that cannot log in: in development mode it may show nothing.
    pub fn recognise(&self, credentials: &Credentials, now_s: u64) -> Result<Principal, Unproven> {
        if self.is_development() && matches!(self.decisive(credentials), Shown::Nothing) {
            return Ok(Principal { unrestricted: true, ..Principal::anonymous() });
        }
        self.attempt(credentials, now_s)
    }

    /// Whether [`Authenticator::authenticate`] will hash a passcode, which takes tens of milliseconds of processor time:
    /// then call it off the workers.
    pub fn is_slow(&self, credentials: &Credentials) -> bool {
        let login = matches!(self.decisive(credentials), Shown::Account { .. } | Shown::Login { .. });
        login && !self.accounts.is_empty()
    }

    /// The identity of a running session from a fresh token, which must be for the same user.
    pub fn refresh(&self, current: &Principal, token: &str, now_s: u64) -> Result<Principal, Unproven> {
        let mut fresh = self.token(token, now_s)?;
        if fresh.user != current.user {
            return Err(unauthorized("the fresh token is for another user; connect again instead").into());
        }
        fresh.unrestricted = self.is_development();
        Ok(fresh)
    }

    /// Where keys are to be fetched.
    pub fn key_sources(&self) -> &[Arc<KeySource>] {
        self.jwt.as_ref().map_or(&[], JwtVerifier::sources)
    }

    /// Whether anybody may be anybody.
    pub fn is_development(&self) -> bool {
        self.mode == Mode::Development
    }

    fn decisive<'a>(&self, shown: &'a Credentials) -> Shown<'a> {
        let passcode = shown.passcode.as_deref();
        let login = shown.login.as_deref().filter(|login| !login.is_empty());
        let account = login.filter(|login| self.accounts.find(login).is_some());
        if let Some(login) = account {
            return Shown::Account { login, passcode: passcode.unwrap_or_default() };
        }
        if let Some(value) = &shown.authorization {
            return Shown::Header(value);
        }
        if let Some(token) = passcode.filter(|passcode| has_jwt_shape(passcode)) {
            return Shown::Token(token);
        }
        if let Some(value) = &shown.handshake_authorization {
            return Shown::Header(value);
        }
        if let Some(token) = &shown.query_token {
            return Shown::Token(token);
        }
        login.map_or(Shown::Nothing, |login| Shown::Login { login, passcode: passcode.unwrap_or_default() })
    }

    fn account(&self, login: &str, passcode: &str) -> Result<Principal, Refusal> {
        let account = self.accounts.find(login).filter(|account| account.verify(passcode));
        account.map(|account| account.principal().clone()).ok_or_else(|| unauthorized(WRONG_LOGIN))
    }

    fn token(&self, token: &str, now_s: u64) -> Result<Principal, Unproven> {
        let verifier =
            self.jwt.as_ref().ok_or_else(|| unauthorized("no key for tokens is configured here"))?;
        verifier.attempt(token, now_s)
    }

    fn how_to_log_in(&self) -> &'static str {
        match self.mode {
            Mode::Development => {
                "log in with any login and the passcode guest, or with a token in Authorization: Bearer"
            }
            Mode::Closed | Mode::AllowAnonymous if self.jwt.is_none() => "log in with login and passcode",
            Mode::Closed | Mode::AllowAnonymous => {
                "log in with a token in the header Authorization: Bearer <token>"
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = |part: &Option<Box<str>>| if part.is_some() { "there" } else { "none" };
        f.debug_struct("Credentials")
            .field("login", &self.login)
            .field("passcode", &there(&self.passcode))
            .field("authorization", &there(&self.authorization))
            .field("handshake_authorization", &there(&self.handshake_authorization))
            .field("query_token", &there(&self.query_token))
            .finish()
    }
}

/// The token of `Bearer <token>` (RFC 6750 section 2.1; the scheme's case does not count, RFC 9110 section 11.1).
fn bearer(value: &str) -> Result<&str, Refusal> {
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(unauthorized("the header Authorization has the form Bearer <token>"));
    }
    Ok(token.trim())
}

fn development_user(login: &str, passcode: &str) -> Result<Principal, Refusal> {
    if passcode != DEVELOPMENT_PASSCODE {
        return Err(unauthorized("in development mode the passcode of every login is guest"));
    }
    if let Some(fault) = fault_of_user_id(login) {
        return Err(unauthorized(fault));
    }
    Ok(if login == DEVELOPMENT_SERVICE { Principal::service(login) } else { Principal::user(login) })
}

fn unauthorized(message: &'static str) -> Refusal {
    Refusal::new(CloseReason::Unauthorized, message)
}

/// The passcode of every login in development mode.
pub const DEVELOPMENT_PASSCODE: &str = "guest";

/// The login that is a service in development mode.
pub const DEVELOPMENT_SERVICE: &str = "guest";

const WRONG_LOGIN: &str = "login or passcode is wrong";

#[cfg(test)]
mod tests;
