//! Makes tokens for `stompede token` and for trying the broker out.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use super::error::PolicyError;
use super::fault_of_user_id;
use super::jwt::{JwtConfig, install_provider, key};

/// What a new token shall say.
#[derive(Debug, Clone, Default)]
pub struct TokenOrder {
    /// The user id.
    pub user: String,
    /// Whether it is for a backend.
    pub service: bool,
    /// Further claims.
    pub claims: Map<String, Value>,
    /// How long it is valid, seconds.
    pub ttl_s: u64,
}

/// Signs with the configured secret, in the way that [`super::JwtVerifier`] of the same configuration accepts.
pub struct JwtSigner {
    key: EncodingKey,
    algorithm: Algorithm,
    config: JwtConfig,
}

impl JwtSigner {
    /// Takes the first of `jwt.algorithms`, else HS256.
    pub fn new(config: &JwtConfig) -> Result<Self, PolicyError> {
        install_provider();
        if !config.has_key() {
            return Err(PolicyError::NoKey);
        }
        let secret = key::secret(config)?.ok_or(PolicyError::CannotSign)?;
        let algorithm = key::chosen_algorithms(&config.algorithms, key::HMAC)?[0];
        Ok(Self { key: EncodingKey::from_secret(&secret), algorithm, config: config.clone() })
    }

    /// A token valid from `now_s` on.
    pub fn sign(&self, order: &TokenOrder, now_s: u64) -> Result<String, PolicyError> {
        if let Some(fault) = fault_of_user_id(&order.user) {
            return Err(PolicyError::Token(fault.to_owned()));
        }
        let mut claims = order.claims.clone();
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        set(&self.config.user_claim, order.user.as_str().into());
        set("iat", now_s.into());
        set("exp", now_s.saturating_add(order.ttl_s).into());
        if let Some(issuer) = &self.config.issuer {
            set("iss", issuer.as_str().into());
        }
        if let Some(audience) = self.config.audience.first() {
            set("aud", audience.as_str().into());
        }
        if order.service {
            let claim = self.config.role_claims.first();
            let claim = claim.ok_or_else(|| PolicyError::Token("jwt.role_claims is empty".to_owned()))?;
            set(claim, self.config.service_role.as_str().into());
        }
        let token = jsonwebtoken::encode(&Header::new(self.algorithm), &claims, &self.key);
        token.map_err(|error| PolicyError::Token(error.to_string()))
    }
}

impl std::fmt::Debug for JwtSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JwtSigner({:?})", self.algorithm)
    }
}
