//! What presence costs: a user in a room, a user who is online, a room that is empty.

use std::sync::Arc;

use stompede::backend::memory::MemoryPresence;
use stompede::backend::{Presence, Row};
use stompede::model::{ConnectionId, WorkerId};
use stompede_protocol::Millis;

/// Prints bytes for each, as the allocator counts them; of a room with its crowd at the most expensive of many sizes, since
/// tables grow by doubling.
pub(crate) fn measure(allocated: impl Fn() -> usize) {
    let users: Vec<Arc<str>> = (0..USERS).map(|n| format!("user-{n:06}").into()).collect();
    let rooms: Vec<String> = (0..ROOMS).map(|n| format!("room-{n:04}")).collect();
    let before = allocated();
    let presence = MemoryPresence::new(ROOMS);
    println!("presence of nobody     {} bytes", allocated() - before);

    let (mut most, mut at) = (0, 0);
    for (n, user) in users.iter().enumerate() {
        enter(&presence, &rooms[0], user, n);
        let each = (allocated() - before) / (n + 1);
        if n >= FEW && each > most {
            (most, at) = (each, n + 1);
        }
    }
    println!(
        "present in one room    {} bytes each at {USERS}, {most} at {at}",
        (allocated() - before) / USERS
    );
    let crowded = allocated();
    for (n, user) in users.iter().enumerate() {
        presence.begin(user);
        leave(&presence, &rooms[0], user, n);
    }
    println!("online, in no room     {} bytes each", (allocated() - before) / USERS);
    assert!(allocated() < crowded);
    for user in &users {
        presence.end(user, Millis(0));
    }
    println!("after all have left    {} bytes", allocated() - before);

    let (mut most, mut rows) = (0, 0);
    for (n, user) in users.iter().take(USERS / 10).enumerate() {
        for room in rooms.iter().cycle().skip(n).take(10) {
            enter(&presence, room, user, n);
            rows += 1;
        }
        if n >= FEW {
            most = most.max((allocated() - before) / rows);
        }
    }
    println!(
        "present in ten rooms   {} bytes for each user and room, {most} at most",
        (allocated() - before) / rows
    );
    for (n, user) in users.iter().take(USERS / 10).enumerate() {
        for room in rooms.iter().cycle().skip(n).take(10) {
            leave(&presence, room, user, n);
        }
    }
    println!("{ROOMS} empty rooms       {} bytes in all", allocated() - before);
}

fn enter(presence: &MemoryPresence, room: &str, user: &Arc<str>, n: usize) {
    let entered = presence.enter(row(room, user, n), &mut |_| {});
    entered.expect("there are no more rooms than a user may be in");
}

fn leave(presence: &MemoryPresence, room: &str, user: &Arc<str>, n: usize) {
    presence.leave(row(room, user, n), &mut |_| {});
}

fn row<'a>(room: &'a str, user: &'a Arc<str>, n: usize) -> Row<'a> {
    Row { room, user, session: ConnectionId { worker: WorkerId(0), slot: n as u32, serial: 1 } }
}

const USERS: usize = 200_000;

const ROOMS: usize = 1_000;

/// Fewer users than that tell nothing: what is kept for nobody is too much beside them.
const FEW: usize = 5_000;
