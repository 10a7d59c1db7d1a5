//! The floor: the least a program can do that fans STOMP out over WebSocket. What the broker costs is told as a
//! multiple of what this costs at the same rate. It upgrades, answers CONNECT, SUBSCRIBE and SEND, encodes a MESSAGE once
//! and writes each socket once a turn. It checks nobody, understands no more than it must, and takes only one STOMP
//! frame in a WebSocket message, subscriptions called `sub-0`, and destinations as they are written.
//!
//! `cargo bench --bench floor -- [--port P] [--ports-file F] [--threads N] [--heart-beats]`

mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::{io, thread};

use mio::net::TcpListener;
use mio::{Poll, Waker};
use socket2::{Domain, Socket, Type};

use crate::server::{Inbox, Server, WAKE};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = |flag: &str| arguments.iter().position(|argument| argument == flag);
    let value = |flag| at(flag).and_then(|at| arguments.get(at + 1));
    let number = |flag, default| value(flag).and_then(|value| value.parse().ok()).unwrap_or(default);
    let (threads, mut port, heart_beats) =
        (number("--threads", 1), number("--port", 0), at("--heart-beats").is_some());
    let polls = (0..threads).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
    let inboxes =
        polls.iter().map(|poll| Ok(Arc::new(Inbox(Mutex::default(), Waker::new(poll.registry(), WAKE)?))));
    let inboxes = inboxes.collect::<io::Result<Vec<_>>>()?;
    let mut running = Vec::new();
    for (poll, n) in polls.into_iter().zip(0..) {
        let listener = listen(port)?;
        // The others share the first one's port; the system spreads connections over them.
        port = listener.local_addr()?.port();
        let mut others = inboxes.clone();
        let inbox = others.remove(n);
        running.push(thread::spawn(move || Server::new(others, heart_beats).run(poll, listener, &inbox)));
    }
    match value("--ports-file") {
        Some(file) => std::fs::write(file, format!("{{\"http\":{port}}}\n"))?,
        None => println!("ws://127.0.0.1:{port}/ws"),
    }
    running
        .into_iter()
        .try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked"))?)
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(4_096)?;
    Ok(TcpListener::from_std(socket.into()))
}
