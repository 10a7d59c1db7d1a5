//! Publishing over HTTP, and who may.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Api, key};

#[tokio::test]
async fn what_is_published_is_heard_by_a_stomp_subscriber() {
    let api = Api::start();
    let mut listener = api.service().await;
    listener.subscribes("/topic/news", "").await;
    let sent = json!({"destination": "/topic/news", "json": {"a": [1, "x"]}, "headers": {"event": "told"}});
    let answer = api.post("/api/v1/publish", &key("publish"), &sent).await.done();
    let heard = listener.hears().await;
    let id = answer["messageId"].as_str().unwrap();
    for part in [
        &format!("\nmessage-id:{id}\n"),
        "\nevent:told\n",
        "\ncontent-type:application/json\n",
        "\nuser-name:publish-key\n",
        "\n\n{\"a\":[1,\"x\"]}",
    ] {
        assert!(heard.contains(part), "{part}: {heard}");
    }
    assert!(answer.get("position").is_none(), "nothing is kept there: {answer}");
}

#[tokio::test]
async fn requests_of_one_connection_are_delivered_in_their_order() {
    let api = Api::start();
    let mut listener = api.service().await;
    listener.subscribes("/topic/news", "").await;
    let mut stream = tokio::net::TcpStream::connect(api.served.ports.http).await.unwrap();
    let key = key("publish");
    // All at once: each is answered when the one before is.
    let requests: String = (0..20)
        .map(|n| {
            let body = json!({"destination": "/topic/news", "body": n.to_string()}).to_string();
            let length = body.len();
            format!(
                "POST /api/v1/publish HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        })
        .collect();
    stream.write_all(requests.as_bytes()).await.unwrap();
    for n in 0..20 {
        let heard = listener.hears().await;
        assert!(heard.ends_with(&format!("\n\n{n}")), "{n}: {heard}");
    }
    let mut answers = String::new();
    while answers.matches("HTTP/1.1 200 ").count() < 20 {
        let mut chunk = [0; 4096];
        let read = tokio::time::timeout(crate::served::DEADLINE, stream.read(&mut chunk)).await;
        let read = read.expect("an answer in time").unwrap();
        assert_ne!(read, 0, "{answers}");
        answers.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
    }
}

#[tokio::test]
async fn who_may_not_is_told_why() {
    let api = Api::start();
    let sent = json!({"destination": "/topic/news", "body": "x"});
    let post = |credential: String| {
        let (api, sent) = (&api, &sent);
        async move { api.post("/api/v1/publish", &credential, sent).await }
    };
    let refused = post(String::new()).await;
    assert!(refused.head.contains("\r\nwww-authenticate: bearer\r\n"), "{refused:?}");
    refused.refused(401, "unauthorized");
    post("stk_wrong".to_owned()).await.refused(401, "unauthorized");
    post("garbage".to_owned()).await.refused(401, "unauthorized");
    let wrong = post(key("rooms")).await.refused(403, "forbidden");
    assert!(wrong["detail"].as_str().unwrap().contains("publish"), "{wrong}");
    post(api.token("alice", &["42"])).await.refused(403, "forbidden");
    post(key("all")).await.done();
}

#[tokio::test]
async fn what_cannot_be_published_is_told_with_its_code() {
    let api = Api::with(json!({"limits": {"body_bytes_max": 100}, "api": {"depth_max": 5, "batch_max": 3}}));
    let deep = json!([[[[[1]]]]]);
    let cases: [(Value, u16, &str); 14] = [
        (json!({"destination": "/nowhere/x"}), 422, "bad-destination"),
        (json!({"destination": "/topic/a/*"}), 422, "bad-destination"),
        (json!({"destination": "/temp-queue/a"}), 404, "no-such-reply"),
        (json!({"destination": "/reply-queue/a"}), 404, "no-such-reply"),
        (json!({"destination": "/app/auth/refresh", "body": "x"}), 422, "bad-destination"),
        (json!({"destination": "/app/chat/42/leave"}), 422, "bad-destination"),
        (json!({"destination": "/app/chat/42/send", "body": "no json"}), 400, "bad-content"),
        (json!({"destination": "/topic/a", "body": "x".repeat(101)}), 413, "too-large"),
        (json!({"destination": "/topic/a", "json": deep}), 413, "too-large"),
        (json!({"destination": "/topic/a", "body": "x", "json": 1}), 400, "bad-content"),
        (json!({"destination": "/topic/a", "headers": {"a\nb": "x"}}), 400, "bad-content"),
        (json!({"destination": "/topic/a", "headers": {"expiration": "soon"}}), 400, "bad-content"),
        (json!({"destination": "/topic/a", "unknown": 1}), 400, "bad-content"),
        (json!({"body": "x"}), 400, "bad-content"),
    ];
    for (sent, status, code) in cases {
        api.post("/api/v1/publish", &key("publish"), &sent).await.refused(status, code);
    }
    api.ask("POST", "/api/v1/publish", &key("publish"), "{").await.refused(400, "bad-content");
    let large = "x".repeat((2 << 20) + 1);
    api.ask("POST", "/api/v1/publish", &key("publish"), &large).await.refused(413, "too-large");
    let many = json!({"destinations": vec!["/topic/a"; 4]});
    api.post("/api/v1/broadcast", &key("publish"), &many).await.refused(413, "too-large");
    api.post("/api/v1/batch", &key("publish"), &json!({"messages": []})).await.refused(400, "bad-content");
    api.get("/api/v1/publish", &key("publish")).await.refused(405, "bad-method");
    api.get("/api/v1/nothing", &key("publish")).await.refused(404, "not-found");
    api.post("/api/v1/nothing", &key("publish"), &json!({})).await.refused(404, "not-found");
}

#[tokio::test]
async fn many_are_published_together_or_not_at_all() {
    let api = Api::start();
    let mut listener = api.service().await;
    for topic in ["/topic/a", "/topic/b"] {
        listener.subscribes(topic, "").await;
    }
    let bad = json!({"destinations": ["/topic/a", "/topic/b/*"], "body": "no"});
    let refused = api.post("/api/v1/broadcast", &key("publish"), &bad).await.refused(422, "bad-destination");
    assert_eq!(refused["index"], 1, "{refused}");
    let both = json!({"destinations": ["/topic/a", "/topic/b"], "body": "yes"});
    let answer = api.post("/api/v1/broadcast", &key("publish"), &both).await.done();
    assert_eq!(answer["results"].as_array().unwrap().len(), 2, "{answer}");
    let batch = json!({"messages": [
        {"destination": "/topic/b", "body": "1"}, {"destination": "/topic/b", "body": "2"},
        {"destination": "/app/chat/42/send", "json": {"type": "SYSTEM", "content": "x"}},
    ]});
    let answer = api.post("/api/v1/batch", &key("publish"), &batch).await.done();
    assert!(answer["results"][2]["position"].is_string(), "a room is kept: {answer}");
    let bodies = ["yes", "yes", "1", "2"];
    for expected in bodies {
        let heard = listener.hears().await;
        assert!(heard.ends_with(&format!("\n\n{expected}")), "{expected}: {heard}");
    }
}

#[tokio::test]
async fn a_repeated_key_publishes_once_and_another_body_is_a_conflict() {
    let api = Api::start();
    let mut listener = api.service().await;
    listener.subscribes("/topic/a", "").await;
    let send = |body: &str| json!({"destination": "/topic/a", "body": body, "idempotencyKey": "k"});
    let post = |body: &'static str| {
        let api = &api;
        async move { api.post("/api/v1/publish", &key("publish"), &send(body)).await }
    };
    let first = post("one").await.done();
    let again = post("one").await.done();
    assert_eq!((&again["messageId"], &again["repeated"]), (&first["messageId"], &json!(true)));
    let conflict = post("other").await.refused(409, "conflict");
    assert_eq!(conflict["destination"], "/topic/a");
    // The same key of another sender is another key.
    let other = json!({"destination": "/topic/a", "body": "two", "idempotencyKey": "k"});
    api.post("/api/v1/publish", &key("all"), &other).await.done();
    for expected in ["one", "two"] {
        let heard = listener.hears().await;
        assert!(heard.ends_with(&format!("\n\n{expected}")), "{heard}");
    }
}

#[tokio::test]
async fn a_key_that_comes_twice_in_one_batch_publishes_once() {
    let api = Api::start();
    let mut listener = api.service().await;
    listener.subscribes("/topic/a", "").await;
    let send = |body: &str| json!({"destination": "/topic/a", "body": body, "idempotencyKey": "k"});
    let batch = |body: &str| json!({"messages": [send("one"), send(body)]});
    let answer = api.post("/api/v1/batch", &key("publish"), &batch("one")).await.done();
    let [first, second] = [&answer["results"][0], &answer["results"][1]];
    assert_eq!((&second["messageId"], &second["repeated"]), (&first["messageId"], &json!(true)), "{answer}");
    let refused = api.post("/api/v1/batch", &key("publish"), &batch("other")).await.refused(409, "conflict");
    assert_eq!(refused["index"], 1, "{refused}");
    api.post("/api/v1/publish", &key("all"), &json!({"destination": "/topic/a", "body": "end"})).await.done();
    for expected in ["one", "end"] {
        let heard = listener.hears().await;
        assert!(heard.ends_with(&format!("\n\n{expected}")), "{heard}");
    }
}

#[tokio::test]
async fn what_is_past_its_time_is_accepted_and_reaches_nobody() {
    let api = Api::start();
    let mut listener = api.service().await;
    listener.subscribes("/topic/a", "").await;
    for (body, expires) in [("late", 1), ("good", 0)] {
        let sent = json!({"destination": "/topic/a", "body": body, "expires": expires});
        api.post("/api/v1/publish", &key("publish"), &sent).await.done();
    }
    let heard = listener.hears().await;
    assert!(heard.ends_with("\n\ngood"), "{heard}");
}

#[tokio::test]
async fn a_worker_of_the_application_gets_requests_and_its_absence_is_told_in_time() {
    let api = Api::with(json!({"limits": {"hold_ms_max": 200}}));
    let sent = json!({"destination": "/app/orders", "body": "x"});
    api.post("/api/v1/publish", &key("publish"), &sent).await.refused(404, "no-handler");
    let mut worker = api.service().await;
    worker.subscribes("/app/orders", "").await;
    api.post("/api/v1/publish", &key("publish"), &sent).await.done();
    let heard = worker.hears().await;
    assert!(heard.contains("\nsession:http\n") && heard.ends_with("\n\nx"), "{heard}");
}

#[tokio::test]
async fn a_full_queue_is_503_with_the_time_to_come_back() {
    let api = Api::with(json!({"limits": {"queue_messages_max": 1}}));
    let sent = json!({"destination": "/queue/jobs", "body": "x"});
    api.post("/api/v1/publish", &key("publish"), &sent).await.done();
    let full = api.post("/api/v1/publish", &key("publish"), &sent).await.refused(503, "queue-full");
    assert_eq!(full["retryAfterMs"], 1_000, "{full}");
}

#[tokio::test]
async fn where_there_is_no_room_a_request_waits_and_goes_on_when_there_is() {
    // An inbox of one worker, filled by a subscriber that reads nothing until its outbox and then the inbox are full.
    let api = Api::with(json!({
        "workers": 1, "api": {"waiting_max": 1},
        "limits": {"hold_ms_max": 1_000, "inbox_messages_max": 16, "inbox_bytes_max": 65_536, "backlog_bytes_max": 65_536},
        "memory": {"max": "1MiB"},
    }));
    let body = "x".repeat(200_000);
    let jobs = json!({"destination": "/queue/jobs", "body": body});
    // Half of memory is what queues may hold; then everything else waits for the other half.
    let mut status = 200;
    for _ in 0..40 {
        let answer = api.post("/api/v1/publish", &key("publish"), &jobs).await;
        status = answer.status;
        if status != 200 {
            answer.refused(503, "store-full");
            break;
        }
    }
    assert_eq!(status, 503);
    api.post("/api/v1/queues/jobs/purge", &key("admin"), &json!({})).await.done();
    api.post("/api/v1/publish", &key("publish"), &jobs).await.done();
}
