//! Tokens for clients, signed before the clock starts.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::options::Options;

pub(crate) struct Signer {
    header: Header,
    key: EncodingKey,
    role: String,
    until: u64,
}

impl Signer {
    /// None, when the options name no key.
    pub(crate) fn of(options: &Options) -> io::Result<Option<Self>> {
        let (algorithm, key) = if let Some(secret) = &options.jwt_secret {
            (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes()))
        } else if let Some(file) = &options.jwt_key {
            let pem = std::fs::read(file)?;
            let rsa = EncodingKey::from_rsa_pem(&pem).map(|key| (Algorithm::RS256, key));
            rsa.or_else(|_| EncodingKey::from_ec_pem(&pem).map(|key| (Algorithm::ES256, key)))
                .map_err(io::Error::other)?
        } else {
            return Ok(None);
        };
        // Fails when it was installed before.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let role = options.role.clone();
        Ok(Some(Self { header: Header::new(algorithm), key, role, until: now.as_secs() + VALID_S }))
    }

    /// For this user and his rooms.
    pub(crate) fn token(&self, user: &str, rooms: &[String]) -> io::Result<String> {
        let claims = json!({ "sub": user, "role": self.role, "rooms": rooms, "exp": self.until });
        jsonwebtoken::encode(&self.header, &claims, &self.key).map_err(io::Error::other)
    }
}

const VALID_S: u64 = 3_600;
