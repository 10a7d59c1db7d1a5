//! Keys as operators make them, and the README's commands as they stand there.

use std::process::Command;

use serde_json::json;
use stompede::server::{Config, Server};

use super::{Api, key};

#[tokio::test]
async fn a_key_of_the_command_line_is_one_for_its_scopes() {
    let made = Command::new(env!("CARGO_BIN_EXE_stompede"))
        .args(["api-key", "--name", "shop", "--scope", "publish", "--scope", "presence"])
        .env_clear()
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (table, told) = (String::from_utf8(made.stdout).unwrap(), String::from_utf8(made.stderr).unwrap());
    let key = told.split_whitespace().find(|word| word.starts_with("stk_")).unwrap();
    assert!(!table.contains(key) && table.contains("scopes = [\"publish\", \"presence\"]"), "{table}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stompede.toml");
    std::fs::write(&file, &table).unwrap();
    let broker = crate::process::Broker::start(directory.path(), &["--config", file.to_str().unwrap()]);
    for (path, status) in [("presence/count", "200"), ("rooms", "403")] {
        let asked = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H"])
            .args([format!("Authorization: Bearer {key}"), format!("http://{}/api/v1/{path}", broker.http)])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&asked.stdout), status, "{path}");
    }
    broker.stop();
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(!log.contains(key), "{log}");
    let wrong = Command::new(env!("CARGO_BIN_EXE_stompede"))
        .args(["api-key", "--name", "shop", "--scope", "everything"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test]
async fn the_commands_of_the_readme_work_as_they_stand_there() {
    let api = Api::start();
    let mut alice = api.user("alice", &["42"]).await;
    alice.subscribes("/user/queue/messages", "").await;
    let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let commands = readme.split("```").find(|block| block.starts_with("sh\n") && block.contains("api()"));
    let commands = commands.unwrap().strip_prefix("sh\n").unwrap().to_owned();
    assert_eq!(commands.matches("\napi ").count(), 8, "{commands}");
    let url = format!("http://{}", api.served.ports.http);
    let run = move || {
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &commands])
            .env("KEY", key("all"))
            .env("URL", url)
            .output()
            .unwrap()
    };
    let done = tokio::task::spawn_blocking(run).await.unwrap();
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{told}\n{}", String::from_utf8_lossy(&done.stderr));
    for part in
        ["\"messageId\":", "\"position\":", "\"content\":\"Welcome\"", "\"changed\":true", "\"depth\":2"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let heard = alice.hears().await;
    assert!(heard.contains("\nevent:order-shipped\n") && heard.ends_with("\n\n{\"order\": 7}"), "{heard}");
}

#[tokio::test]
async fn development_mode_has_a_key_and_any_other_mode_has_none() {
    let ports = json!({"http_port": 0, "stomp_port": 0});
    let config: Config = serde_json::from_value(ports).unwrap();
    let running = Server::new(config).unwrap().start().unwrap();
    let key = running.trial_key().expect("a key").to_owned();
    let url = format!("http://{}/api/v1/presence/count", running.ports().http);
    let asked = move || {
        let header = format!("Authorization: Bearer {key}");
        Command::new("curl").args(["-s", "-H", &header, &url]).output().unwrap()
    };
    let told = tokio::task::spawn_blocking(asked).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout), "{\"users\":0,\"sessions\":0}");
    drop(running);
    let config = Config { http_port: 0, stomp_port: 0, ..Api::config(json!({})) };
    assert_eq!(Server::new(config).unwrap().start().unwrap().trial_key(), None);
}
