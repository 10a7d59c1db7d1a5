//! Two instances on one Redis: either answers for both.

use std::time::{Duration, Instant};

use crate::redis::RedisServer;
use serde_json::{Value, json};

use super::{Api, key};

/// Two instances.
pub(crate) struct Pair {
    pub(crate) one: Api,
    pub(crate) two: Api,
    _redis: RedisServer,
}

impl Pair {
    pub(crate) async fn start(more: Value) -> Self {
        let redis = RedisServer::start();
        let with = |mut more: Value| {
            more["redis"] = json!({"url": redis.url()});
            more
        };
        // Redis is asked at the start, by a runtime of the server's own.
        let start = |more| async { tokio::task::spawn_blocking(|| Api::with(more)).await.unwrap() };
        let (one, two) = (start(with(more.clone())).await, start(with(more)).await);
        let pair = Self { one, two, _redis: redis };
        for api in [&pair.one, &pair.two] {
            until(async || {
                let ready = api.get("/readyz", "").await;
                (ready.status == 200).then_some(())
            })
            .await;
        }
        pair
    }
}

/// What `look` finds, as soon as it finds something.
async fn until<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + crate::served::DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_one_instance_takes_the_other_delivers_and_both_know_the_same() {
    let Pair { one, two, _redis } = Pair::start(json!({})).await;
    let mut bob = two.user("bob", &["42"]).await;
    bob.subscribes("/topic/chat/42", "").await;
    bob.subscribes("/user/queue/messages", "").await;
    let said = one
        .post("/api/v1/rooms/42/messages", &key("rooms"), &json!({"type": "TEXT", "content": "hello"}))
        .await
        .done();
    let heard = bob.hears_message().await;
    assert!(heard.contains("\"content\":\"hello\""), "{heard}");
    assert!(
        heard.contains(&format!("stompede-position:{}\n", said["position"].as_str().unwrap())),
        "{heard}"
    );
    one.post("/api/v1/users/bob/messages", &key("publish"), &json!({"data": 1})).await.done();
    assert!(bob.hears_message().await.ends_with("\n\n1"));
    let alice = one.user("alice", &["42"]).await;
    for api in [&one, &two] {
        until(async || {
            let count = api.get("/api/v1/presence/count", &key("presence")).await.done();
            (count == json!({"users": 2, "sessions": 2})).then_some(())
        })
        .await;
        let online = api.get("/api/v1/presence/users", &key("presence")).await.done();
        let mut users: Vec<_> =
            online["users"].as_array().unwrap().iter().map(|u| u.as_str().unwrap()).collect();
        users.sort_unstable();
        assert_eq!(users, ["alice", "bob"]);
        let known = api.get("/api/v1/users/bob", &key("presence")).await.done();
        assert_eq!((&known["online"], &known["unread"]), (&json!(true), &json!(1)), "{known}");
        assert_eq!(known["sessions"].as_array().unwrap().len(), 1, "{known}");
        assert_eq!(known["rooms"][0]["present"], true, "{known}");
        let rooms = api.get("/api/v1/rooms", &key("rooms")).await.done();
        assert_eq!(
            (&rooms["rooms"][0]["chatRoomId"], &rooms["rooms"][0]["present"]),
            (&json!("42"), &json!(1))
        );
        let members = api.get("/api/v1/rooms/42/members", &key("rooms")).await.done();
        assert_eq!(
            (&members["present"][0]["userId"], &members["enrolled"]),
            (&json!("bob"), &json!(["bob"]))
        );
        let page = api.get("/api/v1/rooms/42/messages", &key("rooms")).await.done();
        assert_eq!(page["messages"][0]["message"]["content"], "hello");
    }
    let reached = one.post("/api/v1/users:broadcast", &key("publish"), &json!({"data": 2})).await.done();
    assert_eq!(reached["users"], 2);
    assert!(bob.hears_message().await.ends_with("\n\n2"));
    assert_eq!(
        one.ask("DELETE", "/api/v1/rooms/42/members/bob", &key("rooms"), "").await.done()["changed"],
        true
    );
    let ended = one.post("/api/v1/users/bob/disconnect", &key("admin"), &json!({})).await.done();
    assert_eq!(ended, json!({"sessions": 1}));
    drop(alice);
}

#[tokio::test]
async fn queues_and_keys_are_those_of_all_instances() {
    let Pair { one, two, _redis } = Pair::start(json!({})).await;
    let job = |body: &str| json!({"destination": "/queue/jobs", "body": body, "idempotencyKey": body});
    for (api, body) in [(&one, "1"), (&two, "1"), (&one, "2"), (&one, "3")] {
        api.post("/api/v1/publish", &key("publish"), &job(body)).await.done();
    }
    let other = json!({"destination": "/queue/jobs", "body": "other", "idempotencyKey": "2"});
    one.post("/api/v1/publish", &key("publish"), &other).await.refused(409, "conflict");
    let jobs = two.get("/api/v1/queues/jobs", &key("queues")).await.done();
    assert_eq!((&jobs["depth"], &jobs["consumers"]), (&json!(3), &json!(0)), "a repeat counts once: {jobs}");
    let mut consumer = one.service().await;
    consumer.subscribes("/queue/jobs", "ack:client-individual\nprefetch-count:1\n").await;
    let first = consumer.hears().await;
    let ack = first.lines().find_map(|line| line.strip_prefix("ack:")).unwrap();
    consumer.says(&format!("NACK\nid:{ack}\nrequeue:false\nreceipt:n\n\n\0")).await;
    until(async || {
        let dead = two.get("/api/v1/queues/dlq.jobs", &key("queues")).await;
        (dead.status == 200 && dead.json()["depth"] == 1).then_some(())
    })
    .await;
    let all = two.get("/api/v1/queues", &key("queues")).await.done();
    let names: Vec<_> = all["queues"].as_array().unwrap().iter().map(|queue| &queue["name"]).collect();
    assert_eq!((json!(names), &all["queues"][1]["consumers"]), (json!(["dlq.jobs", "jobs"]), &json!(1)));
    let back = two.post("/api/v1/queues/jobs/redrive", &key("admin"), &json!({})).await.done();
    assert_eq!(back, json!({"messages": 1}));
    two.post("/api/v1/queues/jobs/purge", &key("admin"), &json!({})).await.done();
    let jobs = two.get("/api/v1/queues/jobs", &key("queues")).await.done();
    assert_eq!(jobs["depth"], jobs["out"], "what the consumer's instance has stays: {jobs}");
}

#[tokio::test]
async fn without_redis_nothing_is_accepted_that_it_should_keep() {
    let Pair { one, two, _redis: mut redis } = Pair::start(json!({"limits": {"hold_ms_max": 1_000}})).await;
    drop(two);
    redis.kill();
    until(async || (one.get("/readyz", "").await.status == 503).then_some(())).await;
    let said = json!({"type": "TEXT", "content": "x"});
    one.post("/api/v1/rooms/42/messages", &key("rooms"), &said).await.refused(503, "unavailable");
    one.get("/api/v1/rooms/42/messages", &key("rooms")).await.refused(503, "unavailable");
}
