//! Who is let in, and whom we let in.

use std::sync::Arc;

use redis::Value;

use super::*;
use crate::backend::redis::link::check;

fn refusal(url: &str) -> String {
    let options = Options::parse(url).unwrap();
    checked(&options).expect_err("a refusal").to_string()
}

fn checked(options: &Options) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(check(options))
}

#[test]
fn a_good_server_and_one_that_is_not_there_are_accepted() {
    let mut server = RedisServer::start();
    let options = options(&server);
    checked(&options).unwrap();
    server.kill();
    checked(&options).unwrap();
}

#[test]
fn a_wrong_password_is_refused() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let url = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port());
    assert!(refusal(&url("")).contains("HELLO"));
    let said = refusal(&url(":wrong@"));
    assert!(said.contains("WRONGPASS") && !said.contains("wrong@"), "{said}");
    checked(&Options::parse(&url(":right@")).unwrap()).unwrap();
}

#[test]
fn a_user_who_may_not_all_that_is_needed_is_refused_naming_the_command() {
    let server = RedisServer::start();
    let user = ["ACL", "SETUSER", "broker", "on", ">pass", "~websocket:*", "&websocket:*", "+@all"];
    assert_eq!(server.cli(&user), "OK");
    let url = format!("redis://broker:pass@127.0.0.1:{}", server.port());
    let options = Options::parse(&url).unwrap();
    checked(&options).unwrap();
    for (rule, command) in [
        ("-ssubscribe", "SSUBSCRIBE"),
        ("-eval", "EVAL"),
        ("-evalsha", "EVALSHA"),
        ("-script", "SCRIPT"),
        ("-spublish", "SPUBLISH"),
        ("-info", "INFO"),
        ("resetchannels", "channel"),
    ] {
        server.cli(&["ACL", "SETUSER", "broker", rule]);
        let said = refusal(&url);
        assert!(said.contains(command), "{rule}: {said}");
        server.cli(&["ACL", "SETUSER", "broker", "+@all", "&websocket:*"]);
    }
    let ears = Arc::new(Memory::default());
    let driven = Driven::open(&options, ears);
    // What is taken away later is said by health, and comes back when it is given again.
    server.cli(&["ACL", "SETUSER", "broker", "-spublish"]);
    let why = driven.wait_unhealthy();
    assert!(why.contains("can't run this command"), "{why}");
    server.cli(&["ACL", "SETUSER", "broker", "+@all"]);
    driven.wait_healthy();
}

#[test]
fn a_server_that_may_throw_keys_away_is_refused_unless_that_is_accepted() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    let options = options(&server);
    let said = checked(&options).unwrap_err().to_string();
    assert!(said.contains("maxmemory-policy allkeys-lru"), "{said}");
    checked(&options.accept_eviction()).unwrap();
}

#[test]
fn a_cluster_is_not_taken_for_one_server_nor_the_other_way_round() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    assert!(refusal(&server.url()).contains("cluster mode"));
    let server = RedisServer::start();
    let said = refusal(&format!("redis+cluster://127.0.0.1:{}", server.port()));
    assert!(said.contains("CLUSTER"), "{said}");
}

#[test]
fn tls_is_spoken_with_whom_the_authority_vouches_for() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = RedisServer::start_tls(&certificate, &key);
    let options = Options::parse(&format!("rediss://127.0.0.1:{}", server.port())).unwrap();
    let trusted = options.clone().ca_file(certificate);
    checked(&trusted).unwrap();
    let driven = Driven::open(&trusted, Arc::new(Memory::default()));
    let list = keys(&trusted).single(Partition(1), "list");
    assert_eq!(driven.run(&APPEND, Partition(1), &[&list], &["x"]), Ok(Value::Int(1)));
    let said = checked(&options.clone().ca_file(key)).unwrap_err().to_string();
    assert!(said.starts_with("redis.ca_file: "), "{said}");
    let said = checked(&options).unwrap_err().to_string();
    assert!(said.contains("certificate"), "{said}");
}
