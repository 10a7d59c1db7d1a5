//! `stompede smoke` against brokers that work, and brokers that do not.

use std::process::Output;

use crate::process::Broker;

/// What was printed, and the exit code.
fn said(output: &Output) -> (String, i32) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.code().unwrap())
}

/// The results of the checks, which are all there, in their order.
fn only(text: &str) -> Vec<&str> {
    let lines = text.lines().take(CHECKS.len());
    let told = lines.map(|line| line.split_once(char::is_whitespace).unwrap_or_default());
    let of_checks = told.zip(CHECKS).map(|((result, rest), check)| {
        assert!(rest.trim_start().starts_with(check), "{text}");
        result
    });
    of_checks.collect()
}

const CHECKS: [&str; 7] = ["health", "token", "room", "send", "receive", "history", "presence"];

#[test]
fn a_good_broker_passes_every_check_by_every_door() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let doors = [format!("ws://{}/ws", broker.http), format!("stomp://{}", broker.stomp)];
    for url in doors {
        let (text, code) = said(&Broker::command_at(&url, &["smoke"]).output().unwrap());
        assert_eq!((only(&text), code), (vec!["ok"; 7], 0), "{text}");
        assert!(text.contains("7 checks passed in "), "{text}");
        assert!(text.lines().take(7).all(|line| line.contains(" ms  ")), "how long each took: {text}");
    }
}

#[test]
fn over_tls_and_with_a_token_of_a_user_a_broker_passes() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("stompede.toml");
    std::fs::write(&config, "[jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--tls-self-signed"];
    let broker = Broker::start(directory.path(), &arguments);
    let token = |room: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stompede"));
        command.args(["token", "--sub", "probe", "--room", room, "--config", config.to_str().unwrap()]);
        String::from_utf8(command.env_clear().output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let url = format!("wss://{}/ws", broker.http);
    let smoke = |token: &str, more: &[&str]| {
        let arguments = [&["smoke", "--insecure", "--token", token][..], more].concat();
        said(&Broker::command_at(&url, &arguments).output().unwrap())
    };
    let (text, code) = smoke(&token("42"), &["--room", "42"]);
    assert_eq!((only(&text), code), (vec!["ok"; 7], 0), "{text}");
    assert!(text.contains("accepted as probe"), "{text}");

    let (text, code) = smoke(&token("42"), &["--room", "43"]);
    assert_eq!((only(&text), code), (vec!["ok", "ok", "FAILED", "-", "-", "-", "-"], 1), "{text}");
    assert!(text.contains("forbidden"), "{text}");

    let (text, code) = smoke("e30.e30.e30", &[]);
    assert_eq!((only(&text), code), (vec!["ok", "FAILED", "-", "-", "-", "-", "-"], 1), "{text}");
    assert!(text.contains("unauthorized"), "{text}");

    let (text, code) = said(&Broker::command_at(&url, &["smoke"]).output().unwrap());
    assert_eq!(code, 1, "nobody vouches for that certificate: {text}");
}

#[test]
fn where_nobody_listens_it_says_so_at_once() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("ws://127.0.0.1:{port}/ws");
    let (text, code) = said(&Broker::command_at(&url, &["smoke"]).output().unwrap());
    assert_eq!((only(&text), code), (vec!["FAILED", "FAILED", "-", "-", "-", "-", "-"], 1), "{text}");
    assert!(text.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{text}");
    assert!(text.contains("2 failed, 0 passed, 5 not tried"), "{text}");
}

#[test]
fn where_somebody_else_listens_who_says_nothing_it_gives_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", silent.local_addr().unwrap());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stompede"));
    command.args(["smoke", "--url", &url, "--timeout", "1"]).env_clear();
    let begin = std::time::Instant::now();
    let (text, code) = said(&command.output().unwrap());
    assert_eq!((only(&text), code), (vec!["FAILED", "FAILED", "-", "-", "-", "-", "-"], 1), "{text}");
    assert!(begin.elapsed() < crate::served::DEADLINE, "{text}");
}

#[test]
fn where_a_room_keeps_nothing_it_says_so_unless_that_is_meant() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("stompede.toml");
    let rule = "[[destination]]\npattern = \"/topic/chat/**\"\nhistory = { messages_max = 0 }\n";
    std::fs::write(&config, rule).unwrap();
    let broker = Broker::start(directory.path(), &["--config", config.to_str().unwrap()]);
    let url = format!("ws://{}/ws", broker.http);
    let (text, code) = said(&Broker::command_at(&url, &["smoke"]).output().unwrap());
    assert_eq!((only(&text), code), (vec!["ok", "ok", "ok", "ok", "ok", "FAILED", "-"], 1), "{text}");
    assert!(text.contains("keeps no messages"), "{text}");
    let (text, code) = said(&Broker::command_at(&url, &["smoke", "--skip", "history"]).output().unwrap());
    assert_eq!((only(&text), code), (vec!["ok", "ok", "ok", "ok", "ok", "skipped", "ok"], 0), "{text}");
}
