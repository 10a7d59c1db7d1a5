//! What a yes covers, and for how long.

use serde_json::{Value, json};

use super::backend::{Backend, Says};
use super::{hooked, patient, send, subscribe, subscribes};
use crate::api::{Api, key};

async fn decided(allows: bool) -> Backend {
    Backend::start(move |_| Says::Json(json!({"allow": allows}))).await
}

#[tokio::test]
async fn who_came_in_by_a_claim_goes_with_it_though_a_backend_could_be_asked() {
    let backend = decided(true).await;
    let api = hooked(&backend, subscribes(&["/topic/chat/*"]));
    let mut alice = patient(&api, "alice", &[]).await;
    alice.subscribes("/topic/chat/1", "").await;
    assert_eq!(backend.asked().len(), 1);
    let mut bob = patient(&api, "bob", &["1"]).await;
    bob.subscribes("/topic/chat/1", "").await;
    assert_eq!(backend.asked().len(), 1, "the claim is enough");
    bob.says(&send("less", "/app/auth/refresh", &api.token("bob", &[]))).await;
    while !bob.hears().await.contains("error-code:forbidden") {}
    // Whom the backend has let in, no token puts out.
    alice.says(&send("fresh", "/app/auth/refresh", &api.token("alice", &[]))).await;
    while !alice.hears().await.starts_with("RECEIPT\nreceipt-id:fresh") {}
    assert_eq!(backend.asked().len(), 1, "a token is no affair of the backend's");
}

#[tokio::test]
async fn who_is_removed_from_a_room_does_not_come_back_by_what_was_said_before() {
    let backend = decided(true).await;
    let mut hook = subscribes(&["/topic/chat/*"]);
    hook["cache_ttl_ms"] = json!(600_000);
    let api = hooked(&backend, hook);
    let mut alice = patient(&api, "alice", &[]).await;
    alice.subscribes("/topic/chat/42", "").await;
    backend.answers(|_| Says::Json(json!({"allow": false})));
    let removed = api.ask("DELETE", "/api/v1/rooms/42/members/alice", &key("rooms"), "").await.done();
    assert_eq!(removed, json!({"changed": true}));
    alice.says(&subscribe("again", "/topic/chat/42")).await;
    loop {
        let heard = alice.hears().await;
        assert!(!heard.starts_with("RECEIPT"), "{heard}");
        if heard.contains("\"receiptId\":\"again\"") {
            assert!(heard.contains("\"code\":\"forbidden\""), "{heard}");
            break;
        }
    }
    assert_eq!(backend.asked().len(), 2, "asked anew");
}

#[tokio::test]
async fn the_yes_of_one_backend_is_not_that_of_another() {
    // Where rules leave it open the first decides; the second hears of what rules allow.
    for (first_allows, second_allows) in [(true, true), (true, false), (false, true)] {
        let (first, second) = (decided(first_allows).await, decided(second_allows).await);
        let mut always = subscribes(&["/topic/chat/*"]);
        always["ask"] = json!("always");
        let mut always = second.hook(always);
        always["name"] = json!("second");
        let rule = |pattern: &str, actions: &[&str], who: &str| -> Value {
            json!({"pattern": pattern, "actions": actions, "who": [who]})
        };
        let api = Api::with(json!({
            "hook": [first.hook(subscribes(&["/topic/chat/*"])), always],
            "access": {"rule": [
                rule("/user/queue/**", &["subscribe"], "signed-in"),
                rule("/topic/chat/*", &["subscribe", "presence"], "signed-in"),
                rule("/topic/chat/*", &["history"], "hook"),
            ]},
        }));
        let mut alice = patient(&api, "alice", &[]).await;
        let frame =
            "SUBSCRIBE\nid:1\ndestination:/topic/chat/42\nreceipt:1\nstompede-history:5\n\n\0".to_owned();
        alice.says(&frame).await;
        let heard = loop {
            let heard = alice.hears().await;
            if heard.starts_with("RECEIPT") || heard.contains("\"receiptId\":\"1\"") {
                break heard;
            }
        };
        let both = first_allows && second_allows;
        assert_eq!(heard.starts_with("RECEIPT"), both, "{first_allows} {second_allows}: {heard}");
        let asked = (first.asked().len(), second.asked().len());
        assert_eq!(asked, (usize::from(second_allows), 1), "each once, and none behind a no");
        let path = "/api/v1/rooms/42/messages?limit=1";
        let read = api.get(path, &api.token("bob", &[])).await;
        assert_eq!(read.status == 200, both, "{first_allows} {second_allows}: {}", read.body);
        // What both have said is known the second time.
        assert_eq!(api.get(path, &api.token("bob", &[])).await.status == 200, both);
    }
}
