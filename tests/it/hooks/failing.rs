//! Backends that hang, fail and talk nonsense: nobody is let in by them, and nobody else waits for them.

use std::time::{Duration, Instant};

use serde_json::json;

use super::backend::{Backend, Says};
use super::{hooked, patient, send, subscribe, subscribes, told};
use crate::served::DEADLINE;

#[tokio::test]
async fn whatever_is_no_clear_word_is_a_no_that_passes() {
    let elsewhere = Backend::start(|_| Says::Json(json!({"allow": true}))).await;
    let target = elsewhere.url.clone();
    for says in [
        Says::Text("yes"),
        Says::Text(""),
        Says::Text("{}"),
        Says::Status(500),
        Says::Status(201),
        Says::Status(403),
        Says::Redirect(target),
        Says::Large(2 << 20),
        Says::Half,
        Says::Silence,
    ] {
        let backend = Backend::start(move |_| says.clone()).await;
        let mut hook = subscribes(&["/topic/**"]);
        hook["on"] = json!(["subscribe", "publish"]);
        hook["timeout_ms"] = json!(500);
        let api = hooked(&backend, hook);
        let mut alice = patient(&api, "alice", &[]).await;
        for frame in [subscribe("1", "/topic/a"), send("2", "/topic/a", "x")] {
            let refused = told(&mut alice, &frame).await;
            assert!(refused.contains("\"code\":\"unavailable\""), "{refused}");
            assert!(refused.contains("\"retryAfter\":"), "{refused}");
        }
        // The session goes on.
        assert!(told(&mut alice, &subscribe("3", "/user/queue/x")).await.starts_with("RECEIPT"));
    }
    assert!(elsewhere.asked().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn a_session_that_waits_for_a_word_delays_no_other() {
    let backend = Backend::start(|asked| match asked["user"].as_str() {
        Some("slow") => Says::Silence,
        _ => Says::Json(json!({"allow": true})),
    })
    .await;
    let mut hook = subscribes(&["/topic/**"]);
    hook["timeout_ms"] = json!(30_000);
    let api = hooked(&backend, hook);
    let mut slow = api.user("slow", &[]).await;
    slow.says(&subscribe("1", "/topic/a")).await;
    let begun = Instant::now();
    let mut alice = patient(&api, "alice", &[]).await;
    for id in 0..20 {
        assert!(told(&mut alice, &subscribe(&id.to_string(), "/topic/a")).await.starts_with("RECEIPT"));
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
    // Who leaves while he waits leaves nothing behind.
    drop(slow);
    drop(alice);
}

#[tokio::test]
async fn frames_of_one_session_take_effect_in_their_order_whatever_is_asked() {
    let backend = Backend::start(|_| Says::Json(json!({"allow": true}))).await;
    let mut hook = subscribes(&["/topic/asked"]);
    hook["on"] = json!(["subscribe", "publish"]);
    let api = hooked(&backend, hook);
    let mut alice = patient(&api, "alice", &["1"]).await;
    let sends: String = (0..20).map(|n| send(&format!("s{n}"), "/topic/asked", &n.to_string())).collect();
    let unsubscribe = "UNSUBSCRIBE\nid:sub\nreceipt:u\n\n\0";
    alice
        .says(&format!(
            "{}{sends}{unsubscribe}{}",
            subscribe("sub", "/topic/asked"),
            send("z", "/topic/asked", "late")
        ))
        .await;
    let (mut receipts, mut bodies) = (Vec::new(), Vec::new());
    while receipts.last().is_none_or(|last| last != "z") {
        let heard = alice.hears().await;
        match heard.strip_prefix("RECEIPT\nreceipt-id:") {
            Some(rest) => receipts.push(rest.lines().next().unwrap().to_owned()),
            None => bodies.push(heard.rsplit('\n').next().unwrap().to_owned()),
        }
    }
    let mut expected: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    expected.insert(0, "sub".to_owned());
    expected.extend(["u".to_owned(), "z".to_owned()]);
    assert_eq!(receipts, expected);
    // The last one may be on its way when UNSUBSCRIBE takes effect; what was sent behind that is not.
    let all: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert!(all.starts_with(&bodies) && bodies.len() >= 19, "{bodies:?}");
}

#[tokio::test]
async fn a_backend_that_keeps_failing_is_left_alone_until_it_answers_again() {
    let backend = Backend::start(|_| Says::Status(500)).await;
    let api = hooked(&backend, subscribes(&["/topic/**"]));
    let mut alice = patient(&api, "alice", &[]).await;
    let admin = api.served.ports.admin.unwrap().to_string();
    let metric = |name: &'static str| {
        let admin = admin.clone();
        async move {
            tokio::task::spawn_blocking(move || crate::metrics::Scrape::of(&admin).value(name)).await.unwrap()
        }
    };
    for id in 0..20 {
        let refused = told(&mut alice, &subscribe(&id.to_string(), "/topic/a")).await;
        assert!(refused.contains("\"code\":\"unavailable\""), "{refused}");
    }
    assert_eq!(backend.asked().len(), 5);
    assert_eq!(metric("stompede_hook_open{hook=\"test\"}").await, 1.0);
    assert_eq!(metric("stompede_hook_calls_total{hook=\"test\",outcome=\"failed\"}").await, 5.0);
    assert_eq!(metric("stompede_hook_calls_total{hook=\"test\",outcome=\"rejected\"}").await, 15.0);
    backend.answers(|_| Says::Json(json!({"allow": true})));
    let begun = Instant::now();
    let mut id = 100;
    while !told(&mut alice, &subscribe(&id.to_string(), "/topic/a")).await.starts_with("RECEIPT") {
        assert!(begun.elapsed() < DEADLINE, "it is left alone for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
        id += 1;
    }
    assert_eq!(metric("stompede_hook_open{hook=\"test\"}").await, 0.0);
    assert!(metric("stompede_hook_seconds_count{hook=\"test\"}").await >= 6.0);
}

#[tokio::test]
async fn no_more_ask_at_once_than_may_and_no_more_wait() {
    let backend = Backend::start(|_| Says::Silence).await;
    let mut hook = subscribes(&["/topic/**"]);
    (hook["concurrency"], hook["waiting_max"], hook["timeout_ms"]) = (json!(2), json!(3), json!(2_000));
    let api = hooked(&backend, hook);
    let mut sessions = Vec::new();
    for n in 0..10 {
        sessions.push(patient(&api, &format!("user-{n}"), &[]).await);
    }
    for session in &mut sessions {
        session.says(&subscribe("1", "/topic/a")).await;
    }
    for session in &mut sessions {
        assert!(session.hears().await.contains("\"code\":\"unavailable\""));
    }
    let admin = api.served.ports.admin.unwrap().to_string();
    let scrape = tokio::task::spawn_blocking(move || crate::metrics::Scrape::of(&admin)).await.unwrap();
    let ended = |outcome: &str| {
        scrape.value(&format!("stompede_hook_calls_total{{hook=\"test\",outcome=\"{outcome}\"}}"))
    };
    // Two asked, three waited, and the other five were told at once.
    assert!(ended("overloaded") >= 5.0 && backend.asked().len() <= 5);
    assert_eq!(ended("overloaded") + ended("failed"), 10.0);
}
