//! What a token says, once its signature is known to be good.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::config::{JwtConfig, ProviderConfig};
use crate::model::{Claims, CloseReason, Principal, Refusal, Role};
use crate::policy::fault_of_user_id;

/// What is demanded of the claims of one issuer, and what is read from them.
#[derive(Debug)]
pub(super) struct ClaimRules {
    issuer: Option<String>,
    audience: Vec<String>,
    required: BTreeMap<String, String>,
    user_claim: String,
    user_prefix: String,
    role_claims: Vec<String>,
    service_role: String,
    leeway_s: u64,
    kept: BTreeSet<Box<str>>,
}

impl ClaimRules {
    /// Of tokens that a configured key verifies.
    pub(super) fn of_key(config: &JwtConfig, kept: BTreeSet<Box<str>>) -> Self {
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            required: config.required_claims.clone(),
            user_claim: config.user_claim.clone(),
            user_prefix: String::new(),
            role_claims: config.role_claims.clone(),
            service_role: config.service_role.clone(),
            leeway_s: config.leeway_s,
            kept,
        }
    }

    /// Of tokens of an issuer that publishes its keys.
    pub(super) fn of_provider(
        config: &JwtConfig,
        provider: &ProviderConfig,
        kept: BTreeSet<Box<str>>,
    ) -> Self {
        Self {
            issuer: Some(provider.issuer.clone()),
            audience: provider.audience.clone(),
            required: provider.required_claims.clone(),
            user_claim: provider.user_claim.as_ref().unwrap_or(&config.user_claim).clone(),
            user_prefix: provider.user_prefix.clone(),
            ..Self::of_key(config, kept)
        }
    }

    /// The bearer. A token accepted only by the leeway ends with the leeway, any other at its `exp`.
    pub(super) fn judge(&self, claims: &Map<String, Value>, now_s: u64) -> Result<Principal, Refusal> {
        let expires_s = self.check_times(claims, now_s)?;
        self.check_origin(claims)?;
        Ok(Principal {
            user: Some(self.user(claims)?.into()),
            role: self.role(claims),
            claims: self.kept_claims(claims),
            expires_s: Some(expires_s),
            token_id: claims.get("jti").and_then(Value::as_str).map(Into::into),
            issued_s: claims.get("iat").and_then(seconds),
            unrestricted: false,
        })
    }

    fn check_times(&self, claims: &Map<String, Value>, now_s: u64) -> Result<u64, Refusal> {
        let leeway_s = self.leeway_s;
        if let Some(nbf) = claims.get("nbf") {
            let nbf =
                seconds(nbf).ok_or_else(|| unauthorized("the token's nbf is not a number of seconds"))?;
            if nbf > now_s.saturating_add(leeway_s) {
                return Err(unauthorized(format!("the token is valid only in {} s (nbf)", nbf - now_s)));
            }
        }
        let exp =
            claims.get("exp").ok_or_else(|| unauthorized("the token has no exp; it must have an end"))?;
        let exp = seconds(exp).ok_or_else(|| unauthorized("the token's exp is not a number of seconds"))?;
        let last = exp.saturating_add(leeway_s);
        if now_s >= last {
            let ago = now_s - exp;
            return Err(Refusal::new(CloseReason::TokenExpired, format!("the token expired {ago} s ago")));
        }
        Ok(if exp > now_s { exp } else { last })
    }

    fn check_origin(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        let has = |claim: Option<&Value>, wanted: &str| texts(claim).iter().any(|text| &**text == wanted);
        if self.issuer.as_deref().is_some_and(|wanted| !has(claims.get("iss"), wanted)) {
            return Err(unauthorized("the token's iss is not the issuer that is accepted here"));
        }
        let is_meant = self.audience.iter().any(|wanted| has(claims.get("aud"), wanted));
        if !self.audience.is_empty() && !is_meant {
            return Err(unauthorized("the token's aud does not name this broker"));
        }
        match self.required.iter().find(|(name, wanted)| !has(find(claims, name), wanted)) {
            Some((name, _)) => Err(unauthorized(format!(
                "the token's {name} is not what is demanded here (required_claims)"
            ))),
            None => Ok(()),
        }
    }

    fn user(&self, claims: &Map<String, Value>) -> Result<String, Refusal> {
        let claim = &self.user_claim;
        let id = match find(claims, claim) {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
            Some(_) => {
                return Err(unauthorized(format!("the token's {claim} is neither a text nor an integer")));
            }
            None => return Err(unauthorized(format!("the token has no {claim}, which would name the user"))),
        };
        let fault = fault_of_user_id(&id);
        let id = format!("{}{id}", self.user_prefix);
        fault.or_else(|| fault_of_user_id(&id)).map_or(Ok(id), |fault| Err(unauthorized(fault)))
    }

    fn role(&self, claims: &Map<String, Value>) -> Role {
        let service =
            |claim: &String| texts(find(claims, claim)).iter().any(|role| **role == *self.service_role);
        if self.role_claims.iter().any(service) { Role::Service } else { Role::User }
    }

    fn kept_claims(&self, claims: &Map<String, Value>) -> Claims {
        let kept = self.kept.iter().filter_map(|name| Some((name.clone(), texts(Some(find(claims, name)?)))));
        kept.collect()
    }
}

/// A claim by its name; else, where the name has dots, what they lead to: issuers put roles into `realm_access.roles`.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, part| value.get(part))
    })
}

/// NumericDate of RFC 7519: seconds, with or without a fraction; before 1970 is no date we can meet.
fn seconds(value: &Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|s| s.is_finite() && *s >= 0.0);
    // A cast from float saturates, so a date beyond u64 is simply far away.
    value.as_u64().or_else(|| fraction().map(|s| s as u64))
}

/// A claim as the list of its texts; what is no text, number or truth value is left out.
pub(super) fn texts(value: Option<&Value>) -> Box<[Box<str>]> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(truth) => Some(truth.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
        Some(value) => text(value).into_iter().collect(),
        None => Box::default(),
    }
}

/// The refusal of who shows no good token.
pub(super) fn unauthorized(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(CloseReason::Unauthorized, message)
}
