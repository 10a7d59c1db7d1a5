//! Where the key comes from and what it can do.

use std::path::Path;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

use super::{JwtConfig, PolicyError};

/// Shortest secret, bytes: RFC 7518 section 3.2 asks for at least the size of the hash.
pub(in crate::policy) const SECRET_BYTES_MIN: usize = 32;

/// The secret in bytes, long enough; `None` when no secret is configured.
pub(in crate::policy) fn secret(config: &JwtConfig) -> Result<Option<Vec<u8>>, PolicyError> {
    let (key, bytes) = match (&config.secret, &config.secret_base64) {
        (None, None) => return Ok(None),
        (Some(text), None) => ("jwt.secret", text.expose().as_bytes().to_vec()),
        (None, Some(text)) => ("jwt.secret_base64", decode_base64(text.expose())?),
        (Some(_), Some(_)) => return Err(PolicyError::SeveralKeys),
    };
    if config.public_key_file.is_some() {
        return Err(PolicyError::SeveralKeys);
    }
    if bytes.len() < SECRET_BYTES_MIN && !config.allow_short_secret || bytes.is_empty() {
        return Err(PolicyError::ShortSecret { key, bytes: bytes.len() });
    }
    Ok(Some(bytes))
}

/// The key to verify with and every algorithm it can serve.
pub(super) fn verification_key(
    config: &JwtConfig,
) -> Result<(DecodingKey, &'static [Algorithm]), PolicyError> {
    if let Some(secret) = secret(config)? {
        return Ok((DecodingKey::from_secret(&secret), HMAC));
    }
    let path = config.public_key_file.as_deref().ok_or(PolicyError::NoKey)?;
    let pem = std::fs::read(path)
        .map_err(|error| PolicyError::KeyFile { path: path.into(), why: error.to_string() })?;
    public_key(path, &pem)
}

/// The configured algorithms, or all possible ones when none is configured.
pub(in crate::policy) fn chosen_algorithms(
    configured: &[String],
    possible: &'static [Algorithm],
) -> Result<Vec<Algorithm>, PolicyError> {
    if configured.is_empty() {
        return Ok(possible.to_vec());
    }
    let chosen = configured.iter().map(|name| {
        let algorithm = name.parse().ok().filter(|algorithm| possible.contains(algorithm));
        algorithm.ok_or_else(|| PolicyError::Algorithm { name: name.clone(), possible: names(possible) })
    });
    chosen.collect()
}

/// The algorithms as the specification writes them, separated by commas.
pub(super) fn names(algorithms: &[Algorithm]) -> String {
    let names: Vec<String> = algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
    names.join(", ")
}

fn public_key(path: &Path, pem: &[u8]) -> Result<(DecodingKey, &'static [Algorithm]), PolicyError> {
    let wrong = |found| PolicyError::NotAPublicKey { path: path.into(), found };
    // The library would take a private key for a public one and then refuse every token.
    if pem.windows(PRIVATE_KEY.len()).any(|window| window == PRIVATE_KEY) {
        return Err(wrong("a private key, which does not belong on this machine"));
    }
    let key = DecodingKey::from_rsa_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .map_err(|_| wrong("no PEM public key that can be used"))?;
    let bytes = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    let algorithms = match (key.family(), bytes) {
        (AlgorithmFamily::Rsa, _) => RSA,
        // Uncompressed points: one byte and two coordinates.
        (AlgorithmFamily::Ec, 65) => &[Algorithm::ES256][..],
        (AlgorithmFamily::Ec, 97) => &[Algorithm::ES384],
        (AlgorithmFamily::Ed, 32) => &[Algorithm::EdDSA],
        _ => return Err(wrong("a key on a curve that cannot be used")),
    };
    Ok((key, algorithms))
}

/// Either alphabet, with or without padding; white space around it comes from files and is dropped.
fn decode_base64(text: &str) -> Result<Vec<u8>, PolicyError> {
    let mut standard: String = text.trim().trim_end_matches('=').replace('-', "+").replace('_', "/");
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    let key = DecodingKey::from_base64_secret(&standard).map_err(|_| PolicyError::NotBase64)?;
    key.try_get_as_bytes().map(<[u8]>::to_vec).map_err(|_| PolicyError::NotBase64)
}

/// What a secret can do.
pub(in crate::policy) const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// What keys that are public can do.
pub(super) const PUBLIC: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What an RSA key can do.
pub(in crate::policy) const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
