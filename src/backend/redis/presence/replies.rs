//! What scripts of presence reply.

use redis::Value;

use crate::backend::redis::keys::presence::decode;
use crate::model::{Member, Members};

/// A number, in digits or as such.
pub(in crate::backend::redis) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => text(other)?.parse().ok(),
    }
}

/// A text.
pub(in crate::backend::redis) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// The parts of a list.
pub(in crate::backend::redis) fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// An incarnation.
pub(in crate::backend::redis) fn incarnation(value: &Value) -> Option<u64> {
    u64::from_str_radix(text(value)?, 16).ok()
}

/// What a user says of himself: serial, end, text.
pub(super) fn status(value: &Value) -> Option<(u64, u64, &str)> {
    let [serial, until, said] = items(value)? else { return None };
    Some((number(serial)?, number(until)?, text(said)?))
}

/// Where a list of what an incarnation holds goes on, and users and rooms.
pub(super) fn held(value: &Value) -> Option<(&str, Vec<(String, String)>)> {
    let [next, entries] = items(value)? else { return None };
    let held = items(entries)?.iter().filter_map(|entry| {
        let (user, room) = text(entry)?.split_once(':')?;
        Some((decode(user), decode(room)))
    });
    Some((text(next)?, held.collect()))
}

/// An edge of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noted {
    /// Whether somebody is there now.
    pub(super) is_occupied: bool,
    /// Of the room, with it.
    pub(super) version: u64,
    /// When, milliseconds since the Unix epoch.
    pub(super) timestamp_ms: u64,
}

/// An edge as a script has noted it, and the room.
pub(super) fn edge(entry: &str) -> Option<(Noted, String)> {
    let (act, rest) = entry.strip_prefix('e')?.split_at_checked(1)?;
    let (version, rest) = rest.split_once(':')?;
    let (timestamp, room) = rest.split_once(':')?;
    let is_occupied = act == "+";
    let noted = Noted { is_occupied, version: version.parse().ok()?, timestamp_ms: timestamp.parse().ok()? };
    (is_occupied || act == "-").then(|| (noted, decode(room)))
}

/// Who is in a room.
pub(super) fn members(value: &Value) -> Option<Members> {
    let [version, count, more, listed @ ..] = items(value)? else { return None };
    let listed = listed.chunks_exact(3).map(|member| {
        let status = Some(text(&member[2])?).filter(|status| !status.is_empty());
        Some(Member {
            user: decode(text(&member[0])?).into(),
            status: status.map(Into::into),
            arrival: number(&member[1])?,
        })
    });
    Some(Members {
        listed: listed.collect::<Option<_>>()?,
        count: usize::try_from(number(count)?).ok()?,
        version: number(version)?,
        more: number(more)? == 1,
    })
}
