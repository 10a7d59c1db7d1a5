//! Keys that issuers publish: real tokens, a real HTTP server, and everything that it may do wrong.

mod issuer;

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::served::{DEADLINE, Served, configured, frame};
use issuer::{ISSUER, Issuer, Key, Serves, claims};

fn serving(issuer: &Issuer, more: Value) -> Served {
    let mut jwt = json!({"jwks_url": issuer.url, "issuer": ISSUER, "audience": "stompede"});
    if let Value::Object(more) = more {
        jwt.as_object_mut().unwrap().extend(more);
    }
    Served::start(configured(
        json!({"jwt": jwt, "limits": {"address_connections_max": 0, "user_connections_max": 0}}),
    ))
}

/// The answer to a CONNECT with this token.
async fn connect(server: &Served, token: &str) -> String {
    let mut stream = server.connect().await;
    let connect = format!("CONNECT\naccept-version:1.2\nhost:/\nAuthorization:Bearer {token}\n\n\0");
    stream.write_all(connect.as_bytes()).await.unwrap();
    frame(&mut stream).await
}

/// Comes again until the answer is the one.
async fn connect_until(server: &Served, token: &str, wanted: &str) {
    let begun = Instant::now();
    loop {
        let answer = connect(server, token).await;
        if answer.contains(wanted) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{answer}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A server that knows the old key, and an issuer that has published a new one since.
struct Rotated {
    old: Key,
    new: Key,
    issuer: Issuer,
    server: Served,
}

impl Rotated {
    async fn start() -> Self {
        let (old, new) = (Key::rsa("old"), Key::p256("new"));
        let issuer = Issuer::start(Serves::keys(&[&old])).await;
        let server = serving(&issuer, json!({}));
        connect_until(&server, &old.token("alice"), "CONNECTED").await;
        issuer.serve(Serves::keys(&[&old, &new]));
        Self { old, new, issuer, server }
    }
}

async fn ready(server: &Served) -> String {
    server.get("/readyz").await
}

#[tokio::test]
async fn a_token_of_a_published_key_signs_in() {
    let (rsa, ec) = (Key::rsa("r"), Key::p256("e"));
    let issuer = Issuer::start(Serves::keys(&[&rsa, &ec])).await;
    let server = serving(&issuer, json!({}));
    for key in [&rsa, &ec] {
        let answer = connect(&server, &key.token("alice")).await;
        assert!(answer.starts_with("CONNECTED") && answer.contains("user-name:alice"), "{answer}");
    }
    assert!(ready(&server).await.contains(" 200 "));
    // One of its kind needs no name.
    assert!(connect(&server, &rsa.sign(&claims("bob"), None)).await.starts_with("CONNECTED"));
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_key_verifies_what_it_is_published_for_and_nothing_else() {
    let (rsa, mut any) = (Key::rsa("r"), Key::rsa("any"));
    any.published.as_object_mut().unwrap().remove("alg");
    let mut encrypts = Key::rsa("enc");
    encrypts.published["use"] = "enc".into();
    let issuer = Issuer::start(Serves::keys(&[&rsa, &any, &encrypts])).await;
    let server = serving(&issuer, json!({"algorithms": ["RS256", "PS256"]}));
    let refused = async |token: &str, part: &str| {
        let answer = connect(&server, token).await;
        assert!(answer.contains("error-code:unauthorized") && answer.contains(part), "{part}: {answer}");
    };
    let signed = |key: &Key, algorithm, kid: &str| {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &claims("eve"), &key.signs).unwrap()
    };
    assert!(connect(&server, &signed(&any, Algorithm::PS256, "any")).await.starts_with("CONNECTED"));
    refused(&signed(&rsa, Algorithm::PS256, "r"), "algorithm").await;
    refused(&signed(&any, Algorithm::RS512, "any"), "algorithm").await;
    refused(&signed(&any, Algorithm::RS256, "r"), "signature").await;
    refused(&rsa.sign(&claims("eve"), None), "kid").await;
    // The oldest of tricks: what everybody can read as a secret.
    for secret in [rsa.published["n"].as_str().unwrap().to_owned(), rsa.published.to_string()] {
        let header = Header { kid: Some("r".to_owned()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(secret.as_bytes());
        refused(&jsonwebtoken::encode(&header, &claims("eve"), &key).unwrap(), "algorithm").await;
    }
    // `{"alg":"none","kid":"r"}`
    let claims_of_a_good_one = rsa.token("eve").split('.').nth(1).unwrap().to_owned();
    refused(&format!("eyJhbGciOiJub25lIiwia2lkIjoiciJ9.{claims_of_a_good_one}."), "").await;
    for (claim, value) in
        [("iss", json!("https://evil.example")), ("aud", json!("others")), ("exp", json!(null))]
    {
        let mut claims = claims("eve");
        claims[claim] = value;
        refused(&rsa.sign(&claims, Some("r")), claim).await;
    }
    // None of them was worth a look.
    assert_eq!(issuer.asked(), 1);
    refused(&signed(&encrypts, Algorithm::RS256, "enc"), "kid").await;
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_who_show_it_and_made_up_ones_do_not_hammer_the_issuer() {
    let Rotated { old, new, issuer, server } = Rotated::start().await;
    let begun = Instant::now();
    // For a while no other fetch follows the first one. All come together, again and again, until it does.
    let token = new.token("bob");
    loop {
        let all = futures_util::future::join_all((0..32).map(|_| connect(&server, &token))).await;
        let connected = all.iter().filter(|answer| answer.starts_with("CONNECTED")).count();
        // Some of them may have come a moment before it was allowed.
        let early = all.iter().filter(|answer| answer.contains("error-code:unauthorized")).count();
        assert_eq!(connected + early, all.len(), "{all:?}");
        if connected > 0 {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "never fetched");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(issuer.asked(), 2);
    let begun = Instant::now();
    for number in 0..200 {
        let answer = connect(&server, &old.sign(&claims("eve"), Some(&format!("made-up-{number}")))).await;
        assert!(answer.contains("error-code:unauthorized"), "{answer}");
    }
    let allowed = 1 + begun.elapsed().as_secs() as usize / 5;
    assert!(issuer.asked() <= 2 + allowed, "{} requests", issuer.asked());
    assert!(connect(&server, &old.token("alice")).await.starts_with("CONNECTED"));
}

/// The head and the beginning of the answer to who asks for a stream with this token.
async fn stream(server: &Served, token: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(server.ports.http).await.unwrap();
    let request =
        format!("GET /sse?destination=/user/queue/m&token={token} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let (mut answer, mut chunk) = (String::new(), [0; 4_096]);
    while !["connected", "retry:", "\"code\""].iter().any(|word| answer.contains(word)) {
        let count = tokio::time::timeout(DEADLINE, socket.read(&mut chunk))
            .await
            .expect("an answer in time")
            .unwrap();
        assert!(count > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    answer
}

#[tokio::test]
async fn a_stream_with_a_token_of_a_new_key_is_put_off_until_the_key_is_there() {
    let Rotated { old, new, issuer, server } = Rotated::start().await;
    // So soon after the last look there is no other one.
    sleep(Duration::from_millis(5_100)).await;
    let token = new.token("alice");
    let put_off = stream(&server, &token).await;
    assert!(put_off.starts_with("HTTP/1.1 200 ") && put_off.contains("retry: 1000"), "{put_off}");
    let begun = Instant::now();
    while !stream(&server, &token).await.contains("connected") {
        assert!(begun.elapsed() < DEADLINE, "the key does not come");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(issuer.asked(), 2);
    // What nobody has published is refused for good, or browsers would come for ever.
    let refused = stream(&server, &old.sign(&claims("eve"), Some("made-up"))).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
}

#[tokio::test]
async fn an_issuer_that_fails_is_told_honestly_and_what_was_good_stays_good() {
    let key = Key::rsa("r");
    let oct = json!({"kty": "oct", "kid": "r", "alg": "HS256", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"});
    let aims = Issuer::start(Serves::keys(&[&key])).await;
    let bad = [
        ("500", Serves::Status(500)),
        ("no JSON object", Serves::Bytes(b"<html>sign in</html>".to_vec())),
        ("more than 524288 bytes", Serves::Bytes(vec![b' '; 10 << 20])),
        ("can verify", Serves::json(&json!({"keys": [oct]}))),
        ("101 keys", Serves::json(&json!({"keys": vec![key.published.clone(); 101]}))),
        ("302", Serves::Redirect(aims.url.clone())),
        ("within 5000 ms", Serves::Silence),
    ];
    let issuer = Issuer::start(Serves::Status(503)).await;
    let server = serving(&issuer, json!({"jwks_refresh_s": 1}));
    let token = key.token("alice");
    for (part, serves) in &bad {
        issuer.serve(serves.clone());
        let begun = Instant::now();
        loop {
            let answer = connect(&server, &token).await;
            assert!(
                answer.contains("error-code:unavailable") && answer.contains("retry"),
                "{part}: {answer}"
            );
            let ready = ready(&server).await;
            assert!(ready.contains(" 503 "), "{ready}");
            if ready.contains(part) {
                break;
            }
            assert!(begun.elapsed() < DEADLINE, "{part}: {ready}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    issuer.serve(Serves::keys(&[&key]));
    connect_until(&server, &token, "CONNECTED").await;
    assert!(ready(&server).await.contains(" 200 "));
    let unknown = key.sign(&claims("bob"), Some("other"));
    for (part, serves) in &bad {
        issuer.serve(serves.clone());
        // Nobody can say whether it is good.
        connect_until(&server, &unknown, "error-code:unavailable").await;
        let asked = issuer.asked();
        let begun = Instant::now();
        while issuer.asked() < asked + 2 {
            assert!(connect(&server, &token).await.starts_with("CONNECTED"), "{part}");
            assert!(begun.elapsed() < DEADLINE, "{part}: it is not asked again");
            sleep(Duration::from_millis(20)).await;
        }
        assert!(ready(&server).await.contains(" 200 "), "{part}");
    }
    assert_eq!(aims.asked(), 0, "a redirect was followed");
}

#[tokio::test]
async fn a_key_that_is_withdrawn_lets_nobody_in_after_the_next_refresh() {
    let (old, new) = (Key::rsa("old"), Key::rsa("new"));
    let issuer = Issuer::start(Serves::keys(&[&old])).await;
    let server = serving(&issuer, json!({"jwks_refresh_s": 1}));
    connect_until(&server, &old.token("alice"), "CONNECTED").await;
    issuer.serve(Serves::keys(&[&new]));
    connect_until(&server, &old.token("alice"), "error-code:unauthorized").await;
    connect_until(&server, &new.token("alice"), "CONNECTED").await;
}

#[tokio::test]
async fn each_issuer_has_its_own_keys_audience_and_users() {
    let (shop, staff) = (Key::rsa("same"), Key::rsa("same"));
    let (shops, staffs) =
        (Issuer::start(Serves::keys(&[&shop])).await, Issuer::start(Serves::keys(&[&staff])).await);
    let provider = json!([{
        "issuer": "https://staff.example/", "jwks_url": staffs.url, "required_claims": {"client.id": "desk"},
        "user_claim": "name", "user_prefix": "staff:"
    }]);
    let more = json!({"provider": provider, "role_claims": ["realm_access.roles"]});
    let server = serving(&shops, more);
    connect_until(&server, &shop.token("alice"), "user-name:alice").await;
    let mut of_staff = claims("7");
    of_staff.as_object_mut().unwrap().extend(
        json!({"iss": "https://staff.example/", "aud": "other", "name": "alice", "client": {"id": ["desk"]}})
            .as_object()
            .unwrap()
            .clone(),
    );
    connect_until(&server, &staff.sign(&of_staff, Some("same")), "user-name:staff:alice").await;
    // The one's key says nothing of the other's tokens, though both have the same name.
    for (key, claims) in [(&shop, &of_staff), (&staff, &claims("alice"))] {
        let answer = connect(&server, &key.sign(claims, Some("same"))).await;
        assert!(answer.contains("error-code:unauthorized") && answer.contains("signature"), "{answer}");
    }
    of_staff["client"]["id"] = json!("kiosk");
    let answer = connect(&server, &staff.sign(&of_staff, Some("same"))).await;
    assert!(answer.contains("error-code:unauthorized") && answer.contains("client.id"), "{answer}");
}

#[tokio::test]
async fn a_session_is_refreshed_by_a_token_of_a_key_that_is_new() {
    let Rotated { old, new, issuer, server } = Rotated::start().await;
    let begun = Instant::now();
    loop {
        let mut stream = server.connect().await;
        let token = old.token("alice");
        let connect = format!("CONNECT\naccept-version:1.2\nhost:/\nAuthorization:Bearer {token}\n\n\0");
        stream.write_all(connect.as_bytes()).await.unwrap();
        assert!(frame(&mut stream).await.starts_with("CONNECTED"));
        let asked = issuer.asked();
        let fresh = format!("SEND\ndestination:/app/auth/refresh\nreceipt:r\n\n{}\0", new.token("alice"));
        stream.write_all(fresh.as_bytes()).await.unwrap();
        let answer = frame(&mut stream).await;
        if answer.starts_with("RECEIPT") {
            assert_eq!(issuer.asked(), asked + 1, "it waited for the new key");
            break;
        }
        // The last fetch is too fresh for another one.
        assert!(answer.contains("error-code:unauthorized"), "{answer}");
        assert!(begun.elapsed() < DEADLINE, "never fetched");
        sleep(Duration::from_millis(50)).await;
    }
}
