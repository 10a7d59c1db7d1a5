//! Slow consumers cost only themselves, over real sockets: the broker as its own process, whose memory can be read.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::process::Broker;
use crate::served::{DEADLINE, login};

/// What may wait for one socket, and for a worker's turn, bytes.
const OUTBOX: usize = 128 << 10;
const BACKLOG: usize = 2 << 20;

/// What is held for one that reads, but not fast enough, at most.
const LENIENT: usize = 8 * OUTBOX;

fn broker() -> (Broker, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("stompede.toml");
    let limits = format!(
        "outbox_bytes_max = {OUTBOX}\nbacklog_bytes_max = {BACKLOG}\ninbox_bytes_max = {BACKLOG}\nwrite_ms_max = 60000"
    );
    let rule = "[[destination]]\npattern = \"/topic/ticks/**\"\noverflow = \"drop-oldest\"";
    std::fs::write(&config, format!("[limits]\n{limits}\n\n{rule}\n")).unwrap();
    (Broker::start(directory.path(), &["--config", config.to_str().unwrap()]), directory)
}

/// A client that reads when it is told to.
enum Client {
    Tcp(TcpStream, BytesMut),
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

/// What a client hears.
#[derive(Debug, PartialEq)]
enum Heard {
    /// A MESSAGE with this number.
    Number(usize),
    /// An ERROR with this code.
    Error(String),
    /// Any other frame.
    Other(String),
    /// The end, with a WebSocket's close code.
    End(Option<u16>),
}

impl Client {
    /// Over TCP and WebSocket by turns, with a small receive buffer, and accepted.
    async fn nth(n: usize, broker: &Broker) -> Self {
        let address = if n.is_multiple_of(2) { &broker.stomp } else { &broker.http };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        socket.connect(&address.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(socket.into()).unwrap();
        let mut client = if n.is_multiple_of(2) {
            Self::Tcp(stream, BytesMut::new())
        } else {
            let url = format!("ws://{address}/ws");
            Self::WebSocket(Box::new(client_async(url, stream).await.unwrap().0))
        };
        client.says(&login("guest", "guest")).await;
        let heard = client.hears().await;
        assert!(matches!(&heard, Heard::Other(frame) if frame.starts_with("CONNECTED")), "{heard:?}");
        client
    }

    async fn subscriber(n: usize, broker: &Broker, destination: &str) -> Self {
        let mut client = Self::nth(n, broker).await;
        client.says(&format!("SUBSCRIBE\nid:s\nreceipt:r\ndestination:{destination}\n\n\0")).await;
        let heard = client.hears().await;
        assert!(matches!(&heard, Heard::Other(frame) if frame.starts_with("RECEIPT")), "{heard:?}");
        client
    }

    async fn says(&mut self, frame: &str) {
        match self {
            Self::Tcp(stream, _) => stream.write_all(frame.as_bytes()).await.unwrap(),
            Self::WebSocket(socket) => socket.send(Message::text(frame)).await.unwrap(),
        }
    }

    async fn hears(&mut self) -> Heard {
        timeout(DEADLINE, self.next()).await.expect("something in time")
    }

    async fn next(&mut self) -> Heard {
        match self {
            Self::Tcp(stream, unread) => {
                let mut searched = 0;
                loop {
                    if let Some(end) = unread[searched..].iter().position(|byte| *byte == 0) {
                        return heard(&unread.split_to(searched + end + 1));
                    }
                    searched = unread.len();
                    unread.reserve(64 << 10);
                    if !stream.read_buf(unread).await.is_ok_and(|count| count > 0) {
                        return Heard::End(None);
                    }
                }
            }
            Self::WebSocket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => return heard(text.as_bytes()),
                    Some(Ok(Message::Close(frame))) => {
                        return Heard::End(frame.map(|frame| frame.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Heard::End(None),
                }
            },
        }
    }

    /// Hears exactly the numbers from 0 up to `count`.
    async fn hears_all(mut self, count: usize) {
        for n in 0..count {
            assert_eq!(self.hears().await, Heard::Number(n));
            // All clients share a thread: none may keep the others from reading.
            tokio::task::yield_now().await;
        }
    }

    /// The numbers that were heard before something else, and that.
    async fn hears_until_other(&mut self) -> (Vec<usize>, Heard) {
        let mut numbers = Vec::new();
        loop {
            match self.hears().await {
                Heard::Number(n) => numbers.push(n),
                other => return (numbers, other),
            }
        }
    }
}

fn heard(frame: &[u8]) -> Heard {
    let text = String::from_utf8_lossy(frame);
    let text = text.trim_start_matches('\n');
    if text.starts_with("MESSAGE\n") {
        let body = text.split_once("\n\n").map_or("", |(_, body)| body);
        return Heard::Number(body.split(' ').next().unwrap_or_default().parse().expect("a number"));
    }
    let code = text.lines().find_map(|line| line.strip_prefix("error-code:"));
    match code {
        Some(code) if text.starts_with("ERROR\n") => Heard::Error(code.to_owned()),
        _ => Heard::Other(text.to_owned()),
    }
}

/// A SEND with a body of `bytes` that begins with `n`.
fn send(destination: &str, n: usize, bytes: usize) -> String {
    format!("SEND\ndestination:{destination}\nreceipt:{n}\n\n{n} {}\0", "x".repeat(bytes))
}

/// Publishes `count` messages, each when the one before was accepted.
async fn publishes(publisher: &mut Client, destination: &str, count: usize, bytes: usize) {
    for n in 0..count {
        publisher.says(&send(destination, n, bytes)).await;
        let heard = publisher.hears().await;
        assert!(matches!(&heard, Heard::Other(frame) if frame.starts_with("RECEIPT")), "{heard:?}");
    }
}

/// `slow` subscribers that do not read, and `fine` ones that will.
async fn room(broker: &Broker, destination: &str, slow: usize, fine: usize) -> (Vec<Client>, Vec<Client>) {
    let (mut never, mut reading) = (Vec::new(), Vec::new());
    for n in 0..slow {
        never.push(Client::subscriber(n, broker, destination).await);
    }
    for n in 0..fine {
        reading.push(Client::subscriber(n, broker, destination).await);
    }
    (never, reading)
}

#[tokio::test]
async fn who_never_reads_is_closed_with_slow_consumer_and_all_others_hear_everything() {
    let (broker, _directory) = broker();
    for (round, (slow, fine, bytes, count)) in
        [(4, 36, 200, 6_000), (4, 36, 16 << 10, 140), (8, 12, 64 << 10, 60)].into_iter().enumerate()
    {
        let destination = format!("/topic/round{round}");
        let (never, reading) = room(&broker, &destination, slow, fine).await;
        let mut publisher = Client::nth(0, &broker).await;
        let all: Vec<_> = reading.into_iter().map(|client| tokio::spawn(client.hears_all(count))).collect();
        publishes(&mut publisher, &destination, count, bytes).await;
        for one in all {
            one.await.expect("who reads hears all");
        }
        for (n, mut client) in never.into_iter().enumerate() {
            let (numbers, refusal) = client.hears_until_other().await;
            assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "a prefix, in order");
            assert!(numbers.len() < count);
            assert_eq!(refusal, Heard::Error("slow-consumer".to_owned()));
            let code = if n.is_multiple_of(2) { None } else { Some(4500) };
            assert_eq!(client.hears().await, Heard::End(code));
        }
    }
}

#[tokio::test]
async fn where_the_oldest_is_dropped_who_never_reads_stays_and_hears_the_newest() {
    let (broker, _directory) = broker();
    let (slow, fine, count) = (4, 16, 400);
    let (never, reading) = room(&broker, "/topic/ticks/a", slow, fine).await;
    let mut publisher = Client::nth(0, &broker).await;
    let mut all = Vec::new();
    for mut client in reading {
        // Even who reads may be behind for a moment, and then the oldest go.
        all.push(tokio::spawn(async move {
            loop {
                match client.hears().await {
                    Heard::Number(n) if n == count - 1 => return,
                    Heard::Number(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }));
    }
    publishes(&mut publisher, "/topic/ticks/a", count, 8 << 10).await;
    for one in all {
        one.await.unwrap();
    }
    for mut client in never {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&(count - 1)) {
            let Heard::Number(n) = client.hears().await else { panic!("it is closed") };
            numbers.push(n);
        }
        assert!(numbers.is_sorted() && numbers.len() < count, "{} of {count}", numbers.len());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_waits_for_those_who_never_read_is_bounded_whatever_is_published() {
    let (broker, _directory) = broker();
    let (slow, fine, bytes, count) = (4, 6, 64 << 10, 800);
    let (never, reading) = room(&broker, "/topic/a", slow, fine).await;
    let mut publisher = Client::nth(0, &broker).await;
    let (before, _) = broker.memory_bytes();
    let all: Vec<_> = reading.into_iter().map(|client| tokio::spawn(client.hears_all(count))).collect();
    publishes(&mut publisher, "/topic/a", count, bytes).await;
    for one in all {
        one.await.expect("who reads hears all");
    }
    let grown = broker.memory_bytes().1.saturating_sub(before);
    // Two workers; twice, for what an allocator loses between pieces of all sizes.
    let bound = 2 * (slow * LENIENT + 2 * 2 * BACKLOG);
    assert!(grown <= bound, "{grown} bytes more, {bound} are allowed of {} published", bytes * count);
    drop(never);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_flood_that_nobody_reads_is_not_read_either_until_somebody_does() {
    let (broker, _directory) = broker();
    let (bytes, count) = (16 << 10, 4_000);
    // So many that the worker's backlog is full before any one outbox is.
    let (never, _) = room(&broker, "/topic/a", 80, 0).await;
    let (before, _) = broker.memory_bytes();
    let Client::Tcp(mut stream, _) = Client::nth(0, &broker).await else { unreachable!() };
    let mut said = 0;
    // It has stalled when the socket takes nothing for so long; it is still taken to have when the machine was slow.
    let stalled = loop {
        let frame = send("/topic/a", said, bytes).replace("receipt", "note");
        if timeout(Duration::from_secs(2), stream.write_all(frame.as_bytes())).await.is_err() {
            break true;
        }
        said += 1;
        if said == count {
            break false;
        }
    };
    assert!(stalled, "{count} messages of {bytes} bytes were taken although nobody reads");
    let grown = broker.memory_bytes().1.saturating_sub(before);
    let bound = 2 * (2 * 2 * BACKLOG) + 80 * OUTBOX;
    assert!(grown <= bound, "{grown} bytes more, {bound} are allowed");
    // Everybody hears what was taken whole.
    let all: Vec<_> = never.into_iter().map(|client| tokio::spawn(client.hears_all(said))).collect();
    for one in all {
        one.await.expect("nobody is closed for what all had in common");
    }
}
