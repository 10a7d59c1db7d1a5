//! Keys that an issuer publishes (RFC 7517), as they were when they were last fetched.
//!
//! Nothing here fetches: whoever does so tells a [`KeySource`] what came. A source is one URL, and its keys are found by
//! `kid` within it alone: the `kid` of one issuer says nothing about another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use super::jwt::key::RSA;
use crate::model::{CloseReason, Refusal};

/// Why what was fetched is not taken for keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// It is something else.
    #[error("the answer is no JSON object with a list \"keys\"")]
    NoSet,
    /// It has more keys than an issuer needs.
    #[error("the answer has {0} keys, and {KEYS_MAX} are the limit")]
    TooMany(usize),
    /// None of its keys can verify a token.
    #[error("none of its {0} keys can verify a token (RSA of 2048 bits, P-256, P-384 and Ed25519 can)")]
    NoKey(usize),
}

/// One URL at which keys are published.
#[derive(Debug)]
pub struct KeySource {
    number: usize,
    url: Box<str>,
    keys: ArcSwapOption<KeySet>,
    /// The last attempt to fetch them brought none.
    is_failing: AtomicBool,
    fault: Mutex<Box<str>>,
}

/// The keys of one source that can verify tokens.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

/// One key, and what it may be used for.
#[derive(Debug)]
pub(super) struct Key {
    kid: Option<Box<str>>,
    pub(super) key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

/// What a set has for a token.
#[derive(Debug)]
pub(super) enum Selected<'a> {
    /// This verifies it, if anything does.
    Key(&'a Key),
    /// Nothing of that name: it may have been published since.
    Unknown,
    /// The key of that name, but not for that algorithm.
    OtherAlgorithm,
    /// The token names no key, and several could have signed it.
    Ambiguous,
}

impl KeySource {
    /// The `number`-th source, of which nothing was fetched yet.
    pub(super) fn new(number: usize, url: &str) -> Self {
        let (is_failing, fault) = (AtomicBool::new(false), Mutex::new("not asked yet".into()));
        Self { number, url: url.into(), keys: ArcSwapOption::empty(), is_failing, fault }
    }

    /// Its place among the sources of the authenticator.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Where the keys are.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes what was fetched in place of what was known; how many keys it has.
    ///
    /// # Errors
    /// It is not taken, and what was known stays.
    pub fn learn(&self, answer: &[u8]) -> Result<usize, JwksError> {
        let keys = KeySet::parse(answer).inspect_err(|error| self.fail(&error.to_string()))?;
        let count = keys.0.len();
        self.keys.store(Some(Arc::new(keys)));
        self.is_failing.store(false, Ordering::Release);
        Ok(count)
    }

    /// Nothing could be fetched: what was known stays.
    pub fn fail(&self, fault: &str) {
        *self.fault.lock() = fault.into();
        self.is_failing.store(true, Ordering::Release);
    }

    /// Whether keys were ever fetched.
    ///
    /// # Errors
    /// Why not, in words for an operator.
    pub fn health(&self) -> Result<(), String> {
        if self.keys.load().is_some() {
            return Ok(());
        }
        Err(format!("no keys could be fetched from {} yet: {}", self.url, self.fault.lock()))
    }

    /// What bearers of a token are told whose key is not here.
    pub(super) fn refusal(&self) -> Refusal {
        if self.is_failing.load(Ordering::Acquire) || self.keys.load().is_none() {
            // It may be a good one: nobody could look.
            let text = "the issuer's keys cannot be fetched at the moment";
            return Refusal::new(CloseReason::Unavailable, text);
        }
        Refusal::new(CloseReason::Unauthorized, "the issuer publishes no key of the token's kid")
    }

    /// The keys as they were last fetched.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }
}

impl KeySet {
    fn parse(answer: &[u8]) -> Result<Self, JwksError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let Document { keys } = serde_json::from_slice(answer).map_err(|_| JwksError::NoSet)?;
        let count = keys.len();
        if count > KEYS_MAX {
            return Err(JwksError::TooMany(count));
        }
        // Issuers publish keys of other kinds and for other ends beside these; each is judged alone.
        let usable: Vec<Key> = keys.into_iter().filter_map(Key::parse).collect();
        if usable.is_empty() { Err(JwksError::NoKey(count)) } else { Ok(Self(usable)) }
    }

    /// The key that a token is to be verified with.
    pub(super) fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Selected<'_> {
        let is_fit = |key: &&Key| key.algorithms.contains(&algorithm);
        let Some(kid) = kid else {
            let mut fit = self.0.iter().filter(is_fit);
            return match (fit.next(), fit.next()) {
                (Some(key), None) => Selected::Key(key),
                (Some(_), Some(_)) => Selected::Ambiguous,
                (None, _) => Selected::Unknown,
            };
        };
        let mut named = self.0.iter().filter(|key| key.kid.as_deref() == Some(kid)).peekable();
        if named.peek().is_none() {
            return match &*self.0 {
                // An issuer with one key need not name it.
                [only] if only.kid.is_none() && is_fit(&only) => Selected::Key(only),
                _ => Selected::Unknown,
            };
        }
        named.find(is_fit).map_or(Selected::OtherAlgorithm, Selected::Key)
    }
}

impl Key {
    /// A key that can verify tokens and is meant to. A secret (`oct`) never is: who can read it here could sign with it.
    fn parse(value: Value) -> Option<Self> {
        let named = value.get("alg").and_then(Value::as_str).map(str::parse::<Algorithm>);
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let verifies = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
        if !common.key_operations.as_ref().is_none_or(verifies) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk);
        let bytes = |key: &DecodingKey| key.try_get_as_bytes().map_or(0, <[u8]>::len);
        let (key, possible) = match &jwk.algorithm {
            // Base64 without padding, as RFC 7518 has it: four characters are three bytes.
            AlgorithmParameters::RSA(rsa) if rsa.n.len() * 3 / 4 >= RSA_BYTES_MIN => (key.ok()?, RSA),
            AlgorithmParameters::EllipticCurve(point) => {
                let key = key.ok()?;
                match (&point.curve, bytes(&key)) {
                    // Uncompressed points: one byte and two coordinates.
                    (EllipticCurve::P256, 65) => (key, &[Algorithm::ES256][..]),
                    (EllipticCurve::P384, 97) => (key, &[Algorithm::ES384][..]),
                    _ => return None,
                }
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                (key.ok().filter(|key| bytes(key) == 32)?, &[Algorithm::EdDSA][..])
            }
            _ => return None,
        };
        let algorithms = match named {
            None => possible.to_vec(),
            Some(Ok(named)) if possible.contains(&named) => vec![named],
            Some(_) => return None,
        };
        let kid = jwk.common.key_id.filter(|kid| !kid.is_empty()).map(Into::into);
        Some(Self { kid, key, algorithms })
    }
}

/// Keys of one source. Issuers have two to ten.
pub const KEYS_MAX: usize = 100;

/// Modulus of the shortest RSA key, bytes (RFC 7518, section 3.3).
const RSA_BYTES_MIN: usize = 256;

#[cfg(test)]
mod tests;
