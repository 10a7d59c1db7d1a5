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
//! `jwt.algorithms` narrows that down. Issuers that publish their keys ([`super::jwks`]) never verify with a secret, and a
//! published key that names its algorithm verifies that one alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Once};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::PolicyError;
use super::jwks::{KeySource, Selected};
use crate::model::{Principal, Refusal};

mod claims;
mod config;
pub(super) mod key;

use claims::{ClaimRules, texts, unauthorized};
pub use config::{JwtConfig, ProviderConfig};

/// Longest token that is looked at, bytes. Larger ones cost work before anybody is known.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Why nobody is known by what was shown.
#[derive(Debug)]
pub enum Unproven {
    /// It is not good.
    Refused(Refusal),
    /// It may be good: its key is not among those that were fetched from here.
    Keys(Arc<KeySource>),
}

/// Turns tokens into principals.
#[derive(Debug)]
pub struct JwtVerifier {
    own: Option<Own>,
    providers: Vec<Provider>,
    sources: Box<[Arc<KeySource>]>,
}

/// The configured key.
#[derive(Debug)]
struct Own {
    key: DecodingKey,
    validation: Validation,
    rules: ClaimRules,
}

/// An issuer that publishes its keys.
#[derive(Debug)]
struct Provider {
    issuer: Box<str>,
    source: Arc<KeySource>,
    algorithms: Vec<Algorithm>,
    rules: ClaimRules,
}

type Token = TokenData<Map<String, Value>>;

impl JwtVerifier {
    /// Reads the configured key. `kept` are the claims that access rules ask for; principals carry no others.
    pub fn new(config: &JwtConfig, kept: BTreeSet<Box<str>>) -> Result<Self, PolicyError> {
        install_provider();
        let mut sources: Vec<Arc<KeySource>> = Vec::new();
        let mut providers = Vec::new();
        for provider in config.providers()? {
            let known = sources.iter().find(|source| source.url() == provider.jwks_url);
            let source = match known {
                Some(source) => Arc::clone(source),
                None => {
                    sources.push(Arc::new(KeySource::new(sources.len(), &provider.jwks_url)));
                    Arc::clone(&sources[sources.len() - 1])
                }
            };
            providers.push(Provider {
                issuer: provider.issuer.as_str().into(),
                source,
                algorithms: key::chosen_algorithms(&provider.algorithms, key::PUBLIC)?,
                rules: ClaimRules::of_provider(config, &provider, kept.clone()),
            });
        }
        let has_own = providers.is_empty() || config.has_key_of_its_own();
        let own = if has_own { Some(Own::new(config, kept)?) } else { None };
        Ok(Self { own, providers, sources: sources.into() })
    }

    /// Where keys are to be fetched.
    pub fn sources(&self) -> &[Arc<KeySource>] {
        &self.sources
    }

    /// The bearer of `token`, as far as keys are known.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Principal, Refusal> {
        self.attempt(token, now_s).map_err(Unproven::refusal)
    }

    /// The bearer of `token`. A token accepted only by the leeway ends with the leeway, any other at its `exp`.
    pub fn attempt(&self, token: &str, now_s: u64) -> Result<Principal, Unproven> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(unauthorized(format!("the token is longer than {TOKEN_BYTES_MAX} bytes")).into());
        }
        let (token, rules) = match (self.provider(token)?, &self.own) {
            (Some(provider), _) => (provider.decode(token)?, &provider.rules),
            (None, Some(own)) => (own.decode(token)?, &own.rules),
            (None, None) => {
                return Err(
                    unauthorized("the token's iss is none of the issuers that are accepted here").into()
                );
            }
        };
        // RFC 7515, section 4.1.11: who does not understand a critical header must refuse.
        if token.header.crit.is_some() {
            return Err(unauthorized("the token has critical headers; none are understood here").into());
        }
        Ok(rules.judge(&token.claims, now_s)?)
    }

    /// Who says to have issued it, if he publishes his keys. The claim is not proven yet: it chooses among what is
    /// configured, and is demanded again of what the signature holds for.
    fn provider(&self, token: &str) -> Result<Option<&Provider>, Refusal> {
        #[derive(Deserialize)]
        struct Origin {
            #[serde(default)]
            iss: Value,
        }
        if self.providers.is_empty() {
            return Ok(None);
        }
        let origin = jsonwebtoken::dangerous::insecure_decode_claims::<Origin>(token);
        let Origin { iss } = origin.map_err(|_| unauthorized(NOT_A_TOKEN))?;
        let named = texts(Some(&iss));
        Ok(self.providers.iter().find(|provider| named.contains(&provider.issuer)))
    }
}

impl Own {
    fn new(config: &JwtConfig, kept: BTreeSet<Box<str>>) -> Result<Self, PolicyError> {
        let (key, possible) = key::verification_key(config)?;
        let validation = validation(key::chosen_algorithms(&config.algorithms, possible)?);
        Ok(Self { key, validation, rules: ClaimRules::of_key(config, kept) })
    }

    fn decode(&self, token: &str) -> Result<Token, Refusal> {
        jsonwebtoken::decode(token, &self.key, &self.validation)
            .map_err(|error| fault(error.kind(), &self.validation.algorithms))
    }
}

impl Provider {
    fn decode(&self, token: &str) -> Result<Token, Unproven> {
        let header = jsonwebtoken::decode_header(token);
        let header = header.map_err(|error| fault(error.kind(), &self.algorithms))?;
        // Before any key is looked for: no token of another kind has keys fetched.
        if !self.algorithms.contains(&header.alg) {
            return Err(fault(&ErrorKind::InvalidAlgorithm, &self.algorithms).into());
        }
        let unknown = || Unproven::Keys(Arc::clone(&self.source));
        let keys = self.source.keys().ok_or_else(unknown)?;
        match keys.select(header.kid.as_deref(), header.alg) {
            Selected::Key(key) => {
                let decoded = jsonwebtoken::decode(token, &key.key, &validation(vec![header.alg]));
                Ok(decoded.map_err(|error| fault(error.kind(), &self.algorithms))?)
            }
            Selected::Unknown => Err(unknown()),
            Selected::OtherAlgorithm => {
                Err(unauthorized("the token's algorithm is not that of the key which it names").into())
            }
            Selected::Ambiguous => {
                Err(unauthorized("the token names no key (kid), and its issuer has several").into())
            }
        }
    }
}

impl Unproven {
    /// What the bearer is told where no key is waited for.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Keys(source) => source.refusal(),
        }
    }
}

impl From<Refusal> for Unproven {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Claims are judged by our clock and with our texts.
fn validation(algorithms: Vec<Algorithm>) -> Validation {
    let mut validation = Validation::new(algorithms[0]);
    validation.algorithms = algorithms;
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

fn fault(kind: &ErrorKind, accepted: &[Algorithm]) -> Refusal {
    match kind {
        ErrorKind::InvalidSignature => {
            unauthorized("the token's signature does not match the configured key")
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            let accepted = key::names(accepted);
            unauthorized(format!("the token's algorithm is not accepted here; accepted: {accepted}"))
        }
        _ => unauthorized(NOT_A_TOKEN),
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

const NOT_A_TOKEN: &str = "the token is not a well-formed JWT";

/// Signs and verifies in development mode.
pub const DEVELOPMENT_SECRET: &str = "stompede development mode: never a secret";

#[cfg(test)]
mod tests;
