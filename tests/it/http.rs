//! The HTTP door: ordinary requests, and everybody who does not belong there.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use stompede::server::http::HttpSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::door::{DEADLINE, Options, Running};

fn start() -> Running {
    Running::start(Options::default(), Vec::new)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test]
async fn health_readiness_and_information_are_answered() {
    let door = start();
    let health = door.request("GET", "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert_eq!(body(&health), "ok\n");
    let ready = door.request("GET", "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    assert_eq!(body(&ready), r#"{"ready":false,"reason":"the bus is down"}"#);
    assert_eq!(body(&door.request("GET", "/api/v1/info").await), r#"{"version":"x"}"#);
}

#[tokio::test]
async fn head_gets_the_head_alone() {
    let door = start();
    let answer = door.request("HEAD", "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("content-length: 3"), "{answer}");
    assert_eq!(body(&answer), "");
}

#[tokio::test]
async fn what_is_not_there_is_told_as_a_problem_with_strict_headers() {
    let door = start();
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("POST", "/", 404),
        ("DELETE", "/healthz", 405),
        ("GET", "/%2e%2e/Cargo.toml", 404),
        ("GET", "/../Cargo.toml", 404),
        ("BREW", "/coffee", 404),
        ("OPTIONS", "*", 404),
    ] {
        let answer = door.request(method, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        assert!(answer.contains("content-type: application/problem+json"), "{method} {path}: {answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
        assert!(answer.contains("content-security-policy: default-src 'self'"), "{answer}");
    }
}

#[tokio::test]
async fn a_stomp_client_is_answered_in_stomp() {
    let door = start();
    for first in
        ["CONNECT\naccept-version:1.2\n\n\0", "STOMP\r\naccept-version:1.2\r\n\r\n\0", "\nCONNECT\n\n\0"]
    {
        let answer = door.ask(first).await;
        assert!(answer.starts_with("ERROR\n") && answer.ends_with('\0'), "{answer}");
        assert!(answer.contains("STOMP over TCP has a port of its own"), "{answer}");
    }
}

#[tokio::test]
async fn tls_on_the_plain_port_gets_a_sentence() {
    let door = start();
    let answer = door.ask([&b"\x16\x03\x01\x02\x00\x01\x00"[..], &[0; 512]].concat()).await;
    assert!(answer.contains("without TLS"), "{answer}");
}

#[tokio::test]
async fn https_own_connect_method_is_http() {
    let door = start();
    let answer = door.ask("CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_does_not_end_in_time_ends_the_connection() {
    let settings = HttpSettings { head_max: Duration::from_millis(100), ..HttpSettings::default() };
    let door = Running::start(Options { settings, ..Options::default() }, Vec::new);
    for part in ["", "GE", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = door.connect().await;
        stream.write_all(part.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // The end may come as a reset: it is the end that counts.
        drop(tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the end"));
    }
}

#[tokio::test]
async fn a_head_above_the_limit_is_refused() {
    let door = start();
    let many = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    for headers in [format!("x: {}\r\n", "y".repeat(17 << 10)), many] {
        let answer = door.ask(format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_and_a_handler_that_panics_are_answered() {
    let more = Router::new()
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .route("/body", post(async |body: String| body.len().to_string()));
    let door = Running::start(Options { more, ..Options::default() }, Vec::new);
    assert!(door.request("GET", "/panic").await.starts_with("HTTP/1.1 500 "));
    let post = |length: usize| {
        format!("POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
    };
    assert_eq!(body(&door.ask(post(3) + "abc").await), "3");
    let large = (1 << 20) + 1;
    assert!(door.ask(post(large) + &"x".repeat(large)).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let more = Router::new().route("/never", get(async || std::future::pending::<&'static str>().await));
    let settings = HttpSettings { answer_max: Duration::from_millis(50), ..HttpSettings::default() };
    let door = Running::start(Options { settings, more, ..Options::default() }, Vec::new);
    assert!(door.request("GET", "/never").await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn requests_follow_each_other_until_the_door_closes() {
    let mut door = start();
    let (mut silent, mut stream) = (door.connect().await, door.connect().await);
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    }
    door.close();
    for stream in [&mut stream, &mut silent] {
        let ended = tokio::time::timeout(DEADLINE, stream.read_u8()).await.expect("the end");
        assert!(ended.is_err());
    }
}
