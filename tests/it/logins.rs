//! Many logins at once.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use stompede::model::CloseReason;
use stompede::policy::Credentials;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::served::{Served, configured, frame, login};

fn start() -> Served {
    Served::start(configured(json!({"workers": 1, "limits": {"address_connections_max": 0}})))
}

async fn ask(server: &Served, passcode: &str) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(login("backend", passcode).as_bytes()).await.unwrap();
    stream
}

/// How long an honest login takes; it comes again when it is told to.
async fn honest(server: &Served) -> Duration {
    let begin = Instant::now();
    loop {
        let answer = frame(&mut ask(server, "right").await).await;
        if answer.starts_with("CONNECTED") {
            return begin.elapsed();
        }
        assert!(answer.contains("error-code:unavailable"), "{answer}");
    }
}

#[tokio::test]
async fn wrong_logins_that_hang_up_do_not_delay_an_honest_one() {
    let server = start();
    let alone = honest(&server).await;
    for _ in 0..LOGINS {
        drop(ask(&server, "wrong").await);
    }
    let behind = honest(&server).await;
    // Each of them hashed, two at a time, would take half as many times.
    assert!(behind < alone * (LOGINS / 10), "{behind:?} behind {LOGINS} logins, alone {alone:?}");
}

#[tokio::test]
async fn too_many_logins_at_once_are_told_to_come_again() {
    let server = start();
    let mut logins = Vec::new();
    for _ in 0..LOGINS {
        logins.push(ask(&server, "wrong").await);
    }
    let answer = frame(logins.last_mut().unwrap()).await;
    assert!(answer.starts_with("ERROR") && answer.contains("error-code:unavailable"), "{answer}");
    let first = frame(&mut logins[0]).await;
    assert!(first.contains("error-code:unauthorized"), "{first}");
}

#[tokio::test]
async fn a_program_in_the_process_may_ask_who_it_is() {
    let server = start();
    let shown = |passcode: &str| Credentials {
        login: Some("backend".into()),
        passcode: Some(passcode.into()),
        ..Credentials::default()
    };
    assert!(server.broker.authenticate(shown("right"), 0).await.unwrap().is_service());
    let refused = server.broker.authenticate(shown("wrong"), 0).await.unwrap_err();
    assert_eq!(refused.reason, CloseReason::Unauthorized);
    let asked = (0..LOGINS).map(|_| server.broker.authenticate(shown("wrong"), 0));
    let mut answers: FuturesUnordered<_> = asked.collect();
    let first = answers.next().await.unwrap().unwrap_err();
    assert_eq!(first.reason, CloseReason::Unavailable, "any number may wait");
    // Nobody waits for the others any more.
    drop(answers);
    assert!(server.broker.authenticate(shown("right"), 0).await.is_ok());
}

const LOGINS: u32 = 150;
