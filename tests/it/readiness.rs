//! `/readyz` on both ports: whether, how soon and why it says no.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::metrics::{Scrape, get, wait_for};
use crate::process::Broker;
use crate::redis::RedisServer;
use crate::served::DEADLINE;

/// How soon a balancer must hear of it.
const NOTICED: Duration = Duration::from_secs(3);

/// Waits until every port that is asked says so; the reason, if it is one.
#[track_caller]
fn until(ports: &[&str], ready: bool, within: Duration) -> String {
    let begin = Instant::now();
    let mut reason = String::new();
    for port in ports {
        loop {
            let asked = begin.elapsed();
            let (head, body) = get(port, "/readyz");
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["ready"] == true, head.starts_with("HTTP/1.1 200 "), "{head} {body}");
            assert!(body["ready"] == true || head.starts_with("HTTP/1.1 503 "), "{head}");
            if body["ready"] == ready {
                body["reason"].as_str().unwrap_or_default().clone_into(&mut reason);
                break;
            }
            assert!(asked < within, "{port} says {body} after {asked:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    reason
}

#[test]
fn an_instance_that_loses_redis_is_not_ready_within_three_seconds_and_says_why() {
    let mut redis = RedisServer::start();
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &["--redis", &redis.url()]);
    let ports = [&*broker.http, &broker.admin];
    until(&ports, true, DEADLINE);
    wait_for(&broker.admin, "round trip", |scrape| {
        scrape.page.contains("stompede_redis_round_trip_seconds ") && scrape.value("stompede_redis_up") == 1.0
    });

    redis.freeze();
    let reason = until(&ports, false, NOTICED);
    assert!(reason.contains("Redis"), "{reason}");
    let scrape = Scrape::of(&broker.admin);
    assert_eq!((scrape.value("stompede_redis_up"), scrape.value("stompede_ready")), (0.0, 0.0));
    for port in ports {
        assert!(get(port, "/healthz").0.starts_with("HTTP/1.1 200 "), "there is no use in starting it again");
    }
    redis.thaw();
    until(&ports, true, DEADLINE);

    redis.kill();
    let reason = until(&ports, false, NOTICED);
    assert!(reason.contains("Redis"), "{reason}");
    redis.restart();
    until(&ports, true, DEADLINE);
    let scrape = Scrape::of(&broker.admin);
    let connects =
        |what: &str| scrape.value(&format!("stompede_redis_connects_total{{connection=\"{what}\"}}"));
    assert!(connects("orders") >= 2.0 && connects("channels") >= 2.0, "{}", scrape.page);
    assert_eq!(scrape.value("stompede_redis_servers"), 1.0);
}

#[test]
fn a_broker_that_was_told_to_end_is_not_ready_at_once_and_is_watched_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("stompede.toml");
    std::fs::write(&config, "[shutdown]\ngrace_ms = 600000\n").unwrap();
    let mut broker = Broker::start(directory.path(), &["--config", config.to_str().unwrap()]);
    let ports = [&*broker.http, &broker.admin];
    until(&ports, true, DEADLINE);
    broker.terminate();
    let reason = until(&ports, false, NOTICED);
    assert_eq!(reason, "shutting down");
    assert_eq!(Scrape::of(&broker.admin).value("stompede_ready"), 0.0);
    assert!(get(&broker.admin, "/healthz").0.starts_with("HTTP/1.1 503 "));
    broker.terminate();
    assert_eq!(broker.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_store_that_is_full_is_not_ready_within_three_seconds_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let (config, data) = (directory.path().join("stompede.toml"), directory.path().join("data"));
    std::fs::write(&config, "[data]\nbytes_max = \"1MiB\"\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let broker = Broker::start(directory.path(), &arguments);
    let ports = [&*broker.http, &broker.admin];
    until(&ports, true, DEADLINE);
    let body = "x".repeat(16 << 10);
    let mut alice = crate::visitor::Visitor::new(&broker.stomp, "alice");
    let full = (0..256).any(|n| alice.send(&format!("/topic/chat/{}", n % 4), &body).command == "ERROR");
    assert!(full, "four times what it may keep");
    let reason = until(&ports, false, NOTICED);
    assert!(reason.contains("data.bytes_max"), "{reason}");
    let scrape = Scrape::of(&broker.admin);
    assert!(scrape.value("stompede_disk_records_bytes") >= scrape.value("stompede_disk_records_max_bytes"));
    assert_eq!(scrape.value("stompede_refusals_total{reason=\"store-full\"}"), 1.0);
}
