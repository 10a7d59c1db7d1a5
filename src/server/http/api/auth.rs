//! Who asks: a key of the configuration, a service by its token, or a user by his own.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use parking_lot::Mutex;

use super::Api;
use super::problem::Refused;
use crate::model::{CloseReason, Principal, Refusal};
use crate::policy::api_keys::has_key_shape;
use crate::policy::quota::UserRate;
use crate::policy::{Credentials, Scope};

/// Who makes a request.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) principal: Arc<Principal>,
    grant: Grant,
}

/// What a caller may use.
#[derive(Debug)]
enum Grant {
    /// A service: everything.
    All,
    /// A key: its scopes.
    Scopes(Vec<Scope>),
    /// A user: rooms, by the access rules.
    Own,
}

impl Caller {
    /// For what only backends do.
    pub(super) fn backend(self, scope: Scope) -> Result<Arc<Principal>, Refused> {
        match &self.grant {
            Grant::Own => {
                let text = "this is for services and API keys";
                Err(Refusal::new(CloseReason::Forbidden, text).into())
            }
            Grant::All => Ok(self.principal),
            Grant::Scopes(scopes) if scopes.contains(&scope) => Ok(self.principal),
            Grant::Scopes(_) => {
                let text = format!("the API key has not the scope {}", scope.name());
                Err(Refusal::new(CloseReason::Forbidden, text).into())
            }
        }
    }

    /// For what users do as well, each by the access rules.
    pub(super) fn anybody(self, scope: Scope) -> Result<Arc<Principal>, Refused> {
        match self.grant {
            Grant::Own => Ok(self.principal),
            _ => self.backend(scope),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refused> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let shown = header.map(|value| value.to_str().unwrap_or_default());
        let key = shown.and_then(bearer).filter(|shown| has_key_shape(shown));
        if let Some(key) = key {
            let key = api.keys.find(key).ok_or_else(|| {
                Refused::from(Refusal::new(CloseReason::Unauthorized, "the API key is not known"))
            })?;
            let (principal, scopes) = (Arc::clone(key.principal()), key.scopes().to_vec());
            return Ok(Self { principal, grant: Grant::Scopes(scopes) });
        }
        let credentials = Credentials { authorization: shown.map(Into::into), ..Credentials::default() };
        let now = api.office.now();
        let principal = match api.office.broker().authenticate(credentials, now.wall_s()).await {
            Ok(principal) => Arc::new(principal),
            Err(_) if shown.is_none() => {
                let text = "show an API key or a token in the header Authorization: Bearer <key or token>";
                return Err(Refusal::new(CloseReason::Unauthorized, text).into());
            }
            Err(refusal) => return Err(refusal.into()),
        };
        if principal.is_service() {
            return Ok(Self { principal, grant: Grant::All });
        }
        api.rates.check(api, &principal)?;
        Ok(Self { principal, grant: Grant::Own })
    }
}

/// The credential of `Bearer <credential>`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, shown) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| shown.trim())
}

/// How often users ask: together with what they send over STOMP. A rate outlives the request that it was taken for.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<Arc<str>, (UserRate, u64)>>);

impl Rates {
    /// A request of a user.
    fn check(&self, api: &Api, principal: &Principal) -> Result<(), Refused> {
        let Some(user) = &principal.user else { return Ok(()) };
        let broker = api.office.broker();
        let limits = &broker.settings().limits;
        let now_ms = api.office.now().mono.0;
        let mut users = self.0.lock();
        if users.len() >= USERS_MAX && !users.contains_key(user) {
            users.retain(|_, (_, used_ms)| now_ms.saturating_sub(*used_ms) < KEPT_MS);
            if users.len() >= USERS_MAX {
                return Err(CloseReason::RateLimited.into());
            }
        }
        let (rate, used_ms) = users.entry(Arc::clone(user)).or_insert_with(|| (broker.rate_of(user), now_ms));
        *used_ms = now_ms;
        let per_second = limits.user_sends_per_second;
        rate.check(now_ms * 1_000, per_second, per_second.max(limits.sends_burst)).map_err(|wait_ms| {
            let text = format!("more than {per_second} requests and SEND frames a second of one user");
            Refusal::new(CloseReason::RateLimited, text).retry_after(wait_ms).into()
        })
    }
}

/// Users whose rate is remembered.
const USERS_MAX: usize = 10_000;

/// What was not used for so long is forgotten where there are too many, milliseconds.
const KEPT_MS: u64 = 10_000;
