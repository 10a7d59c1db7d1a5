//! The protocol versions and how two peers agree on one.

use std::fmt;

use crate::error::{Violation, excerpt};

/// A version of the protocol; ordered, the newest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// STOMP 1.0: no escapes, no heart-beats, no NACK.
    V1_0,
    /// STOMP 1.1: escapes without `\r`, heart-beats, NACK by `message-id` and `subscription`.
    V1_1,
    /// STOMP 1.2: escapes with `\r`, CRLF line ends, ACK and NACK by `id`.
    V1_2,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 3] = [Self::V1_0, Self::V1_1, Self::V1_2];

    /// All versions as the `version` header of an ERROR lists them.
    pub(crate) const LIST: &'static str = "1.0,1.1,1.2";

    /// As written in `accept-version` and `version`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }

    /// The name of the WebSocket subprotocol.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::V1_0 => "v10.stomp",
            Self::V1_1 => "v11.stomp",
            Self::V1_2 => "v12.stomp",
        }
    }

    /// The version that a WebSocket subprotocol names.
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.subprotocol() == name)
    }

    /// The version whose number is `text`, such as `1.1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The highest common version. `accept_version` is the client's header; without one the client
    /// speaks 1.0 only (1.2, "Protocol Negotiation").
    ///
    /// # Errors
    /// [`Violation::UnsupportedVersion`] when there is none in common.
    pub fn negotiate(accept_version: Option<&str>) -> Result<Self, Violation> {
        let Some(accepted) = accept_version else { return Ok(Self::V1_0) };
        accepted
            .split(',')
            .filter_map(|number| Self::parse(number.trim()))
            .max()
            .ok_or_else(|| Violation::UnsupportedVersion { accepted: excerpt(accepted.as_bytes()) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_wins() {
        let table = [
            (None, Some(Version::V1_0)),
            (Some("1.0"), Some(Version::V1_0)),
            (Some("1.1"), Some(Version::V1_1)),
            (Some("1.0,1.1,1.3"), Some(Version::V1_1)),
            (Some("1.0,10.1"), Some(Version::V1_0)),
            (Some("1.2,1.1,1.0"), Some(Version::V1_2)),
            (Some(" 1.1, 1.2 "), Some(Version::V1_2)),
            (Some("1.3,2.0"), None),
            (Some(""), None),
            (Some("1.20"), None),
        ];
        for (accepted, expected) in table {
            assert_eq!(Version::negotiate(accepted).ok(), expected, "accept-version {accepted:?}");
        }
    }

    #[test]
    fn each_version_is_found_again_by_its_subprotocol() {
        for version in Version::ALL {
            assert_eq!(Version::from_subprotocol(version.subprotocol()), Some(version));
            assert_eq!(Version::parse(version.as_str()), Some(version));
        }
        assert_eq!(Version::from_subprotocol("V12.stomp"), None);
    }

    #[test]
    fn the_list_names_all_versions_in_increasing_order() {
        assert_eq!(Version::LIST, Version::ALL.map(Version::as_str).join(","));
        assert!(Version::ALL.is_sorted());
    }
}
