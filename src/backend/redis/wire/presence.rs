//! What scripts of presence publish.
//!
//! ```text
//!  version u8 · kind · version of the room 8 · present 8 · milliseconds since the Unix epoch 8
//!  · number of the node 8 · number of the message 8 · room 2+n · user 2+n · status 2+n
//! ```
//!
//! Numbers are big-endian, texts UTF-8 behind their length. An empty status is none. To the nodes of a user the status is told
//! with its serial number in place of the version, and when it ends in place of the count.

use crate::backend::{News, Word};
use crate::model::MessageId;

/// What was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::redis) enum Told<'a> {
    /// To those in a room: somebody came or is gone.
    News(News<'a>),
    /// To those in a room: somebody says something of himself.
    Word(Word<'a>),
    /// To the nodes with sessions of a user: what he says of himself.
    Status {
        /// The user.
        user: &'a str,
        /// Grows with each status.
        serial: u64,
        /// When it ends, milliseconds since the Unix epoch by the clock of Redis; 0: never.
        until_ms: u64,
        /// Empty: nothing.
        text: &'a str,
    },
}

/// Reads what follows a kind; nothing where it is malformed or of another kind.
pub(in crate::backend::redis) fn read(kind: u8, rest: &[u8]) -> Option<Told<'_>> {
    let mut rest = rest;
    let [version, present, timestamp_ms, node, number] = [(); 5].map(|()| take_number(&mut rest));
    let (version, present, timestamp_ms) = (version?, present?, timestamp_ms?);
    let id = MessageId { node: node?, number: number? };
    let [room, user, status] = [(); 3].map(|()| take_text(&mut rest));
    let (room, user, status) = (room?, user?, status?);
    if !rest.is_empty() {
        return None;
    }
    match kind {
        CAME | GONE => {
            let (came, present) = (kind == CAME, usize::try_from(present).ok()?);
            Some(Told::News(News { room, user, came, present, version, id, timestamp_ms }))
        }
        SAID => {
            let status = Some(status).filter(|status| !status.is_empty());
            Some(Told::Word(Word { room, user, status, id, timestamp_ms }))
        }
        STATUS => Some(Told::Status { user, serial: version, until_ms: present, text: status }),
        _ => None,
    }
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (number, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u64::from_be_bytes(*number))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, tail) = rest.split_first_chunk()?;
    let (text, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = tail;
    std::str::from_utf8(text).ok()
}

const CAME: u8 = 80;
const GONE: u8 = 81;
const SAID: u8 = 82;
const STATUS: u8 = 83;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(texts: [&str; 3]) -> Vec<u8> {
        let mut payload = Vec::new();
        for number in [3_u64, 7, 1_000, u64::MAX, 9] {
            payload.extend(number.to_be_bytes());
        }
        for text in texts {
            payload.extend((text.len() as u16).to_be_bytes());
            payload.extend(text.as_bytes());
        }
        payload
    }

    #[test]
    fn what_is_told_is_read_and_anything_else_is_nothing() {
        let id = MessageId { node: u64::MAX, number: 9 };
        let (room, user, timestamp_ms) = ("42", "\u{e4}", 1_000);
        let news = News { room, user, came: true, present: 7, version: 3, id, timestamp_ms };
        assert_eq!(read(CAME, &written([room, user, ""])), Some(Told::News(news)));
        let news = News { came: false, ..news };
        assert_eq!(read(GONE, &written([room, user, ""])), Some(Told::News(news)));
        let word = Word { room, user, status: Some("away"), id, timestamp_ms };
        assert_eq!(read(SAID, &written([room, user, "away"])), Some(Told::Word(word)));
        let status = Told::Status { user, serial: 3, until_ms: 7, text: "" };
        assert_eq!(read(STATUS, &written(["", user, ""])), Some(status));

        let whole = written([room, user, "away"]);
        assert!((0..whole.len()).all(|length| read(SAID, &whole[..length]).is_none()));
        assert_eq!(read(SAID, &[&whole[..], &[0]].concat()), None);
        assert_eq!(read(STATUS + 1, &whole), None);
        let mut broken = whole;
        *broken.last_mut().unwrap() = 0xff;
        assert_eq!(read(SAID, &broken), None);
    }
}
