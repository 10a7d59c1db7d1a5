//! A whole broker as a process, and the shell's own clients against it.

use std::process::{Child, Command, Output};

use serde_json::Value;

use crate::process::Broker;

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Reads a child's standard error up to the line that says it is subscribed.
fn subscribed(child: &mut Child) {
    use std::io::BufRead;
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let found = lines.any(|line| line.unwrap().contains("subscribed to"));
    assert!(found, "the subscription was refused");
}

#[test]
fn what_is_published_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let mut listener = broker.command(&["sub", "/topic/a/*", "--count", "2", "--json"]).spawn().unwrap();
    subscribed(&mut listener);
    for body in ["one", "two"] {
        let sent = broker.run(&["pub", "/topic/a/b", body, "--login", "alice", "--passcode", "guest"]);
        assert!(sent.status.success(), "{}", err(&sent));
    }
    let output = listener.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = lines.iter().map(|line| (&line["destination"], &line["body"])).collect();
    assert_eq!(seen, [(&"/topic/a/b".into(), &"one".into()), (&"/topic/a/b".into(), &"two".into())]);
    assert!(lines.iter().all(|line| line["headers"]["user-name"] == "alice"));
}

#[test]
fn every_door_leads_to_the_same_broker() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &["--tls-self-signed"]);
    let mut listener = broker.command(&["sub", "/topic/a", "--count", "3"]).spawn().unwrap();
    subscribed(&mut listener);
    let doors = [
        ("plain", format!("stomp://{}", broker.stomp)),
        ("tls", format!("stomps://{}", broker.stomp_tls)),
        ("websocket", format!("wss://{}/ws", broker.http)),
    ];
    for (body, url) in &doors {
        let sent = Broker::command_at(url, &["pub", "/topic/a", body, "--insecure"]).output().unwrap();
        assert!(sent.status.success(), "{url}: {}", err(&sent));
    }
    assert_eq!(listener.wait_with_output().unwrap().stdout, b"plain\ntls\nwebsocket\n");
    let own = Broker::command_at(&doors[1].1, &["pub", "/topic/a", "x"]).output().unwrap();
    assert_eq!(own.status.code().map(|code| code > 0), Some(true), "nobody vouches for that certificate");
    drop(broker);
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let url = format!("ws://{}/ws", broker.http);
    let sent = Broker::command_at(&url, &["pub", "/topic/a", "x"]).output().unwrap();
    assert!(sent.status.success(), "{url}: {}", err(&sent));
}

#[test]
fn a_configured_broker_takes_its_tokens_and_accounts_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("stompede.toml");
    let hash = stompede::policy::accounts::hash_passcode("R1ght-passcode", [3; 16]).unwrap();
    let account =
        format!("[[account]]\nlogin = \"backend\"\npasscode_hash = \"{hash}\"\nrole = \"service\"\n");
    let jwt = "[jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\n";
    std::fs::write(&config, format!("{jwt}{account}")).unwrap();
    let config = config.to_str().unwrap();
    let broker = Broker::start(directory.path(), &["--config", config]);
    let token = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stompede"));
        let output =
            command.args(["token", "--config", config]).args(arguments).env_clear().output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let alice = token(&["--sub", "alice", "--room", "42"]);
    let publish = |who: &[&str], destination: &str| {
        let output =
            broker.run(&[&["pub", destination, "{\"type\":\"TEXT\",\"content\":\"x\"}"], who].concat());
        (output.status.code().unwrap(), err(&output))
    };
    let cases = [
        (vec!["--token", &*alice], "/app/chat/42/send", None),
        (vec!["--token", &*alice], "/app/chat/43/send", Some("forbidden")),
        (vec!["--token", &*alice], "/topic/news", Some("forbidden")),
        (vec!["--login", "backend", "--passcode", "R1ght-passcode"], "/topic/news", None),
        (vec!["--login", "backend", "--passcode", "Wr0ng-passcode"], "/topic/news", Some("unauthorized")),
        (vec!["--token", "Garb4ge"], "/topic/news", Some("unauthorized")),
        (vec![], "/topic/news", Some("unauthorized")),
    ];
    for (who, destination, refused) in cases {
        let (code, text) = publish(&who, destination);
        assert_eq!(code, i32::from(refused.is_some()), "{who:?} {destination}: {text}");
        assert!(text.contains(refused.unwrap_or_default()), "{who:?} {destination}: {text}");
    }
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    for secret in [&*alice, "R1ght", "Wr0ng", "Garb4ge", "0123456789abcdef"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_taken_port_is_told_with_port_flag_and_holder() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let port = broker.stomp.rsplit_once(':').unwrap().1;
    let mut second = Command::new(env!("CARGO_BIN_EXE_stompede"));
    let second = second
        .args(["--http-port", "0", "--stomp-port", port, "--admin-port", "0"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    for part in [port, "--stomp-port", &format!("process {}", broker.child.id())] {
        assert!(err(&second).contains(part), "{}", err(&second));
    }
}

#[test]
fn a_broker_ends_with_0_when_it_is_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let mut listener = broker.command(&["sub", "/topic/a"]).spawn().unwrap();
    subscribed(&mut listener);
    broker.stop();
    assert_eq!(listener.wait().unwrap().code(), Some(1));
}
