//! Hooks: real backends that answer well, badly or not at all.

mod backend;
mod example;
mod failing;
mod grants;
mod notices;
mod stand_in;

use serde_json::{Value, json};

use crate::api::Api;
use backend::{Backend, Says};

/// A server with one hook.
fn hooked(backend: &Backend, hook: Value) -> Api {
    Api::with(json!({"hook": [backend.hook(hook)]}))
}

fn subscribes(patterns: &[&str]) -> Value {
    json!({"on": ["subscribe"], "patterns": patterns})
}

/// What a session hears of a frame that has a receipt: RECEIPT or ERROR.
async fn told(stomp: &mut crate::api::Stomp, frame: &str) -> String {
    stomp.says(frame).await;
    stomp.hears().await
}

fn subscribe(id: &str, destination: &str) -> String {
    format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\nreceipt:{id}\n\n\0")
}

fn send(id: &str, destination: &str, body: &str) -> String {
    format!("SEND\ndestination:{destination}\nreceipt:{id}\n\n{body}\0")
}

/// The headers of a session that goes on where it is refused.
async fn patient(api: &Api, user: &str, rooms: &[&str]) -> crate::api::Stomp {
    let mut stomp = api.user(user, rooms).await;
    let heard = told(&mut stomp, &subscribe("errors", "/user/queue/errors")).await;
    assert!(heard.starts_with("RECEIPT"), "{heard}");
    stomp
}

#[tokio::test]
async fn a_backend_lets_in_where_rules_leave_it_open() {
    let backend = Backend::start(|asked| match asked["destination"].as_str() {
        Some("/topic/orders/1") => Says::Json(json!({"allow": true})),
        _ => Says::Json(json!({"allow": false, "message": "not yours"})),
    })
    .await;
    let api = hooked(&backend, subscribes(&["/topic/orders/**"]));
    let mut alice = patient(&api, "alice", &[]).await;
    assert!(told(&mut alice, &subscribe("1", "/topic/orders/1")).await.starts_with("RECEIPT"));
    let refused = told(&mut alice, &subscribe("2", "/topic/orders/2")).await;
    assert!(refused.contains("\"code\":\"forbidden\"") && refused.contains("not yours"), "{refused}");
    assert!(refused.contains("/topic/orders/2") && refused.contains("\"receiptId\":\"2\""), "{refused}");
    // What no hook is about is denied without a question.
    assert!(told(&mut alice, &subscribe("3", "/topic/other")).await.contains("\"code\":\"forbidden\""));
    let mut service = api.service().await;
    assert!(told(&mut service, &send("s", "/topic/orders/1", "hello")).await.starts_with("RECEIPT"));
    assert!(alice.hears_message().await.ends_with("hello"));
    let asked = backend.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let first = &asked[0];
    assert_eq!((&first["version"], &first["event"]), (&json!(1), &json!("subscribe")));
    assert_eq!((&first["user"], &first["role"]), (&json!("alice"), &json!("user")));
    assert_eq!(first["id"].as_str().unwrap().len(), 32);
    assert!(first["timestamp"].as_u64().unwrap() > 1_600_000_000_000);
    assert!(!first["session"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_room_is_open_to_those_with_the_claim_and_to_whom_the_backend_allows_it() {
    let backend = Backend::start(|asked| Says::Json(json!({"allow": asked["user"] == "bob"}))).await;
    let api = hooked(
        &backend,
        json!({"on": ["subscribe", "publish"], "patterns": ["/topic/chat/*", "/app/chat/**"]}),
    );
    let mut alice = patient(&api, "alice", &["42"]).await;
    alice.subscribes("/topic/chat/42", "").await;
    assert_eq!(backend.asked().len(), 0, "the claim is enough");
    let mut bob = patient(&api, "bob", &[]).await;
    bob.subscribes("/topic/chat/42", "stompede-history:10\n").await;
    // He is present, may read what was said and may speak.
    while !alice.hears().await.contains("\"userId\":\"bob\"") {}
    let said = send("x", "/app/chat/42/send", r#"{"type":"TEXT","content":"hi"}"#);
    bob.says(&said).await;
    assert!(alice.hears_message().await.contains("\"content\":\"hi\""));
    let mut carol = patient(&api, "carol", &[]).await;
    assert!(told(&mut carol, &subscribe("1", "/topic/chat/42")).await.contains("\"code\":\"forbidden\""));
    assert!(told(&mut carol, &said).await.contains("\"code\":\"forbidden\""));
}

#[tokio::test]
async fn requests_are_signed_over_their_time_and_body() {
    let backend = Backend::start(|_| Says::Json(json!({"allow": true}))).await;
    let api = hooked(&backend, subscribes(&["/topic/**"]));
    let mut alice = patient(&api, "alice", &[]).await;
    assert!(told(&mut alice, &subscribe("1", "/topic/a")).await.starts_with("RECEIPT"));
    let signed = backend.signed();
    let expected = backend::signature(&signed.timestamp, &signed.body);
    assert_eq!(signed.signature, expected);
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now_s - signed.timestamp.parse::<u64>().unwrap() < 60);
    assert_eq!(signed.content_type, "application/json");
}

#[tokio::test]
async fn a_published_message_is_let_through_changed_or_refused() {
    let backend = Backend::start(|asked| match asked["body"].as_str() {
        Some("rude") => Says::Json(json!({"allow": false, "code": "bad-content", "message": "be nice"})),
        Some("change") => Says::Json(json!({"allow": true, "body": "changed", "headers": {"mood": "good"}})),
        Some("json") => Says::Json(json!({"allow": true, "json": {"a": 1}})),
        Some("grow") => Says::Json(json!({"allow": true, "body": "x".repeat(2_000)})),
        _ => Says::Json(json!({"allow": true})),
    })
    .await;
    let hook = backend.hook(json!({"on": ["publish"], "patterns": ["/topic/wall"]}));
    let api = Api::with(json!({"hook": [hook], "limits": {"body_bytes_max": 1_000}}));
    let mut reader = api.service().await;
    reader.subscribes("/topic/wall", "").await;
    let mut alice = patient(&api, "alice", &[]).await;
    for (id, body) in [("1", "plain"), ("2", "change"), ("4", "json")] {
        let frame = format!("SEND\ndestination:/topic/wall\nreceipt:{id}\nmood:bad\n\n{body}\0");
        assert!(told(&mut alice, &frame).await.starts_with("RECEIPT"), "{body}");
    }
    let refused = told(&mut alice, &send("3", "/topic/wall", "rude")).await;
    assert!(refused.contains("\"code\":\"bad-content\"") && refused.contains("be nice"), "{refused}");
    // What a client could not send, a backend cannot make of it.
    let refused = told(&mut alice, &send("6", "/topic/wall", "grow")).await;
    assert!(refused.contains("\"code\":\"unavailable\""), "{refused}");
    let heard = [reader.hears_message().await, reader.hears_message().await, reader.hears_message().await];
    assert!(heard[0].ends_with("plain") && heard[0].contains("mood:bad"), "{heard:?}");
    assert!(
        heard[1].ends_with("changed") && heard[1].contains("mood:good") && !heard[1].contains("mood:bad")
    );
    assert!(heard[2].ends_with("{\"a\":1}") && heard[2].contains("content-type:application/json"));
    assert!(heard.iter().all(|heard| heard.contains("user-name:alice")), "{heard:?}");
    let asked = &backend.asked()[0];
    assert_eq!((&asked["body"], &asked["headers"]["mood"]), (&json!("plain"), &json!("bad")));
    // A service is the backend's own: it is not asked about.
    reader.says(&send("5", "/topic/wall", "rude")).await;
    let heard = [reader.hears().await, reader.hears().await];
    assert!(heard.iter().any(|heard| heard.starts_with("MESSAGE") && heard.ends_with("rude")), "{heard:?}");
}

#[tokio::test]
async fn a_hook_may_want_to_hear_of_what_rules_allow() {
    let backend = Backend::start(|asked| Says::Json(json!({"allow": asked["body"] != "rude"}))).await;
    let api = hooked(&backend, json!({"on": ["publish"], "patterns": ["/app/notes"], "ask": "always"}));
    let mut worker = api.service().await;
    worker.subscribes("/app/notes", "").await;
    let mut alice = patient(&api, "alice", &[]).await;
    assert!(told(&mut alice, &send("1", "/app/notes", "rude")).await.contains("\"code\":\"forbidden\""));
    assert!(told(&mut alice, &send("2", "/app/notes", "kind")).await.starts_with("RECEIPT"));
    assert!(worker.hears_message().await.ends_with("kind"));
}

#[tokio::test]
async fn a_transaction_with_a_refused_message_has_no_effect_and_one_that_is_allowed_has_all() {
    let backend = Backend::start(|asked| Says::Json(json!({"allow": asked["body"] != "no"}))).await;
    let api = hooked(&backend, json!({"on": ["publish"], "patterns": ["/topic/**"]}));
    let mut reader = api.service().await;
    reader.subscribes("/topic/*", "").await;
    let mut alice = patient(&api, "alice", &[]).await;
    let transaction = |id: &str, bodies: &[&str]| {
        let sends: String = bodies
            .iter()
            .map(|body| format!("SEND\ndestination:/topic/a\ntransaction:{id}\n\n{body}\0"))
            .collect();
        format!("BEGIN\ntransaction:{id}\n\n\0{sends}COMMIT\ntransaction:{id}\nreceipt:{id}\n\n\0")
    };
    assert!(told(&mut alice, &transaction("1", &["a", "no", "b"])).await.contains("\"code\":\"forbidden\""));
    assert!(told(&mut alice, &transaction("2", &["c", "d", "e"])).await.starts_with("RECEIPT"));
    for body in ["c", "d", "e"] {
        assert!(reader.hears_message().await.ends_with(body));
    }
}

#[tokio::test]
async fn answers_are_kept_for_as_long_as_both_allow_and_until_their_user_is_sent_away() {
    let backend = Backend::start(|asked| {
        let ttl_ms = if asked["destination"] == "/topic/short" { json!(0) } else { json!(3_600_000) };
        Says::Json(json!({"allow": true, "ttlMs": ttl_ms}))
    })
    .await;
    let mut hook = subscribes(&["/topic/**"]);
    hook["cache_ttl_ms"] = json!(60_000);
    let api = hooked(&backend, hook);
    let mut alice = patient(&api, "alice", &[]).await;
    for (id, destination, asked) in
        [("1", "/topic/a", 1), ("2", "/topic/a", 1), ("3", "/topic/short", 2), ("4", "/topic/short", 3)]
    {
        assert!(told(&mut alice, &subscribe(id, destination)).await.starts_with("RECEIPT"));
        assert_eq!(backend.asked().len(), asked, "{destination}");
    }
    let mut bob = patient(&api, "bob", &[]).await;
    assert!(told(&mut bob, &subscribe("1", "/topic/a")).await.starts_with("RECEIPT"));
    assert_eq!(backend.asked().len(), 4, "what was said of alice is not said of bob");
    let path = "/api/v1/users/alice/disconnect";
    api.post(path, &crate::api::key("admin"), &json!({})).await.done();
    let mut alice = patient(&api, "alice", &[]).await;
    assert!(told(&mut alice, &subscribe("1", "/topic/a")).await.starts_with("RECEIPT"));
    assert_eq!(backend.asked().len(), 5, "asked anew");
    assert!(told(&mut bob, &subscribe("2", "/topic/a")).await.starts_with("RECEIPT"));
    assert_eq!(backend.asked().len(), 5, "bob was not sent away");
}

#[tokio::test]
async fn a_backend_may_say_no_to_a_session_or_more_of_who_it_is() {
    let backend = Backend::start(|asked| match asked["user"].as_str() {
        Some("eve") => {
            Says::Json(json!({"allow": false, "code": "unauthorized", "message": "you are banned"}))
        }
        _ => Says::Json(json!({"allow": true, "claims": {"rooms": ["7"]}})),
    })
    .await;
    let api = hooked(&backend, json!({"on": ["connect"], "headers": ["x-device"]}));
    let mut alice = api.user("alice", &[]).await;
    alice.subscribes("/topic/chat/7", "").await;
    let refused = connect(&api, &format!("Authorization:Bearer {}\n", api.token("eve", &[]))).await;
    assert!(refused.contains("error-code:unauthorized") && refused.contains("you are banned"), "{refused}");
    let token = api.token("bob", &[]);
    let headers = format!("Authorization:Bearer {token}\nx-device:phone\nx-other:secret\n");
    assert!(connect(&api, &headers).await.starts_with("CONNECTED"));
    let asked = backend.asked();
    let last = asked.last().unwrap();
    assert_eq!(
        (&last["event"], &last["user"], &last["headers"]),
        (&json!("connect"), &json!("bob"), &json!({"x-device": "phone"}))
    );
    assert!(asked.iter().all(|asked| asked.get("credentials").is_none()), "{asked:?}");
    // Who shows nothing that is good is refused before anybody is asked.
    let before = backend.asked().len();
    assert!(connect(&api, "Authorization:Bearer x.y.z\n").await.contains("unauthorized"));
    // A service is not asked about.
    api.service().await;
    assert_eq!(backend.asked().len(), before);
}

async fn connect(api: &Api, headers: &str) -> String {
    use tokio::io::AsyncWriteExt;
    let mut stream = api.served.connect().await;
    let frame = format!("CONNECT\naccept-version:1.2\nhost:/\n{headers}\n\0");
    stream.write_all(frame.as_bytes()).await.unwrap();
    crate::served::frame(&mut stream).await
}

#[tokio::test]
async fn a_backend_may_say_who_it_is_in_place_of_tokens() {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let backend = Backend::start(move |asked| match asked["credentials"]["passcode"].as_str() {
        Some("open sesame") => Says::Json(json!({"allow": true, "user": "ali", "expires": now_s + 600})),
        Some("expired") => Says::Json(json!({"allow": true, "user": "ali", "expires": now_s - 1})),
        Some("worker") => Says::Json(json!({"allow": true, "user": "w", "role": "service"})),
        _ => Says::Json(json!({"allow": false, "code": "unauthorized"})),
    })
    .await;
    let api = hooked(&backend, json!({"on": ["connect"], "authenticates": true}));
    let heard = connect(&api, "login:x\npasscode:open sesame\n").await;
    assert!(heard.starts_with("CONNECTED") && heard.contains("user-name:ali"), "{heard}");
    assert!(connect(&api, "login:x\npasscode:worker\n").await.contains("user-name:w"));
    assert!(connect(&api, "login:x\npasscode:wrong\n").await.contains("error-code:unauthorized"));
    // Not even a good token is looked at.
    let token = api.token("alice", &[]);
    assert!(connect(&api, &format!("Authorization:Bearer {token}\n")).await.contains("unauthorized"));
    assert!(
        backend.asked().last().unwrap()["credentials"]["authorization"].as_str().unwrap().ends_with(&token)
    );
    let heard = connect(&api, "login:x\npasscode:expired\n").await;
    assert!(heard.contains("token-expired") || heard.starts_with("CONNECTED"), "{heard}");
}

#[tokio::test]
async fn a_backend_answers_in_place_of_the_application() {
    let backend = Backend::start(|asked| {
        let text = asked["body"].as_str().unwrap_or_default();
        Says::Json(json!({
            "reply": {"json": {"you": asked["user"], "said": text}},
            "publish": [{"destination": "/topic/log", "body": format!("{}:{text}", asked["user"].as_str().unwrap())}],
        }))
    })
    .await;
    let api = hooked(&backend, json!({"on": ["message"], "patterns": ["/app/calc/**"]}));
    let mut reader = api.service().await;
    reader.subscribes("/topic/log", "").await;
    let mut alice = patient(&api, "alice", &[]).await;
    let frame = "SEND\ndestination:/app/calc/add\nreply-to:/temp-queue/r\nreceipt:1\n\n1+1\0";
    alice.says(frame).await;
    let heard = [alice.hears().await, alice.hears().await];
    assert!(heard.iter().any(|heard| heard.starts_with("RECEIPT")), "{heard:?}");
    let answer = heard.iter().find(|heard| heard.starts_with("MESSAGE")).unwrap();
    assert!(answer.contains(r#""said":"1+1""#) && answer.contains(r#""you":"alice""#), "{answer}");
    assert!(reader.hears_message().await.ends_with("alice:1+1"));
    // A request by SUBSCRIBE is answered, too.
    alice.says(&subscribe("q", "/app/calc/all")).await;
    let heard = [alice.hears().await, alice.hears().await];
    assert!(
        heard.iter().any(|heard| heard.starts_with("MESSAGE") && heard.contains("subscription:q")),
        "{heard:?}"
    );
    assert!(reader.hears_message().await.ends_with("alice:"));
    let asked = backend.asked();
    assert_eq!((&asked[0]["event"], &asked[0]["destination"]), (&json!("message"), &json!("/app/calc/add")));
    assert_eq!(asked[1]["headers"]["command"], "SUBSCRIBE");
}

#[tokio::test]
async fn hooks_hold_at_the_other_doors() {
    let backend = Backend::start(|asked| {
        let is_good =
            asked["user"] != "eve" && asked["body"].as_str().is_none_or(|body| !body.contains("rude"));
        Says::Json(json!({"allow": is_good}))
    })
    .await;
    let hook = json!({"on": ["subscribe", "publish"], "patterns": ["/topic/chat/*", "/app/chat/*/send", "/topic/news"]});
    let api = hooked(&backend, hook);
    // HTTP, as a user.
    let said = |content: &str| json!({"type": "TEXT", "content": content});
    let path = "/api/v1/rooms/9/messages";
    api.post(path, &api.token("bob", &[]), &said("hello")).await.done();
    api.post(path, &api.token("bob", &[]), &said("rude")).await.refused(403, "forbidden");
    api.post(path, &api.token("eve", &[]), &said("hello")).await.refused(403, "forbidden");
    api.get(path, &api.token("bob", &[])).await.done();
    api.get(path, &api.token("eve", &[])).await.refused(403, "forbidden");
    // Server-sent events.
    let stream = |user: &str| {
        let token = api.token(user, &[]);
        let address = api.served.ports.http;
        async move { first_events(address, &format!("/sse?destination=/topic/news&token={token}")).await }
    };
    assert!(stream("bob").await.contains("event: connected"));
    let refused = stream("eve").await;
    assert!(refused.contains("event: closed") && refused.contains("forbidden"), "{refused}");
    // A program in the same process.
    let handle = api.served.broker.connect(stompede::model::Principal::user("eve")).await.unwrap();
    let refused = handle.subscribe("/topic/news").await.unwrap_err();
    assert_eq!(refused.reason.code(), "forbidden");
    let handle = api.served.broker.connect(stompede::model::Principal::user("bob")).await.unwrap();
    handle.subscribe("/topic/news").await.unwrap();
}

/// What a stream says until its first event is complete.
async fn first_events(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut said = String::new();
    let read = async {
        while !(said.contains("event: ") && said.ends_with("\n\n")) {
            let mut bytes = vec![0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "{said}");
            said.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    };
    tokio::time::timeout(crate::served::DEADLINE, read).await.expect("an event in time");
    said
}

#[tokio::test]
async fn who_was_let_in_stays_when_his_token_is_refreshed_and_who_loses_a_claim_does_not() {
    let backend =
        Backend::start(|asked| Says::Json(json!({"allow": asked["destination"] == "/topic/orders/1"}))).await;
    let mut hook = subscribes(&["/topic/orders/*"]);
    hook["cache_ttl_ms"] = json!(1);
    let api = hooked(&backend, hook);
    let mut bob = patient(&api, "bob", &["1"]).await;
    assert!(told(&mut bob, &subscribe("1", "/topic/orders/1")).await.starts_with("RECEIPT"));
    let fresh = api.token("bob", &["1"]);
    assert!(told(&mut bob, &send("fresh", "/app/auth/refresh", &fresh)).await.starts_with("RECEIPT"));
    let mut service = api.service().await;
    assert!(told(&mut service, &send("s", "/topic/orders/1", "still")).await.starts_with("RECEIPT"));
    assert!(bob.hears_message().await.ends_with("still"));
    assert_eq!(backend.asked().len(), 1, "a token is no affair of the backend's");
    bob.subscribes("/topic/chat/1", "").await;
    bob.says(&send("less", "/app/auth/refresh", &api.token("bob", &[]))).await;
    while !bob.hears().await.contains("error-code:forbidden") {}
}
