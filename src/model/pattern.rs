//! Wildcards of SUBSCRIBE: `*` is one whole segment, `**` the rest.

use std::fmt;
use std::sync::Arc;

use super::close::Refusal;
use super::destination::{Destination, WILDCARD_FORM, bad};

/// A valid pattern under `/topic`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

/// One segment of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Exactly this text.
    Literal(&'a str),
    /// `*`: any one segment.
    One,
    /// `**`: one or more segments.
    Rest,
}

impl Pattern {
    /// Parses a destination with wildcards.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            let valid = match segment {
                "*" => true,
                "**" => last,
                _ => !segment.contains(['*', '#', '>']),
            };
            if !valid {
                return Err(bad(text, WILDCARD_FORM));
            }
        }
        Ok(Self(text.into()))
    }

    /// The text as it was subscribed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, the first one `topic`.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.0[1..].split('/').map(|s| match s {
            "*" => Segment::One,
            "**" => Segment::Rest,
            text => Segment::Literal(text),
        })
    }

    /// Whether `destination` is one of those that the pattern names.
    pub fn matches(&self, destination: &Destination) -> bool {
        let mut name = destination.segments();
        for segment in self.segments() {
            let Some(piece) = name.next() else { return false };
            match segment {
                Segment::Literal(text) if text != piece => return false,
                Segment::Rest => return true,
                Segment::Literal(_) | Segment::One => {}
            }
        }
        name.next().is_none()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_documented() {
        let cases = [
            ("/topic/*", "/topic/a", true),
            ("/topic/*", "/topic/a/b", false),
            ("/topic/**", "/topic/a", true),
            ("/topic/**", "/topic/a/b/c", true),
            ("/topic/a/**", "/topic/a", false),
            ("/topic/*/b", "/topic/a/b", true),
            ("/topic/*/b", "/topic/a/c", false),
            ("/topic/*/**", "/topic/a/b", true),
            ("/topic/*/**", "/topic/a", false),
        ];
        for (pattern, name, expected) in cases {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(&Destination::internal(name)), expected, "{pattern:?} {name}");
        }
    }

    #[test]
    fn other_wildcards_are_refused() {
        for text in ["/topic/a*", "/topic/**/b", "/topic/*/#", "/topic/*/>", "/topic/***"] {
            assert!(Pattern::parse(text).unwrap_err().message.contains("**"), "{text}");
        }
    }
}
