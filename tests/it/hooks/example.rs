//! The example of a backend, as a process, with the configuration of the README.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::{patient, send, subscribe, told};
use crate::api::{Api, key};

struct Example {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Example {
    fn start(secret: &str) -> (Self, String) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hook.mjs");
        let mut child = Command::new("node")
            .args([script, "--secret", secret])
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed");
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut example = Self { child, output };
        let line = example.line();
        let url = line.split("hooks on ").nth(1).unwrap_or_else(|| panic!("{line}")).trim().to_owned();
        (example, url)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `[[hook]]` of the README.
fn configured() -> Value {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let text = readme.split("```").find(|text| text.contains("[[hook]]")).expect("the README has a hook");
    let config: stompede::server::Config = toml::from_str(text.trim_start_matches("toml\n")).unwrap();
    let hook = &config.hook[0];
    let secret = hook.secret.as_ref().unwrap().expose();
    json!({"name": hook.name, "on": hook.on, "patterns": hook.patterns, "ask": hook.ask, "secret": secret})
}

#[tokio::test]
async fn the_example_decides_and_is_told_and_takes_nothing_from_strangers() {
    let mut hook = configured();
    let (mut example, url) = Example::start(hook["secret"].as_str().unwrap());
    hook["url"] = json!(url);
    let api = Api::with(json!({"hook": [hook.clone()]}));
    let mut alice = patient(&api, "alice", &["1"]).await;
    assert!(told(&mut alice, &subscribe("1", "/topic/orders/alice/7")).await.starts_with("RECEIPT"));
    assert!(
        told(&mut alice, &subscribe("2", "/topic/orders/bob/7")).await.contains("\"code\":\"forbidden\"")
    );
    let said = |content: &str| format!(r#"{{"type":"TEXT","content":"{content}"}}"#);
    assert!(told(&mut alice, &send("3", "/app/chat/1/send", &said("darn"))).await.contains("be nice"));
    assert!(told(&mut alice, &send("4", "/app/chat/1/send", &said("hello"))).await.starts_with("RECEIPT"));
    alice.says("SEND\ndestination:/app/add\nreply-to:/temp-queue/r\n\n1+2+39\0").await;
    assert!(alice.hears_message().await.ends_with(r#"{"sum":42}"#));
    api.post("/api/v1/users/bob/messages", &key("publish"), &json!({"data": 1})).await.done();
    let (example, line) =
        tokio::task::spawn_blocking(move || (example.line(), example)).await.map(|(l, e)| (e, l)).unwrap();
    assert!(line.starts_with("push ") && line.contains("to bob"), "{line}");
    // With another secret every question is turned away.
    hook["secret"] = json!("another secret of thirty-two bytes and more");
    let stranger = Api::with(json!({"hook": [hook]}));
    let mut eve = patient(&stranger, "eve", &[]).await;
    assert!(
        told(&mut eve, &subscribe("1", "/topic/orders/eve/7")).await.contains("\"code\":\"unavailable\"")
    );
    drop(example);
}
