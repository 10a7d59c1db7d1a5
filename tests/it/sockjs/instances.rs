//! Several instances on one Redis, and nobody who would send a client to the same one each time.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::asked::{Answer, Open, ask};
use crate::process::Broker;
use crate::redis::RedisServer;
use crate::served::DEADLINE;

/// Instances on a Redis of their own.
struct Fleet {
    brokers: Vec<Broker>,
    _directories: Vec<TempDir>,
    redis: RedisServer,
}

impl Fleet {
    fn start(count: usize) -> Self {
        Self::configured(count, "")
    }

    fn configured(count: usize, more: &str) -> Self {
        let redis = RedisServer::start();
        let directories: Vec<TempDir> = (0..count).map(|_| TempDir::new().unwrap()).collect();
        let start = |directory: &TempDir| {
            let config = directory.path().join("stompede.toml");
            let text = format!("[redis]\nurl = \"{}\"\n[origins]\nallow = [\"*\"]\n{more}", redis.url());
            std::fs::write(&config, text).unwrap();
            Broker::start(directory.path(), &["--config", config.to_str().unwrap()])
        };
        let brokers: Vec<Broker> = directories.iter().map(start).collect();
        let fleet = Self { brokers, _directories: directories, redis };
        fleet.wait_until_ready();
        fleet
    }

    fn wait_until_ready(&self) {
        let deadline = std::time::Instant::now() + DEADLINE;
        for broker in &self.brokers {
            while !crate::metrics::get(&broker.http, "/readyz").0.starts_with("HTTP/1.1 200 ") {
                assert!(std::time::Instant::now() < deadline, "an instance is never ready");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn http(&self, place: usize) -> SocketAddr {
        self.brokers[place].http.parse().unwrap()
    }
}

async fn post(http: SocketAddr, target: &str, body: &str) -> Answer {
    ask(http, "POST", target, &[("origin", "http://page.example")], body).await
}

fn frames(frames: &[&str]) -> String {
    json!(frames).to_string()
}

/// All frames of polls until one of them holds `text`.
async fn polled(http: SocketAddr, session: &str, text: &str) -> String {
    let mut heard = String::new();
    let polls = async {
        while !heard.contains(text) {
            let answer = post(http, &format!("{session}/xhr"), "").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            heard += &answer.body;
        }
    };
    timeout(DEADLINE, polls).await.expect("it in time");
    heard
}

const LOGIN: &str = "CONNECT\naccept-version:1.2\nhost:/\nlogin:alice\npasscode:guest\n\n\0";

#[tokio::test]
async fn any_instance_takes_any_request() {
    let fleet = Fleet::start(3);
    let [one, two, three] = [0, 1, 2].map(|place| fleet.http(place));
    let session = "/ws/000/wanders";
    assert_eq!(post(one, &format!("{session}/xhr"), "").await.body, "o\n");
    let sent = post(two, &format!("{session}/xhr_send"), &frames(&[LOGIN])).await;
    assert_eq!((sent.status, sent.header("content-type")), (204, Some("text/plain; charset=utf-8")));
    assert_eq!(sent.header("access-control-allow-origin"), Some("http://page.example"));
    assert!(polled(three, session, "CONNECTED").await.contains("user-name:alice"));
    let subscribe = "SUBSCRIBE\nid:s\ndestination:/topic/a\nreceipt:r\n\n\0";
    assert_eq!(post(three, &format!("{session}/xhr_send"), &frames(&[subscribe])).await.status, 204);
    polled(two, session, "RECEIPT").await;
    // A stream comes through another instance as it comes, chunk by chunk.
    let mut stream = Open::ask(two, "POST", &format!("{session}/xhr_streaming"), &[], "").await;
    assert_eq!(stream.chunk().await.unwrap().len(), 2_049);
    for text in ["eins", "zwei"] {
        let send = format!("SEND\ndestination:/topic/a\n\n{text}\0");
        assert_eq!(post(three, &format!("{session}/xhr_send"), &frames(&[&send])).await.status, 204);
        assert!(stream.messages().await[0].ends_with(&format!("\n\n{text}\0")));
    }
    let second = post(one, &format!("{session}/xhr"), "").await;
    assert_eq!(second.body, "c[2010,\"Another connection still open\"]\n");
    // The client of the other instance vanishes, and the one that has the session hears of it.
    drop(stream);
    let told = async {
        loop {
            let answer = post(three, &format!("{session}/xhr"), "").await;
            if !answer.body.starts_with("c[2010") {
                return answer.body;
            }
        }
    };
    assert_eq!(timeout(DEADLINE, told).await.unwrap(), "c[1002,\"Connection interrupted\"]\n");
    for http in [one, two, three] {
        let answer = post(http, "/ws/000/nobody/xhr_send", &frames(&["x"])).await;
        assert_eq!(answer.status, 404);
    }
}

#[tokio::test]
async fn a_session_that_is_gone_is_free_again() {
    let fleet = Fleet::start(2);
    let [one, two] = [0, 1].map(|place| fleet.http(place));
    assert_eq!(post(one, "/ws/0/free/xhr", "").await.body, "o\n");
    let claims = || fleet.redis.cli(&["KEYS", "websocket:*:s:/ws/free"]);
    assert!(!claims().trim().is_empty());
    let begun = Instant::now();
    while !claims().trim().is_empty() {
        assert!(begun.elapsed() < DEADLINE, "the claim stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(post(two, "/ws/0/free/xhr", "").await.body, "o\n");
}

#[tokio::test]
async fn an_answer_through_another_instance_ends_in_order_before_that_one_must() {
    let fleet = Fleet::start(2);
    let [one, two] = [0, 1].map(|place| fleet.http(place));
    assert_eq!(post(one, "/ws/0/through/xhr", "").await.body, "o\n");
    let mut stream = Open::ask(two, "POST", "/ws/0/through/xhr_streaming", &[], "").await;
    assert_eq!(stream.chunk().await.unwrap().len(), 2_049);
    assert_eq!(stream.chunk().await, None, "nothing was said");
    let next = post(two, "/ws/0/through/xhr", "").await.body;
    assert!(!next.starts_with('c'), "nothing was interrupted: {next}");
}

#[tokio::test]
async fn who_may_begin_no_session_claims_none() {
    let key = "[jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\n";
    let one_connection = format!("{key}[limits]\naddress_connections_max = 1\n");
    for more in [&*one_connection, "[sockjs]\nsessions_max = 0\n"] {
        let fleet = Fleet::configured(2, more);
        let refused = post(fleet.http(0), "/ws/0/none/xhr", "").await;
        assert!(matches!(refused.status, 429 | 503), "{refused:?}");
        let begun = Instant::now();
        while !fleet.redis.cli(&["KEYS", "websocket:*:s:/ws/none"]).trim().is_empty() {
            assert!(begun.elapsed() < DEADLINE, "the claim stays");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn nobody_but_an_instance_speaks_for_others() {
    let fleet = Fleet::start(2);
    let [one, two] = [0, 1].map(|place| fleet.http(place));
    assert_eq!(post(one, "/ws/0/mine/xhr", "").await.body, "o\n");
    let forged =
        [("x-stompede-instance", "0123456789abcdef0123456789abcdef"), ("x-stompede-client", "192.0.2.1")];
    for http in [one, two] {
        let answer = ask(http, "POST", "/ws/0/fresh/xhr", &forged, "").await;
        assert_eq!(answer.status, 404, "no session begins so");
    }
    let known = fleet.redis.cli(&["GET", fleet.redis.cli(&["KEYS", "websocket:*:s:/ws/mine"]).trim()]);
    let (proof, address) = known.trim().split_once(' ').unwrap();
    assert_eq!(address, one.to_string());
    // Of another instance's proof this one knows nothing.
    let stolen = [("x-stompede-instance", proof), ("x-stompede-client", "192.0.2.1")];
    assert_eq!(ask(two, "POST", "/ws/0/mine/xhr", &stolen, "").await.status, 404);
}

#[tokio::test]
async fn the_session_of_an_instance_that_was_killed_is_nowhere() {
    let mut fleet = Fleet::start(2);
    let [one, two] = [0, 1].map(|place| fleet.http(place));
    assert_eq!(post(one, "/ws/0/lost/xhr", "").await.body, "o\n");
    fleet.brokers[0].child.kill().unwrap();
    fleet.brokers[0].child.wait().unwrap();
    for target in ["xhr", "xhr_send", "xhr_streaming"] {
        let answer = post(two, &format!("/ws/0/lost/{target}"), "[\"x\"]").await;
        assert_eq!(answer.status, 404, "{target}");
    }
    assert_eq!(post(two, "/ws/0/next/xhr", "").await.body, "o\n");
}

#[tokio::test]
async fn without_redis_sessions_go_on_and_none_begins() {
    let mut fleet = Fleet::start(2);
    let [one, two] = [0, 1].map(|place| fleet.http(place));
    assert_eq!(post(one, "/ws/0/stays/xhr", "").await.body, "o\n");
    fleet.redis.kill();
    let refused = post(two, "/ws/0/comes/xhr", "").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    let waiting = post(one, "/ws/0/stays/xhr_send", "[\"\\n\"]").await;
    assert_eq!(waiting.status, 204, "it is still here");
}

/// HAProxy that gives each request to the next instance.
struct RoundRobin {
    child: Child,
    http: SocketAddr,
    _directory: TempDir,
}

impl RoundRobin {
    fn start(fleet: &Fleet) -> Self {
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("haproxy.cfg");
        let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let servers: String = fleet
            .brokers
            .iter()
            .enumerate()
            .map(|(n, broker)| format!("    server s{n} {}\n", broker.http))
            .collect();
        let text = format!(
            "defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n\
             frontend all\n    bind {http}\n    default_backend instances\n\
             backend instances\n    balance roundrobin\n{servers}"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-db").arg("-f").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let deadline = std::time::Instant::now() + DEADLINE;
        while std::net::TcpStream::connect(http).is_err() {
            assert!(std::time::Instant::now() < deadline, "HAProxy does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, http, _directory: directory }
    }
}

impl Drop for RoundRobin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_balancer_needs_no_memory() {
    let fleet = Fleet::start(2);
    let balancer = RoundRobin::start(&fleet);
    for (n, http) in [balancer.http; 4].into_iter().enumerate() {
        let session = format!("/ws/0/robin{n}");
        assert_eq!(post(http, &format!("{session}/xhr"), "").await.body, "o\n");
        assert_eq!(post(http, &format!("{session}/xhr_send"), &frames(&[LOGIN])).await.status, 204);
        polled(http, &session, "CONNECTED").await;
        let subscribe = "SUBSCRIBE\nid:s\ndestination:/topic/a\nreceipt:r\n\n\0";
        post(http, &format!("{session}/xhr_send"), &frames(&[subscribe])).await;
        polled(http, &session, "RECEIPT").await;
        let mut stream = Open::ask(http, "GET", &format!("{session}/eventsource"), &[], "").await;
        post(http, &format!("{session}/xhr_send"), &frames(&["SEND\ndestination:/topic/a\n\nx\0"])).await;
        assert!(stream.messages().await[0].ends_with("\n\nx\0"));
        post(http, &format!("{session}/xhr_send"), &frames(&["DISCONNECT\nreceipt:bye\n\n\0"])).await;
        // The balancer may pass on two chunks as one.
        let mut last = String::new();
        while let Some(chunk) = stream.chunk().await {
            last += &chunk;
        }
        assert!(last.contains("RECEIPT") && last.ends_with("data: c[1000,\"\"]\r\n\r\n"), "{last}");
    }
}
