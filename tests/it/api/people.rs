//! Users: messages to them, what is known of them, and that they go.

use serde_json::json;

use super::{Api, key};

#[tokio::test]
async fn a_message_to_a_user_reaches_all_his_sessions_and_nobody_else() {
    let api = Api::start();
    let (mut first, mut second) = (api.user("a/b", &[]).await, api.user("a/b", &[]).await);
    let mut other = api.user("bob", &[]).await;
    for listener in [&mut first, &mut second, &mut other] {
        listener.subscribes("/user/queue/messages", "").await;
    }
    let sent = json!({"event": "greeting", "data": {"text": "hello"}});
    api.post("/api/v1/users/a%2Fb/messages", &key("publish"), &sent).await.done();
    for listener in [&mut first, &mut second] {
        let heard = listener.hears().await;
        assert!(
            heard.contains("\nevent:greeting\n") && heard.ends_with("\n\n{\"text\":\"hello\"}"),
            "{heard}"
        );
    }
    let all = json!({"data": "all"});
    let reached = api.post("/api/v1/users:broadcast", &key("publish"), &all).await.done();
    assert_eq!(reached["users"], 2);
    for listener in [&mut first, &mut second, &mut other] {
        let heard = listener.hears().await;
        assert!(heard.ends_with("\n\n\"all\""), "{heard}");
    }
    let bad = json!({"queue": "a/*", "data": 1});
    api.post("/api/v1/users/bob/messages", &key("publish"), &bad).await.refused(422, "bad-destination");
    api.post("/api/v1/users:broadcast", &key("publish"), &bad).await.refused(422, "bad-destination");
    api.post("/api/v1/users/bob/messages", &key("presence"), &sent).await.refused(403, "forbidden");
}

#[tokio::test]
async fn presence_is_listed_page_by_page_and_counted_and_requests_make_nobody_present() {
    let api = Api::start();
    let mut sessions = Vec::new();
    for n in 0..25 {
        sessions.push(api.user(&format!("user {n}"), &[]).await);
    }
    sessions.push(api.user("user 0", &[]).await);
    let read = |path: String| {
        let api = &api;
        async move { api.get(&path, &key("presence")).await.done() }
    };
    assert_eq!(read("/api/v1/presence/count".into()).await, json!({"users": 25, "sessions": 26}));
    let (mut users, mut path) = (Vec::new(), "/api/v1/presence/users?limit=4".to_owned());
    loop {
        let page = read(path).await;
        assert_eq!(page["count"], 25);
        let listed = page["users"].as_array().unwrap();
        assert!(listed.len() <= 4, "{page}");
        users.extend(listed.iter().map(|user| user.as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/presence/users?limit=4&after={next}");
    }
    users.sort_unstable();
    let mut expected: Vec<_> = (0..25).map(|n| format!("user {n}")).collect();
    expected.sort_unstable();
    assert_eq!(users, expected);
    for wrong in ["limit=0", "limit=1001", "limit=x", "after=zz", "after=", "other=1"] {
        let path = format!("/api/v1/presence/users?{wrong}");
        api.get(&path, &key("presence")).await.refused(400, "bad-content");
    }
    api.get("/api/v1/presence/users", &key("publish")).await.refused(403, "forbidden");
    api.get("/api/v1/presence/count", "").await.refused(401, "unauthorized");
}

#[tokio::test]
async fn what_is_known_of_a_user_is_told() {
    let api = Api::start();
    let mut alice = api.user("alice", &["42", "43"]).await;
    alice.subscribes("/topic/chat/42", "").await;
    alice.says("SEND\ndestination:/app/user/status\nreceipt:s\n\naway\0").await;
    while !alice.hears().await.starts_with("RECEIPT\n") {}
    let chat = json!({"type": "TEXT", "content": "x"});
    api.put("/api/v1/rooms/43/members/alice", &key("rooms")).await.done();
    for _ in 0..3 {
        api.post("/api/v1/rooms/43/messages", &key("rooms"), &chat).await.done();
    }
    let known = api.get("/api/v1/users/alice", &key("presence")).await.done();
    assert_eq!(
        (&known["online"], &known["status"], &known["unread"]),
        (&json!(true), &json!("away"), &json!(3))
    );
    assert_eq!(known["sessions"][0]["destinations"], json!(["/topic/chat/42"]));
    let mut rooms = known["rooms"].as_array().unwrap().clone();
    rooms.sort_by_key(|room| room["chatRoomId"].as_str().unwrap().to_owned());
    assert_eq!(
        rooms,
        [
            json!({"chatRoomId": "42", "present": true, "enrolled": true, "unread": 0}),
            json!({"chatRoomId": "43", "present": false, "enrolled": true, "unread": 3}),
        ]
    );
    let unknown = api.get("/api/v1/users/nobody", &key("presence")).await.done();
    assert_eq!((&unknown["online"], &unknown["status"]), (&json!(false), &json!("offline")));
    api.get("/api/v1/users/alice", &key("publish")).await.refused(403, "forbidden");
    api.get(&format!("/api/v1/users/{}", "x".repeat(257)), &key("presence"))
        .await
        .refused(422, "bad-destination");
}

#[tokio::test]
async fn a_disconnected_user_reads_why() {
    let api = Api::start();
    let (mut alice, mut bob) = (api.user("alice", &[]).await, api.user("bob", &[]).await);
    let why = json!({"reason": "you have moved"});
    api.post("/api/v1/users/alice/disconnect", &key("publish"), &why).await.refused(403, "forbidden");
    let ended = api.post("/api/v1/users/alice/disconnect", &key("admin"), &why).await.done();
    assert_eq!(ended, json!({"sessions": 1}));
    let error = alice.hears().await;
    assert!(error.starts_with("ERROR\n") && error.contains("message:you have moved\n"), "{error}");
    assert!(error.contains("error-code:kicked\n"), "{error}");
    bob.subscribes("/user/queue/a", "").await;
    let ended = api.ask("POST", "/api/v1/users/alice/disconnect", &key("admin"), "").await.done();
    assert_eq!(ended, json!({"sessions": 0}));
    let revoke = json!({"revoke": true});
    let ended = api.post("/api/v1/users/bob/disconnect", &key("admin"), &revoke).await.done();
    assert_eq!(ended, json!({"sessions": 1}));
    let error = loop {
        let frame = bob.hears().await;
        if frame.starts_with("ERROR\n") {
            break frame;
        }
    };
    assert!(error.contains("error-code:token-revoked\n") || error.contains("error-code:kicked\n"), "{error}");
    // What he had is good no more, at any door.
    api.get("/api/v1/rooms/42/messages", &api.token("bob", &["42"])).await.refused(401, "token-revoked");
}
