//! Who is it, and what may he: tokens, accounts, access rules, origins, proxies, rates.
//!
//! Nothing here knows a socket or a clock: the time is an argument, and every answer is a value.

pub mod access;
pub mod accounts;
pub mod api_keys;
pub mod authenticator;
pub mod digest;
mod error;
pub mod hooks;
pub mod jwks;
pub mod jwt;
pub mod origin;
pub mod proxies;
pub mod quota;
pub mod secret;
pub mod signature;
mod signer;

pub use access::{Access, AccessRule, Action, RulePattern, Who};
pub use accounts::{Account, AccountConfig, Accounts};
pub use api_keys::{ApiKey, ApiKeyConfig, ApiKeys, Scope};
pub use authenticator::{Authenticator, Credentials};
pub use error::PolicyError;
pub use hooks::{Case, HookEvent, HookId, HookRule, HookRules, Judge};
pub use jwks::KeySource;
pub use jwt::{JwtConfig, JwtVerifier, ProviderConfig, Unproven};
pub use origin::{OriginRefused, Origins};
pub use proxies::Proxies;
pub use quota::{Connections, Gcra, UserRates};
pub use secret::Secret;
pub use signer::{JwtSigner, TokenOrder};

use crate::model::principal::USER_BYTES_MAX;

/// Says what is wrong with a user id; `None` when nothing is.
fn fault_of_user_id(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        Some("the user id is empty")
    } else if id.len() > USER_BYTES_MAX {
        Some("the user id is longer than 256 bytes")
    } else if id.chars().any(char::is_control) {
        Some("the user id has control characters")
    } else {
        None
    }
}
