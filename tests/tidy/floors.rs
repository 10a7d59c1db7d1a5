//! Who may name whom: floors, adapters, packages, clocks.

use crate::Violation;
use crate::source::{Named, Source};

/// The rooms of `src/` with their floors. `main` and the library's root stand above all.
const ROOMS: [(&str, u8); 8] = [
    ("server", 5),
    ("broker", 4),
    ("features", 3),
    ("routing", 2),
    ("backend", 2),
    ("policy", 2),
    ("transport", 2),
    ("model", 1),
];

/// Where each package is at home. A prefix ends with `/`; `**` is anywhere in the two crates.
///
/// A package that is used elsewhere has leaked out of the room that was to hide it.
pub(crate) const HOMES: [(&str, &[&str]); 51] = [
    // The wire format is one crate's affair.
    ("nom", &["protocol/"]),
    ("memchr", &["protocol/"]),
    // Shared by workers: where it is, contention is. Everything else of routing belongs to one thread.
    ("dashmap", &["src/routing/", "src/backend/redis/"]),
    ("slab", &["src/routing/", "src/backend/memory/"]),
    // Tables of places in a list: presence keeps a million rows in them.
    ("hashbrown", &["src/routing/", "src/backend/"]),
    ("arc_swap", &["src/routing/", "src/policy/"]),
    ("foldhash", &["src/model/", "src/routing/", "src/backend/", "src/policy/", "src/features/"]),
    ("parking_lot", &["src/routing/", "src/backend/", "src/policy/", "src/features/", "src/server/"]),
    ("smallvec", &["protocol/", "src/routing/", "src/policy/", "src/broker/", "src/backend/redis/"]),
    // The numbers of a delivery.
    ("itoa", &["src/transport/"]),
    // What outlives the process.
    ("fjall", &["src/backend/disk/"]),
    ("xxhash_rust", &["src/backend/disk/", "src/backend/redis/"]),
    ("redis", &["src/backend/redis/"]),
    ("rustix", &["src/backend/disk/"]),
    // Credentials.
    ("jsonwebtoken", &["src/policy/"]),
    ("argon2", &["src/policy/"]),
    ("subtle", &["src/policy/"]),
    ("sha2", &["src/policy/"]),
    // And the module of that name in rustls.
    ("aws_lc_rs", &["src/policy/", "src/server/trust.rs"]),
    // Who may speak for others.
    ("ipnet", &["src/policy/"]),
    // The operating system: sockets, threads, randomness.
    // A handle is the embedding program's end of a pipe: channels and the pipe, no clock and no task of its own.
    // The way to Redis is an adapter over sockets: it dials, waits and tries again by itself.
    ("tokio", &["src/transport/", "src/server/", "src/broker/handle", "src/backend/redis/"]),
    ("futures_core", &["src/broker/handle"]),
    ("socket2", &["src/transport/", "src/server/", "src/backend/redis/"]),
    ("getrandom", &["src/server/"]),
    // WebSocket.
    // The shell's commands are clients: they use the other half of the library, as it is.
    ("tokio_tungstenite", &["src/transport/websocket/", "src/server/cli/client/"]),
    ("flate2", &["src/transport/websocket/"]),
    // Bytes in a stream of text.
    ("base64", &["src/transport/", "src/features/notices", "src/server/hooks/"]),
    // HTTP.
    ("axum", &["src/server/http/"]),
    ("utoipa", &["src/server/http/api/"]),
    ("hyper", &["src/server/http/"]),
    ("hyper_util", &["src/server/http/"]),
    ("httpdate", &["src/server/http/"]),
    ("hyper_rustls", &["src/server/http/"]),
    ("http_body_util", &["src/server/http/"]),
    ("tower", &["src/server/http/"]),
    ("rust_embed", &["src/server/"]),
    // TLS.
    ("rustls", &["src/transport/", "src/server/", "src/backend/redis/"]),
    ("tokio_rustls", &["src/transport/", "src/server/", "src/backend/redis/"]),
    ("rcgen", &["src/server/"]),
    // What the broker carries it does not parse; routing, backends and the door see bytes.
    ("serde_json", &["src/features/", "src/policy/", "src/transport/sockjs/", "src/server/"]),
    ("serde", &["src/model/", "src/features/", "src/policy/", "src/server/"]),
    // The process.
    ("toml", &["src/server/"]),
    ("clap", &["src/server/cli/", "src/server/config/"]),
    ("tracing_subscriber", &["src/server/"]),
    ("log", &["src/server/"]),
    ("anyhow", &["src/main.rs", "src/server/cli/"]),
    // Anywhere.
    ("stompede_protocol", &["src/"]),
    ("bytes", &["**"]),
    ("thiserror", &["**"]),
    ("tracing", &["src/"]),
    ("stompede", &["src/main.rs"]),
];

/// What the protocol crate does without: I/O, clocks, threads, chance.
const IMPURE: [&[&str]; 12] = [
    &["tokio"],
    &["rand"],
    &["getrandom"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["std", "net"],
    &["std", "io"],
    &["std", "fs"],
    &["std", "env"],
    &["std", "thread"],
    &["std", "sync", "Mutex"],
    &["std", "sync", "RwLock"],
];

/// Words behind which the process's clock or another thread stands.
const OUTSIDE_WORLD: [&[&str]; 11] = [
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["thread", "spawn"],
    &["thread", "Builder"],
    &["thread", "scope"],
    &["thread", "sleep"],
    &["tokio", "spawn"],
    &["tokio", "task"],
    &["tokio", "time"],
    &["tokio", "runtime"],
    &["task", "spawn_local"],
];

/// Files below the fifth floor that may look at the clock, and why; a folder ends with `/`.
const OUTSIDE_WORLD_EXCEPTIONS: [(&str, &str); 2] = [
    (
        "src/transport/websocket/connection.rs",
        "a plain WebSocket for handlers that are not STOMP: its own driver, with a deadline for the closing handshake",
    ),
    (
        "src/backend/redis/",
        "an adapter over sockets: it dials, waits, notices silence and tries again by itself, in a future that server/ runs; \
         what stands on the link is told the time by the broker's own clock",
    ),
];

/// Imports point down, and never across a floor.
pub(crate) fn arrows(files: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/")) {
        let Some((room, floor)) = room_of(&file.path) else { continue };
        for named in file.paths() {
            let Some((other, other_floor)) = target(&named) else { continue };
            if other != room && other_floor >= floor {
                let way = if other_floor > floor { "up" } else { "sideways" };
                let text = format!("{room}/ (floor {floor}) reaches {way} to {other}/ (floor {other_floor})");
                found.push(Violation::new(file, named.line, text));
            }
        }
    }
    found
}

/// Every folder and file of `src/` is a room of the table, the library's root or `main`.
pub(crate) fn strangers(files: &[Source]) -> Vec<Violation> {
    let rooms = files.iter().filter(|file| file.path.starts_with("src/") && file.path.ends_with(".rs"));
    let unknown = rooms.filter(|file| room_of(&file.path).is_none());
    let unknown = unknown.filter(|file| !["src/lib.rs", "src/main.rs"].contains(&&*file.path));
    unknown.map(|file| Violation::new(file, 1, "stands in no room of the table of floors".into())).collect()
}

/// Only `server/` chooses an adapter; everybody else knows the port.
pub(crate) fn adapters(files: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    let others =
        |file: &&Source| room_of(&file.path).is_some_and(|(room, _)| !["server", "backend"].contains(&room));
    for file in files.iter().filter(|file| file.is_production()).filter(others) {
        for named in file.paths().iter().filter(|named| !named.in_test) {
            let [root, room, adapter, ..] = named.segments.as_slice() else { continue };
            if root == "crate" && room == "backend" && adapter.starts_with(|c: char| c.is_lowercase()) {
                let text =
                    format!("names the adapter backend::{adapter}; only server/ plugs adapters into ports");
                found.push(Violation::new(file, named.line, text));
            }
        }
    }
    found
}

/// A package is used where it is at home.
pub(crate) fn homes(files: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_production()) {
        for named in file.paths().iter().filter(|named| !named.in_test) {
            let package = named.segments[0].as_str();
            let Some((_, homes)) = HOMES.iter().find(|(known, _)| *known == package) else { continue };
            if !homes.iter().any(|home| *home == "**" || file.path.starts_with(home)) {
                let text = format!("uses {package}, whose home is {}", homes.join(", "));
                found.push(Violation::new(file, named.line, text));
            }
        }
    }
    found
}

/// Every package of the manifests has a home.
pub(crate) fn homeless(files: &[Source]) -> Vec<Violation> {
    let manifests = ["Cargo.toml", "protocol/Cargo.toml"];
    let mut found = Vec::new();
    for file in files.iter().filter(|file| manifests.contains(&&*file.path)) {
        let mut inside = false;
        for (number, line) in file.text.lines().enumerate() {
            if line.starts_with('[') {
                inside = line.trim() == "[dependencies]";
            }
            let package = line.split(['=', '.', ' ']).next().unwrap_or_default().replace('-', "_");
            let is_entry = inside && package.starts_with(|c: char| c.is_ascii_alphabetic());
            if is_entry && !HOMES.iter().any(|(known, _)| *known == package) {
                let text = format!("{package} has no home in the table of tests/tidy/floors.rs");
                found.push(Violation::new(file, number + 1, text));
            }
        }
    }
    found
}

/// The protocol crate is a function of bytes and time.
pub(crate) fn impure(files: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("protocol/src/") && file.is_production()) {
        for named in file.paths().iter().filter(|named| !named.in_test) {
            let is_impure = |path: &&[&str]| {
                named.segments.iter().map(String::as_str).take(path.len()).eq(path.iter().copied())
            };
            if IMPURE.iter().any(is_impure) {
                let text = format!("the protocol crate knows no {}", named.segments.join("::"));
                found.push(Violation::new(file, named.line, text));
            }
        }
    }
    found
}

/// Clocks, timers, threads and tasks belong to `server/`, so that everything below runs in virtual time.
pub(crate) fn outside_world(files: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_production() && !file.path.starts_with("src/server/")) {
        let excepts = |path: &str| file.path == path || path.ends_with('/') && file.path.starts_with(path);
        if OUTSIDE_WORLD_EXCEPTIONS.iter().any(|(path, _)| excepts(path)) {
            continue;
        }
        for named in file.paths().iter().filter(|named| !named.in_test) {
            let holds = |words: &&[&str]| named.segments.windows(words.len()).any(|at| at == *words);
            if OUTSIDE_WORLD.iter().any(holds) {
                let text =
                    format!("{} belongs to server/: take `now` as an argument", named.segments.join("::"));
                found.push(Violation::new(file, named.line, text));
            }
        }
    }
    found
}

fn room_of(path: &str) -> Option<(&'static str, u8)> {
    let inside = path.strip_prefix("src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    ROOMS.iter().copied().find(|(room, _)| *room == name)
}

fn target(named: &Named) -> Option<(&'static str, u8)> {
    let [root, room, ..] = named.segments.as_slice() else { return None };
    let ours = root == "crate" || root == "stompede";
    ROOMS.iter().copied().find(|(name, _)| ours && name == room)
}
