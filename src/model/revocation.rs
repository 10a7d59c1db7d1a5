//! Tokens that are good no more, before they expire.

/// Which tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tokens {
    /// The one with this `jti`.
    Named(Box<str>),
    /// Those of a user that were issued too early.
    OfUser(Box<str>),
    /// All that were issued too early.
    All,
}

/// What is revoked, and how long that has to be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which tokens.
    pub tokens: Tokens,
    /// Those issued (`iat`) before this, seconds since the Unix epoch, or that do not say when. Of no meaning for
    /// [`Tokens::Named`].
    pub before_s: u64,
    /// When the last of them has expired, seconds since the Unix epoch: then it may be forgotten.
    pub until_s: u64,
}

impl Tokens {
    /// As one text, by which stores know it.
    pub fn key(&self) -> String {
        match self {
            Self::Named(id) => format!("j{id}"),
            Self::OfUser(user) => format!("u{user}"),
            Self::All => "a".to_owned(),
        }
    }

    /// From such a text; `None` where this version does not know it.
    pub fn of_key(key: &str) -> Option<Self> {
        match key.split_at_checked(1)? {
            ("j", id) if !id.is_empty() => Some(Self::Named(id.into())),
            ("u", user) if !user.is_empty() => Some(Self::OfUser(user.into())),
            ("a", "") => Some(Self::All),
            _ => None,
        }
    }
}

impl Revocation {
    /// Of everything that is issued to a user until now.
    pub fn of_user(user: &str, now_s: u64) -> Self {
        // Times of issue are whole seconds: that of now counts as before.
        let before_s = now_s.saturating_add(1);
        Self { tokens: Tokens::OfUser(user.into()), before_s, until_s: now_s.saturating_add(KEPT_S) }
    }
}

/// Longest `jti` that can be revoked, bytes; the same as of a user id.
pub const TOKEN_ID_BYTES_MAX: usize = 256;

/// Revocations are known so long where nobody says when the tokens expire, seconds: 400 days. What is good for longer must be
/// revoked by a time.
pub const KEPT_S: u64 = 400 * 24 * 3_600;

/// Revocations that are kept at once; more are refused, for the oldest may not be forgotten in their place.
pub const REVOCATIONS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for tokens in [Tokens::Named("a:b\n".into()), Tokens::OfUser("u".into()), Tokens::All] {
            assert_eq!(Tokens::of_key(&tokens.key()), Some(tokens));
        }
        for key in ["", "j", "u", "ab", "x1", "\u{fc}"] {
            assert_eq!(Tokens::of_key(key), None, "{key}");
        }
    }
}
