//! Patterns of rules: like those of SUBSCRIBE, with names for segments.

use std::fmt;

use smallvec::SmallVec;

use super::PolicyError;
use crate::model::Pattern;
use crate::model::pattern::Segment;

/// Literal segments, `*` (any one segment), `{name}` (any one segment, remembered), and a last `**` (one or more).
#[derive(Clone, PartialEq, Eq)]
pub struct RulePattern {
    text: Box<str>,
    pieces: Box<[Piece]>,
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    One,
    Capture(Box<str>),
    Rest,
}

/// What the named segments stand for; `None` where a wildcard of a subscription leaves it open.
pub(in crate::policy) type Captures<'a> = SmallVec<[(&'a str, Option<&'a str>); 2]>;

/// What a rule's pattern and a subscription's have in common.
pub(in crate::policy) enum Overlap<'a> {
    /// No destination matches both.
    Nothing,
    /// Some destinations match both.
    Part(Captures<'a>),
    /// Everything that the subscription matches.
    All(Captures<'a>),
}

impl RulePattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let wrong = |fault| PolicyError::RulePattern { pattern: text.to_owned(), fault };
        let rest = text.strip_prefix('/').ok_or_else(|| wrong("a destination begins with /"))?;
        let mut pieces: Vec<Piece> = Vec::new();
        for segment in rest.split('/') {
            if pieces.last() == Some(&Piece::Rest) {
                return Err(wrong("** stands last only"));
            }
            let piece = Piece::parse(segment).map_err(wrong)?;
            if matches!(piece, Piece::Capture(_)) && pieces.contains(&piece) {
                return Err(wrong("a name stands in it twice"));
            }
            pieces.push(piece);
        }
        Ok(Self { text: text.into(), pieces: pieces.into() })
    }

    /// A pattern composed by this program. What does not parse matches nothing, and so allows nothing.
    pub(super) fn known(text: &str) -> Self {
        let parsed = Self::parse(text);
        debug_assert!(parsed.is_ok(), "{text}");
        parsed.unwrap_or_else(|_| Self { text: text.into(), pieces: Box::default() })
    }

    /// The text as it was configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern has a segment `{name}`.
    pub(super) fn has_capture(&self, name: &str) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Capture(capture) if **capture == *name))
    }

    /// The captures, if `destination` matches.
    pub(in crate::policy) fn matches<'a>(&'a self, destination: &'a str) -> Option<Captures<'a>> {
        let mut captures = Captures::new();
        let mut segments = destination.strip_prefix('/')?.split('/');
        for piece in &self.pieces {
            let segment = segments.next()?;
            match piece {
                Piece::Literal(text) if **text != *segment => return None,
                Piece::Rest => return Some(captures),
                Piece::Capture(name) => captures.push((name, Some(segment))),
                Piece::Literal(_) | Piece::One => {}
            }
        }
        (segments.next().is_none() && !self.pieces.is_empty()).then_some(captures)
    }

    /// How much of what `pattern` matches is matched by this one.
    pub(in crate::policy) fn overlap<'a>(&'a self, pattern: &'a Pattern) -> Overlap<'a> {
        let mut captures = Captures::new();
        let mut covers = true;
        let mut segments = pattern.segments();
        for (i, piece) in self.pieces.iter().enumerate() {
            let Some(segment) = segments.next() else { return Overlap::Nothing };
            match (piece, segment) {
                (Piece::Rest, _) => return overlap(covers, captures),
                (_, Segment::Rest) => {
                    // The pattern's tail may be longer or shorter than what is left of ours.
                    let open = self.pieces[i..].iter().filter_map(Piece::capture).map(|name| (name, None));
                    captures.extend(open);
                    return Overlap::Part(captures);
                }
                (Piece::Literal(text), Segment::Literal(other)) if **text != *other => {
                    return Overlap::Nothing;
                }
                (Piece::Literal(_), Segment::Literal(_)) | (Piece::One, _) => {}
                (Piece::Literal(_), Segment::One) => covers = false,
                (Piece::Capture(name), Segment::Literal(text)) => captures.push((name, Some(text))),
                (Piece::Capture(name), Segment::One) => captures.push((name, None)),
            }
        }
        if segments.next().is_some() { Overlap::Nothing } else { overlap(covers, captures) }
    }
}

impl Piece {
    fn parse(segment: &str) -> Result<Self, &'static str> {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match (segment, name) {
            ("", _) => Err("it has an empty segment"),
            ("*", _) => Ok(Self::One),
            ("**", _) => Ok(Self::Rest),
            (_, Some(name)) if is_name(name) => Ok(Self::Capture(name.into())),
            _ if segment.contains(['*', '#', '>', '{', '}']) => {
                Err("wildcards are *, {name} and a last **, each a whole segment")
            }
            _ if segment.chars().any(char::is_control) => Err("it has control characters"),
            _ => Ok(Self::Literal(segment.into())),
        }
    }

    fn capture(&self) -> Option<&str> {
        match self {
            Self::Capture(name) => Some(name),
            Self::Literal(_) | Self::One | Self::Rest => None,
        }
    }
}

impl fmt::Debug for RulePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn overlap(covers: bool, captures: Captures<'_>) -> Overlap<'_> {
    if covers { Overlap::All(captures) } else { Overlap::Part(captures) }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
