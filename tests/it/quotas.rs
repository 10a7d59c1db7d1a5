//! Limits of connections and memory, over real sockets.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use stompede::server::Config;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::served::{DEADLINE, Served, configured, frame, login, rest};

#[tokio::test]
async fn an_address_has_so_many_connections_whatever_they_are() {
    let config = json!({"limits": {"address_connections_max": 3}, "tls": {"self_signed": true}});
    let server = Served::start(Config { stomp_tls_port: 0, ..configured(config) });
    let tls = server.ports.stomp_tls.unwrap();
    // One that says nothing, one in its TLS handshake, one that will speak HTTP.
    let mut open = Vec::new();
    for address in [server.ports.stomp, tls, server.ports.http] {
        open.push(TcpStream::connect(address).await.unwrap());
    }
    // Each port accepts in its own time: asked until the three count.
    let deadline = Instant::now() + DEADLINE;
    let refused = loop {
        let mut fourth = server.connect().await;
        fourth.write_all(login("backend", "right").as_bytes()).await.unwrap();
        let answer = frame(&mut fourth).await;
        if answer.starts_with("ERROR") {
            break answer;
        }
        assert!(Instant::now() < deadline, "the limit does not hold: {answer}");
    };
    assert!(refused.starts_with("ERROR") && refused.contains("error-code:too-many-connections"), "{refused}");
    assert_eq!(rest(&mut TcpStream::connect(tls).await.unwrap()).await, "", "closed without a handshake");
    drop(open.pop());
    accepted_again(&server).await;
}

/// The server notices the end of a connection in its own time.
async fn accepted_again(server: &Served) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut stream = server.connect().await;
        stream.write_all(login("backend", "right").as_bytes()).await.unwrap();
        let answer = frame(&mut stream).await;
        if answer.starts_with("CONNECTED") {
            return;
        }
        assert!(answer.contains("too-many-connections"), "{answer}");
        assert!(Instant::now() < deadline, "a connection that ended still counts");
    }
}

#[tokio::test]
async fn one_too_many_is_told_429_in_http() {
    let server = Served::start(configured(json!({"limits": {"address_connections_max": 1}})));
    let _first = server.connect().await;
    // Accepted after the first one, on another port: asked until the first one counts.
    let deadline = Instant::now() + DEADLINE;
    let answer = loop {
        let answer = server.get("/healthz").await;
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        assert!(Instant::now() < deadline, "the limit does not hold: {answer}");
    };
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["status"], 429);
}

#[tokio::test]
async fn unfinished_messages_count_as_memory_until_they_are_gone() {
    let server = Served::start(Config::default());
    let url = format!("ws://{}/ws", server.ports.http);
    let mut pages = Vec::new();
    for _ in 0..PAGES {
        let (mut page, _) = connect_async(&url).await.unwrap();
        page.send(Message::text(login("alice", "guest"))).await.unwrap();
        assert!(timeout(DEADLINE, page.next()).await.unwrap().unwrap().unwrap().is_text());
        let begun = Frame::message(vec![b'x'; BEGUN_BYTES], OpCode::Data(Data::Text), false);
        page.send(Message::Frame(begun)).await.unwrap();
        pages.push(page);
    }
    held(&server, |bytes| bytes >= PAGES * BEGUN_BYTES).await;
    drop(pages);
    held(&server, |bytes| bytes < BEGUN_BYTES).await;
}

/// Waits until `/api/v1/info` says so.
async fn held(server: &Served, wanted: impl Fn(usize) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = server.get("/api/v1/info").await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let info: Value = serde_json::from_str(body).unwrap();
        let bytes = usize::try_from(info["heldBytes"].as_u64().unwrap()).unwrap();
        if wanted(bytes) {
            return;
        }
        assert!(Instant::now() < deadline, "{bytes} bytes are held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const PAGES: usize = 4;
const BEGUN_BYTES: usize = 500_000;
