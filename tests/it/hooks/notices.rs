//! What backends are told: at least once, with an id of its own, and not lost while they are down.

use std::time::Instant;

use serde_json::{Value, json};

use super::backend::{Backend, Says};
use super::{hooked, patient, send, subscribe, told};
use crate::api::{Api, key};
use crate::redis::RedisServer;
use crate::served::DEADLINE;

/// Waits until the backend was told so much that `found` finds something.
async fn told_of<T>(backend: &Backend, found: impl Fn(&[Value]) -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        let asked = backend.asked();
        if let Some(found) = found(&asked) {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "it is not told: {asked:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn about(event: &'static str) -> impl Fn(&[Value]) -> Option<Value> {
    move |asked| asked.iter().find(|asked| asked["event"] == event).cloned()
}

async fn good() -> Backend {
    Backend::start(|_| Says::Status(204)).await
}

#[tokio::test]
async fn the_end_of_a_session_is_told_with_its_reason() {
    let backend = good().await;
    let api = hooked(&backend, json!({"on": ["disconnect"]}));
    for (user, reason) in [("alice", "disconnect"), ("bob", "connection-lost"), ("carol", "kicked")] {
        let mut stomp = api.user(user, &[]).await;
        match reason {
            "disconnect" => {
                assert!(told(&mut stomp, "DISCONNECT\nreceipt:d\n\n\0").await.starts_with("RECEIPT"))
            }
            "kicked" => {
                let path = format!("/api/v1/users/{user}/disconnect");
                api.post(&path, &key("admin"), &json!({})).await.done();
            }
            _ => {}
        }
        drop(stomp);
        let is_it = |asked: &[Value]| asked.iter().find(|asked| asked["user"] == user).cloned();
        let notice = told_of(&backend, is_it).await;
        assert_eq!((&notice["event"], &notice["reason"]), (&json!("disconnect"), &json!(reason)));
        assert!(notice["durationMs"].as_u64().unwrap() < 60_000, "{notice}");
        assert_eq!(notice["session"].as_str().unwrap().len(), 32);
        assert_eq!(notice["version"], 1);
    }
    let signed = backend.signed();
    assert_eq!(signed.signature, super::backend::signature(&signed.timestamp, &signed.body));
    // Services come and go unheard.
    drop(api.service().await);
    assert_eq!(backend.asked().len(), 3);
}

#[tokio::test]
async fn what_was_told_in_vain_is_told_again_under_the_same_id() {
    let mut left = 3;
    let backend = Backend::start(move |_| {
        left -= i32::from(left > 0);
        if left > 0 { Says::Status(500) } else { Says::Status(200) }
    })
    .await;
    let api = hooked(&backend, json!({"on": ["disconnect"]}));
    drop(api.user("alice", &[]).await);
    let asked = told_of(&backend, |asked| (asked.len() == 3).then(|| asked.to_vec())).await;
    assert!(asked.iter().all(|notice| notice == &asked[0]), "{asked:?}");
    // Taken once, it does not come again: nothing of it is left.
    let begun = Instant::now();
    while api.get("/api/v1/queues/stompede.hook.test", &key("queues")).await.done()["depth"] != 0 {
        assert!(begun.elapsed() < DEADLINE, "it stays");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_a_dead_letter_that_an_operator_puts_back() {
    let backend = Backend::start(|_| Says::Status(503)).await;
    let api = hooked(&backend, json!({"on": ["disconnect"], "attempts": 2}));
    drop(api.user("alice", &[]).await);
    let begun = Instant::now();
    let depth = async |name: &str| {
        let path = format!("/api/v1/queues/{name}");
        // What is empty is not there.
        let answer = api.get(&path, &key("queues")).await;
        if answer.status == 404 { 0 } else { answer.done()["depth"].as_u64().unwrap() }
    };
    while depth("dlq.stompede.hook.test").await != 1 {
        assert!(begun.elapsed() < DEADLINE, "it is no dead letter");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let id = backend.asked()[0]["id"].clone();
    backend.answers(|_| Says::Status(200));
    let moved = api.post("/api/v1/queues/stompede.hook.test/redrive", &key("admin"), &json!({})).await.done();
    assert_eq!(moved["messages"], 1);
    let asked = told_of(&backend, |asked| (asked.len() == 3).then(|| asked.to_vec())).await;
    assert_eq!(asked[2]["id"], id);
    // What others have said is not for users, whatever rules say.
    let open = json!([{"pattern": "/queue/**", "actions": ["subscribe", "send"], "who": ["anyone"]}]);
    let more = json!({"hook": [backend.hook(json!({"on": ["disconnect"]}))], "access": {"rule": open}});
    let api = Api::with(more);
    let mut eve = patient(&api, "eve", &[]).await;
    assert!(told(&mut eve, &subscribe("1", "/queue/jobs")).await.starts_with("RECEIPT"));
    for queue in ["/queue/stompede.hook.test", "/queue/dlq.stompede.hook.test"] {
        assert!(told(&mut eve, &subscribe("2", queue)).await.contains("\"code\":\"forbidden\""));
        assert!(told(&mut eve, &send("3", queue, "{}")).await.contains("\"code\":\"forbidden\""));
    }
}

#[tokio::test]
async fn a_room_is_told_of_when_the_first_comes_and_when_the_last_has_gone() {
    let backend = good().await;
    let hook = json!({"on": ["room-occupied", "room-vacated"], "patterns": ["/topic/chat/*"]});
    let api = Api::with(json!({"hook": [backend.hook(hook)], "rooms": {"linger_ms": 300}}));
    let mut alice = api.user("alice", &["1"]).await;
    alice.subscribes("/topic/chat/1", "").await;
    let notice = told_of(&backend, about("room-occupied")).await;
    assert_eq!((&notice["room"], &notice["destination"]), (&json!("1"), &json!("/topic/chat/1")));
    let mut bob = api.user("bob", &["1"]).await;
    bob.subscribes("/topic/chat/1", "").await;
    assert!(told(&mut bob, "UNSUBSCRIBE\nid:/topic/chat/1\nreceipt:u\n\n\0").await.len() > 1);
    drop((alice, bob));
    told_of(&backend, about("room-vacated")).await;
    let events: Vec<_> = backend.asked().iter().map(|asked| asked["event"].clone()).collect();
    assert_eq!(events, ["room-occupied", "room-vacated"]);
}

#[tokio::test]
async fn a_message_for_who_is_not_there_is_told_and_for_who_is_not() {
    let backend = good().await;
    let hook = json!({"on": ["offline"], "patterns": ["/user/*/queue/messages", "/topic/chat/*"]});
    let api = hooked(&backend, hook);
    let mut alice = api.user("alice", &["1"]).await;
    alice.subscribes("/topic/chat/1", "").await;
    for user in ["alice", "bob"] {
        let path = format!("/api/v1/users/{user}/messages");
        api.post(&path, &key("publish"), &json!({"event": "note", "data": 1})).await.done();
    }
    let notice = told_of(&backend, about("offline")).await;
    assert_eq!((&notice["users"], &notice["body"]), (&json!(["bob"]), &json!("1")));
    assert_eq!(notice["headers"]["event"], "note");
    assert_eq!(notice["destination"], "/user/bob/queue/messages");
    assert!(notice["messageId"].as_str().is_some_and(|id| !id.is_empty()));
    // A member of a room who has gone; who is there, and who says it, is not told of.
    api.ask("PUT", "/api/v1/rooms/1/members/carol", &key("rooms"), "").await.done();
    let mut dave = api.user("dave", &["1"]).await;
    dave.subscribes("/topic/chat/1", "").await;
    alice.says(&send("x", "/app/chat/1/send", r#"{"type":"TEXT","content":"hi"}"#)).await;
    let in_room = |asked: &[Value]| asked.iter().find(|asked| asked["room"] == "1").cloned();
    let notice = told_of(&backend, in_room).await;
    assert_eq!((&notice["users"], &notice["sender"]), (&json!(["carol"]), &json!("alice")));
    assert!(notice["body"].as_str().unwrap().contains("\"content\":\"hi\""));
    assert_eq!(backend.asked().len(), 2);
}

#[tokio::test]
async fn a_large_message_is_told_of_without_its_body_and_harms_no_other_notice() {
    let backend = good().await;
    let api = hooked(&backend, json!({"on": ["offline"], "patterns": ["/user/*/queue/*"]}));
    let mut shop = api.service().await;
    let send = |n: usize, body: &str| {
        format!("SEND\ndestination:/user/bob/queue/m\nnumber:{n}\nreceipt:{n}\n\n{body}\0")
    };
    // Each character of it takes six in JSON.
    let large = "\u{1}".repeat(1_000_000);
    for n in 0..6 {
        let body = if n % 2 == 0 { large.as_str() } else { "small" };
        let said = told(&mut shop, &send(n, body)).await;
        assert!(said.starts_with("RECEIPT"), "{said}");
    }
    told_of(&backend, |asked| (asked.len() == 6).then_some(())).await;
    let mut all = backend.asked();
    all.sort_by_key(|asked| asked["headers"]["number"].to_string());
    for (n, notice) in all.iter().enumerate() {
        assert_eq!(notice["headers"]["number"], n.to_string(), "each is told once");
        let expected =
            if n % 2 == 0 { (&json!(1_000_000), &Value::Null) } else { (&Value::Null, &json!("small")) };
        assert_eq!((&notice["bodyBytes"], &notice["body"]), expected);
    }
}

#[tokio::test]
async fn what_is_to_be_told_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(|_| Says::Status(500)).await;
    let more = json!({
        "hook": [backend.hook(json!({"on": ["disconnect"]}))],
        "data": {"dir": directory.path().join("data"), "free_bytes_min": 0},
    });
    let api = Api::with(more.clone());
    drop(api.user("alice", &[]).await);
    let first = told_of(&backend, about("disconnect")).await;
    tokio::task::spawn_blocking(move || drop(api)).await.unwrap();
    backend.answers(|_| Says::Status(200));
    let before = backend.asked().len();
    let api = Api::with(more);
    let again = told_of(&backend, |asked| asked.get(before).cloned()).await;
    assert_eq!(again, first);
    tokio::task::spawn_blocking(move || drop(api)).await.unwrap();
}

/// Two instances, ready.
async fn two_on(redis: &RedisServer, backend: &Backend, hook: Value) -> [Api; 2] {
    let more =
        json!({"hook": [backend.hook(hook)], "redis": {"url": redis.url()}, "rooms": {"linger_ms": 300}});
    let start = |more: Value| async { tokio::task::spawn_blocking(|| Api::with(more)).await.unwrap() };
    let both = [start(more.clone()).await, start(more).await];
    for api in &both {
        let begun = Instant::now();
        while api.get("/readyz", "").await.status != 200 {
            assert!(begun.elapsed() < DEADLINE);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    both
}

#[tokio::test]
async fn a_room_over_two_instances_is_told_of_once_each_time() {
    let redis = RedisServer::start();
    let backend = good().await;
    let hook = json!({"on": ["room-occupied", "room-vacated"], "patterns": ["/topic/chat/*"]});
    let [one, two] = two_on(&redis, &backend, hook).await;
    for round in 1..=2 {
        let mut alice = one.user("alice", &["1"]).await;
        alice.subscribes("/topic/chat/1", "").await;
        told_of(&backend, |asked| (asked.len() == 2 * round - 1).then_some(())).await;
        let mut bob = two.user("bob", &["1"]).await;
        bob.subscribes("/topic/chat/1", "").await;
        drop((alice, bob));
        told_of(&backend, |asked| (asked.len() == 2 * round).then_some(())).await;
    }
    let events: Vec<_> = backend.asked().iter().map(|asked| asked["event"].clone()).collect();
    assert_eq!(events, ["room-occupied", "room-vacated", "room-occupied", "room-vacated"]);
    let mut ids: Vec<_> = backend.asked().iter().map(|asked| asked["id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    tokio::task::spawn_blocking(move || drop((one, two))).await.unwrap();
}

#[tokio::test]
async fn what_happens_while_redis_is_away_is_told_when_it_is_back() {
    let redis = RedisServer::start();
    let backend = good().await;
    let [one, two] = two_on(&redis, &backend, json!({"on": ["disconnect"]})).await;
    let alice = one.user("alice", &[]).await;
    redis.freeze();
    drop(alice);
    // Longer than an order waits for Redis.
    tokio::time::sleep(std::time::Duration::from_millis(10_500)).await;
    assert_eq!(backend.asked().len(), 0);
    redis.thaw();
    let notice = told_of(&backend, about("disconnect")).await;
    assert_eq!((&notice["user"], &notice["reason"]), (&json!("alice"), &json!("connection-lost")));
    assert_eq!(backend.asked().len(), 1);
    tokio::task::spawn_blocking(move || drop((one, two))).await.unwrap();
}

#[tokio::test]
async fn instances_on_one_redis_tell_once() {
    let redis = RedisServer::start();
    let backend = good().await;
    let hook = json!({"on": ["offline", "disconnect"], "patterns": ["/user/*/queue/*"]});
    let [one, two] = two_on(&redis, &backend, hook).await;
    let mut alice = two.user("alice", &[]).await;
    alice.subscribes("/user/queue/messages", "").await;
    // Until the other instance knows of it.
    let begun = Instant::now();
    while one.get("/api/v1/users/alice", &key("presence")).await.done()["online"] != true {
        assert!(begun.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for number in 0..10 {
        for (api, user) in [(&one, "alice"), (&two, "bob")] {
            let path = format!("/api/v1/users/{user}/messages");
            api.post(&path, &key("publish"), &json!({"data": number})).await.done();
        }
    }
    let of = |event: &'static str| {
        move |asked: &[Value]| asked.iter().filter(|asked| asked["event"] == event).count()
    };
    told_of(&backend, |asked| (of("offline")(asked) >= 10).then_some(())).await;
    drop(alice);
    told_of(&backend, |asked| (of("disconnect")(asked) >= 1).then_some(())).await;
    let asked = backend.asked();
    assert_eq!((of("offline")(&asked), of("disconnect")(&asked)), (10, 1));
    assert!(
        asked
            .iter()
            .filter(|asked| asked["event"] == "offline")
            .all(|asked| asked["users"] == json!(["bob"]))
    );
    let mut ids: Vec<_> = asked.iter().map(|asked| asked["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 11);
    tokio::task::spawn_blocking(move || drop((one, two))).await.unwrap();
}
