//! Server-sent events, over real sockets.

use std::time::Duration;

use serde_json::{Value, json};
use stompede::broker::Handle;
use stompede::model::Principal;
use stompede::policy::{JwtSigner, TokenOrder};
use stompede::server::Config;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::listener::Listener;
use crate::served::{DEADLINE, Served, configured, frame, login, rest};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn development(more: Value) -> Config {
    serde_json::from_value(more).unwrap()
}

/// Outside development mode, with a key of its own.
fn keyed(mut more: Value) -> Config {
    more["jwt"] = json!({"secret": SECRET, "leeway_s": 0});
    serde_json::from_value(more).unwrap()
}

/// A topic that keeps what is sent.
fn kept() -> Value {
    json!([{"pattern": "/topic/kept/**", "history": {"messages_max": 3}}])
}

fn token(server: &Config, user: &str, ttl_s: u64) -> String {
    let order = TokenOrder { user: user.into(), ttl_s, ..TokenOrder::default() };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    JwtSigner::new(&server.jwt).unwrap().sign(&order, now.as_secs()).unwrap()
}

async fn backend(server: &Served) -> Handle {
    server.broker.connect(Principal::service("backend")).await.unwrap()
}

#[tokio::test]
async fn a_page_hears_what_is_published_under_the_name_that_it_has() {
    let server = Served::start(Config::default());
    let mut page = Listener::ask(server.ports.http, "/sse?destination=/topic/x", &[]).await;
    for line in
        ["content-type: text/event-stream", "cache-control: no-store, no-transform", "x-accel-buffering: no"]
    {
        assert!(page.head.contains(&format!("\r\n{line}\r\n")), "{}", page.head);
    }
    for line in ["content-length", "transfer-encoding"] {
        assert!(!page.head.contains(line), "{}", page.head);
    }
    page.hear("connected").await;
    let backend = backend(&server).await;
    backend.publish("/topic/x", &[], "one\ntwo").await.unwrap();
    backend.publish("/topic/x", &[("event", "price")], "3").await.unwrap();
    backend.publish("/topic/x", &[("event", "connected")], vec![0xff]).await.unwrap();
    backend.publish("/topic/x", &[], "y".repeat(8 << 10)).await.unwrap();
    assert_eq!(page.hear("message").await, "one\ntwo");
    assert_eq!(page.hear("price").await, "3");
    assert_eq!(page.hear("binary").await, "/w==");
    assert_eq!(page.hear("message").await.len(), 8 << 10);
}

#[tokio::test]
async fn who_comes_back_hears_what_he_missed() {
    let server = Served::start(development(json!({"destination": kept()})));
    let backend = backend(&server).await;
    let target = "/sse?destination=/topic/kept/a";
    let mut page = Listener::open(server.ports.http, target, &[]).await;
    let begin = page.last_event_id.clone();
    backend.publish("/topic/kept/a", &[], "1").await.unwrap();
    assert_eq!(page.hear("message").await, "1");
    let last = page.last_event_id.clone();
    drop(page);
    for n in 2..=3 {
        backend.publish("/topic/kept/a", &[], n.to_string()).await.unwrap();
    }
    let mut page = Listener::open(server.ports.http, target, &[("last-event-id", &last)]).await;
    assert_eq!(page.last_event_id, last, "what was not heard yet is not passed over");
    for n in ["2", "3"] {
        assert_eq!(page.hear("message").await, n);
    }
    // Three are kept.
    backend.publish("/topic/kept/a", &[], "4").await.unwrap();
    assert_eq!(page.hear("message").await, "4");
    let mut page = Listener::open(server.ports.http, target, &[("last-event-id", &begin)]).await;
    assert_eq!(page.hear("recovered").await, "false");
    for n in ["2", "3", "4"] {
        assert_eq!(page.hear("message").await, n);
    }
    for nonsense in ["x", "-", "0000000000000000-1", "1,2", &",".repeat(8 << 10)] {
        let mut page = Listener::open(server.ports.http, target, &[("last-event-id", nonsense)]).await;
        assert_eq!(page.hear("recovered").await, "false", "{nonsense:.20}");
    }
}

#[tokio::test]
async fn a_cursor_stands_for_all_destinations() {
    let server = Served::start(development(json!({"destination": kept()})));
    let backend = backend(&server).await;
    let target = "/sse?destination=/topic/kept/a&destination=/topic/kept/b&destination=/topic/kept/a";
    let mut page = Listener::open(server.ports.http, target, &[]).await;
    backend.publish("/topic/kept/a", &[], "a1").await.unwrap();
    backend.publish("/topic/kept/b", &[], "b1").await.unwrap();
    assert_eq!(page.hear("message").await, "a1");
    let after_a = page.last_event_id.clone();
    assert_eq!(page.hear("message").await, "b1");
    let after_b = page.last_event_id.clone();
    drop(page);
    backend.publish("/topic/kept/a", &[], "a2").await.unwrap();
    for (last, expected) in [(&after_a, &["a2", "b1"][..]), (&after_b, &["a2"])] {
        let mut page = Listener::open(server.ports.http, target, &[("last-event-id", last)]).await;
        for text in expected {
            assert_eq!(page.hear("message").await, *text);
        }
        backend.publish("/topic/kept/b", &[], "end").await.unwrap();
        assert_eq!(page.hear("message").await, "end");
    }
    // Where nothing is kept nobody knows what was missed.
    let target = "/sse?destination=/topic/kept/a&destination=/topic/other";
    let mut page = Listener::open(server.ports.http, target, &[]).await;
    let last = page.last_event_id.clone();
    backend.publish("/topic/other", &[], "o").await.unwrap();
    assert_eq!(page.hear("message").await, "o");
    assert_eq!(page.last_event_id, last);
    let mut page = Listener::open(server.ports.http, target, &[("last-event-id", &last)]).await;
    assert_eq!(page.hear("recovered").await, "false");
}

#[tokio::test]
async fn what_is_for_good_is_refused_by_its_status() {
    let config = keyed(json!({"access": {"rule": [
        {"pattern": "/topic/open/**", "actions": ["subscribe"], "who": ["signed-in"]}
    ]}}));
    let alice = token(&config, "alice", 600);
    let server = Served::start(config);
    let many: String = (0..17).map(|n| format!("&destination=/topic/open/{n}")).collect();
    let cases = [
        (format!("destination=/topic/open/a&token={alice}"), 200, ""),
        (format!("destination=/topic/open/a&destination=/user/queue/x&token={alice}"), 200, ""),
        (format!("destination=/topic/open/**&token={alice}"), 200, ""),
        (format!("destination=/topic/closed/a&token={alice}"), 403, "forbidden"),
        (format!("destination=/topic/open/a&destination=/topic/closed/a&token={alice}"), 403, "forbidden"),
        (format!("destination=/user/bob/queue/x&token={alice}"), 403, "forbidden"),
        ("destination=/topic/open/a".to_owned(), 401, "unauthorized"),
        ("destination=/topic/open/a&token=x.y.z".to_owned(), 401, "unauthorized"),
        (format!("destination=/queue/jobs&token={alice}"), 403, "forbidden"),
        (format!("destination=/app/chat/unread&token={alice}"), 422, "bad-destination"),
        (format!("destination=topic&token={alice}"), 422, "bad-destination"),
        (format!("token={alice}"), 400, "bad-content"),
        (format!("token={alice}{many}"), 400, "bad-content"),
        (format!("destination=/topic/a%0Ab&token={alice}"), 422, "bad-destination"),
    ];
    for (query, status, code) in cases {
        let mut answer = Listener::ask(server.ports.http, &format!("/sse?{query}"), &[]).await;
        assert!(answer.head.starts_with(&format!("HTTP/1.1 {status} ")), "{query}: {}", answer.head);
        if status != 200 {
            assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
            let body: Value = serde_json::from_str(&answer.body().await).unwrap();
            assert_eq!(body["code"].as_str().unwrap_or_default(), code, "{query}: {body}");
            assert_eq!(body["status"], status);
        }
    }
    let bearer = format!("Bearer {alice}");
    let headers = [("authorization", &*bearer)];
    let mut page = Listener::open(server.ports.http, "/sse?destination=/user/queue/x", &headers).await;
    let backend = backend(&server).await;
    backend.publish("/user/alice/queue/x", &[("event", "note")], "for alice").await.unwrap();
    assert_eq!(page.hear("note").await, "for alice");
    let answer =
        Listener::say(server.ports.http, "POST /sse HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(answer.head.starts_with("HTTP/1.1 405 "), "{}", answer.head);
    assert!(answer.head.contains("allow: GET, OPTIONS\r\n"), "{}", answer.head);
}

#[tokio::test]
async fn anyone_hears_what_a_rule_opens_to_anyone() {
    let config = keyed(json!({"access": {"allow_anonymous": true, "rule": [
        {"pattern": "/topic/open/*", "actions": ["subscribe"], "who": ["anyone"]}
    ]}}));
    let server = Served::start(config);
    let mut page = Listener::open(server.ports.http, "/sse?destination=/topic/open/a", &[]).await;
    backend(&server).await.publish("/topic/open/a", &[], "hello").await.unwrap();
    assert_eq!(page.hear("message").await, "hello");
    let answer = Listener::ask(server.ports.http, "/sse?destination=/topic/closed", &[]).await;
    assert!(answer.head.starts_with("HTTP/1.1 403 "), "{}", answer.head);
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_the_next_one_is_refused() {
    let config = keyed(json!({"access": {"rule": [
        {"pattern": "/topic/open/*", "actions": ["subscribe"], "who": ["signed-in"]}
    ]}}));
    let target = format!("/sse?destination=/topic/open/a&token={}", token(&config, "alice", 2));
    let server = Served::start(config);
    let mut page = Listener::open(server.ports.http, &target, &[]).await;
    let last = page.next().await.unwrap();
    assert_eq!(last.name, "closed");
    assert_eq!(serde_json::from_str::<Value>(&last.data).unwrap()["code"], "token-expired");
    assert!(last.retry.is_some());
    assert_eq!(page.next().await, None);
    let answer = Listener::ask(server.ports.http, &target, &[]).await;
    assert!(answer.head.starts_with("HTTP/1.1 401 "), "{}", answer.head);
}

#[tokio::test]
async fn pages_of_other_origins_are_judged_as_at_the_websocket() {
    let config = keyed(json!({
        "origins": {"allow": ["https://app.example.com"]},
        "access": {"allow_anonymous": true, "rule": [
            {"pattern": "/topic/open/*", "actions": ["subscribe"], "who": ["anyone"]}
        ]}
    }));
    let server = Served::start(config);
    let target = "/sse?destination=/topic/open/a";
    let allowed = [("origin", "https://app.example.com")];
    for (target, status) in [(target, 200), ("/sse?destination=/topic/closed", 403), ("/sse", 400)] {
        let page = Listener::ask(server.ports.http, target, &allowed).await;
        assert!(page.head.starts_with(&format!("HTTP/1.1 {status} ")), "{}", page.head);
        let lines = [
            "access-control-allow-origin: https://app.example.com",
            "access-control-allow-credentials: true",
            "vary: origin",
        ];
        for line in lines {
            assert!(page.head.contains(&format!("\r\n{line}\r\n")), "{target}: {}", page.head);
        }
    }
    for origin in ["https://evil.example", "null", "https://app.example.com.evil.example"] {
        let answer = Listener::ask(server.ports.http, target, &[("origin", origin)]).await;
        assert!(answer.head.starts_with("HTTP/1.1 403 "), "{origin}: {}", answer.head);
        assert!(!answer.head.contains("access-control-"), "{}", answer.head);
    }
    let asks = "OPTIONS /sse HTTP/1.1\r\nhost: x\r\norigin: https://app.example.com\r\n\
        access-control-request-method: GET\r\naccess-control-request-headers: authorization\r\n\r\n";
    let answer = Listener::say(server.ports.http, asks).await;
    assert!(answer.head.starts_with("HTTP/1.1 204 "), "{}", answer.head);
    assert!(answer.head.contains("access-control-allow-headers: authorization"), "{}", answer.head);
}

/// Without a token there is nothing that such a page would lack.
#[tokio::test]
async fn in_development_mode_a_name_that_leads_here_gets_no_stream() {
    let server = Served::start(Config::default());
    for (host, status) in [("rebound.example:8080", 403), ("localhost", 200), ("192.168.1.7:8080", 200)] {
        let request = format!("GET /sse?destination=/topic/x HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let answer = Listener::say(server.ports.http, &request).await;
        assert!(answer.head.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {}", answer.head);
    }
}

#[tokio::test]
async fn existing_pages_keep_their_address() {
    let server = Served::start(development(json!({"sse": {"path": [
        {"path": "/api/store/order/sse/{tableId}", "destination": "/topic/cart/{tableId}"}
    ]}})));
    let backend = backend(&server).await;
    for (target, table) in [("/api/store/order/sse/7", "7"), ("/api/store/order/sse/T%C3%BCr?token=", "Tür")]
    {
        let mut page = Listener::open(server.ports.http, target, &[]).await;
        backend.publish(&format!("/topic/cart/{table}"), &[("event", "cart")], table).await.unwrap();
        assert_eq!(page.hear("cart").await, table);
    }
    for parameter in ["**", "%2A", "a%2Fb", "%00", "a%0Ab"] {
        let target = format!("/api/store/order/sse/{parameter}");
        let answer = Listener::ask(server.ports.http, &target, &[]).await;
        assert!(answer.head.starts_with("HTTP/1.1 400 "), "{parameter}: {}", answer.head);
    }
}

#[tokio::test]
async fn a_silent_stream_beats_and_an_old_one_ends() {
    let server = Served::start(development(json!({"sse": {"heart_beat_ms": 1000, "max_age_s": 3}})));
    let mut page = Listener::open(server.ports.http, "/sse?destination=/topic/x", &[]).await;
    assert_eq!(page.hear("heartbeat").await, "ping");
    loop {
        let heard = page.next().await.unwrap();
        if heard.name != "heartbeat" {
            assert_eq!((&*heard.name, &*heard.data), ("", ""));
            assert!(heard.retry.is_some_and(|ms| (1_000..2_000).contains(&ms)), "{heard:?}");
            break;
        }
    }
    assert_eq!(page.next().await, None);
}

#[tokio::test]
async fn who_drains_says_when_to_come_back() {
    let shutdown = json!({"grace_ms": 1_000, "window_ms": 0});
    let mut server = Served::start(development(json!({"shutdown": shutdown})));
    let target = "/sse?destination=/topic/x";
    let mut page = Listener::open(server.ports.http, target, &[]).await;
    server.stop();
    // New ones come during the grace, as long as a balancer has not noticed.
    let told = |heard: crate::listener::Heard| {
        (heard.name, heard.retry.is_some(), heard.data.contains("shutting-down"))
    };
    let expected = ("closed".to_owned(), true, true);
    assert_eq!(page.next().await.map(told), Some(expected));
    assert_eq!(page.next().await, None);
}

#[tokio::test]
async fn one_connection_too_many_of_a_user_may_come_back() {
    let config = keyed(json!({"limits": {"user_connections_max": 1}, "access": {"rule": [
        {"pattern": "/topic/open/*", "actions": ["subscribe"], "who": ["signed-in"]}
    ]}}));
    let target = format!("/sse?destination=/topic/open/a&token={}", token(&config, "alice", 600));
    let server = Served::start(config);
    let _first = Listener::open(server.ports.http, &target, &[]).await;
    let mut second = Listener::ask(server.ports.http, &target, &[]).await;
    assert!(second.head.starts_with("HTTP/1.1 200 "), "{}", second.head);
    let last = second.next().await.unwrap();
    assert_eq!(last.name, "closed");
    assert!(last.data.contains("too-many-connections") && last.retry >= Some(5_000), "{last:?}");
    assert_eq!(second.next().await, None);
}

/// A browser would never come back after 429.
#[tokio::test]
async fn one_connection_too_many_of_an_address_may_come_back() {
    let allow = json!(["https://a.example"]);
    let config = json!({"limits": {"address_connections_max": 1}, "origins": {"allow": allow}});
    let server = Served::start(configured(config));
    let mut first = server.connect().await;
    first.write_all(login("backend", "right").as_bytes()).await.unwrap();
    assert!(frame(&mut first).await.starts_with("CONNECTED"));
    let origin = ("Origin", "https://a.example");
    let mut answer = Listener::ask(server.ports.http, "/sse?destination=/topic/a", &[origin]).await;
    assert!(answer.head.starts_with("HTTP/1.1 200 "), "{}", answer.head);
    for line in ["content-type: text/event-stream", "access-control-allow-origin: https://a.example"] {
        assert!(answer.head.contains(&format!("\r\n{line}\r\n")), "{}", answer.head);
    }
    assert_eq!(answer.next().await.and_then(|heard| heard.retry), Some(5_000));
    assert_eq!(answer.next().await, None);
    for (target, origin) in
        [("/healthz", "https://a.example"), ("/sse?destination=/topic/a", "https://b.example")]
    {
        let answer = Listener::ask(server.ports.http, target, &[("origin", origin)]).await;
        assert!(answer.head.starts_with("HTTP/1.1 429 "), "{target} {origin}: {}", answer.head);
    }
}

/// Answers that are not read yet stand before the stream on its connection.
#[tokio::test]
async fn a_stream_begins_behind_the_answers_to_earlier_requests() {
    let server = Served::start(Config::default());
    let earlier = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
    let request = format!(
        "{earlier}GET /sse?destination=/topic/x HTTP/1.1\r\nhost: localhost\r\n\r\nGET / HTTP/1.1\r\n"
    );
    let mut stream = TcpStream::connect(server.ports.http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut listener = Listener::over(stream, "").await;
    for _ in 0..20 {
        assert!(listener.head.starts_with("HTTP/1.1 200 ") && listener.head.contains("content-length: 3"));
        listener.skip(3).await;
        listener.head = listener.head().await;
    }
    assert!(listener.head.contains("text/event-stream"), "{}", listener.head);
    listener.hear("connected").await;
    backend(&server).await.publish("/topic/x", &[], "hello").await.unwrap();
    assert_eq!(listener.hear("message").await, "hello");
}

#[tokio::test]
async fn a_client_that_goes_is_forgotten() {
    let server = Served::start(Config::default());
    let page = Listener::open(server.ports.http, "/sse?destination=/topic/x", &[]).await;
    assert_eq!(server.broker.destinations(), 1);
    drop(page);
    let deadline = std::time::Instant::now() + DEADLINE;
    while server.broker.destinations() > 0 {
        assert!(std::time::Instant::now() < deadline, "it is still subscribed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Who talks is not listened to, and one who does not stop is sent away.
    let mut page = Listener::open(server.ports.http, "/sse?destination=/topic/x", &[]).await;
    page.stream.write_all(&vec![b'x'; 32 << 10]).await.unwrap();
    backend(&server).await.publish("/topic/x", &[], "hello").await.unwrap();
    assert_eq!(page.hear("message").await, "hello");
    page.stream.write_all(&vec![b'x'; 64 << 10]).await.unwrap();
    assert!(page.hear("closed").await.contains("too-large"));
    assert_eq!(rest(&mut page.stream).await, "");
}
