//! Names of presence, and of the nodes that live.

use std::borrow::Cow;

use super::{Keys, Partition};
use crate::model::Destination;

/// Names of presence as its scripts make them, those of which there is one for each room or incarnation.
macro_rules! presence_names {
    () => {
        "local ROWS, ARRIVALS, ROWS_OF = 'rows:', 'arrivals:', 'rows-of:'
local PEOPLE, DUE, MARKS = 'people', 'presence-due', 'presence-marks'
local USER_CHANNEL, STAR = 'u:', '*'
local ONLINE, STATUS, ROOM_USERS, USER_ROOMS = 'online_users', 'user:status:', 'chatroom:users:', 'user:chatrooms:'
local STATUS_TTL_S = 1800
"
    };
}
pub(in crate::backend::redis) use presence_names;

/// For so long a status that operators read stands when nobody refreshes it, seconds. The scripts have the same number.
pub(in crate::backend::redis) const STATUS_TTL_S: u64 = 1_800;

/// Users of a room: who has rows, and what they say of themselves.
pub(in crate::backend::redis) const ROWS: &str = "rows";

/// Users of a room by the version with which they came.
pub(in crate::backend::redis) const ARRIVALS: &str = "arrivals";

/// What an incarnation holds in a partition.
pub(in crate::backend::redis) const ROWS_OF: &str = "rows-of";

/// Users who are online.
pub(in crate::backend::redis) const PEOPLE: &str = "people";

/// What of presence comes due.
pub(in crate::backend::redis) const PRESENCE_DUE: &str = "presence-due";

/// What operators read and is still to be written, in a cluster.
pub(in crate::backend::redis) const PRESENCE_MARKS: &str = "presence-marks";

/// What scripts of presence count; and, `f<incarnation>`, who is fenced in the partition, whatever he wants there.
pub(in crate::backend::redis) const STATE: &str = "state";

/// Counters of the nodes that live.
pub(in crate::backend::redis) const NODES: &str = "nodes";

/// How they describe themselves.
pub(in crate::backend::redis) const NODES_ABOUT: &str = "nodes-about";

/// Where the nodes are registered.
pub(in crate::backend::redis) const REGISTRY: Partition = Partition(0);

/// The family of the channels of destinations.
pub(in crate::backend::redis) const CHANNELS: &str = "c";

impl Partition {
    /// Where everything of a user lies, whose name is as it is.
    pub(in crate::backend::redis) fn of_user_named(user: &str) -> Self {
        Self::of_destination(Destination::of_user(user, "").as_str())
    }
}

impl Keys {
    /// What names in a partition begin with.
    pub(in crate::backend::redis) fn base(&self, partition: Partition) -> String {
        self.single(partition, "").trim_end_matches(':').to_owned() + ":"
    }

    /// What names that operators read begin with.
    pub(in crate::backend::redis) fn views(&self) -> String {
        self.view("")
    }

    /// For operators: who is online.
    pub(in crate::backend::redis) fn online_users(&self) -> String {
        self.view("online_users")
    }

    /// For operators: what a user, whose name is encoded, says of himself.
    pub(in crate::backend::redis) fn user_status(&self, user: &str) -> String {
        self.view(&format!("user:status:{user}"))
    }

    /// For operators: who is in a room, whose name is encoded.
    pub(in crate::backend::redis) fn room_users(&self, room: &str) -> String {
        self.view(&format!("chatroom:users:{room}"))
    }

    /// For operators: where a user is, whose name is encoded.
    pub(in crate::backend::redis) fn user_rooms(&self, user: &str) -> String {
        self.view(&format!("user:chatrooms:{user}"))
    }
}

/// The name of a user or a room as it stands in keys: percent-encoded where it has `{ } : %` or control characters.
pub(in crate::backend::redis) fn encode(name: &str) -> Cow<'_, str> {
    let is_special = |char: char| matches!(char, '{' | '}' | ':' | '%') || char.is_control();
    if !name.contains(is_special) {
        return Cow::Borrowed(name);
    }
    let mut encoded = String::with_capacity(name.len() + 8);
    for char in name.chars() {
        if is_special(char) {
            let mut bytes = [0; 4];
            for byte in char.encode_utf8(&mut bytes).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        } else {
            encoded.push(char);
        }
    }
    Cow::Owned(encoded)
}

/// The name that was encoded so.
pub(in crate::backend::redis) fn decode(encoded: &str) -> String {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_keys_come_back_as_they_were() {
        for (name, encoded) in [
            ("alice", "alice"),
            ("a:b{c}%2F", "a%3Ab%7Bc%7D%252F"),
            ("line\nend \u{85}\u{7f}", "line%0Aend %C2%85%7F"),
            ("\u{e4}/b", "\u{e4}/b"),
        ] {
            assert_eq!(encode(name), encoded);
            assert_eq!(decode(encoded), name);
        }
        assert_eq!(decode("100%"), "100%");
    }
}
