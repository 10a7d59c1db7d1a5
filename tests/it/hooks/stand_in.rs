//! A backend that stands in for the application's workers: it is asked where there is none, and what it publishes of one request is
//! published once, however often that comes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::backend::{Backend, Says};
use super::{hooked, patient, subscribe, told};
use crate::api::cluster::Pair;
use crate::api::{Stomp, key};
use crate::served::DEADLINE;

/// A backend that answers with what it was sent, publishes it twice to a topic and once to a queue.
async fn echo() -> Backend {
    Backend::start(|asked| {
        let body = asked["body"].as_str().unwrap_or_default();
        Says::Json(json!({
            "reply": {"body": format!("backend:{body}")},
            "publish": [
                {"destination": "/topic/log", "body": body},
                {"destination": "/topic/log", "body": format!("{body} again")},
                {"destination": "/queue/log", "body": body},
            ],
        }))
    })
    .await
}

fn stands_in() -> Value {
    json!({"on": ["message"], "patterns": ["/app/calc/**"]})
}

/// Asks the application; what was answered.
async fn asks(stomp: &mut Stomp, body: &str) -> String {
    stomp.says(&format!("SEND\ndestination:/app/calc/add\nreply-to:/temp-queue/r\n\n{body}\0")).await;
    let answer = stomp.hears_message().await;
    answer.rsplit("\n\n").next().unwrap().to_owned()
}

/// Answers one request, as a worker does.
async fn works(worker: &mut Stomp) {
    let asked = worker.hears_message().await;
    let reply_to = asked.lines().find_map(|line| line.strip_prefix("reply-to:")).unwrap();
    let body = asked.rsplit("\n\n").next().unwrap();
    worker.says(&format!("SEND\ndestination:{reply_to}\n\nworker:{body}\0")).await;
}

/// A worker answers one request.
async fn is_answered_by(asking: &mut Stomp, worker: &mut Stomp) {
    worker.subscribes("/app/calc/add", "").await;
    let (answer, ()) = tokio::join!(asks(asking, "b"), works(worker));
    assert_eq!(answer, "worker:b");
}

async fn ends_work(worker: &mut Stomp) {
    let ended = told(worker, "UNSUBSCRIBE\nid:/app/calc/add\nreceipt:u\n\n\0").await;
    assert!(ended.starts_with("RECEIPT"), "{ended}");
}

#[tokio::test]
async fn a_backend_is_asked_only_where_there_is_no_worker() {
    let backend = echo().await;
    let api = hooked(&backend, stands_in());
    let (mut alice, mut worker) = (patient(&api, "alice", &[]).await, api.service().await);
    for turn in 1..=2 {
        assert_eq!(asks(&mut alice, "a").await, "backend:a");
        is_answered_by(&mut alice, &mut worker).await;
        ends_work(&mut worker).await;
        assert_eq!(backend.asked().len(), turn);
    }
    // The same over HTTP, and for requests by SUBSCRIBE.
    worker.subscribes("/app/calc/add", "").await;
    let request = json!({"destination": "/app/calc/add", "body": "c"});
    api.post("/api/v1/publish", &key("publish"), &request).await.done();
    assert!(worker.hears_message().await.ends_with("\n\nc"));
    alice.says("SUBSCRIBE\nid:q\ndestination:/app/calc/add\n\n\0").await;
    works(&mut worker).await;
    assert!(alice.hears_message().await.ends_with("worker:"));
    assert_eq!(backend.asked().len(), 2);
}

#[tokio::test]
async fn the_backend_answers_where_the_worker_goes_before_a_transaction_is_committed() {
    let backend = echo().await;
    let api = hooked(&backend, stands_in());
    let (mut alice, mut worker) = (patient(&api, "alice", &[]).await, api.service().await);
    worker.subscribes("/app/calc/add", "").await;
    alice.says("BEGIN\ntransaction:t\n\n\0").await;
    let sent = "SEND\ndestination:/app/calc/add\ntransaction:t\nreply-to:/temp-queue/r\nreceipt:s\n\nx\0";
    alice.says(sent).await;
    // It was taken when what follows it is answered.
    let other = told(&mut alice, &subscribe("u", "/user/queue/u")).await;
    assert!(other.starts_with("RECEIPT\nreceipt-id:u"), "{other}");
    ends_work(&mut worker).await;
    alice.says("COMMIT\ntransaction:t\n\n\0").await;
    let heard = [alice.hears().await, alice.hears().await];
    assert!(heard.iter().any(|heard| heard.ends_with("backend:x")), "{heard:?}");
    assert!(heard.iter().any(|heard| heard.starts_with("RECEIPT\nreceipt-id:s")), "{heard:?}");
}

#[tokio::test]
async fn a_worker_on_another_instance_comes_before_the_backend() {
    let backend = echo().await;
    let pair = Pair::start(json!({"hook": [backend.hook(stands_in())]})).await;
    let (mut alice, mut worker) = (patient(&pair.one, "alice", &[]).await, pair.two.service().await);
    assert_eq!(asks(&mut alice, "a").await, "backend:a");
    worker.subscribes("/app/calc/add", "").await;
    let working = async {
        loop {
            works(&mut worker).await;
        }
    };
    tokio::select! {
        () = until_answered(&mut alice, "worker:b") => {}
        () = working => {}
    }
    let asked = backend.asked().len();
    ends_work(&mut worker).await;
    until_answered(&mut alice, "backend:b").await;
    assert!(backend.asked().len() > asked);
}

/// Asks until the answer is this: Redis hears of a worker soon, but not at once.
async fn until_answered(asking: &mut Stomp, expected: &str) {
    let answered = async {
        // What came just before Redis knew that nobody works waits for the next worker.
        while timeout(Duration::from_millis(300), asks(asking, "b")).await.as_deref() != Ok(expected) {}
    };
    timeout(DEADLINE, answered).await.unwrap_or_else(|_| panic!("nobody answers {expected}"));
}

/// What the backend publishes of one request, and then nothing but the end.
async fn hears_once(reader: &mut Stomp, body: &str) {
    let mut bodies = Vec::new();
    for _ in 0..4 {
        bodies.push(reader.hears_message().await.rsplit("\n\n").next().unwrap().to_owned());
    }
    bodies.sort_unstable();
    let mut expected = ["end".to_owned(), body.to_owned(), body.to_owned(), format!("{body} again")];
    expected.sort_unstable();
    assert_eq!(bodies, expected);
}

async fn ends(api: &crate::api::Api) {
    let end = json!({"destination": "/topic/log", "body": "end"});
    api.post("/api/v1/publish", &key("publish"), &end).await.done();
}

#[tokio::test]
async fn what_is_sent_again_with_its_key_is_answered_again_and_published_once_on_all_instances() {
    let backend = echo().await;
    let pair = Pair::start(json!({"hook": [backend.hook(stands_in())]})).await;
    let mut reader = pair.one.service().await;
    reader.subscribes("/topic/log", "").await;
    reader.subscribes("/queue/log", "").await;
    let frame = "SEND\ndestination:/app/calc/add\nreply-to:/temp-queue/r\nidempotency-key:k\n\nx\0";
    for api in [&pair.one, &pair.two, &pair.one] {
        let mut alice = patient(api, "alice", &[]).await;
        alice.says(frame).await;
        assert!(alice.hears_message().await.ends_with("backend:x"));
    }
    ends(&pair.two).await;
    hears_once(&mut reader, "x").await;
    // Another user's key is another key.
    let mut bob = patient(&pair.two, "bob", &[]).await;
    bob.says(frame).await;
    assert!(bob.hears_message().await.ends_with("backend:x"));
    ends(&pair.two).await;
    hears_once(&mut reader, "x").await;
}

#[tokio::test]
async fn a_key_over_http_belongs_to_its_first_body_where_a_backend_answers_too() {
    let backend = echo().await;
    let api = hooked(&backend, stands_in());
    let mut reader = api.service().await;
    reader.subscribes("/topic/log", "").await;
    reader.subscribes("/queue/log", "").await;
    let said = |body: &str| json!({"destination": "/app/calc/add", "body": body, "idempotencyKey": "k"});
    let path = "/api/v1/publish";
    for _ in 0..2 {
        api.post(path, &key("publish"), &said("x")).await.done();
    }
    api.post(path, &key("publish"), &said("y")).await.refused(409, "conflict");
    assert_eq!(backend.asked().len(), 1);
    ends(&api).await;
    hears_once(&mut reader, "x").await;
    // Twice in one batch.
    let twin = json!({"destination": "/app/calc/add", "body": "z", "idempotencyKey": "l"});
    let answer = api.post("/api/v1/batch", &key("publish"), &json!({"messages": [twin, twin]})).await.done();
    assert_eq!(answer["results"][1]["repeated"], true, "{answer}");
    assert_eq!(backend.asked().len(), 2);
    ends(&api).await;
    hears_once(&mut reader, "z").await;
}

#[tokio::test]
async fn a_repeat_of_what_the_backend_failed_to_answer_is_asked_again() {
    let (fails, failing) = (std::sync::atomic::AtomicBool::new(true), std::sync::atomic::Ordering::SeqCst);
    let backend = Backend::start(move |asked| match fails.swap(false, failing) {
        true => Says::Json(json!("nonsense")),
        false => Says::Json(json!({"publish": [{"destination": "/topic/log", "body": asked["body"]}]})),
    })
    .await;
    let api = hooked(&backend, stands_in());
    let mut reader = api.service().await;
    reader.subscribes("/topic/log", "").await;
    let said = json!({"destination": "/app/calc/add", "body": "x", "idempotencyKey": "k"});
    api.post("/api/v1/publish", &key("publish"), &said).await.refused(503, "unavailable");
    api.post("/api/v1/publish", &key("publish"), &said).await.done();
    assert!(reader.hears_message().await.ends_with("\n\nx"));
}
