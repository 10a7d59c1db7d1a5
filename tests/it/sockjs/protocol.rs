//! What protocol 0.3.3 says, and where it catches new servers.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use stompede::server::http::sockjs::{Conversation, SockJsSettings};
use stompede::server::{Config, Server};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::asked::{Answer, Open, ask};
use crate::served::{DEADLINE, Served};

async fn echo(mut conversation: Conversation) {
    let closing = conversation.closing.clone();
    loop {
        let message = tokio::select! {
            message = conversation.recv() => message,
            () = closing.announced() => None,
        };
        let Some(message) = message else { break };
        if conversation.send(&message).await.is_err() {
            return;
        }
    }
    conversation.close(3000, "Go away!").await;
}

async fn close(conversation: Conversation) {
    conversation.close(3000, "Go away!").await;
}

/// Echoes as the protocol's own suite has them; `allow` are origins.
fn start_with(settings: &SockJsSettings, allow: &str) -> Served {
    let mut config = Config { http_port: 0, stomp_port: 0, ..Config::default() };
    config.admin.port = stompede::server::config::AdminPort::Off;
    config.origins.allow = vec![allow.to_owned()];
    let settings = SockJsSettings { stream_bytes_max: 4_096, ..settings.clone() };
    let server = Server::new(config).unwrap().mount_sockjs("/echo", settings.clone(), echo).unwrap();
    let server = server.mount_sockjs("/close", settings.clone(), close).unwrap();
    let plain = SockJsSettings { websocket: false, ..settings.clone() };
    let server = server.mount_sockjs("/plain", plain, echo).unwrap();
    Served::run(server.mount_sockjs("/cookie", SockJsSettings { cookie: true, ..settings }, echo).unwrap())
}

fn start() -> Served {
    start_with(&SockJsSettings::default(), "*")
}

async fn get(address: SocketAddr, target: &str) -> Answer {
    ask(address, "GET", target, &[], "").await
}

async fn post(address: SocketAddr, target: &str, body: &str) -> Answer {
    ask(address, "POST", target, &[], body).await
}

/// A session that is open.
async fn opened(address: SocketAddr, session: &str) {
    assert_eq!(post(address, &format!("{session}/xhr"), "").await.body, "o\n");
}

#[tokio::test]
async fn the_base_greets_and_what_is_not_there_is_404() {
    let server = start();
    let http = server.ports.http;
    for target in ["/echo", "/echo/"] {
        let answer = get(http, target).await;
        assert_eq!((answer.status, &*answer.body), (200, "Welcome to SockJS!\n"), "{target}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("set-cookie"), None);
    }
    for target in [
        "/echo/a",
        "/echo/a.html",
        "/echo//",
        "/echo///",
        "/echo/a/a",
        "/echo/a/a/",
        "/echo/a/",
        "/echo//xhr",
        "/echo/a./a/xhr",
        "/echo/a/a./xhr",
        "/echo/./././xhr",
        "/echo/a/a/xhr;x",
        "/echo/a/a/jsonp",
        "/echo/a/a/htmlfile",
        "/echo/iframe.htm",
        "/echo/iframe-/.html",
        "/plain/a/a/websocket",
        "/plain/websocket",
    ] {
        for method in ["GET", "POST"] {
            assert_eq!(ask(http, method, target, &[], "").await.status, 404, "{method} {target}");
        }
    }
}

#[tokio::test]
async fn the_page_for_a_hidden_frame_is_there_where_any_page_may_come_and_is_kept_for_a_year() {
    let with = || SockJsSettings {
        client_url: Some("https://cdn.example/sockjs.js".into()),
        ..SockJsSettings::default()
    };
    let server = start_with(&with(), "*");
    let http = server.ports.http;
    for target in ["/echo/iframe.html", "/echo/iframe-1.6.1.html", "/echo/iframe.html?t=1"] {
        let page = get(http, target).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{target}"
        );
        assert!(
            page.body.contains(r#"<script src="https://cdn.example/sockjs.js"></script>"#),
            "{}",
            page.body
        );
        assert_eq!(page.header("cache-control"), Some("public, max-age=31536000"));
        assert!(page.header("expires").is_some() && page.header("set-cookie").is_none());
        let etag = page.header("etag").unwrap().to_owned();
        let known = ask(http, "GET", target, &[("if-none-match", &etag)], "").await;
        assert_eq!((known.status, &*known.body, known.header("content-type")), (304, "", None));
    }
    assert_eq!(post(http, "/echo/iframe.html", "").await.status, 405);
    // It would act for any page.
    let guarded = start_with(&with(), "https://page.example");
    assert_eq!(get(guarded.ports.http, "/echo/iframe.html").await.status, 404);
    let without = start();
    assert_eq!(get(without.ports.http, "/echo/iframe.html").await.status, 404);
}

#[tokio::test]
async fn info_says_what_the_server_can() {
    let server = start();
    let http = server.ports.http;
    let answer = ask(http, "GET", "/echo/info?t=1", &[("origin", "http://page.example")], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some(NOT_CACHED));
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://page.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let info = answer.json();
    assert_eq!((&info["websocket"], &info["cookie_needed"]), (&true.into(), &false.into()));
    assert_eq!(info["origins"], serde_json::json!(["*:*"]));
    assert!(info["entropy"].as_u64().is_some_and(|entropy| entropy <= u64::from(u32::MAX)));
    assert_ne!(info["entropy"], get(http, "/echo/info").await.json()["entropy"]);
    assert_eq!(get(http, "/plain/info").await.json()["websocket"], false);
    let cookie = get(http, "/cookie/info").await;
    assert_eq!((&cookie.json()["cookie_needed"], cookie.header("set-cookie")), (&true.into(), None));
    for method in ["POST", "PUT", "DELETE"] {
        let answer = ask(http, method, "/echo/info", &[], "").await;
        assert_eq!((answer.status, &*answer.body), (405, ""));
        assert_eq!(answer.header("allow"), Some("options, get"));
        assert_eq!(answer.header("content-type"), None);
    }
}

#[tokio::test]
async fn a_browser_may_keep_what_it_asks_before_for_a_year() {
    let server = start();
    let http = server.ports.http;
    for (target, methods) in [
        ("/echo/info", "options, get"),
        ("/echo/a/a/xhr", "options, post"),
        ("/echo/a/a/xhr_send", "options, post"),
        ("/echo/a/a/xhr_streaming", "options, post"),
        ("/echo/a/a/eventsource", "options, get"),
    ] {
        for origin in ["http://page.example", "null"] {
            let asked = [("origin", origin), ("access-control-request-headers", "a, b")];
            let answer = ask(http, "OPTIONS", target, &asked, "").await;
            assert_eq!((answer.status, &*answer.body), (204, ""), "{target}");
            assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000"));
            assert!(answer.header("expires").is_some_and(|date| date.ends_with(" gmt")));
            assert_eq!(answer.header("access-control-max-age"), Some("31536000"));
            assert_eq!(answer.header("access-control-allow-methods"), Some(methods));
            assert_eq!(answer.header("access-control-allow-headers"), Some("a, b"));
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        }
        let answer = ask(http, "OPTIONS", target, &[("access-control-request-headers", "")], "").await;
        assert_eq!(answer.header("access-control-allow-headers"), None);
        let answer = ask(http, "PUT", target, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(methods)));
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_everywhere() {
    let server = start_with(&SockJsSettings::default(), "https://good.example");
    let http = server.ports.http;
    for (method, path) in [
        ("GET", "info"),
        ("OPTIONS", "info"),
        ("POST", "a/a/xhr"),
        ("POST", "a/a/xhr_send"),
        ("POST", "a/a/xhr_streaming"),
        ("GET", "a/a/eventsource"),
        ("OPTIONS", "a/a/xhr"),
    ] {
        let target = format!("/echo/{path}");
        let bad = ask(http, method, &target, &[("origin", "https://bad.example")], "").await;
        assert_eq!((bad.status, bad.header("access-control-allow-origin")), (403, None), "{method} {path}");
    }
    assert_eq!(post(http, "/echo/a/a/xhr_send", "[\"x\"]").await.status, 404, "no session has begun");
    let good = ask(http, "GET", "/echo/info", &[("origin", "https://good.example")], "").await;
    assert_eq!(good.header("access-control-allow-origin"), Some("https://good.example"));
}

#[tokio::test]
async fn polling_gets_what_waits_and_one_request_waits_at_a_time() {
    let server = start();
    let http = server.ports.http;
    let first = ask(http, "POST", "/echo/000/poll/xhr", &[("origin", "http://page.example")], "").await;
    assert_eq!((first.status, &*first.body), (200, "o\n"));
    assert_eq!(first.header("content-type"), Some("application/javascript; charset=utf-8"));
    assert_eq!(first.header("cache-control"), Some(NOT_CACHED));
    assert_eq!(first.header("access-control-allow-origin"), Some("http://page.example"));
    for (content_type, body) in
        [("text/plain", "[\"a\"]"), ("T", "[]"), ("", "[\"b\",\"c\"]"), ("text/xml", "[\"\\u2028\"]")]
    {
        let sent =
            ask(http, "POST", "/echo/999/poll/xhr_send", &[("content-type", content_type)], body).await;
        assert_eq!((sent.status, &*sent.body), (204, ""));
        assert_eq!(sent.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(sent.header("cache-control"), Some(NOT_CACHED));
    }
    let mut got = Vec::new();
    while got.len() < 4 {
        got.extend(post(http, "/echo/1/poll/xhr", "").await.messages());
    }
    assert_eq!(got, ["a", "b", "c", "\u{2028}"], "whatever the server's id");
    let waiting = tokio::spawn(async move { post(http, "/echo/1/poll/xhr", "").await });
    // The second is turned away once the first is there; before, it is itself the first.
    let second = loop {
        let answer = timeout(Duration::from_millis(200), post(http, "/echo/1/poll/xhr", "")).await;
        if let Ok(answer) = answer {
            break answer;
        }
    };
    assert!(second.body == STILL_OPEN || second.body == INTERRUPTED, "{second:?}");
    waiting.abort();
}

#[tokio::test]
async fn what_is_no_array_of_strings_is_refused_and_ends_nothing() {
    let server = start();
    let http = server.ports.http;
    assert_eq!(post(http, "/echo/0/nobody/xhr_send", "[\"x\"]").await.status, 404);
    opened(http, "/echo/0/json").await;
    for (body, text) in
        [("", "Payload expected."), ("[\"x", "Broken JSON encoding."), ("[1]", "Broken JSON encoding.")]
    {
        let answer = post(http, "/echo/0/json/xhr_send", body).await;
        assert_eq!((answer.status, &*answer.body), (500, text));
    }
    assert_eq!(post(http, "/echo/0/json/xhr_send", "[\"a\"]").await.status, 204);
    assert_eq!(post(http, "/echo/0/json/xhr", "").await.body, "a[\"a\"]\n");
}

#[tokio::test]
async fn who_asks_again_hears_the_last_word_again() {
    let server = start();
    let http = server.ports.http;
    opened(http, "/close/0/x").await;
    for _ in 0..2 {
        assert_eq!(post(http, "/close/0/x/xhr", "").await.body, "c[3000,\"Go away!\"]\n");
    }
    let mut stream = Open::ask(http, "POST", "/close/0/x/xhr_streaming", &[], "").await;
    assert_eq!(stream.chunk().await.unwrap().len(), 2_049);
    assert_eq!(stream.chunk().await.as_deref(), Some("c[3000,\"Go away!\"]\n"));
    assert_eq!(stream.chunk().await, None);
}

#[tokio::test]
async fn a_stream_has_a_prelude_a_chunk_for_each_frame_and_an_end() {
    let server = start();
    let http = server.ports.http;
    let mut stream =
        Open::ask(http, "POST", "/echo/0/s/xhr_streaming", &[("origin", "http://a.example")], "").await;
    for line in [
        "content-type: application/javascript; charset=utf-8",
        "transfer-encoding: chunked",
        "x-accel-buffering: no",
        "access-control-allow-origin: http://a.example",
    ] {
        assert!(stream.head.contains(&format!("\r\n{line}\r\n")), "{}", stream.head);
    }
    assert!(stream.head.contains(NOT_CACHED), "{}", stream.head);
    assert_eq!(stream.chunk().await.unwrap(), "h".repeat(2_048) + "\n");
    assert_eq!(stream.chunk().await.as_deref(), Some("o\n"));
    let message = format!("[\"{}\"]", "x".repeat(128));
    for _ in 0..31 {
        assert_eq!(post(http, "/echo/0/s/xhr_send", &message).await.status, 204);
        assert_eq!(stream.chunk().await.unwrap(), format!("a{message}\n"));
    }
    assert_eq!(stream.chunk().await, None, "after 4,096 bytes");
    post(http, "/echo/0/s/xhr_send", "[\"more\"]").await;
    let mut next = Open::ask(http, "POST", "/echo/0/s/xhr_streaming", &[], "").await;
    assert_eq!(next.messages().await, ["more"]);
}

#[tokio::test]
async fn events_are_told_apart_by_empty_lines() {
    let server = start();
    let http = server.ports.http;
    let mut stream = Open::ask(http, "GET", "/echo/0/e/eventsource", &[], "").await;
    assert!(
        stream.status == 200 && stream.head.contains("\r\ncontent-type: text/event-stream\r\n"),
        "{}",
        stream.head
    );
    assert_eq!(stream.chunk().await.as_deref(), Some("\r\n"));
    assert_eq!(stream.chunk().await.as_deref(), Some("data: o\r\n\r\n"));
    post(http, "/echo/0/e/xhr_send", r#"["  \u0000\n\r "]"#).await;
    assert_eq!(stream.chunk().await.as_deref(), Some("data: a[\"  \\u0000\\n\\r \"]\r\n\r\n"));
    let long = format!("[\"{}\"]", "x".repeat(4_096));
    post(http, "/echo/0/e/xhr_send", &long).await;
    assert_eq!(stream.chunk().await.unwrap(), format!("data: a{long}\r\n\r\n"));
    assert_eq!(stream.chunk().await, None);
}

#[tokio::test]
async fn a_receiver_that_vanishes_ends_the_session() {
    let server = start();
    let http = server.ports.http;
    let mut stream = Open::ask(http, "POST", "/echo/0/v/xhr_streaming", &[], "").await;
    stream.chunk().await;
    assert_eq!(stream.chunk().await.as_deref(), Some("o\n"));
    let second = post(http, "/echo/0/v/xhr", "").await;
    assert_eq!(second.body, STILL_OPEN);
    drop(stream);
    let told = async {
        loop {
            let answer = post(http, "/echo/0/v/xhr", "").await;
            if answer.body != STILL_OPEN {
                return answer.body;
            }
        }
    };
    assert_eq!(timeout(DEADLINE, told).await.unwrap(), INTERRUPTED);
}

#[tokio::test]
async fn load_balancers_may_have_a_cookie() {
    let server = start();
    let http = server.ports.http;
    let fresh = post(http, "/cookie/0/c1/xhr", "").await;
    assert_eq!(fresh.header("set-cookie"), Some("jsessionid=dummy; path=/"));
    let known = ask(http, "POST", "/cookie/0/c2/xhr", &[("cookie", "x=1; JSESSIONID=abcdef")], "").await;
    assert_eq!(known.header("set-cookie"), Some("jsessionid=abcdef; path=/"));
    let stream = Open::ask(http, "GET", "/cookie/0/c3/eventsource", &[], "").await;
    assert!(stream.head.contains("set-cookie: jsessionid=dummy; path=/"), "{}", stream.head);
    assert_eq!(post(http, "/echo/0/c4/xhr", "").await.header("set-cookie"), None);
}

#[tokio::test]
async fn a_handler_that_falls_leaves_its_place() {
    let mut config = Config { http_port: 0, stomp_port: 0, ..Config::default() };
    config.admin.port = stompede::server::config::AdminPort::Off;
    let settings = SockJsSettings { sessions_max: 1, ..SockJsSettings::default() };
    let falls = async |mut conversation: Conversation| {
        conversation.recv().await;
        panic!("as it was told");
    };
    let server = Served::run(Server::new(config).unwrap().mount_sockjs("/falls", settings, falls).unwrap());
    let http = server.ports.http;
    opened(http, "/falls/0/one").await;
    assert_eq!(post(http, "/falls/0/two/xhr", "").await.status, 503);
    assert_eq!(post(http, "/falls/0/one/xhr_send", "[\"x\"]").await.status, 204);
    let place = async { while post(http, "/falls/0/two/xhr", "").await.body != "o\n" {} };
    timeout(DEADLINE, place).await.expect("a place in time");
}

#[tokio::test]
async fn many_small_messages_are_too_large() {
    let server = start_with(&SockJsSettings { body_bytes_max: 4_096, ..SockJsSettings::default() }, "*");
    let http = server.ports.http;
    opened(http, "/echo/0/small").await;
    let of = |count| serde_json::json!(vec!["x"; count]).to_string();
    assert_eq!(post(http, "/echo/0/small/xhr_send", &of(1_000)).await.status, 413);
    assert_eq!(post(http, "/echo/0/small/xhr_send", &of(50)).await.status, 204);
}

#[tokio::test]
async fn sessions_end_and_are_bounded() {
    let settings = SockJsSettings {
        vacant_max: Duration::from_secs(1),
        heart_beat: Duration::from_secs(1),
        sessions_max: 2,
        body_bytes_max: 1_024,
        ..SockJsSettings::default()
    };
    let server = start_with(&settings, "*");
    let http = server.ports.http;
    opened(http, "/echo/0/one").await;
    opened(http, "/echo/0/two").await;
    let third = post(http, "/echo/0/three/xhr", "").await;
    assert_eq!((third.status, third.header("retry-after")), (503, Some("5")));
    let large = format!("[\"{}\"]", "x".repeat(1_024));
    assert_eq!(post(http, "/echo/0/one/xhr_send", &large).await.status, 413);
    // Who asks before a second is over stays, and hears that we live.
    assert_eq!(post(http, "/echo/0/two/xhr", "").await.body, "h\n");
    let gone = async {
        while post(http, "/echo/0/one/xhr_send", "[\"x\"]").await.status != 404 {
            assert_eq!(post(http, "/echo/0/two/xhr", "").await.body, "h\n");
        }
    };
    timeout(DEADLINE, gone).await.unwrap();
    opened(http, "/echo/0/three").await;
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn websocket(http: SocketAddr, path: &str) -> Socket {
    connect_async(format!("ws://{http}{path}")).await.unwrap().0
}

async fn hear(socket: &mut Socket) -> Message {
    timeout(DEADLINE, socket.next()).await.expect("a message in time").unwrap().unwrap()
}

#[tokio::test]
async fn a_websocket_carries_frames_and_a_raw_one_messages() {
    let server = start();
    let http = server.ports.http;
    let (mut one, mut two) =
        (websocket(http, "/echo/0/same/websocket").await, websocket(http, "/echo/0/same/websocket").await);
    for (socket, text) in [(&mut one, "a"), (&mut two, "b")] {
        assert_eq!(hear(socket).await, Message::text("o"));
        for message in ["", "[]", &format!("[\"{text}\"]")] {
            socket.send(Message::text(message)).await.unwrap();
        }
        assert_eq!(hear(socket).await, Message::text(format!("a[\"{text}\"]")));
    }
    one.send(Message::text("[\"a")).await.unwrap();
    let cut = timeout(DEADLINE, one.next()).await.unwrap();
    assert!(matches!(cut, None | Some(Err(_))), "{cut:?}");
    let mut ended = websocket(http, "/close/0/c/websocket").await;
    assert_eq!(hear(&mut ended).await, Message::text("o"));
    assert_eq!(hear(&mut ended).await, Message::text("c[3000,\"Go away!\"]"));
    assert!(matches!(hear(&mut ended).await, Message::Close(Some(_))));
    let mut raw = websocket(http, "/echo/websocket").await;
    raw.send(Message::text("Hello world!\u{ffff}")).await.unwrap();
    assert_eq!(hear(&mut raw).await, Message::text("Hello world!\u{ffff}"));
    let Message::Close(Some(close)) = hear(&mut websocket(http, "/close/websocket").await).await else {
        panic!("no close")
    };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (3000, "Go away!"));
}

#[tokio::test]
async fn what_is_no_handshake_is_told_so() {
    let server = start();
    let http = server.ports.http;
    for path in ["/echo/0/0/websocket", "/echo/websocket"] {
        let plain = get(http, path).await;
        assert_eq!(plain.status, 400);
        assert!(
            plain.body.contains("\"upgrade\" only to \"websocket\"")
                || plain.body.contains("Can \"Upgrade\"")
        );
        let closed = [("upgrade", "WebSocket"), ("connection", "close")];
        assert_eq!(ask(http, "GET", path, &closed, "").await.status, 400);
        let posted = post(http, path, "").await;
        assert_eq!((posted.status, posted.header("allow"), &*posted.body), (405, Some("get"), ""));
        let old = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-key", "x3JJHMbDL1EzLkh9GBhXDw=="),
        ];
        assert_eq!(ask(http, "GET", path, &old, "").await.status, 426);
    }
    let refused = connect_async(format!("ws://{http}/plain/0/0/websocket")).await;
    assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == 404));
}

const NOT_CACHED: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";
const STILL_OPEN: &str = "c[2010,\"Another connection still open\"]\n";
const INTERRUPTED: &str = "c[1002,\"Connection interrupted\"]\n";
