//! Rooms: one large one, or many in which everybody speaks.

use std::io;

use super::{Cast, deliver, one_room};
use crate::options::Options;
use crate::report::Report;

/// One room, many subscribers: what a delivery costs when there is nothing else to do.
pub(super) fn fanout(options: &Options) -> io::Result<Report> {
    deliver(options, one_room(options)?)
}

/// Many rooms of ten in which every member publishes, each in his turn.
pub(super) fn chat(options: &Options) -> io::Result<Report> {
    let mut cast = Cast::new(options, "/topic/chat/{room}", "/topic/chat/{room}", "guest")?;
    let rooms = options.rooms.unwrap_or(1_000);
    let members = options.connections.unwrap_or(10_000) / rooms;
    // Streams are numbered member by member, so that two SENDs in a row are never for the same room.
    for n in 0..rooms * members {
        let room = (n % rooms).to_string();
        let client = cast.add(&format!("member{n}"), std::slice::from_ref(&room))?;
        cast.publish(client, &room, "");
        cast.subscribe(
            client,
            &room,
            "",
            (0..members).map(|member| (member * rooms + n % rooms) as u32).collect(),
        );
    }
    deliver(options, cast)
}
