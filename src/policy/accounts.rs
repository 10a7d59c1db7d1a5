//! Logins with hashed passcodes, from the configuration.

use std::collections::{BTreeMap, HashMap};

use argon2::password_hash::{PasswordHash, PasswordHashString, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2};
use serde::{Deserialize, Serialize};

use super::error::PolicyError;
use super::fault_of_user_id;
use super::secret::Secret;
use crate::model::{Claims, Principal, Role};

/// `[[account]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// Header `login`, and the user id.
    pub login: String,
    /// Argon2 PHC string, as `stompede hash` prints it.
    pub passcode_hash: Secret,
    /// `user` or `service`.
    #[serde(default)]
    pub role: AccountRole,
    /// What access rules may ask for: a text or a list of texts each.
    #[serde(default)]
    pub claims: BTreeMap<String, ClaimValue>,
}

/// What an account is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountRole {
    /// A person.
    #[default]
    User,
    /// A backend.
    Service,
}

/// A claim of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClaimValue {
    /// One value.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// One account, ready to be asked.
#[derive(Debug)]
pub struct Account {
    principal: Principal,
    hash: PasswordHashString,
}

impl Account {
    fn new(config: &AccountConfig) -> Result<Self, PolicyError> {
        let wrong =
            |fault: &str| PolicyError::Account { login: config.login.clone(), fault: fault.to_owned() };
        if let Some(fault) = fault_of_user_id(&config.login) {
            return Err(wrong(fault));
        }
        let text = config.passcode_hash.expose();
        let hash = PasswordHash::new(text).map_err(|_| wrong(NO_HASH))?;
        // A hash of another kind would parse, and then refuse every passcode.
        if Algorithm::try_from(hash.algorithm).is_err() || hash.hash.is_none() {
            return Err(wrong(NO_HASH));
        }
        let claims = config.claims.iter().map(|(name, value)| (name.as_str().into(), value.texts()));
        let claims: Claims = claims.collect();
        let role = match config.role {
            AccountRole::User => Role::User,
            AccountRole::Service => Role::Service,
        };
        let principal = Principal { role, claims, ..Principal::user(&config.login) };
        Ok(Self { principal, hash: hash.serialize() })
    }

    /// Who logs in with it.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether `passcode` is the right one. Slow by design, tens of milliseconds: call it off the workers.
    pub fn verify(&self, passcode: &str) -> bool {
        Argon2::default().verify_password(passcode.as_bytes(), &self.hash.password_hash()).is_ok()
    }
}

/// All accounts by login.
#[derive(Debug, Default)]
pub struct Accounts {
    by_login: HashMap<Box<str>, Account>,
    /// Login of the account whose hash stands in for that of unknown ones.
    decoy: Option<Box<str>>,
}

impl Accounts {
    /// Checks what is configured.
    pub fn new(config: &[AccountConfig]) -> Result<Self, PolicyError> {
        let mut by_login = HashMap::with_capacity(config.len());
        for account in config {
            if by_login.insert(account.login.as_str().into(), Account::new(account)?).is_some() {
                let fault = "the login is configured twice".to_owned();
                return Err(PolicyError::Account { login: account.login.clone(), fault });
            }
        }
        Ok(Self { by_login, decoy: config.first().map(|account| account.login.as_str().into()) })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_login.is_empty()
    }

    /// The account with this login.
    pub fn find(&self, login: &str) -> Option<&Account> {
        self.by_login.get(login)
    }

    /// Takes as long as [`Account::verify`] and never succeeds: an unknown login must not be told by its quick refusal.
    pub fn verify_unknown(&self, passcode: &str) {
        if let Some(decoy) = self.decoy.as_ref().and_then(|login| self.by_login.get(login)) {
            decoy.verify(passcode);
        }
    }
}

impl ClaimValue {
    fn texts(&self) -> Box<[Box<str>]> {
        match self {
            Self::One(text) => [text.as_str().into()].into(),
            Self::Many(texts) => texts.iter().map(|text| text.as_str().into()).collect(),
        }
    }
}

/// The Argon2id PHC string of a passcode, with the parameters that OWASP recommends (the library's defaults: 19 MiB,
/// 2 passes). `salt` must be random.
pub fn hash_passcode(passcode: &str, salt: [u8; 16]) -> Result<String, PolicyError> {
    let wrong = |error: argon2::password_hash::Error| PolicyError::Account {
        login: String::new(),
        fault: error.to_string(),
    };
    let salt = SaltString::encode_b64(&salt).map_err(wrong)?;
    let hash = Argon2::default().hash_password(passcode.as_bytes(), &salt).map_err(wrong)?;
    Ok(hash.to_string())
}

const NO_HASH: &str = "passcode_hash is no Argon2 hash; stompede hash makes one";

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An account whose hash is cheap to check.
    pub(in crate::policy) fn account(login: &str, passcode: &str) -> AccountConfig {
        let params = argon2::Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
        let salt = SaltString::encode_b64(&[7; 16]).unwrap();
        let hash = argon2.hash_password(passcode.as_bytes(), &salt).unwrap().to_string();
        AccountConfig {
            login: login.to_owned(),
            passcode_hash: Secret::new(&hash),
            role: AccountRole::User,
            claims: BTreeMap::new(),
        }
    }

    #[test]
    fn an_account_knows_its_passcode_and_no_other() {
        let accounts = Accounts::new(&[account("alice", "right")]).unwrap();
        let alice = accounts.find("alice").unwrap();
        assert!(alice.verify("right"));
        assert!(!alice.verify("wrong"));
        assert!(!alice.verify(""));
        assert!(accounts.find("bob").is_none());
    }

    #[test]
    fn what_hash_prints_is_what_an_account_takes() {
        let hash = hash_passcode("pass word", [1; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let config = AccountConfig { passcode_hash: Secret::new(&hash), ..account("a", "x") };
        assert!(Accounts::new(&[config]).unwrap().find("a").unwrap().verify("pass word"));
    }

    #[test]
    fn accounts_that_cannot_work_are_refused() {
        let broken = [
            AccountConfig { passcode_hash: Secret::new("plain"), ..account("a", "x") },
            AccountConfig {
                passcode_hash: Secret::new("$pbkdf2-sha256$i=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"),
                ..account("a", "x")
            },
            AccountConfig {
                passcode_hash: Secret::new("$argon2id$v=19$m=8,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw"),
                ..account("a", "x")
            },
        ];
        for config in broken {
            let error = Accounts::new(&[config]).unwrap_err().to_string();
            assert!(error.contains("stompede hash"), "{error}");
        }
        assert!(Accounts::new(&[account("", "x")]).is_err());
        let twice = Accounts::new(&[account("a", "x"), account("a", "y")]).unwrap_err().to_string();
        assert!(twice.contains("twice"), "{twice}");
    }

    #[test]
    fn role_and_claims_come_from_the_configuration() {
        let mut config = account("s", "x");
        config.role = AccountRole::Service;
        config.claims.insert("rooms".to_owned(), ClaimValue::Many(vec!["1".to_owned(), "2".to_owned()]));
        config.claims.insert("team".to_owned(), ClaimValue::One("red".to_owned()));
        let accounts = Accounts::new(&[config]).unwrap();
        let principal = accounts.find("s").unwrap().principal();
        assert!(principal.is_service());
        assert!(principal.claims_contain("rooms", "2") && principal.claims_contain("team", "red"));
    }
}
