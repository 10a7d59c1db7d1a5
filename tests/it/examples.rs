//! The example programs, as processes, with a WebSocket client that is not ours.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A running example; killed when the test is over.
struct Example {
    child: Child,
    address: String,
}

impl Example {
    /// Starts `name` with `--ports-file` and other arguments, and waits until it listens.
    fn start(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports = directory.path().join("ports.json");
        let arguments = ["--http-port", "0", "--stomp-port", "0", "--ports-file"];
        let mut command = Command::new(binary(name));
        command.args(arguments).arg(&ports).env_clear().stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + DEADLINE;
        let listening: Value = loop {
            if let Ok(bytes) = std::fs::read(&ports) {
                break serde_json::from_slice(&bytes).unwrap();
            }
            assert!(child.try_wait().unwrap().is_none(), "{name} ended early");
            assert!(Instant::now() < deadline, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { child, address: listening["http"].as_str().unwrap().to_owned() }
    }

    /// Starts `name`, whose first line has the URL where it listens; that without its scheme is the address.
    fn start_saying(name: &str) -> Self {
        let mut command = Command::new(binary(name));
        command.args(["--port", "0"]).env_clear().stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, url) = line.split_once("://").unwrap_or_else(|| panic!("{name} says {line:?}"));
        Self { child, address: url.trim().to_owned() }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Examples are built beside the binary.
fn binary(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_stompede"));
    folder.parent().unwrap().join("examples").join(name)
}

/// A page that speaks JSON.
struct Page(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Page {
    async fn open(example: &Example) -> Self {
        Self(connect_async(format!("ws://{}/json", example.address)).await.unwrap().0)
    }

    async fn says(&mut self, request: Value) {
        self.0.send(Message::text(request.to_string())).await.unwrap();
    }

    /// The next message for which `wanted` holds.
    async fn hears(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let heard = async {
            loop {
                let message = self.0.next().await.expect("an open connection").unwrap();
                let value = serde_json::from_str(message.to_text().unwrap()).unwrap();
                if wanted(&value) {
                    return value;
                }
            }
        };
        timeout(DEADLINE, heard).await.expect("the message in time")
    }

    async fn hears_type(&mut self, kind: &str) -> Value {
        self.hears(|value| value["type"] == kind).await
    }
}

#[tokio::test]
async fn two_pages_chat_in_json() {
    let gateway = Example::start("json_gateway");
    let (mut alice, mut bob) = (Page::open(&gateway).await, Page::open(&gateway).await);
    for (page, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        page.says(json!({"type": "auth", "login": name, "passcode": "guest"})).await;
        assert_eq!(page.hears_type("auth_ok").await["userId"], name);
        page.says(json!({"type": "join_session", "sessionId": "42"})).await;
        page.hears_type("joined").await;
    }
    alice.says(json!({"type": "send_message", "sessionId": "42", "content": "hello"})).await;
    let heard = bob.hears_type("message").await;
    assert_eq!((&heard["sessionId"], &heard["message"]["content"]), (&json!("42"), &json!("hello")));
    assert_eq!(heard["message"]["senderId"], "alice");
    bob.says(json!({"type": "leave_session", "sessionId": "42"})).await;
    bob.hears_type("left").await;
    alice.hears(|value| value["message"]["type"] == "LEAVE" && value["message"]["userId"] == "bob").await;
    bob.says(json!({"type": "ping"})).await;
    bob.hears_type("pong").await;
}

#[tokio::test]
async fn the_gateway_refuses_in_json_and_goes_on() {
    let gateway = Example::start("json_gateway");
    let mut page = Page::open(&gateway).await;
    let refused = [
        (json!({"type": "join_session", "sessionId": "42"}), "unauthorized"),
        (json!({"type": "auth", "login": "alice", "passcode": "wrong"}), "unauthorized"),
        (json!({"type": "dance"}), "bad-content"),
    ];
    for (request, code) in refused {
        page.says(request).await;
        assert_eq!(page.hears_type("error").await["code"], code);
    }
    page.says(json!({"type": "auth", "login": "alice", "passcode": "guest"})).await;
    page.hears_type("auth_ok").await;
    page.says(json!({"type": "join_session", "sessionId": "a//b"})).await;
    assert_eq!(page.hears_type("error").await["code"], "bad-destination");
    page.says(json!({"type": "ping"})).await;
    page.hears_type("pong").await;
}

#[tokio::test]
async fn the_gateway_closes_its_pages_when_the_server_goes_down() {
    let gateway = Example::start("json_gateway");
    let (mut stranger, mut alice) = (Page::open(&gateway).await, Page::open(&gateway).await);
    stranger.says(json!({"type": "ping"})).await;
    stranger.hears_type("pong").await;
    alice.says(json!({"type": "auth", "login": "alice", "passcode": "guest"})).await;
    alice.hears_type("auth_ok").await;
    let asked = Command::new("kill").args(["-TERM", &gateway.child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    for page in [&mut stranger, &mut alice] {
        let last = timeout(DEADLINE, page.0.next()).await.unwrap().unwrap().unwrap();
        let Message::Close(Some(close)) = last else { panic!("{last:?}") };
        assert_eq!((u16::from(close.code), close.reason.as_str()), (1012, "shutting-down"));
    }
}

#[tokio::test]
async fn a_page_whose_session_ends_is_closed() {
    let gateway = Example::start("json_gateway");
    let mut page = Page::open(&gateway).await;
    page.says(json!({"type": "auth", "login": "alice", "passcode": "guest"})).await;
    page.hears_type("auth_ok").await;
    // No text of JSON: no session survives a header that is too large.
    let long = "x".repeat(40_000);
    page.says(json!({"type": "join_session", "sessionId": long})).await;
    let closed = async {
        loop {
            if let Message::Close(Some(close)) = page.0.next().await.unwrap().unwrap() {
                return u16::from(close.code);
            }
        }
    };
    assert_eq!(timeout(DEADLINE, closed).await.unwrap(), 1013);
}

#[tokio::test]
async fn the_echo_gives_back_text_and_binary_up_to_its_limit() {
    let echo = Example::start_saying("echo");
    let (mut socket, _) = connect_async(format!("ws://{}", echo.address)).await.unwrap();
    let large = Bytes::from(vec![7; 8 << 20]);
    for message in [Message::text("grüße"), Message::text(""), Message::binary(large)] {
        socket.send(message.clone()).await.unwrap();
        let answer = timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(answer, message);
    }
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn the_sockjs_echo_has_the_services_that_a_protocol_suite_asks_for() {
    let mut example = Example::start_saying("sockjs_echo");
    example.address = example.address.trim_end_matches("/echo").to_owned();
    let info = |service: &str| {
        let (head, body) = crate::metrics::get(&example.address, &format!("/{service}/info"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    for service in ["echo", "close"] {
        let info = info(service);
        assert_eq!((&info["websocket"], &info["cookie_needed"]), (&json!(true), &json!(false)), "{service}");
    }
    assert_eq!(info("disabled_websocket_echo")["websocket"], false);
    assert_eq!(info("cookie_needed_echo")["cookie_needed"], true);
    let (mut socket, _) =
        connect_async(format!("ws://{}/echo/0/0/websocket", example.address)).await.unwrap();
    socket.send(Message::text("[\"grüße\"]")).await.unwrap();
    for expected in ["o", "a[\"grüße\"]"] {
        let heard = timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(heard, Message::text(expected));
    }
}

const DEADLINE: Duration = Duration::from_secs(30);
