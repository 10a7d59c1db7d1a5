//! What can be wrong with the configured policy, before anybody connects.

use std::path::PathBuf;

/// A fault in keys, accounts, rules or origins. Each names the configuration key that would put it right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More than one source for the verification key.
    #[error(
        "jwt.secret, jwt.secret_base64, jwt.public_key_file and jwt.jwks_url exclude each other: keep one; further \
         issuers are [[jwt.provider]]"
    )]
    SeveralKeys,
    /// No source for the verification key.
    #[error("no key: set jwt.secret, jwt.secret_base64, jwt.public_key_file or jwt.jwks_url")]
    NoKey,
    /// Published keys, and tokens that are not meant for this broker would be good.
    #[error(
        "keys from {url} sign for others too: set its issuer, and its audience or required_claims, so that only tokens \
         for this broker are taken"
    )]
    UnboundKeys {
        /// Where they are published.
        url: String,
    },
    /// Two providers with one name.
    #[error("the issuer {issuer:?} is configured twice")]
    SameIssuer {
        /// Its name.
        issuer: String,
    },
    /// The secret is too short to withstand guessing.
    #[error(
        "{key} has {bytes} bytes and at least 32 are needed; jwt.allow_short_secret = true accepts it anyway"
    )]
    ShortSecret {
        /// `jwt.secret` or `jwt.secret_base64`.
        key: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The secret of development mode, which everybody knows.
    #[error("jwt.secret is the development secret that is printed in the source: choose your own")]
    DevelopmentSecret,
    /// `jwt.secret_base64` does not decode.
    #[error("jwt.secret_base64 is not base64")]
    NotBase64,
    /// The key file cannot be read.
    #[error("jwt.public_key_file: cannot read {}: {why}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The key file holds no public key that can verify.
    #[error("jwt.public_key_file: {} is {found}; a PEM public key (RSA, P-256, P-384 or Ed25519) is needed", path.display())]
    NotAPublicKey {
        /// The file.
        path: PathBuf,
        /// What it seems to hold.
        found: &'static str,
    },
    /// An algorithm that does not exist or does not fit the key.
    #[error("jwt.algorithms: {name:?} does not fit the key; it can verify {possible}")]
    Algorithm {
        /// As configured.
        name: String,
        /// What the key can do.
        possible: String,
    },
    /// Tokens can only be signed with a secret.
    #[error("tokens can be signed only with jwt.secret or jwt.secret_base64, not with a public key")]
    CannotSign,
    /// A value that no token can carry.
    #[error("the token cannot be made: {0}")]
    Token(String),
    /// An account that cannot work.
    #[error("account {login:?}: {fault}")]
    Account {
        /// Its login.
        login: String,
        /// What is wrong.
        fault: String,
    },
    /// A key of the HTTP API that cannot work.
    #[error("api.key {name:?}: {fault}")]
    ApiKey {
        /// Its name.
        name: String,
        /// What is wrong.
        fault: String,
    },
    /// A rule's pattern is not of the form.
    #[error("access.rule pattern {pattern:?}: {fault}")]
    RulePattern {
        /// As configured.
        pattern: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// A rule's `who` is not of the form.
    #[error("access.rule {pattern:?}, who {who:?}: {fault}")]
    RuleWho {
        /// The rule's pattern.
        pattern: String,
        /// As configured.
        who: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// A rule without actions or without anybody.
    #[error("access.rule {pattern:?}: {list} is empty, so the rule would only deny by accident")]
    EmptyRule {
        /// The rule's pattern.
        pattern: String,
        /// `actions` or `who`.
        list: &'static str,
    },
    /// An origin pattern is not of the form.
    #[error(
        "origins.allow {pattern:?}: {fault}; the form is https://app.example.com, https://*.example.com, \
         http://localhost:*, null or * alone"
    )]
    Origin {
        /// As configured.
        pattern: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// An entry of `trusted_proxies` is no address and no net.
    #[error(
        "trusted_proxies {entry:?}: {fault}; the form is 10.0.0.7, 10.0.0.0/24, 2001:db8::7 or 2001:db8::/64"
    )]
    Proxy {
        /// As configured.
        entry: String,
        /// What is wrong.
        fault: &'static str,
    },
}
