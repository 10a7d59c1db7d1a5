//! Unread messages of a user's rooms.

use std::sync::Arc;

use serde_json::json;

use crate::backend::UNREAD_MAX;
use crate::model::Destination;
use crate::model::destination::encode_user;

/// How many messages of others a user has not read in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The room.
    pub room: Arc<str>,
    /// At most [`UNREAD_MAX`].
    pub unread: u32,
}

/// The path under which a user hears of counts that have changed.
pub const UNREAD_PATH: &str = "unread";

/// Where the broker tells itself that the memberships of a user have changed: the body is the room. No client can name it.
pub fn memberships_topic(user: &str) -> Destination {
    Destination::internal(&format!("/memberships/{}", encode_user(user)))
}

/// Counts as they are told.
pub fn unread_body(counts: &[Count]) -> Vec<u8> {
    let rooms: Vec<_> = counts
        .iter()
        .map(|Count { room, unread }| match *unread {
            UNREAD_MAX => json!({"chatRoomId": **room, "unread": unread, "more": true}),
            _ => json!({"chatRoomId": **room, "unread": unread}),
        })
        .collect();
    json!({"rooms": rooms}).to_string().into_bytes()
}
