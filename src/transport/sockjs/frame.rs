//! What travels: frames of the server, and the arrays of strings that a client sends.

use std::borrow::Cow;
use std::fmt::Write;

/// The first frame of a session.
pub const OPEN: &str = "o";

/// A sign of life.
pub const HEART_BEAT: &str = "h";

/// What every further receiver of a session is told while one is there.
pub const STILL_OPEN: &str = "c[2010,\"Another connection still open\"]";

/// What is told of a session whose receiver vanished: something may be lost.
pub const INTERRUPTED: &str = "c[1002,\"Connection interrupted\"]";

/// The end where nobody gave another.
pub const GO_AWAY: &str = "c[3000,\"Go away!\"]";

/// The last frame of a session.
pub fn close(code: u16, reason: &str) -> String {
    let mut out = format!("c[{code},\"").into_bytes();
    escape(reason.as_bytes(), &mut out);
    out.extend_from_slice(b"\"]");
    String::from_utf8_lossy(&out).into_owned()
}

/// One message in a frame by itself.
pub fn message(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + FRAME_BYTES);
    out.extend_from_slice(BEFORE);
    escape(text.as_bytes(), &mut out);
    out.extend_from_slice(AFTER);
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes `text` as the inside of a JSON string. It may come in pieces that are cut between characters; bytes that are not
/// UTF-8 become the character that stands for such.
///
/// Besides what JSON itself wants escaped these are characters that browsers are known to change or to lose on the way.
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text);
    let mut plain_from = 0;
    for (at, character) in text.char_indices() {
        if !is_escaped(character) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + character.len_utf8();
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            other => {
                let mut code = String::with_capacity(ESCAPE_BYTES);
                // A string takes whatever is written.
                let _ = write!(code, "\\u{:04x}", u32::from(other));
                out.extend_from_slice(code.as_bytes());
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
}

/// All of them are of the basic plane.
fn is_escaped(character: char) -> bool {
    match character {
        ' '..='~' => matches!(character, '"' | '\\'),
        '\0'..='\x1f' | '\u{200c}'..='\u{200f}' | '\u{2028}'..='\u{202f}' => true,
        '\u{2060}'..='\u{206f}' | '\u{fff0}'..='\u{ffff}' => true,
        _ => false,
    }
}

/// The strings of an array in JSON; one string by itself is an array of one.
///
/// # Errors
/// It is neither.
pub fn messages(text: &[u8]) -> Result<Vec<String>, BadJson> {
    let whole = |text: &[u8]| match text.trim_ascii_start().first() {
        Some(b'"') => serde_json::from_slice(text).map(|message| vec![message]),
        _ => serde_json::from_slice(text),
    };
    let read = whole(text).or_else(|error| match without_halves(text) {
        Cow::Borrowed(_) => Err(error),
        Cow::Owned(mended) => whole(&mended),
    });
    read.map_err(|_| BadJson)
}

/// What a client sent is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Broken JSON encoding.")]
pub struct BadJson;

/// JavaScript can cut a character above U+FFFF in two and send one half (`\ud83d`). No UTF-8 can say that: what stands for
/// characters that cannot be said takes its place.
fn without_halves(text: &[u8]) -> Cow<'_, [u8]> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'\\' {
            at += 1;
            continue;
        }
        match (unit(text, at), unit(text, at + ESCAPE_BYTES)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 2 * ESCAPE_BYTES,
            (Some(0xd800..=0xdfff), _) => {
                let mended = mended.get_or_insert_with(|| text.to_vec());
                mended[at..at + ESCAPE_BYTES].copy_from_slice(b"\\ufffd");
                at += ESCAPE_BYTES;
            }
            // Whatever is escaped, it is no backslash that could begin another escape.
            _ => at += 2,
        }
    }
    mended.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The number of `\u0000` at this place.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Before the inside of one message's string.
pub(super) const BEFORE: &[u8] = b"a[\"";

/// Behind it.
pub(super) const AFTER: &[u8] = b"\"]";

/// What a message has around it.
pub(super) const FRAME_BYTES: usize = BEFORE.len() + AFTER.len();

/// `\u0000`.
const ESCAPE_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_browsers_lose_is_escaped_and_nothing_else() {
        assert_eq!(escaped("MESSAGE\nä:\"\\\"\n\nx\0"), "MESSAGE\\nä:\\\"\\\\\\\"\\n\\nx\\u0000");
        for code in 0x20..=0xffff_u32 {
            let Some(character) = char::from_u32(code) else { continue };
            let lost = matches!(code, 0x200c..=0x200f | 0x2028..=0x202f | 0x2060..=0x206f | 0xfff0..=0xffff);
            let wanted = match character {
                '"' | '\\' => format!("\\{character}"),
                _ if lost => format!("\\u{code:04x}"),
                _ => character.to_string(),
            };
            assert_eq!(escaped(&character.to_string()), wanted, "{code:04x}");
        }
        assert_eq!(escaped("😀"), "😀");
    }

    #[test]
    fn bytes_that_are_no_text_become_the_character_for_such() {
        let mut out = Vec::new();
        escape(b"a\xffb", &mut out);
        assert_eq!(out, b"a\\ufffdb");
    }

    #[test]
    fn a_close_is_json() {
        assert_eq!(close(3000, "Go away!"), GO_AWAY);
        assert_eq!(close(1002, "say \"x\"\n"), r#"c[1002,"say \"x\"\n"]"#);
    }

    #[test]
    fn a_client_sends_arrays_of_strings_or_one_string() {
        assert_eq!(messages(br#"["a","b"]"#), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(messages(b" [ ] "), Ok(Vec::new()));
        assert_eq!(messages(br#""a""#), Ok(vec!["a".to_owned()]));
        for bad in [&b""[..], b"[\"a", b"[1]", b"{}", b"[[\"a\"]]", b"[\"a\"] x", b"null", b"[\"\xff\"]"] {
            assert_eq!(messages(bad), Err(BadJson), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn half_a_character_does_not_end_the_session() {
        assert_eq!(messages(br#"["x\ud83dy"]"#), Ok(vec!["x\u{fffd}y".to_owned()]));
        assert_eq!(messages(br#"["\ude00\ud83d"]"#), Ok(vec!["\u{fffd}\u{fffd}".to_owned()]));
        assert_eq!(messages(br#"["\ud83d\ude00\\ud83d"]"#), Ok(vec!["😀\\ud83d".to_owned()]));
        assert_eq!(messages(br#"["\ud83d\ude00\ud83d"]"#), Ok(vec!["😀\u{fffd}".to_owned()]));
    }

    proptest! {
        #[test]
        fn any_text_comes_back_however_it_is_cut(text in "\\PC*|[\\x00-\\u{ffff}]*", cut in any::<prop::sample::Index>()) {
            let cut = text.floor_char_boundary(cut.index(text.len() + 1));
            let mut out = b"[\"".to_vec();
            escape(&text.as_bytes()[..cut], &mut out);
            escape(&text.as_bytes()[cut..], &mut out);
            out.extend_from_slice(AFTER);
            out.pop();
            out.push(b']');
            prop_assert!(out.iter().all(|byte| *byte >= b' '), "a raw line would end a frame");
            prop_assert_eq!(messages(&out), Ok(vec![text]));
        }

        #[test]
        fn no_bytes_make_it_fall(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = messages(&bytes);
        }
    }
}
