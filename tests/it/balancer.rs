//! Three instances behind the load balancers that people have, with the configurations that are shipped.

mod front;
mod guest;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stompede::server::config::{HeartBeat, Loaded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::listener::Listener;
use crate::served::{DEADLINE, rest};
use front::{Balancer, Kind, NAMES, Sight, Trio};
use guest::{Guest, Way};

/// Clients' addresses; the balancers connect from 127.0.0.1.
const ALICE: [u8; 4] = [127, 0, 0, 2];
const BOB: [u8; 4] = [127, 0, 0, 3];

/// So many sessions, and how many of them each instance serves.
async fn crowd(way: Way, balancer: &Balancer, count: usize) -> (Vec<Guest>, BTreeMap<String, usize>) {
    let (mut guests, mut by_instance) = (Vec::new(), BTreeMap::new());
    for _ in 0..count {
        let guest =
            Guest::come(way, balancer, ALICE).await.unwrap_or_else(|answer| panic!("{way:?}: {answer}"));
        *by_instance.entry(guest.instance.clone()).or_default() += 1;
        guests.push(guest);
    }
    (guests, by_instance)
}

#[tokio::test]
async fn sessions_of_both_kinds_spread_over_the_instances() {
    for kind in Kind::ALL {
        let trio = Trio::start("");
        let balancer = Balancer::start(kind, trio.addresses());
        for way in Way::ALL {
            let (mut guests, by_instance) = crowd(way, &balancer, 6).await;
            assert!(
                NAMES.iter().all(|name| by_instance.get(*name) == Some(&2)),
                "{kind:?} {way:?}: {by_instance:?}"
            );
            for guest in &mut guests {
                guest.hears_itself("hello").await;
            }
        }
        let mut stream = TcpStream::connect(balancer.http).await.unwrap();
        let request = "GET /api/v1/info HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let info = rest(&mut stream).await;
        assert!(info.starts_with("HTTP/1.1 200 ") && info.contains("\"name\":\"stompede\""), "{info}");
    }
}

#[tokio::test]
async fn a_message_of_a_mebibyte_passes() {
    let body = "x".repeat(1 << 20);
    for kind in Kind::ALL {
        let trio = Trio::start("");
        let balancer = Balancer::start(kind, trio.addresses());
        for way in Way::ALL {
            let mut guest = Guest::come(way, &balancer, ALICE).await.unwrap();
            guest.hears_itself(&body).await;
        }
    }
}

/// One connection of an address for each of three instances, to which the balancers give one each.
#[tokio::test]
async fn limits_count_the_clients_and_not_the_balancer() {
    for (kind, way) in Kind::ALL.into_iter().flat_map(|kind| Way::ALL.map(|way| (kind, way))) {
        let trio = Trio::start("[limits]\naddress_connections_max = 1");
        let balancer = Balancer::start(kind, trio.addresses());
        let (alices, by_instance) = crowd(way, &balancer, 3).await;
        assert_eq!(by_instance.len(), 3, "{kind:?} {way:?}: {by_instance:?}");
        let expected = if way == Way::Tcp { "error-code:too-many-connections" } else { "429" };
        // What the client says of itself, a fourth time under another address, is not believed.
        for claim in ["", "203.0.113.1", "127.0.0.1", "203.0.113.1, 127.0.0.1"] {
            if way == Way::Tcp && !claim.is_empty() {
                continue;
            }
            let answer = Guest::come_claiming(way, &balancer, ALICE, claim).await.err();
            assert!(
                answer.as_ref().is_some_and(|answer| answer.contains(expected)),
                "{kind:?} {way:?}: {answer:?}"
            );
        }
        let bob = Guest::come(way, &balancer, BOB).await;
        assert!(bob.is_ok(), "{kind:?} {way:?}: {:?}", bob.err());
        assert!((0..3).any(|place| trio.has_logged(place, "remote=127.0.0.2")), "the log names the client");
        drop((alices, bob));
        let deadline = Instant::now() + DEADLINE;
        while let Err(answer) = Guest::come(way, &balancer, ALICE).await {
            assert!(
                Instant::now() < deadline,
                "{kind:?} {way:?}: a session that ended still counts: {answer}"
            );
        }
    }
}

/// With health checks that begin with one, too, as the balancer's own.
#[tokio::test]
async fn haproxy_may_send_its_header_to_the_http_port() {
    let trio = Trio::start("http_proxy_protocol = true\n[limits]\naddress_connections_max = 1");
    let lines = [1, 2, 3].map(|n| format!("server stompede{n} stompede{n}:8080"));
    let with_header = lines.each_ref().map(|line| format!("{line} send-proxy-v2"));
    let changes: Vec<_> =
        lines.iter().map(String::as_str).zip(with_header.iter().map(String::as_str)).collect();
    let balancer = Balancer::start_with(Kind::Haproxy, trio.addresses(), &changes);
    for place in 0..3 {
        balancer.sees(place, Sight::Well).await;
    }
    let (_alices, by_instance) = crowd(Way::WebSocket, &balancer, 3).await;
    assert_eq!(by_instance.len(), 3, "{by_instance:?}");
    for claim in ["", "203.0.113.1"] {
        let answer = Guest::come_claiming(Way::WebSocket, &balancer, ALICE, claim).await.err();
        assert!(answer.as_ref().is_some_and(|answer| answer.contains("429")), "{answer:?}");
    }
    assert!(Guest::come(Way::WebSocket, &balancer, BOB).await.is_ok());
}

/// The page came by https, which the balancer ended.
#[tokio::test]
async fn pages_of_the_brokers_own_origin_are_told_behind_a_balancer() {
    for kind in Kind::ALL {
        let trio = Trio::start("");
        let balancer = Balancer::start(kind, trio.addresses());
        for (origin, status) in [("https://chat.example", 101), ("https://evil.example", 403)] {
            let mut request = "ws://chat.example/ws".into_client_request().unwrap();
            request.headers_mut().insert("origin", origin.parse().unwrap());
            request.headers_mut().insert("x-forwarded-host", "evil.example".parse().unwrap());
            let stream = TcpStream::connect(balancer.http).await.unwrap();
            let answered = match timeout(DEADLINE, client_async(request, stream)).await.expect("an answer") {
                Ok((_, answer)) => answer.status(),
                Err(Error::Http(answer)) => answer.status(),
                Err(error) => panic!("{kind:?}: {error}"),
            };
            assert_eq!(answered, status, "{kind:?} {origin}");
        }
    }
}

/// The balancer's header stands before the client's, which is then no frame.
#[tokio::test]
async fn a_client_cannot_send_a_header_of_its_own() {
    for kind in Kind::ALL {
        let trio = Trio::start("");
        let balancer = Balancer::start(kind, trio.addresses());
        let answer = Guest::come_claiming(Way::Tcp, &balancer, ALICE, "203.0.113.1").await.err().unwrap();
        assert!(
            answer.starts_with("ERROR\n") && answer.contains("No PROXY protocol header"),
            "{kind:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn what_an_instance_that_was_killed_would_get_goes_to_the_others() {
    for kind in Kind::ALL {
        let mut trio = Trio::start("");
        let balancer = Balancer::start(kind, trio.addresses());
        let (mut early, _) = crowd(Way::WebSocket, &balancer, 3).await;
        trio.brokers[1].child.kill().unwrap();
        trio.brokers[1].child.wait().unwrap();
        for way in Way::ALL {
            let (_guests, by_instance) = crowd(way, &balancer, 8).await;
            assert_eq!(by_instance.get(NAMES[1]), None, "{kind:?} {way:?}");
            assert_eq!(by_instance.len(), 2, "{kind:?} {way:?}: {by_instance:?}");
        }
        for guest in &mut early {
            if guest.instance == NAMES[1] {
                assert_eq!(guest.hear().await, None, "{kind:?}");
            } else {
                guest.hears_itself("still here").await;
            }
        }
    }
}

#[tokio::test]
async fn haproxy_gives_nothing_to_an_instance_that_drains() {
    let trio = Trio::start("[shutdown]\ngrace_ms = 600000");
    let balancer = Balancer::start(Kind::Haproxy, trio.addresses());
    let mut early = Guest::come(Way::WebSocket, &balancer, ALICE).await.unwrap();
    let place = Trio::place(&early.instance);
    balancer.sees(place, Sight::Well).await;
    trio.brokers[place].terminate();
    balancer.sees(place, Sight::Down).await;
    for way in Way::ALL {
        let (_guests, by_instance) = crowd(way, &balancer, 8).await;
        assert_eq!(by_instance.get(&early.instance), None, "{way:?}: {by_instance:?}");
    }
    // Who is there may stay as long as the instance lets him.
    early.hears_itself("still here").await;
    let mut direct = TcpStream::connect(&trio.brokers[place].http).await.unwrap();
    direct.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let health = rest(&mut direct).await;
    assert!(health.starts_with("HTTP/1.1 503 ") && health.ends_with("shutting down\n"), "{health}");
}

/// It accepts connections still: the system does, in its name.
#[tokio::test]
async fn haproxy_gives_nothing_to_an_instance_that_is_frozen() {
    let trio = Trio::start("");
    let balancer = Balancer::start(Kind::Haproxy, trio.addresses());
    balancer.sees(2, Sight::Well).await;
    trio.brokers[2].signal("-STOP");
    balancer.sees(2, Sight::Down).await;
    for way in Way::ALL {
        let (_guests, by_instance) = crowd(way, &balancer, 4).await;
        assert_eq!(by_instance.get(NAMES[2]), None, "{way:?}: {by_instance:?}");
    }
    trio.brokers[2].signal("-CONT");
    balancer.sees(2, Sight::Well).await;
    let deadline = Instant::now() + DEADLINE;
    while Guest::come(Way::WebSocket, &balancer, ALICE).await.unwrap().instance != NAMES[2] {
        assert!(Instant::now() < deadline, "it is not asked again");
    }
}

#[tokio::test]
async fn nginx_gives_nothing_to_an_instance_that_drains() {
    let trio = Trio::start("[shutdown]\nwindow_ms = 4000");
    let balancer = Balancer::start(Kind::Nginx, trio.addresses());
    let (mut early, _) = crowd(Way::WebSocket, &balancer, 9).await;
    let instance = early[0].instance.clone();
    let place = Trio::place(&instance);
    trio.brokers[place].terminate();
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect(&trio.brokers[place].http).await.is_ok() {
        assert!(Instant::now() < deadline, "the port stays open");
    }
    for way in Way::ALL {
        let (_guests, by_instance) = crowd(way, &balancer, 8).await;
        assert_eq!(by_instance.get(&instance), None, "{way:?}: {by_instance:?}");
    }
    for guest in &mut early {
        if guest.instance == instance {
            let last = guest.hear().await.unwrap();
            assert!(last.contains("error-code:shutting-down"), "{last}");
        } else {
            guest.hears_itself("still here").await;
        }
    }
}

/// What bounds ordinary requests, made shorter than the time between two signs of life.
fn hasty(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Haproxy => {
            &[("timeout client 60s", "timeout client 1s"), ("timeout server 60s", "timeout server 1s")]
        }
        Kind::Nginx => &[("proxy_read_timeout 60s;", "proxy_read_timeout 1s;")],
    }
}

#[tokio::test]
async fn a_session_outlives_the_time_that_a_request_has() {
    for kind in Kind::ALL {
        let trio = Trio::start("[heart_beat]\nsend_ms = 2500\nwebsocket_ping_ms = 2500");
        let balancer = Balancer::start_with(kind, trio.addresses(), hasty(kind));
        let mut page = Guest::come(Way::WebSocket, &balancer, ALICE).await.unwrap();
        let mut stream = Guest::come(Way::Tcp, &balancer, ALICE).await.unwrap();
        tokio::join!(page.feels_a_beat(), stream.feels_a_beat());
        page.hears_itself("hello").await;
        stream.hears_itself("hello").await;
    }
}

#[tokio::test]
async fn a_page_hears_by_a_balancer_and_outlives_the_time_that_a_request_has() {
    for kind in Kind::ALL {
        let more = "[sse]\nheart_beat_ms = 2500\n[[sse.path]]\npath = \"/own/{name}\"\ndestination = \"/topic/{name}\"\n\
            [access]\nallow_anonymous = true\n[[access.rule]]\npattern = \"/topic/*\"\nactions = [\"subscribe\"]\n\
            who = [\"anyone\"]";
        let trio = Trio::start(more);
        let alone = [[&*trio.brokers[0].http, &*trio.brokers[0].stomp]; 3];
        let balancer = Balancer::start_with(kind, alone, hasty(kind));
        let mut page = Listener::open(balancer.http, "/sse?destination=/topic/echo", &[]).await;
        // At a path that the balancer does not know it is bound to the time of a request, which beats fall short of.
        let usual = Balancer::start(kind, alone);
        let mut own = Listener::open(usual.http, "/own/echo", &[]).await;
        for page in [&mut page, &mut own] {
            assert_eq!(page.hear("heartbeat").await, "ping", "{kind:?}");
        }
        let mut backend = Guest::come(Way::WebSocket, &usual, ALICE).await.unwrap();
        backend.hears_itself("hello").await;
        for page in [&mut page, &mut own] {
            let heard = loop {
                let heard = page.next().await.expect("the stream goes on");
                if heard.name != "heartbeat" {
                    break heard;
                }
            };
            assert_eq!((&*heard.name, &*heard.data), ("message", "hello"), "{kind:?}");
        }
    }
}

/// What the balancers are shipped with, by a stream of which the test knows each byte.
#[tokio::test]
async fn an_event_stream_is_neither_held_back_nor_cut() {
    for kind in Kind::ALL {
        let (instance, further) = event_source().await;
        let instance = instance.to_string();
        let balancer = Balancer::start_with(kind, [[&instance, &instance]; 3], hasty(kind));
        let mut stream = TcpStream::connect(balancer.http).await.unwrap();
        stream.write_all(b"GET /sse HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n").await.unwrap();
        assert!(until(&mut stream, "data: first").await.starts_with("HTTP/1.1 200 "), "{kind:?}");
        // Only now may the second come, after more than a request's time.
        further.add_permits(1);
        until(&mut stream, "data: second").await;
    }
}

/// Healthy, and with a stream of two events, of which the second waits for a permit and then longer than a request may.
async fn event_source() -> (SocketAddr, Arc<Semaphore>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let permits = Arc::new(Semaphore::new(0));
    let further = Arc::clone(&permits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let further = Arc::clone(&further);
            tokio::spawn(async move {
                let head = until(&mut stream, "\r\n\r\n").await;
                let mut answer =
                    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
                if head.starts_with("GET /sse ") {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                    stream.write_all(format!("{head}d\r\ndata: first\n\n\r\n").as_bytes()).await.unwrap();
                    further.acquire().await.unwrap().forget();
                    tokio::time::sleep(Duration::from_millis(2_500)).await;
                    answer = "e\r\ndata: second\n\n\r\n0\r\n\r\n".to_owned();
                }
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, permits)
}

/// What comes up to `end`.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut heard = Vec::new();
    let read = async {
        while !heard.ends_with(end.as_bytes()) {
            match stream.read_u8().await {
                Ok(byte) => heard.push(byte),
                Err(_) => break,
            }
        }
    };
    timeout(DEADLINE, read).await.expect("an answer in time");
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.is_empty() || heard.ends_with(end), "cut off: {heard}");
    heard
}

/// By the figures, for nobody waits an hour here: a living session shows itself many times before the balancer gives up.
#[test]
fn balancers_are_more_patient_than_heart_beats() {
    let beat = HeartBeat::default();
    let silence_ms = beat.send_ms.max(beat.receive_ms).max(beat.websocket_ping_ms + beat.pong_ms);
    let cases = [
        (Kind::Haproxy, vec!["timeout tunnel ", "http-request set-timeout server "], 1),
        (Kind::Nginx, vec!["proxy_read_timeout ", "proxy_send_timeout "], 2),
        (Kind::Nginx, vec!["proxy_timeout "], 1),
    ];
    for (kind, settings, wanted) in cases {
        for setting in settings {
            let values = kind.shipped().lines().filter_map(|line| line.trim().strip_prefix(setting));
            let hours = values.filter_map(|value| value.split(['h', ' ', ';']).next()?.parse::<u32>().ok());
            let patient = hours.filter(|hours| hours * 3_600_000 >= 10 * silence_ms).count();
            assert_eq!(patient, wanted, "{kind:?} {setting}");
        }
    }
}

/// There is no container engine here: what can be held against the sources is.
#[test]
fn what_compose_sets_is_a_configuration() {
    let compose = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose.yaml"));
    let lines = compose.lines().map(str::trim).filter(|line| line.starts_with("STOMPEDE_"));
    let set = lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| {
        let value = value.trim_matches('"');
        // What the operator gives.
        let value = if value.starts_with("${") { "0123456789abcdef0123456789abcdef" } else { value };
        (name.to_owned(), value.to_owned())
    });
    let by_image = ("STOMPEDE_LISTEN".to_owned(), "0.0.0.0".to_owned());
    let config = Loaded::parse(None, set.chain([by_image])).and_then(Loaded::check).unwrap();
    assert!(config.stomp_proxy_protocol && !config.http_proxy_protocol && config.jwt.has_key());
    assert!(config.shutdown.grace_ms > 3_000, "HAProxy asks each second, twice, and waits for the answer");
    assert!(compose.contains(&format!("ipv4_address: {}\n", config.trusted_proxies[0])));
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in
        ["deploy/haproxy.cfg", "deploy/Dockerfile", "deploy/Dockerfile.dockerignore", "web/package-lock.json"]
    {
        assert!(root.join(file).exists(), "{file}");
    }
}
