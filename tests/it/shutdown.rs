//! How a server ends.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use stompede::server::http::Upgraded;
use stompede::server::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::served::{DEADLINE, Served, frame, login, rest};
use crate::websocket::echo;

fn config(grace_ms: u64, window_ms: u64) -> Config {
    let shutdown = json!({"grace_ms": grace_ms, "window_ms": window_ms, "deadline_ms": 10_000});
    let admin = json!({"port": 0});
    let config = json!({"workers": 2, "http_port": 0, "stomp_port": 0, "admin": admin, "shutdown": shutdown});
    serde_json::from_value(config).unwrap()
}

/// A session of `alice`.
async fn session(server: &Served) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(login("alice", "guest").as_bytes()).await.unwrap();
    let answer = frame(&mut stream).await;
    assert!(answer.starts_with("CONNECTED"), "{answer}");
    stream
}

async fn is_told_of_the_shutdown(stream: &mut TcpStream) {
    let last = rest(stream).await;
    assert!(last.contains("error-code:shutting-down"), "{last:?}");
}

#[tokio::test]
async fn during_the_grace_it_is_not_ready_and_serves_as_before() {
    let mut server = Served::start(config(3_000, 0));
    let mut early = session(&server).await;
    assert!(server.get("/readyz").await.starts_with("HTTP/1.1 200"));
    let asked = Instant::now();
    server.stop();
    while server.get("/readyz").await.starts_with("HTTP/1.1 200") {
        assert!(asked.elapsed() < DEADLINE, "it stays ready");
    }
    let mut late = session(&server).await;
    is_told_of_the_shutdown(&mut late).await;
    assert!(asked.elapsed() >= Duration::from_millis(3_000), "ended before the grace was over");
    is_told_of_the_shutdown(&mut early).await;
    assert!(TcpStream::connect(server.ports.stomp).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_worker_that_is_stuck_keeps_nobody_else_from_being_told() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (stuck, is_stuck) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let stick = move |upgraded: Upgraded| {
        stuck.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        async move { drop(upgraded) }
    };
    let mut server = Served::run(Server::new(config(0, 0)).unwrap().mount("/stick", stick).unwrap());
    let mut session = session(&server).await;
    // The other worker has less to do.
    let url = format!("ws://{}/stick", server.ports.http);
    let _sticking = connect_async(url).await.unwrap();
    tokio::task::spawn_blocking(move || is_stuck.recv_timeout(DEADLINE).unwrap()).await.unwrap();
    server.stop();
    is_told_of_the_shutdown(&mut session).await;
    drop(release);
}

#[tokio::test]
async fn the_closes_are_spread_over_the_window() {
    let mut server = Served::start(config(0, 2_000));
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(session(&server).await);
    }
    let asked = Instant::now();
    server.stop();
    let ends = sessions.into_iter().map(async |mut stream| {
        is_told_of_the_shutdown(&mut stream).await;
        asked.elapsed()
    });
    let mut ends = futures_util::future::join_all(ends).await;
    ends.sort_unstable();
    // Ten on each of two workers: the last ones are asked after nine tenths of the window.
    assert!(ends[19] >= Duration::from_millis(1_700), "{ends:?}");
    assert!(ends[19] - ends[0] >= Duration::from_millis(1_000), "{ends:?}");
}

#[tokio::test]
async fn a_mounted_endpoint_hears_of_it_and_says_1012() {
    let mut server = Served::run(Server::new(config(0, 0)).unwrap().mount("/echo", echo).unwrap());
    let (mut page, _) = connect_async(format!("ws://{}/echo", server.ports.http)).await.unwrap();
    page.send(Message::text("x")).await.unwrap();
    assert_eq!(timeout(DEADLINE, page.next()).await.unwrap().unwrap().unwrap(), Message::text("x"));
    server.stop();
    let closed = timeout(DEADLINE, page.next()).await.unwrap().unwrap().unwrap();
    let Message::Close(Some(close)) = closed else { panic!("{closed:?}") };
    assert_eq!(u16::from(close.code), 1012);
}

#[tokio::test]
async fn a_running_server_may_be_dropped_in_async_code() {
    let running = Server::new(config(0, 0)).unwrap().start().unwrap();
    let mut stream = TcpStream::connect(running.ports().stomp).await.unwrap();
    drop(running);
    // An end, or a reset when nobody had accepted it yet.
    let ended = timeout(DEADLINE, stream.read_u8()).await.expect("the connection ends");
    assert!(ended.is_err());
}

#[test]
fn a_second_signal_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (ports, config) = (directory.path().join("ports.json"), directory.path().join("stompede.toml"));
    std::fs::write(&config, "[shutdown]\ngrace_ms = 600000\n").unwrap();
    let log = directory.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stompede"));
    command
        .args(["serve", "--http-port", "0", "--stomp-port", "0", "--admin-port", "0", "--ports-file"])
        .arg(&ports);
    command.arg("--config").arg(&config).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let terminate = || {
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    };
    until("it listens", || ports.exists());
    terminate();
    until("it is told", || std::fs::read_to_string(&log).unwrap().contains("shutting down"));
    terminate();
    until("it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !happened() {
        assert!(Instant::now() < deadline, "{what}, but not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}
