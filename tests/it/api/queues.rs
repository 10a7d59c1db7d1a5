//! Work queues over HTTP.

use serde_json::json;

use super::{Api, key};

#[tokio::test]
async fn queues_are_listed_emptied_and_get_their_dead_letters_back() {
    let api = Api::start();
    let publish = |queue: &'static str, body: &'static str| {
        let api = &api;
        let sent = json!({"destination": queue, "body": body, "headers": {"kind": "k"}});
        async move { api.post("/api/v1/publish", &key("publish"), &sent).await.done() }
    };
    for body in ["1", "2", "3"] {
        publish("/queue/jobs", body).await;
    }
    publish("/queue/a", "x").await;
    let mut consumer = api.service().await;
    consumer.subscribes("/queue/jobs", "ack:client-individual\nprefetch-count:1\n").await;
    for expected in ["1", "2"] {
        let message = consumer.hears().await;
        assert!(message.ends_with(&format!("\n\n{expected}")), "{message}");
        let ack = message.lines().find_map(|line| line.strip_prefix("ack:")).unwrap();
        consumer.says(&format!("NACK\nid:{ack}\nrequeue:false\nreceipt:n{expected}\n\n\0")).await;
        assert!(consumer.hears().await.starts_with("RECEIPT\n"));
    }
    let third = consumer.hears().await;
    assert!(third.ends_with("\n\n3"), "{third}");
    let all = api.get("/api/v1/queues", &key("queues")).await.done();
    let names: Vec<_> = all["queues"].as_array().unwrap().iter().map(|queue| queue["name"].clone()).collect();
    assert_eq!(json!(names), json!(["a", "dlq.jobs", "jobs"]));
    let page = api.get("/api/v1/queues?limit=2", &key("queues")).await.done();
    let next = page["next"].as_str().unwrap();
    let rest = api.get(&format!("/api/v1/queues?limit=2&after={next}"), &key("queues")).await.done();
    assert_eq!((&rest["queues"][0]["name"], &rest["count"]), (&json!("jobs"), &json!(3)));
    let jobs = api.get("/api/v1/queues/jobs", &key("queues")).await.done();
    assert_eq!((&jobs["depth"], &jobs["out"], &jobs["consumers"]), (&json!(1), &json!(1), &json!(1)));
    assert!(jobs["oldestAgeMs"].is_u64() && jobs["bytes"].as_u64() > Some(0), "{jobs}");
    assert_eq!(api.get("/api/v1/queues/dlq.jobs", &key("queues")).await.done()["depth"], 2);
    let back = api.post("/api/v1/queues/jobs/redrive", &key("admin"), &json!({})).await.done();
    assert_eq!(back, json!({"messages": 2}));
    api.get("/api/v1/queues/dlq.jobs", &key("queues")).await.refused(404, "not-found");
    let ack = third.lines().find_map(|line| line.strip_prefix("ack:")).unwrap();
    consumer.says(&format!("ACK\nid:{ack}\n\n\0")).await;
    let again = consumer.hears().await;
    assert!(again.ends_with("\n\n1") && again.contains("\nkind:k\n"), "{again}");
    assert!(!again.contains("dead-letter"), "{again}");
    // The consumer has one of the two.
    let purged = api.post("/api/v1/queues/jobs/purge", &key("admin"), &json!({})).await.done();
    assert_eq!(purged, json!({"messages": 1}));
    let jobs = api.get("/api/v1/queues/jobs", &key("queues")).await.done();
    assert_eq!((&jobs["depth"], &jobs["out"]), (&json!(1), &json!(1)));
    api.get("/api/v1/queues/nothing", &key("queues")).await.refused(404, "not-found");
    api.get("/api/v1/queues/a%2F%2Fb", &key("queues")).await.refused(422, "bad-destination");
    api.get("/api/v1/queues?after=00", &key("queues")).await.refused(400, "bad-content");
    for path in ["/api/v1/queues/a/purge", "/api/v1/queues/a/redrive"] {
        api.post(path, &key("queues"), &json!({})).await.refused(403, "forbidden");
    }
    api.get("/api/v1/queues", &key("publish")).await.refused(403, "forbidden");
}
