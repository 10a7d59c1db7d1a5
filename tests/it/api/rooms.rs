//! Rooms over HTTP, for backends and for users.

use serde_json::{Value, json};

use super::{Api, key};

fn contents(page: &Value) -> Vec<&str> {
    page["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|said| said["message"]["content"].as_str().unwrap())
        .collect()
}

fn say(content: &str) -> Value {
    json!({"type": "TEXT", "content": content})
}

#[tokio::test]
async fn a_user_says_reads_and_sees_what_he_may_over_stomp_and_no_more() {
    let api = Api::start();
    let (alice, eve) = (api.token("alice", &["42"]), api.token("eve", &["7"]));
    let mut bob = api.user("bob", &["42"]).await;
    bob.subscribes("/topic/chat/42", "").await;
    let said = api.post("/api/v1/rooms/42/messages", &alice, &say("hello")).await.done();
    let heard = bob.hears_message().await;
    for part in ["\"senderId\":\"alice\"", "\"content\":\"hello\"", said["messageId"].as_str().unwrap()] {
        assert!(heard.contains(part), "{part}: {heard}");
    }
    assert!(
        heard.contains(&format!("stompede-position:{}\n", said["position"].as_str().unwrap())),
        "{heard}"
    );
    assert_eq!(contents(&api.get("/api/v1/rooms/42/messages", &alice).await.done()), ["hello"]);
    let members = api.get("/api/v1/rooms/42/members", &alice).await.done();
    assert_eq!(members["present"], json!([{"userId": "bob", "status": "online"}]));
    assert_eq!((&members["enrolled"], &members["presentCount"]), (&json!(["bob"]), &json!(1)));
    for path in ["/api/v1/rooms/42/messages", "/api/v1/rooms/42/members"] {
        api.get(path, &eve).await.refused(403, "forbidden");
        api.get(path, "").await.refused(401, "unauthorized");
        api.get(path, &key("publish")).await.refused(403, "forbidden");
    }
    api.post("/api/v1/rooms/42/messages", &eve, &say("x")).await.refused(403, "forbidden");
    let system = json!({"type": "SYSTEM", "content": "x"});
    api.post("/api/v1/rooms/42/messages", &alice, &system).await.refused(403, "forbidden");
    api.post("/api/v1/rooms/42/messages", &key("rooms"), &system).await.done();
    api.post("/api/v1/rooms/42/messages", &alice, &json!({})).await.refused(400, "bad-content");
    api.post("/api/v1/rooms/a%2Fb/messages", &key("rooms"), &say("x")).await.refused(422, "bad-destination");
    api.get("/api/v1/rooms/a*/messages", &key("rooms")).await.refused(422, "bad-destination");
    assert_eq!(api.get("/api/v1/presence/count", &key("presence")).await.done()["users"], 1, "bob alone");
}

#[tokio::test]
async fn history_is_read_in_both_directions_without_a_hole_or_a_double() {
    let api = Api::start();
    for n in 0..10 {
        api.post("/api/v1/rooms/42/messages", &key("rooms"), &say(&n.to_string())).await.done();
    }
    let read = |query: String| {
        let api = &api;
        async move { api.get(&format!("/api/v1/rooms/42/messages?{query}"), &key("rooms")).await.done() }
    };
    let newest = read("limit=3".into()).await;
    assert_eq!((contents(&newest), &newest["more"]), (vec!["7", "8", "9"], &json!(true)));
    let mut first = newest["messages"][0]["position"].as_str().unwrap().to_owned();
    for (expected, more) in [(vec!["4", "5", "6"], true), (vec!["1", "2", "3"], true), (vec!["0"], false)] {
        let page = read(format!("limit=3&before={first}")).await;
        assert_eq!((contents(&page), &page["more"]), (expected, &json!(more)), "{page}");
        first = page["messages"][0]["position"].as_str().unwrap().to_owned();
    }
    let mut after = first;
    for (expected, more) in [(vec!["1", "2", "3", "4", "5"], true), (vec!["6", "7", "8", "9"], false)] {
        let page = read(format!("limit=5&since={after}")).await;
        assert_eq!((contents(&page), &page["more"]), (expected, &json!(more)), "{page}");
        after = page["end"].as_str().unwrap().to_owned();
    }
    let nothing = read(format!("since={after}")).await;
    assert_eq!((contents(&nothing), &nothing["recovered"]), (vec![], &json!(true)));
    let strange = read("since=00000000000000ab-7".into()).await;
    assert_eq!((contents(&strange), &strange["recovered"]), (vec![], &json!(false)));
    let strange = read("before=00000000000000ab-7".into()).await;
    assert_eq!((contents(&strange), &strange["recovered"]), (vec![], &json!(false)));
    for wrong in ["since=x", "limit=0", "since=00000000000000ab-7&before=00000000000000ab-7", "x=1"] {
        let path = format!("/api/v1/rooms/42/messages?{wrong}");
        api.get(&path, &key("rooms")).await.refused(400, "bad-content");
    }
}

#[tokio::test]
async fn members_are_enrolled_and_removed() {
    let api = Api::start();
    let change = |method: &'static str, user: &'static str, credential: String| {
        let api = &api;
        async move { api.ask(method, &format!("/api/v1/rooms/42/members/{user}"), &credential, "").await }
    };
    for (user, changed) in [("alice", true), ("alice", false), ("bob", true)] {
        assert_eq!(change("PUT", user, key("rooms")).await.done(), json!({"changed": changed}));
    }
    let mut alice = api.user("alice", &["42"]).await;
    alice.subscribes("/user/queue/errors", "").await;
    alice.subscribes("/topic/chat/42", "").await;
    let members = api.get("/api/v1/rooms/42/members", &key("rooms")).await.done();
    assert_eq!((&members["enrolled"], &members["enrolledCount"]), (&json!(["alice", "bob"]), &json!(2)));
    assert_eq!(members["present"], json!([{"userId": "alice", "status": "online"}]));
    assert_eq!(change("DELETE", "alice", key("rooms")).await.done(), json!({"changed": true}));
    let refusal = alice.hears_message().await;
    assert!(refusal.contains("/user/queue/errors") && refusal.contains("forbidden"), "{refusal}");
    let members = api.get("/api/v1/rooms/42/members", &key("rooms")).await.done();
    assert_eq!((&members["enrolled"], &members["presentCount"]), (&json!(["bob"]), &json!(0)));
    assert_eq!(change("DELETE", "alice", key("rooms")).await.done(), json!({"changed": false}));
    let bob = api.token("bob", &["42"]);
    change("DELETE", "alice", bob.clone()).await.refused(403, "forbidden");
    change("PUT", "alice", bob.clone()).await.refused(403, "forbidden");
    assert_eq!(change("DELETE", "bob", bob).await.done(), json!({"changed": true}));
    change("PUT", "bob", api.token("bob", &[])).await.refused(403, "forbidden");
    change("PUT", "bob", key("publish")).await.refused(403, "forbidden");
}

#[tokio::test]
async fn members_come_page_by_page() {
    let api = Api::start();
    let mut present = Vec::new();
    for n in 0..5 {
        let mut user = api.user(&format!("p{n}"), &["42"]).await;
        user.subscribes("/topic/chat/42", "").await;
        present.push(user);
    }
    for n in 0..9 {
        api.put(&format!("/api/v1/rooms/42/members/e{n}"), &key("rooms")).await.done();
    }
    let (mut seen, mut enrolled, mut query) = (Vec::new(), Vec::new(), "limit=4".to_owned());
    loop {
        let page = api.get(&format!("/api/v1/rooms/42/members?{query}"), &key("rooms")).await.done();
        assert_eq!((&page["presentCount"], &page["enrolledCount"]), (&json!(5), &json!(14)));
        seen.extend(page["present"].as_array().unwrap().iter().map(|user| user["userId"].clone()));
        enrolled.extend(page["enrolled"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=4&after={next}");
    }
    assert_eq!(json!(seen), json!(["p0", "p1", "p2", "p3", "p4"]));
    assert_eq!(enrolled.len(), 14, "{enrolled:?}");
    let path = "/api/v1/rooms/42/members?after=00";
    api.get(path, &key("rooms")).await.refused(400, "bad-content");
}

#[tokio::test]
async fn rooms_are_listed_the_busiest_first() {
    let api = Api::start();
    let mut sessions = Vec::new();
    for (room, users) in [("a", 1), ("b", 3), ("c", 2), ("d", 1)] {
        for n in 0..users {
            let mut session = api.user(&format!("{room}{n}"), &[room]).await;
            session.subscribes(&format!("/topic/chat/{room}"), "").await;
            sessions.push(session);
        }
    }
    api.post("/api/v1/rooms/b/messages", &key("rooms"), &say("x")).await.done();
    let first = api.get("/api/v1/rooms?limit=3", &key("rooms")).await.done();
    let name = |room: &Value| room["chatRoomId"].as_str().unwrap().to_owned();
    let rooms = first["rooms"].as_array().unwrap();
    assert_eq!(rooms.iter().map(name).collect::<Vec<_>>(), ["b", "c", "a"]);
    assert_eq!((&rooms[0]["present"], &first["count"]), (&json!(3), &json!(4)));
    assert!(
        rooms[0]["lastMessageAt"].as_u64() > Some(0) && rooms[1].get("lastMessageAt").is_none(),
        "{first}"
    );
    let next = first["next"].as_str().unwrap();
    let second = api.get(&format!("/api/v1/rooms?limit=3&after={next}"), &key("rooms")).await.done();
    let rooms = second["rooms"].as_array().unwrap();
    assert_eq!(rooms.iter().map(name).collect::<Vec<_>>(), ["d"]);
    assert!(second.get("next").is_none(), "{second}");
    let own = api.get("/api/v1/rooms", &api.token("c9", &["c"])).await.done();
    assert_eq!(own["rooms"].as_array().unwrap().iter().map(name).collect::<Vec<_>>(), ["c"]);
    api.get("/api/v1/rooms?after=ff", &key("rooms")).await.refused(400, "bad-content");
    api.get("/api/v1/rooms", &key("queues")).await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_user_who_asks_too_much_is_told_to_wait() {
    let api = Api::with(json!({"limits": {"user_sends_per_second": 1, "sends_burst": 3}}));
    let alice = api.token("alice", &["42"]);
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(api.get("/api/v1/rooms/42/messages", &alice).await);
    }
    let refused = answers.into_iter().find(|answer| answer.status != 200).expect("a refusal");
    refused.refused(429, "rate-limited");
    api.get("/api/v1/rooms/42/messages", &api.token("bob", &["42"])).await.done();
}
