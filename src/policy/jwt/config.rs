//! `[jwt]` of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::DEVELOPMENT_SECRET;
use crate::policy::{PolicyError, Secret};

/// Which tokens are taken, and what is read from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// Shared secret, at least 32 bytes of text.
    pub secret: Option<Secret>,
    /// Shared secret in base64 (either alphabet, padded or not), at least 32 bytes decoded.
    pub secret_base64: Option<Secret>,
    /// PEM file with the issuer's public key.
    pub public_key_file: Option<PathBuf>,
    /// Where the issuer publishes its keys (RFC 7517).
    pub jwks_url: Option<String>,
    /// So often published keys are fetched anew, seconds.
    pub jwks_refresh_s: u64,
    /// Accepts a secret of less than 32 bytes.
    pub allow_short_secret: bool,
    /// Accepted algorithms; empty: all that the key can verify.
    pub algorithms: Vec<String>,
    /// Demanded value of `iss`.
    pub issuer: Option<String>,
    /// `aud` must have one of these; empty: whatever it is.
    #[serde(deserialize_with = "one_or_many")]
    pub audience: Vec<String>,
    /// Claims that must be there and have or contain this text.
    pub required_claims: BTreeMap<String, String>,
    /// Claim that holds the user id, a text or an integer.
    pub user_claim: String,
    /// Claims that may name the role, a text or a list.
    pub role_claims: Vec<String>,
    /// The role that makes a service.
    pub service_role: String,
    /// How far the issuer's clock may be off, seconds.
    pub leeway_s: u64,
    /// Further issuers.
    pub provider: Vec<ProviderConfig>,
}

/// `[[jwt.provider]]`: an issuer that publishes its keys. What is not said here is as in `[jwt]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Value of `iss` by which its tokens are known.
    pub issuer: String,
    /// Where it publishes its keys.
    pub jwks_url: String,
    /// `aud` must have one of these.
    #[serde(default, deserialize_with = "one_or_many")]
    pub audience: Vec<String>,
    /// Accepted algorithms; empty: all that its keys can verify.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// Claims that must be there and have or contain this text.
    #[serde(default)]
    pub required_claims: BTreeMap<String, String>,
    /// Claim that holds the user id.
    #[serde(default)]
    pub user_claim: Option<String>,
    /// What its user ids begin with here, so that two issuers have no user in common.
    #[serde(default)]
    pub user_prefix: String,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            secret: None,
            secret_base64: None,
            public_key_file: None,
            jwks_url: None,
            jwks_refresh_s: 300,
            allow_short_secret: false,
            algorithms: Vec::new(),
            issuer: None,
            audience: Vec::new(),
            required_claims: BTreeMap::new(),
            user_claim: "sub".to_owned(),
            role_claims: vec!["role".to_owned(), "roles".to_owned()],
            service_role: "service".to_owned(),
            leeway_s: 30,
            provider: Vec::new(),
        }
    }
}

impl JwtConfig {
    /// Whether any key is configured, or where it is published.
    pub fn has_key(&self) -> bool {
        self.has_key_of_its_own() || self.jwks_url.is_some() || !self.provider.is_empty()
    }

    /// Whether a key is configured itself.
    pub(super) fn has_key_of_its_own(&self) -> bool {
        self.secret.is_some() || self.secret_base64.is_some() || self.public_key_file.is_some()
    }

    /// Where keys are fetched, with the keys of the configuration that say so.
    pub fn jwks_urls(&self) -> impl Iterator<Item = (String, &str)> {
        let own = self.jwks_url.as_deref().map(|url| ("jwt.jwks_url".to_owned(), url));
        let others = self.provider.iter().enumerate();
        own.into_iter()
            .chain(others.map(|(i, other)| (format!("jwt.provider[{i}].jwks_url"), &*other.jwks_url)))
    }

    /// All issuers that publish their keys, `[jwt]` itself first.
    pub(super) fn providers(&self) -> Result<Vec<ProviderConfig>, PolicyError> {
        let own = self.jwks_url.as_ref().map(|url| ProviderConfig {
            issuer: self.issuer.clone().unwrap_or_default(),
            jwks_url: url.clone(),
            audience: self.audience.clone(),
            algorithms: self.algorithms.clone(),
            required_claims: self.required_claims.clone(),
            user_claim: None,
            user_prefix: String::new(),
        });
        if own.is_some() && self.has_key_of_its_own() {
            return Err(PolicyError::SeveralKeys);
        }
        let all: Vec<_> = own.into_iter().chain(self.provider.iter().cloned()).collect();
        for (i, provider) in all.iter().enumerate() {
            let url = provider.jwks_url.clone();
            // One set of keys serves all customers of some issuers: a signature says little about whom a token is for.
            if provider.issuer.is_empty()
                || provider.audience.is_empty() && provider.required_claims.is_empty()
            {
                return Err(PolicyError::UnboundKeys { url });
            }
            if all[..i].iter().any(|other| other.issuer == provider.issuer) {
                return Err(PolicyError::SameIssuer { issuer: provider.issuer.clone() });
            }
        }
        Ok(all)
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

/// A text, or a list of texts.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut all = Vec::new();
            while let Some(text) = list.next_element()? {
                all.push(text);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_any(OneOrMany)
}
