//! STOMP over SockJS.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use stompede::model::Principal;
use stompede::policy::{JwtSigner, TokenOrder};
use stompede::server::Config;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::asked::{Open, ask};
use crate::served::{DEADLINE, Served, configured, rest};

/// A client over requests, which receives as `way` says.
struct Client {
    http: SocketAddr,
    session: String,
    query: String,
    stream: Open,
}

impl Client {
    async fn open(server: &Served, session: &str, query: &str) -> Self {
        let http = server.ports.http;
        let session = format!("/ws/000/{session}");
        let mut stream = Open::ask(http, "POST", &format!("{session}/xhr_streaming{query}"), &[], "").await;
        assert_eq!(stream.status, 200, "{}", stream.head);
        stream.chunk().await;
        assert_eq!(stream.chunk().await.as_deref(), Some("o\n"));
        Self { http, session, query: query.to_owned(), stream }
    }

    async fn say(&self, frame: &str) {
        let body = serde_json::to_string(&[frame]).unwrap();
        let target = format!("{}/xhr_send{}", self.session, self.query);
        let answer = ask(self.http, "POST", &target, &[], &body).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    async fn connect(&mut self, login: &str) {
        self.say(&format!("CONNECT\naccept-version:1.2\nhost:/\n{login}\n\0")).await;
        let connected = self.stream.messages().await;
        assert!(connected[0].starts_with("CONNECTED\n"), "{connected:?}");
    }

    async fn subscribe(&mut self, destination: &str) {
        self.say(&format!("SUBSCRIBE\nid:s\ndestination:{destination}\nreceipt:r\n\n\0")).await;
        // What it hears then may stand behind it already.
        assert_eq!(self.stream.messages().await[0], "RECEIPT\nreceipt-id:r\n\n\0");
    }
}

async fn metrics(server: &Served) -> String {
    let mut admin = TcpStream::connect(server.ports.admin.unwrap()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    admin.write_all(request).await.unwrap();
    rest(&mut admin).await
}

#[tokio::test]
async fn frames_go_both_ways_whatever_they_hold() {
    let server = Served::start(Config::default());
    let mut client = Client::open(&server, "both", "").await;
    client.connect("login:alice\npasscode:guest\n").await;
    client.subscribe("/topic/a").await;
    client.say("SEND\ndestination:/topic/a\n\n{\"emoji\":\"\u{1f600} \u{2028}\\\"\"}\0").await;
    let [message] = &client.stream.messages().await[..] else { panic!("one message") };
    assert!(message.ends_with("\n\n{\"emoji\":\"\u{1f600} \u{2028}\\\"\"}\0"), "{message}");
    assert!(message.contains("\nuser-name:alice\n"), "{message}");
    let backend = server.broker.connect(Principal::service("backend")).await.unwrap();
    let long = "\u{e4}\"\n".repeat(4_000);
    backend.publish("/topic/a", &[], long.clone()).await.unwrap();
    let [message] = &client.stream.messages().await[..] else { panic!("one message") };
    assert!(message.ends_with(&format!("\n\n{long}\0")), "a body that many share");
    backend.publish("/topic/a", &[], vec![b'x', 0xff, b'y']).await.unwrap();
    let [message] = &client.stream.messages().await[..] else { panic!("one message") };
    assert!(message.ends_with("\n\nx\u{fffd}y\0") && message.contains("\ncontent-length:5\n"), "{message}");
    let metrics = metrics(&server).await;
    assert!(metrics.contains("stompede_connections{transport=\"sockjs-requests\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_session_ends_with_its_reason() {
    let server = Served::start(Config::default());
    let mut client = Client::open(&server, "reason", "").await;
    client.connect("login:alice\npasscode:guest\n").await;
    client.say("SEND\ndestination:nowhere\n\nx\0").await;
    let mut heard = String::new();
    while let Some(chunk) = timeout(DEADLINE, client.stream.chunk()).await.unwrap() {
        heard += &chunk;
    }
    assert!(heard.contains("ERROR") && heard.contains("error-code:bad-destination"), "{heard}");
    assert!(heard.ends_with("c[1008,\"bad-destination\"]\n"), "{heard}");
    let again = ask(client.http, "POST", &format!("{}/xhr", client.session), &[], "").await;
    assert_eq!(again.body, "c[1008,\"bad-destination\"]\n");
    let mut client = Client::open(&server, "leaves", "").await;
    client.connect("login:alice\npasscode:guest\n").await;
    client.say("DISCONNECT\nreceipt:bye\n\n\0").await;
    let mut heard = String::new();
    while let Some(chunk) = timeout(DEADLINE, client.stream.chunk()).await.unwrap() {
        heard += &chunk;
    }
    assert!(heard.contains("RECEIPT\\nreceipt-id:bye") && heard.ends_with("c[1000,\"\"]\n"), "{heard}");
}

#[tokio::test]
async fn the_token_of_the_query_says_who_it_is() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let config: Config = serde_json::from_value(json!({"jwt": {"secret": SECRET}})).unwrap();
    let order = TokenOrder { user: "bob".into(), ttl_s: 60, ..TokenOrder::default() };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let token = JwtSigner::new(&config.jwt).unwrap().sign(&order, now.as_secs()).unwrap();
    let server = Served::start(config);
    let mut client = Client::open(&server, "token", &format!("?token={token}")).await;
    client.say("CONNECT\naccept-version:1.2\nhost:/\n\n\0").await;
    assert!(client.stream.messages().await[0].contains("\nuser-name:bob\n"));
    let mut stranger = Client::open(&server, "stranger", "").await;
    stranger.say("CONNECT\naccept-version:1.2\nhost:/\n\n\0").await;
    assert!(stranger.stream.messages().await[0].contains("error-code:unauthorized"));
    let url = format!("ws://{}/ws/0/x/websocket?token={token}", server.ports.http);
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket
        .send(Message::text(json!(["CONNECT\naccept-version:1.2\nhost:/\n\n\0"]).to_string()))
        .await
        .unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("o"));
    let connected = timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
    assert!(connected.to_text().unwrap().contains("\\nuser-name:bob\\n"), "{connected}");
}

#[tokio::test]
async fn a_websocket_says_the_reason_in_both_its_ends() {
    let server = Served::start(Config::default());
    let (mut socket, _) =
        connect_async(format!("ws://{}/ws/0/x/websocket", server.ports.http)).await.unwrap();
    socket.send(Message::text("[\"SEND")).await.unwrap();
    let mut heard = Vec::new();
    while let Some(Ok(message)) = timeout(DEADLINE, socket.next()).await.unwrap() {
        heard.push(message);
    }
    let texts: Vec<&str> = heard.iter().filter_map(|message| message.to_text().ok()).collect();
    assert_eq!(texts[0], "o");
    assert!(texts[1].starts_with("a[\"ERROR\\n"), "{texts:?}");
    assert_eq!(texts[2], "c[1007,\"bad-frame\"]");
    let Some(Message::Close(Some(close))) = heard.last() else { panic!("{heard:?}") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1007, "bad-frame"));
}

#[tokio::test]
async fn a_user_whose_requests_stop_is_gone() {
    let more = json!({"sockjs": {"vacant_ms_max": 1_000}, "rooms": {"linger_ms": 0}});
    let server = Served::start(serde_json::from_value(more).unwrap());
    let mut client = Client::open(&server, "gone", "").await;
    client.connect("login:alice\npasscode:guest\n").await;
    let mut watcher = Client::open(&server, "watcher", "").await;
    watcher.connect("login:bob\npasscode:guest\n").await;
    watcher.subscribe("/topic/chat/1").await;
    client.subscribe("/topic/chat/1").await;
    let hears = async |client: &mut Client, kind: &str| loop {
        let messages = client.stream.messages().await;
        let body = |message: &String| {
            let body = message.split_once("\n\n")?.1.trim_end_matches('\0').to_owned();
            serde_json::from_str::<Value>(&body).ok()
        };
        if messages.iter().filter_map(body).any(|body| body["type"] == kind && body["userId"] == "alice") {
            return;
        }
    };
    timeout(DEADLINE, hears(&mut watcher, "JOIN")).await.unwrap();
    drop(client);
    timeout(DEADLINE, hears(&mut watcher, "LEAVE")).await.unwrap();
}

#[tokio::test]
async fn who_does_not_fetch_is_a_slow_consumer() {
    let limits = json!({"outbox_bytes_max": 65_536, "write_ms_max": 1_000});
    let more = json!({"limits": limits, "sockjs": {"waiting_bytes_max": 1_024, "vacant_ms_max": 60_000}});
    let server = Served::start(configured(more));
    let http = server.ports.http;
    assert_eq!(ask(http, "POST", "/ws/0/slow/xhr", &[], "").await.body, "o\n");
    let frames = json!([
        "CONNECT\naccept-version:1.2\nhost:/\nlogin:backend\npasscode:right\n\n\0",
        "SUBSCRIBE\nid:s\ndestination:/topic/a\nreceipt:r\n\n\0"
    ]);
    assert_eq!(ask(http, "POST", "/ws/0/slow/xhr_send", &[], &frames.to_string()).await.status, 204);
    let mut heard = String::new();
    while !heard.contains("RECEIPT") {
        heard += &ask(http, "POST", "/ws/0/slow/xhr", &[], "").await.body;
    }
    let backend = server.broker.connect(Principal::service("other")).await.unwrap();
    let closes = || {
        let reason = stompede::model::CloseReason::SlowConsumer;
        server.broker.counters().closes(reason)
    };
    let begun = tokio::time::Instant::now();
    while closes() == 0 {
        backend.publish("/topic/a", &[], "x".repeat(10_000)).await.unwrap();
        assert!(begun.elapsed() < DEADLINE, "it is never closed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_goes_down_says_so() {
    let mut server = Served::start(Config::default());
    let mut client = Client::open(&server, "down", "").await;
    client.connect("login:alice\npasscode:guest\n").await;
    server.stop();
    let mut heard = String::new();
    while let Some(chunk) = timeout(Duration::from_secs(30), client.stream.chunk()).await.unwrap() {
        heard += &chunk;
    }
    assert!(heard.contains("error-code:shutting-down"), "{heard}");
    assert!(heard.ends_with("c[1012,\"shutting-down\"]\n"), "{heard}");
}

#[tokio::test]
async fn sockjs_can_be_left_out() {
    let server = Served::start(serde_json::from_value(json!({"sockjs": {"enabled": false}})).unwrap());
    let http = server.ports.http;
    for (method, target) in [("GET", "/ws/info"), ("POST", "/ws/0/x/xhr"), ("GET", "/ws/websocket")] {
        assert_eq!(ask(http, method, target, &[], "").await.status, 404, "{target}");
    }
    assert_eq!(ask(http, "GET", "/ws", &[], "").await.status, 426);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_closed() {
    let limits = json!({"outbox_bytes_max": 65_536, "write_ms_max": 1_000});
    let more = json!({"limits": limits, "sockjs": {"stream_bytes_max": "64MiB", "vacant_ms_max": 1_000}});
    let server = Served::start(configured(more));
    let mut client = Client::open(&server, "stuck", "").await;
    client.connect("login:backend\npasscode:right\n").await;
    client.subscribe("/topic/a").await;
    let backend = server.broker.connect(Principal::service("other")).await.unwrap();
    let begun = tokio::time::Instant::now();
    let slow = stompede::model::CloseReason::SlowConsumer;
    while server.broker.counters().closes(slow) == 0 {
        backend.publish("/topic/a", &[], "x".repeat(100_000)).await.unwrap();
        assert!(begun.elapsed() < DEADLINE, "it is never slow");
        tokio::task::yield_now().await;
    }
    // The session is over, and so is the connection soon, though nothing was read of it.
    let sockets = async || {
        let metrics = metrics(&server).await;
        let line = metrics.lines().find_map(|line| line.strip_prefix("stompede_sockets ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    while sockets().await > 0 {
        assert!(begun.elapsed() < 2 * DEADLINE, "the connection stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(client);
}
