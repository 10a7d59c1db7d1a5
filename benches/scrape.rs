//! How long a scrape takes while many are connected: `cargo bench --bench scrape`, or with another number of connections behind
//! `--`. Ends with 1 when the median is above its target.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The broker; killed when all is measured.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let connections: usize = arguments.next().map_or(10_000, |count| count.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let ports = directory.path().join("ports.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stompede"));
    command.args([
        "serve",
        "--http-port",
        "0",
        "--stomp-port",
        "0",
        "--admin-port",
        "0",
        "--log-level",
        "warn",
    ]);
    command.arg("--ports-file").arg(&ports).env_clear().stdout(Stdio::null()).stderr(Stdio::null());
    let _broker = Broker(command.spawn().unwrap());
    while !ports.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(&ports).unwrap()).unwrap();
    let (stomp, admin) = (ports["stomp"].as_str().unwrap(), ports["admin"].as_str().unwrap());
    // A room each twenty, as in a chat.
    let sessions: Vec<TcpStream> = (0..connections).map(|n| session(stomp, n)).collect();

    let mut took: Vec<Duration> = (0..SCRAPES).map(|_| scrape(admin, connections)).collect();
    took.sort_unstable();
    let ms = |at: usize| took[at].as_secs_f64() * 1e3;
    let (median, worst) = (ms(SCRAPES / 2), ms(SCRAPES - 1));
    println!("{connections} connections, {SCRAPES} scrapes: median {median:.2} ms, worst {worst:.2} ms");
    drop(sessions);
    if median > TARGET_MS {
        println!("the target is {TARGET_MS} ms");
        std::process::exit(1);
    }
}

/// A user in a room.
fn session(address: &str, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let room = number / 20;
    let frames = format!(
        "CONNECT\naccept-version:1.2\nheart-beat:0,0\nlogin:user-{number}\npasscode:guest\n\n\0\
         SUBSCRIBE\nid:0\ndestination:/topic/chat/{room}\nreceipt:in\n\n\0"
    );
    stream.write_all(frames.as_bytes()).unwrap();
    let mut reader = BufReader::new(&stream);
    let mut frame = Vec::new();
    while !frame.starts_with(b"RECEIPT") {
        frame.clear();
        assert!(reader.read_until(0, &mut frame).unwrap() > 0, "the broker has closed");
        let begin = frame.iter().position(|byte| *byte != b'\n').unwrap_or(0);
        frame.drain(..begin);
    }
    stream
}

/// One scrape on a connection of its own, as it is at its slowest.
fn scrape(address: &str, connections: usize) -> Duration {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let took = begin.elapsed();
    let shown = format!("stompede_connections{{transport=\"tcp\"}} {connections}\n");
    assert!(page.contains(&shown), "not all are connected:\n{page}");
    took
}

const SCRAPES: usize = 100;

/// What a scrape may take, milliseconds.
const TARGET_MS: f64 = 20.0;
