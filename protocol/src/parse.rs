//! One complete head: the command line and the header lines, up to the blank line.
//!
//! ```text
//! head   = command EOL *( header EOL ) EOL
//! header = 1*<any octet except CR or LF or ":"> ":" *<any octet except CR or LF>
//! EOL    = [CR] LF
//! ```
//!
//! Two liberties, both harmless and common among brokers: a value may hold a raw colon, and a CR before the LF is
//! taken for part of the line's end in all versions (telnet-style clients send it under 1.0 and 1.1, too). Elsewhere in a line 1.0
//! and 1.1 do not forbid it; of 1.2 it is refused in all frames that have escapes.

use memchr::{memchr, memchr2};
use nom::combinator::map_res;
use nom::error::{ErrorKind, FromExternalError, ParseError};
use nom::{IResult, Parser};

use crate::error::excerpt;
use crate::header::UndefinedEscape;
use crate::{Command, Headers, Limits, Version, Violation};

/// A frame whose body is still to come.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) command: Command,
    pub(crate) headers: Headers,
}

impl Head {
    /// "Any client frame other than CONNECT MAY specify a receipt header"
    pub(crate) fn receipt(&self) -> Option<&str> {
        let asks = !matches!(self.command, Command::Connect | Command::Stomp);
        self.headers.get("receipt").filter(|_| asks)
    }
}

/// Reads the lines of a head, each with its LF, without the blank line. `version` is the one agreed on, if it is.
pub(crate) fn head(lines: &[u8], version: Option<Version>, limits: &Limits) -> Result<Head, Violation> {
    let text = std::str::from_utf8(lines).map_err(|_| Violation::HeadNotUtf8)?;
    let (lines, command) = command.parse(text).map_err(violation)?;
    let escapes = if command.is_escaped() { version.unwrap_or(Version::V1_0) } else { Version::V1_0 };
    let headers = if version != Some(Version::V1_0) && memchr2(b'\\', b'\r', lines.as_bytes()).is_none() {
        verbatim(lines, limits)?
    } else {
        rewritten(lines, version, escapes, limits)?
    };
    Ok(Head { command, headers })
}

/// The usual head: nothing to un-escape, to strip or to trim, so its text is kept in one piece.
fn verbatim(lines: &str, limits: &Limits) -> Result<Headers, Violation> {
    let mut headers = Headers::verbatim(lines);
    each_header(lines, limits, |_, value, after| {
        let value_end = lines.len() - after.len() - 1;
        headers.mark(value_end - value.len() - 1, value_end);
        Ok(())
    })?;
    Ok(headers)
}

fn rewritten(
    lines: &str,
    version: Option<Version>,
    escapes: Version,
    limits: &Limits,
) -> Result<Headers, Violation> {
    let mut headers = Headers::with_capacity(lines.len());
    each_header(lines, limits, |name, value, _| {
        if escapes == Version::V1_2 && [name, value].iter().any(|text| text.contains('\r')) {
            return Err(Violation::CarriageReturnInHeader);
        }
        let value = if version == Some(Version::V1_0) { trim(value) } else { value };
        headers
            .push_escaped(name, value, escapes)
            .map_err(|UndefinedEscape(character)| Violation::UndefinedEscape { character, version: escapes })
    })?;
    Ok(headers)
}

/// Gives each header to `keep`: its name, its value and what comes after its line.
fn each_header<'a>(
    lines: &'a str,
    limits: &Limits,
    mut keep: impl FnMut(&'a str, &'a str, &'a str) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let mut rest = lines;
    let mut count = 0;
    while !rest.is_empty() {
        if count == limits.headers_max {
            return Err(Violation::TooManyHeaders { limit: limits.headers_max });
        }
        let (after, (name, value)) = header.parse(rest).map_err(violation)?;
        keep(name, value, after)?;
        rest = after;
        count += 1;
    }
    Ok(())
}

/// Padding around a value, which 1.0 examples have and later versions count as part of the value.
pub(crate) fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

fn command(text: &str) -> Parsed<'_, Command> {
    map_res(line, |name| {
        Command::parse(name).ok_or_else(|| Violation::UnknownCommand { name: excerpt(name.as_bytes()) })
    })
    .parse(text)
}

fn header(text: &str) -> Parsed<'_, (&str, &str)> {
    map_res(line, |line| match memchr(b':', line.as_bytes()) {
        Some(0) => Err(Violation::EmptyHeaderName),
        Some(colon) => Ok((&line[..colon], &line[colon + 1..])),
        None => Err(Violation::HeaderWithoutColon),
    })
    .parse(text)
}

/// One line without its end. nom's own `is_not` looks each byte up in the set; this goes at memory speed.
fn line(text: &str) -> Parsed<'_, &str> {
    let bytes = text.as_bytes();
    let end =
        memchr(b'\n', bytes).ok_or_else(|| nom::Err::Error(Fault::from_error_kind(text, ErrorKind::CrLf)))?;
    let without_return = if end > 0 && bytes[end - 1] == b'\r' { end - 1 } else { end };
    Ok((&text[end + 1..], &text[..without_return]))
}

type Parsed<'a, T> = IResult<&'a str, T, Fault>;

/// A violation as nom carries it.
struct Fault(Violation);

impl ParseError<&str> for Fault {
    fn from_error_kind(_: &str, _: ErrorKind) -> Self {
        Self(Violation::HeaderWithoutColon)
    }

    fn append(_: &str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl FromExternalError<&str, Violation> for Fault {
    fn from_external_error(_: &str, _: ErrorKind, violation: Violation) -> Self {
        Self(violation)
    }
}

fn violation(error: nom::Err<Fault>) -> Violation {
    match error {
        nom::Err::Error(Fault(violation)) | nom::Err::Failure(Fault(violation)) => violation,
        nom::Err::Incomplete(_) => Violation::HeaderWithoutColon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = &'static [(&'static str, &'static str)];

    fn parsed(lines: &str, version: Version) -> Result<Vec<(String, String)>, Violation> {
        let head = head(lines.as_bytes(), Some(version), &Limits::default())?;
        Ok(head.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Result<Vec<(String, String)>, Violation> {
        Ok(expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn headers_are_read_by_the_rules_of_the_version() {
        use Version::{V1_0, V1_1, V1_2};
        let table: [(&str, Version, Pairs); 9] = [
            ("SEND\na:b\n", V1_2, &[("a", "b")]),
            ("SEND\r\na:b\r\n", V1_2, &[("a", "b")]),
            ("SEND\r\na:b\r\n", V1_1, &[("a", "b")]),
            ("SEND\na: b \n", V1_2, &[("a", " b ")]),
            ("SEND\na: b \n", V1_0, &[("a", "b")]),
            ("SEND\na:b:c\n", V1_2, &[("a", "b:c")]),
            ("SEND\n\\ca:\\n\\\\\n", V1_1, &[(":a", "\n\\")]),
            ("SEND\na:\\c\\t\n", V1_0, &[("a", "\\c\\t")]),
            ("CONNECT\na:\\c\\t\n", V1_2, &[("a", "\\c\\t")]),
        ];
        for (lines, version, expected) in table {
            assert_eq!(parsed(lines, version), pairs(expected), "{lines:?} under {version}");
        }
    }

    #[test]
    fn each_fault_of_a_head_has_its_name() {
        let v = Version::V1_2;
        assert_eq!(parsed("SEND\n:b\n", v), Err(Violation::EmptyHeaderName));
        assert_eq!(parsed("SEND\nab\n", v), Err(Violation::HeaderWithoutColon));
        assert_eq!(parsed("send\n", v), Err(Violation::UnknownCommand { name: "send".into() }));
        assert_eq!(parsed(" SEND\n", v), Err(Violation::UnknownCommand { name: " SEND".into() }));
        for lines in ["SEND\na:b\rc\n", "SEND\na\rb:c\n", "SEND\na:b\r\r\n"] {
            assert_eq!(parsed(lines, v), Err(Violation::CarriageReturnInHeader), "{lines:?}");
            assert!(parsed(lines, Version::V1_1).is_ok(), "{lines:?}");
        }
        assert_eq!(
            parsed("SEND\na:\\t\n", v),
            Err(Violation::UndefinedEscape { character: Some('t'), version: v })
        );
        assert_eq!(head(b"SEND\na:\xff\n", Some(v), &Limits::default()).err(), Some(Violation::HeadNotUtf8));
    }

    #[test]
    fn one_header_more_than_the_limit_is_too_many() {
        let limits = Limits { headers_max: 2, ..Limits::default() };
        assert!(head(b"SEND\na:1\na:2\n", None, &limits).is_ok());
        let excess = head(b"SEND\na:1\na:2\na:3\n", None, &limits);
        assert_eq!(excess.err(), Some(Violation::TooManyHeaders { limit: 2 }));
    }
}
