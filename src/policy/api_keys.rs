//! Keys of the HTTP API: made by `stompede api-key`, kept as a hash, each for some of what the API can do.
//!
//! A key is 256 bits of chance, so nothing has to slow down whoever guesses, and its SHA-256 tells nothing of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::PolicyError;
use super::fault_of_user_id;
use super::secret::Secret;
use crate::model::Principal;

/// `[[api.key]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// Who uses it: `user-name` of what it publishes.
    pub name: String,
    /// `sha256:` and 64 hexadecimal digits, as `stompede api-key` prints it.
    pub hash: Secret,
    /// What it is good for.
    pub scopes: Vec<Scope>,
}

/// A part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Publish to destinations and to users.
    Publish,
    /// Ask who is online.
    Presence,
    /// Ask about rooms, write there, change who belongs to them.
    Rooms,
    /// Look into work queues.
    Queues,
    /// End sessions, empty queues, send dead letters back.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Publish, Self::Presence, Self::Rooms, Self::Queues, Self::Admin];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::Rooms => "rooms",
            Self::Queues => "queues",
            Self::Admin => "admin",
        }
    }
}

/// One key.
#[derive(Debug)]
pub struct ApiKey {
    principal: Arc<Principal>,
    digest: [u8; DIGEST_BYTES],
    scopes: Vec<Scope>,
}

impl ApiKey {
    fn new(config: &ApiKeyConfig) -> Result<Self, PolicyError> {
        let wrong = |fault: &str| PolicyError::ApiKey { name: config.name.clone(), fault: fault.to_owned() };
        if let Some(fault) = fault_of_user_id(&config.name) {
            return Err(wrong(&fault.replace("user id", "name")));
        }
        if config.scopes.is_empty() {
            return Err(wrong("it has no scopes, so it would be good for nothing"));
        }
        let digest = parsed(config.hash.expose()).ok_or_else(|| wrong(NO_HASH))?;
        let principal = Arc::new(Principal::service(&config.name));
        Ok(Self { principal, digest, scopes: config.scopes.clone() })
    }

    /// Who uses it.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// What it is good for.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }
}

/// All keys.
#[derive(Debug, Default)]
pub struct ApiKeys(Vec<ApiKey>);

impl ApiKeys {
    /// Checks what is configured.
    ///
    /// # Errors
    /// A key that cannot work.
    pub fn new(config: &[ApiKeyConfig]) -> Result<Self, PolicyError> {
        let mut keys: Vec<ApiKey> = Vec::with_capacity(config.len());
        for config in config {
            let key = ApiKey::new(config)?;
            if keys.iter().any(|known| known.principal.name() == config.name) {
                let fault = "the name is configured twice".to_owned();
                return Err(PolicyError::ApiKey { name: config.name.clone(), fault });
            }
            keys.push(key);
        }
        if keys.len() > KEYS_MAX {
            let (name, fault) = (String::new(), format!("there are more than {KEYS_MAX} keys"));
            return Err(PolicyError::ApiKey { name, fault });
        }
        Ok(Self(keys))
    }

    /// One more key, which stands in no configuration.
    ///
    /// # Errors
    /// It cannot work.
    pub fn add(&mut self, config: &ApiKeyConfig) -> Result<(), PolicyError> {
        self.0.push(ApiKey::new(config)?);
        Ok(())
    }

    /// The key that this text is. Takes as long whichever it is, or none.
    pub fn find(&self, key: &str) -> Option<&ApiKey> {
        let digest: [u8; DIGEST_BYTES] = Sha256::digest(key).into();
        self.0.iter().fold(
            None,
            |found, known| {
                if bool::from(known.digest.ct_eq(&digest)) { Some(known) } else { found }
            },
        )
    }
}

/// Whether a text has the shape of a key.
pub fn has_key_shape(text: &str) -> bool {
    text.starts_with(KEY_PREFIX)
}

/// A key of these random bytes.
pub fn key_of(random: [u8; 32]) -> String {
    format!("{KEY_PREFIX}{}", hexadecimal(&random))
}

/// What `hash` of the configuration takes.
pub fn hash_of_key(key: &str) -> String {
    format!("{HASH_PREFIX}{}", hexadecimal(&Sha256::digest(key)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parsed(hash: &str) -> Option<[u8; DIGEST_BYTES]> {
    let digits = hash.strip_prefix(HASH_PREFIX).filter(|digits| digits.len() == 2 * DIGEST_BYTES)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; DIGEST_BYTES];
    for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// What keys begin with: who finds one knows what it is, and no token looks like it.
const KEY_PREFIX: &str = "stk_";

const HASH_PREFIX: &str = "sha256:";

const DIGEST_BYTES: usize = 32;

/// Keys of a configuration: each request is compared with all of them.
pub const KEYS_MAX: usize = 1_000;

const NO_HASH: &str = "hash is not sha256: and 64 hexadecimal digits; stompede api-key makes one";

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, key: &str, scopes: &[Scope]) -> ApiKeyConfig {
        let hash = Secret::new(&hash_of_key(key));
        ApiKeyConfig { name: name.to_owned(), hash, scopes: scopes.to_vec() }
    }

    #[test]
    fn a_key_is_found_by_its_text_and_is_good_for_its_scopes_alone() {
        let (one, two) = (key_of([1; 32]), key_of([2; 32]));
        assert!(has_key_shape(&one) && !has_key_shape("eyJhbGciOiJIUzI1NiJ9.e30.x"));
        let keys = [config("shop", &one, &[Scope::Publish]), config("ops", &two, &Scope::ALL)];
        let keys = ApiKeys::new(&keys).unwrap();
        let shop = keys.find(&one).unwrap();
        assert_eq!(shop.principal().name(), "shop");
        assert_eq!(shop.scopes(), [Scope::Publish]);
        assert_eq!(keys.find(&two).unwrap().principal().name(), "ops");
        for wrong in [&key_of([3; 32]), "", &hash_of_key(&one)] {
            assert!(keys.find(wrong).is_none());
        }
    }

    #[test]
    fn the_hash_is_what_other_tools_make() {
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_of_key("abc"), expected);
    }

    #[test]
    fn keys_that_cannot_work_are_refused() {
        let good = || config("shop", "stk_1", &[Scope::Publish]);
        for hash in ["", "stk_1", "sha256:", "sha256:abcd", &format!("sha256:{}", "+f".repeat(32))] {
            let error = ApiKeys::new(&[ApiKeyConfig { hash: Secret::new(hash), ..good() }]).unwrap_err();
            assert!(error.to_string().contains("stompede api-key"), "{error}");
        }
        assert!(ApiKeys::new(&[ApiKeyConfig { scopes: Vec::new(), ..good() }]).is_err());
        assert!(ApiKeys::new(&[ApiKeyConfig { name: String::new(), ..good() }]).is_err());
        assert!(ApiKeys::new(&[good(), good()]).unwrap_err().to_string().contains("twice"));
    }
}
