//! WebSocket endpoints over real sockets.

use std::rc::Rc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use stompede::server::Config;
use stompede::server::http::{Endpoint, Mount, OriginCheck, Template, Upgraded};
use stompede::transport::websocket::{Connection, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message as Sent};

use crate::door::{DEADLINE, Options, Running, ask};
use crate::served::Served;

const MESSAGE_BYTES_MAX: usize = 16 << 20;

pub(crate) async fn echo(upgraded: Upgraded) {
    let mut connection = Connection::new(upgraded.stream, &upgraded.read_ahead, MESSAGE_BYTES_MAX);
    let code = loop {
        let message = tokio::select! {
            message = connection.recv() => message,
            () = upgraded.closing.announced() => break 1012,
        };
        let Some(Ok(message)) = message else { break 1000 };
        connection.send(&message).await.unwrap();
    };
    let _ = connection.close(code, "").await;
}

/// Says what the handshake said, and ends.
struct Witness;

impl Endpoint for Witness {
    fn subprotocols(&self) -> &[&str] {
        &["v12.stomp", "v11.stomp"]
    }

    fn serve(&self, upgraded: Upgraded) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let request = &upgraded.request;
            let seen = [
                request.params.get("room").map(Into::into),
                request.query.clone(),
                request.authorization.clone(),
                request.origin.clone(),
                request.subprotocol.clone(),
                Some(request.remote.to_string().into()),
            ];
            let mut connection = Connection::new(upgraded.stream, &upgraded.read_ahead, 1_000);
            connection.send(&Message::Text(format!("{seen:?}"))).await.unwrap();
            connection.close(4001, "seen").await.unwrap();
        })
    }
}

pub(crate) fn mounts() -> Vec<Mount> {
    let at = |path| Template::parse(path).unwrap();
    vec![
        Mount { path: at("/echo"), origins: OriginCheck::Configured, endpoint: Rc::new(echo) },
        Mount { path: at("/rooms/{room}"), origins: OriginCheck::Skipped, endpoint: Rc::new(Witness) },
    ]
}

fn start() -> Running {
    Running::start(Options { origins: &["https://app.example.com"], ..Options::default() }, mounts)
}

fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

#[tokio::test]
async fn text_and_binary_come_back_up_to_the_limit_and_not_above_it() {
    let door = start();
    let (mut client, _) = connect_async(door.url("/echo")).await.unwrap();
    for message in [Sent::text("grüß"), Sent::text(""), Sent::binary(vec![0xfe; MESSAGE_BYTES_MAX])] {
        client.send(message.clone()).await.unwrap();
        assert!(client.next().await.unwrap().unwrap() == message);
    }
    let _ = client.send(Sent::binary(vec![0; MESSAGE_BYTES_MAX + 1])).await;
    let closed = loop {
        match client.next().await {
            Some(Ok(Sent::Close(frame))) => break frame.map(|frame| u16::from(frame.code)),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(closed, Some(1009));
}

#[tokio::test]
async fn an_endpoint_sees_what_the_handshake_said() {
    let door = start();
    let mut request = door.url("/rooms/a%20b?token=t").into_client_request().unwrap();
    let headers = [
        ("authorization", "Bearer x"),
        ("origin", "https://elsewhere.example"),
        ("sec-websocket-protocol", "v10.stomp, v11.stomp, v12.stomp"),
    ];
    for (name, value) in headers {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (mut client, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "v12.stomp");
    let seen = client.next().await.unwrap().unwrap().into_text().unwrap();
    let expected = r#"[Some("a b"), Some("token=t"), Some("Bearer x"), Some("https://elsewhere.example"), Some("v12.stomp"), Some("127.0.0.1")]"#;
    assert_eq!(seen.as_str(), expected);
    let Some(Ok(Sent::Close(Some(frame)))) = client.next().await else { panic!("no close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "seen"));
}

#[tokio::test]
async fn what_a_hasty_client_sends_with_its_handshake_is_not_lost() {
    let door = start();
    let mut stream = door.connect().await;
    let mut bytes = handshake("/echo", "").into_bytes();
    bytes.extend([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    let echoed = async {
        while !answer.ends_with(b"\x81\x02hi") {
            assert_ne!(
                stream.read_buf(&mut answer).await.unwrap(),
                0,
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
    };
    tokio::time::timeout(DEADLINE, echoed).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
}

#[tokio::test]
async fn a_page_from_elsewhere_is_refused_and_told_which_line_would_allow_it() {
    let door = start();
    let from = |origin: &str| handshake("/echo", &format!("origin: {origin}\r\nconnection: close\r\n"));
    for origin in ["https://evil.example.com", "null", "\u{fc}"] {
        let answer = door.ask(from(origin)).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
        assert!(answer.contains("origins"), "{origin}: {answer}");
    }
    for origin in ["https://app.example.com", "http://127.0.0.1"] {
        let mut request = door.url("/echo").into_client_request().unwrap();
        if origin.contains("127") {
            request.headers_mut().insert("host", "127.0.0.1".parse().unwrap());
        }
        request.headers_mut().insert("origin", origin.parse().unwrap());
        connect_async(request).await.unwrap();
    }
}

#[tokio::test]
async fn an_ordinary_request_is_told_that_a_websocket_belongs_here() {
    let door = start();
    let answer = door.request("GET", "/echo").await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("A WebSocket belongs here"), "{answer}");
    let old = handshake("/echo", "connection: close\r\n").replace("version: 13", "version: 8");
    let answer = ask(door.connect().await, old).await;
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("sec-websocket-version: 13"), "{answer}");
}

#[tokio::test]
async fn a_client_that_breaks_the_framing_is_told_and_disturbs_nobody() {
    let door = start();
    let (mut good, _) = connect_async(door.url("/echo")).await.unwrap();
    let mut bytes = handshake("/echo", "").into_bytes();
    bytes.extend([0x81, 0x02, b'h', b'i']);
    let answer = ask_bytes(&door, &bytes).await;
    let close =
        answer.windows(4).position(|window| window[0] == 0x88 && window[2..] == 1002u16.to_be_bytes());
    assert!(close.is_some(), "{}", String::from_utf8_lossy(&answer));
    good.send(Sent::text("still here")).await.unwrap();
    assert_eq!(good.next().await.unwrap().unwrap(), Sent::text("still here"));
}

#[tokio::test]
async fn no_websocket_is_where_none_was_mounted() {
    let door = start();
    let error = connect_async(door.url("/elsewhere")).await.unwrap_err();
    assert!(matches!(error, Error::Http(response) if response.status() == 404));
}

/// What comes whole is answered past hyper, if it is good; the client must not see a difference.
#[tokio::test]
async fn a_handshake_is_answered_alike_whether_it_comes_whole_or_in_pieces() {
    let door = start();
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    // These pass hyper by, which says when it answered.
    let good = [
        (
            handshake(
                "/rooms/a%20b?token=t",
                "sec-websocket-protocol: v11.stomp\r\nauthorization: Bearer x\r\n",
            ),
            101,
        ),
        (handshake("/rooms/1", "origin: https://elsewhere.example\r\n"), 101),
        (handshake("http://x/rooms/1", ""), 101),
        (handshake("/rooms/1", &format!("x-long: {}\r\n", "y".repeat(3_000))), 101),
    ];
    let others = [
        (handshake("/rooms/1", &format!("x-long: {}\r\n", "y".repeat(5_000))), 101),
        (handshake("/rooms/1", "content-length: 0\r\n"), 101),
        (handshake("/rooms/1", "connection: close\r\n"), 101),
        (handshake("/rooms/1", &many), 431),
        (handshake("/rooms/1", "bad name: 1\r\n"), 400),
        (handshake("/rooms/1", "connection: close\r\n").replace("version: 13", "version: 8"), 426),
        (handshake("/rooms/1", "connection: close\r\n").replace("HTTP/1.1", "HTTP/1.0"), 400),
        (handshake("/rooms/1", "connection: close\r\n").replace("GET", "POST"), 405),
        (handshake("/echo", "origin: https://elsewhere.example\r\nconnection: close\r\n"), 403),
        (handshake("/elsewhere", "connection: close\r\n"), 404),
    ];
    for (n, (request, status)) in good.iter().chain(&others).enumerate() {
        let (whole, is_dated) = undated(&door, &[request.as_bytes()]).await;
        let (first, second) = request.as_bytes().split_at(30);
        let (pieces, _) = undated(&door, &[first, second]).await;
        assert_eq!(whole, pieces, "{request}");
        assert_eq!(whole.0[8..12], format!(" {status}"), "{request}: {whole:?}");
        assert_eq!(is_dated, n >= good.len(), "{request}");
    }
}

/// The first line, the headers but the date in alphabetical order, and everything after them; and whether there was a date.
async fn undated(door: &Running, pieces: &[&[u8]]) -> ((String, Vec<String>, Vec<u8>), bool) {
    let mut stream = door.connect().await;
    let mut answer = Vec::new();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        // Apart from each other, most often; if not, the same is tried twice.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    let mut lines =
        head.lines().filter(|line| !line.is_empty() && !line.starts_with("date: ")).map(Into::into);
    let status = lines.next().unwrap();
    let mut headers: Vec<String> = lines.collect();
    headers.sort();
    ((status, headers, body), head.contains("\r\ndate: "))
}

async fn ask_bytes(door: &Running, request: &[u8]) -> Vec<u8> {
    let mut stream = door.connect().await;
    let mut answer = Vec::new();
    stream.write_all(request).await.unwrap();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn stomp_in_a_text_message_that_is_no_text_is_closed_by_1007() {
    let server = Served::start(Config::default());
    let (mut client, _) = connect_async(format!("ws://{}/ws", server.ports.http)).await.unwrap();
    let wrong = Frame::message(b"CONNECT\nlogin:\xff\xff\n\n\0".to_vec(), OpCode::Data(Data::Text), true);
    client.send(Sent::Frame(wrong)).await.unwrap();
    let closed = async {
        loop {
            match client.next().await.unwrap().unwrap() {
                Sent::Close(Some(close)) => return u16::from(close.code),
                message => {
                    assert!(message.to_text().unwrap().contains("error-code:bad-frame"), "{message:?}")
                }
            }
        }
    };
    assert_eq!(tokio::time::timeout(DEADLINE, closed).await.unwrap(), 1007);
}
