//! Who is on the other end.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest user id in bytes.
pub const USER_BYTES_MAX: usize = 256;

/// What a session may claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not signed in.
    Anonymous,
    /// A person.
    User,
    /// A backend: may do everything, has no rates.
    Service,
}

/// Claims of a token that access rules may name, each as a list of texts (a single value is a list of one).
pub type Claims = BTreeMap<Box<str>, Box<[Box<str>]>>;

/// An authenticated identity. Shared by everything that acts in its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user id; `None` only for [`Role::Anonymous`].
    pub user: Option<Arc<str>>,
    /// The role.
    pub role: Role,
    /// Claims that access rules ask for; others are not kept.
    pub claims: Claims,
    /// When the identity ends, in seconds since the Unix epoch. Who came by a token has an end.
    pub expires_s: Option<u64>,
    /// The token's name (`jti`), by which it can be revoked.
    pub token_id: Option<Box<str>>,
    /// When the token was issued (`iat`), in seconds since the Unix epoch.
    pub issued_s: Option<u64>,
    /// Development mode: may use every destination, whatever the rules say.
    pub unrestricted: bool,
}

impl Principal {
    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self {
            user: None,
            role: Role::Anonymous,
            claims: Claims::new(),
            expires_s: None,
            token_id: None,
            issued_s: None,
            unrestricted: false,
        }
    }

    /// A signed-in user without further claims.
    pub fn user(id: &str) -> Self {
        Self { user: Some(id.into()), role: Role::User, ..Self::anonymous() }
    }

    /// A backend.
    pub fn service(id: &str) -> Self {
        Self { user: Some(id.into()), role: Role::Service, ..Self::anonymous() }
    }

    /// The user id, or an empty text.
    pub fn name(&self) -> &str {
        self.user.as_deref().unwrap_or("")
    }

    /// Whether it is a backend.
    pub fn is_service(&self) -> bool {
        self.role == Role::Service
    }

    /// Whether the claim `name` contains `value`.
    pub fn claims_contain(&self, name: &str, value: &str) -> bool {
        self.claims.get(name).is_some_and(|values| values.iter().any(|v| &**v == value))
    }
}
