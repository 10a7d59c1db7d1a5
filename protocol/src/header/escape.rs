//! Escapes of header names and values, by version.
//!
//! | version | defined escapes |
//! | --- | --- |
//! | 1.0 | none |
//! | 1.1 | `\n` `\c` `\\` |
//! | 1.2 | `\r` `\n` `\c` `\\` |

use memchr::memchr;

use super::UndefinedEscape;
use crate::Version;

/// Writes a name or value so that a receiver of `version` reads `text` again.
///
/// What the version cannot carry becomes a blank: CR and LF under 1.0, CR under 1.1, NUL always. So no text, whoever
/// wrote it, can begin a header line of its own or end the frame.
pub fn escape_into(out: &mut Vec<u8>, text: &str, version: Version) {
    let bytes = text.as_bytes();
    // Most texts are short: one look into a table for each byte, and no early exit, beats a search.
    let mask = if version == Version::V1_0 { BREAKS } else { BREAKS | MEANS };
    if bytes.iter().fold(0, |found, byte| found | SPECIAL[usize::from(*byte)]) & mask == 0 {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        match (byte, version) {
            (0, _) | (b'\n', Version::V1_0) | (b'\r', Version::V1_0 | Version::V1_1) => out.push(b' '),
            (b'\r', Version::V1_2) => out.extend_from_slice(b"\\r"),
            (b'\n', _) => out.extend_from_slice(b"\\n"),
            (b':', Version::V1_1 | Version::V1_2) => out.extend_from_slice(b"\\c"),
            (b'\\', Version::V1_1 | Version::V1_2) => out.extend_from_slice(b"\\\\"),
            _ => out.push(byte),
        }
    }
}

/// The text that `escaped` stands for under `version`; borrowed where nothing is escaped.
///
/// # Errors
/// "Undefined escape sequences such as `\t` MUST be treated as a fatal protocol error."
pub fn unescape(escaped: &str, version: Version) -> Result<std::borrow::Cow<'_, str>, UndefinedEscape> {
    if version == Version::V1_0 || memchr(b'\\', escaped.as_bytes()).is_none() {
        return Ok(escaped.into());
    }
    let mut text = String::with_capacity(escaped.len());
    push_unescaped(&mut text, escaped, version)?;
    Ok(text.into())
}

/// Appends the text that `escaped` stands for under `version`.
pub(crate) fn push_unescaped(
    text: &mut String,
    escaped: &str,
    version: Version,
) -> Result<(), UndefinedEscape> {
    let mut rest = escaped;
    if version != Version::V1_0 {
        while let Some(backslash) = memchr(b'\\', rest.as_bytes()) {
            text.push_str(&rest[..backslash]);
            let character = match (rest.as_bytes().get(backslash + 1), version) {
                (Some(b'n'), _) => '\n',
                (Some(b'c'), _) => ':',
                (Some(b'\\'), _) => '\\',
                (Some(b'r'), Version::V1_2) => '\r',
                _ => return Err(UndefinedEscape(rest[backslash + 1..].chars().next())),
            };
            text.push(character);
            rest = &rest[backslash + 2..];
        }
    }
    text.push_str(rest);
    Ok(())
}

/// Ends a header line or a frame whatever the version.
pub(crate) const fn is_line_breaking(byte: u8) -> bool {
    matches!(byte, 0 | b'\n' | b'\r')
}

/// Which bytes cannot stay as they are.
const SPECIAL: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_line_breaking(byte as u8) {
            table[byte] = BREAKS;
        }
        byte += 1;
    }
    table[b':' as usize] = MEANS;
    table[b'\\' as usize] = MEANS;
    table
};

/// In [`SPECIAL`]: ends a line or a frame.
const BREAKS: u8 = 1;
/// In [`SPECIAL`]: means something where there are escapes.
const MEANS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str, version: Version) -> String {
        let mut out = Vec::new();
        escape_into(&mut out, text, version);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_version_escapes_what_it_defines_and_blanks_what_it_cannot_carry() {
        let text = "a:b\\c\nd\re\0f ü😀";
        assert_eq!(escaped(text, Version::V1_0), "a:b\\c d e f ü😀");
        assert_eq!(escaped(text, Version::V1_1), "a\\cb\\\\c\\nd e f ü😀");
        assert_eq!(escaped(text, Version::V1_2), "a\\cb\\\\c\\nd\\re f ü😀");
        for version in Version::ALL {
            assert_eq!(escaped("plain text", version), "plain text");
            assert_eq!(escaped("", version), "");
        }
    }

    #[test]
    fn each_version_reads_the_escapes_it_defines() {
        assert_eq!(unescape("a\\cb\\\\c\\nd", Version::V1_1).unwrap(), "a:b\\c\nd");
        assert_eq!(unescape("a\\cb\\\\c\\nd\\r", Version::V1_2).unwrap(), "a:b\\c\nd\r");
        assert_eq!(unescape("a\\cb\\t\\", Version::V1_0).unwrap(), "a\\cb\\t\\");
        assert_eq!(unescape("\\\\n", Version::V1_2).unwrap(), "\\n", "an escaped backslash begins no escape");
    }

    #[test]
    fn undefined_escapes_are_refused() {
        assert_eq!(unescape("\\t", Version::V1_2), Err(UndefinedEscape(Some('t'))));
        assert_eq!(unescape("\\r", Version::V1_1), Err(UndefinedEscape(Some('r'))));
        assert_eq!(unescape("a\\", Version::V1_2), Err(UndefinedEscape(None)));
        assert_eq!(unescape("\\ü", Version::V1_2), Err(UndefinedEscape(Some('ü'))));
        assert_eq!(unescape("\\N", Version::V1_2), Err(UndefinedEscape(Some('N'))));
    }
}
