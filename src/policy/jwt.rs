//! Verification of JSON Web Tokens (RFC 7519).
//!
//! The library checks the signature; everything about the claims is checked here, against the caller's clock. Which
//! algorithms count is decided by the configured key, never by the token:
//!
//! | key | algorithms |
//! | --- | --- |
//! | secret | HS256, HS384, HS512 (issuers commonly choose by the length of the secret) |
//! | RSA | RS256, RS384, RS512, PS256, PS384, PS512 |
//! | P-256, P-384 | ES256, ES384 |
//! | Ed25519 | EdDSA |
//!
//! `jwt.algorithms` narrows that down.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Once;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::PolicyError;
use super::fault_of_user_id;
use super::secret::Secret;
use crate::model::{Claims, CloseReason, Principal, Refusal, Role};

pub(super) mod key;

/// Longest token that is looked at, bytes. Larger ones cost work before anybody is known.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// `[jwt]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// Shared secret, at least 32 bytes of text.
    pub secret: Option<Secret>,
    /// Shared secret in base64 (either alphabet, padded or not), at least 32 bytes decoded.
    pub secret_base64: Option<Secret>,
    /// PEM file with the issuer's public key.
    pub public_key_file: Option<PathBuf>,
    /// Accepts a secret of less than 32 bytes.
    pub allow_short_secret: bool,
    /// Accepted algorithms; empty: all that the key can verify.
    pub algorithms: Vec<String>,
    /// Demanded value of `iss`.
    pub issuer: Option<String>,
    /// Demanded member of `aud`.
    pub audience: Option<String>,
    /// Claim that holds the user id, a text or an integer.
    pub user_claim: String,
    /// Claims that may name the role, a text or a list.
    pub role_claims: Vec<String>,
    /// The role that makes a service.
    pub service_role: String,
    /// How far the issuer's clock may be off, seconds.
    pub leeway_s: u64,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            secret: None,
            secret_base64: None,
            public_key_file: None,
            allow_short_secret: false,
            algorithms: Vec::new(),
            issuer: None,
            audience: None,
            user_claim: "sub".to_owned(),
            role_claims: vec!["role".to_owned(), "roles".to_owned()],
            service_role: "service".to_owned(),
            leeway_s: 30,
        }
    }
}

impl JwtConfig {
    /// Whether any key is configured.
    pub fn has_key(&self) -> bool {
        self.secret.is_some() || self.secret_base64.is_some() || self.public_key_file.is_some()
    }

    /// Refuses to take the development secret for a real one.
    pub fn check_secret_is_own(&self) -> Result<(), PolicyError> {
        let known = self.secret.as_ref().is_some_and(|secret| secret.expose() == DEVELOPMENT_SECRET);
        if known { Err(PolicyError::DevelopmentSecret) } else { Ok(()) }
    }

    /// What development mode verifies with. Its secret is public, which takes nothing away: there anybody may be anybody.
    pub fn development() -> Self {
        Self { secret: Some(Secret::new(DEVELOPMENT_SECRET)), ..Self::default() }
    }
}

/// Turns tokens into principals.
#[derive(Debug)]
pub struct JwtVerifier {
    key: DecodingKey,
    validation: Validation,
    config: JwtConfig,
    kept: BTreeSet<Box<str>>,
}

impl JwtVerifier {
    /// Reads the configured key. `kept` are the claims that access rules ask for; principals carry no others.
    pub fn new(config: &JwtConfig, kept: BTreeSet<Box<str>>) -> Result<Self, PolicyError> {
        install_provider();
        let (key, possible) = key::verification_key(config)?;
        let algorithms = key::chosen_algorithms(&config.algorithms, possible)?;
        // Claims are judged below, by our clock and with our texts.
        let mut validation = Validation::new(algorithms[0]);
        validation.algorithms = algorithms;
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let config = JwtConfig { secret: None, secret_base64: None, ..config.clone() };
        Ok(Self { key, validation, config, kept })
    }

    /// The bearer of `token`. A token accepted only by the leeway ends with the leeway, any other at its `exp`.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Principal, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(unauthorized(format!("the token is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &self.key, &self.validation);
        let decoded = decoded.map_err(|error| self.signature_fault(error.kind()))?;
        // RFC 7515, section 4.1.11: who does not understand a critical header must refuse.
        if decoded.header.crit.is_some() {
            return Err(unauthorized("the token has critical headers; none are understood here"));
        }
        let claims = decoded.claims;
        let expires_s = self.check_times(&claims, now_s)?;
        self.check_origin(&claims)?;
        Ok(Principal {
            user: Some(self.user(&claims)?.into()),
            role: self.role(&claims),
            claims: self.kept_claims(&claims),
            expires_s: Some(expires_s),
            unrestricted: false,
        })
    }

    fn signature_fault(&self, kind: &ErrorKind) -> Refusal {
        match kind {
            ErrorKind::InvalidSignature => {
                unauthorized("the token's signature does not match the configured key")
            }
            ErrorKind::InvalidAlgorithm
            | ErrorKind::InvalidAlgorithmName
            | ErrorKind::UnsupportedAlgorithm => {
                let accepted = key::names(&self.validation.algorithms);
                unauthorized(format!("the token's algorithm is not accepted here; accepted: {accepted}"))
            }
            _ => unauthorized("the token is not a well-formed JWT"),
        }
    }

    fn check_times(&self, claims: &Map<String, Value>, now_s: u64) -> Result<u64, Refusal> {
        let leeway_s = self.config.leeway_s;
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
        let names = |claim: &str, wanted: &str| texts(claims.get(claim)).iter().any(|text| &**text == wanted);
        if self.config.issuer.as_deref().is_some_and(|wanted| !names("iss", wanted)) {
            return Err(unauthorized("the token's iss is not the issuer that is accepted here"));
        }
        if self.config.audience.as_deref().is_some_and(|wanted| !names("aud", wanted)) {
            return Err(unauthorized("the token's aud does not name this broker"));
        }
        Ok(())
    }

    fn user(&self, claims: &Map<String, Value>) -> Result<String, Refusal> {
        let claim = &self.config.user_claim;
        let id = match claims.get(claim) {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
            Some(_) => {
                return Err(unauthorized(format!("the token's {claim} is neither a text nor an integer")));
            }
            None => return Err(unauthorized(format!("the token has no {claim}, which would name the user"))),
        };
        fault_of_user_id(&id).map_or(Ok(id), |fault| Err(unauthorized(fault)))
    }

    fn role(&self, claims: &Map<String, Value>) -> Role {
        let service =
            |claim: &String| texts(claims.get(claim)).iter().any(|role| **role == *self.config.service_role);
        if self.config.role_claims.iter().any(service) { Role::Service } else { Role::User }
    }

    fn kept_claims(&self, claims: &Map<String, Value>) -> Claims {
        let kept =
            self.kept.iter().filter_map(|name| Some((name.clone(), texts(Some(claims.get(&**name)?)))));
        kept.collect()
    }
}

/// Whether a text has the shape of a JWT: three parts of base64url, the first one the start of a JSON object.
pub fn has_jwt_shape(text: &str) -> bool {
    let base64url = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let mut parts = text.split('.');
    let header = parts.next().unwrap_or_default();
    let (payload, signature) = (parts.next(), parts.next());
    // `{"` in base64 is `ey`.
    header.starts_with("ey")
        && parts.next().is_none()
        && payload.is_some_and(|p| !p.is_empty())
        && [Some(header), payload, signature].into_iter().all(|part| part.is_some_and(base64url))
}

/// Chooses the cryptography explicitly: the library panics at first use when it cannot tell. An embedding program that
/// has already chosen keeps its choice.
pub(super) fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

/// NumericDate of RFC 7519: seconds, with or without a fraction; before 1970 is no date we can meet.
fn seconds(value: &Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|s| s.is_finite() && *s >= 0.0);
    // A cast from float saturates, so a date beyond u64 is simply far away.
    value.as_u64().or_else(|| fraction().map(|s| s as u64))
}

/// A claim as the list of its texts; what is no text, number or truth value is left out.
fn texts(value: Option<&Value>) -> Box<[Box<str>]> {
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

fn unauthorized(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(CloseReason::Unauthorized, message)
}

/// Signs and verifies in development mode.
pub const DEVELOPMENT_SECRET: &str = "stompede development mode: never a secret";

#[cfg(test)]
mod tests;
