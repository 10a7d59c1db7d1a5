//! Who is let in, and whom we let in.

use std::path::PathBuf;
use std::sync::Arc;

use redis::Value;
use rustls::{ClientConfig, RootCertStore};

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
    assert!(why.contains("refuses EVALSHA"), "{why}");
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
    let papers = Papers::new();
    let server = RedisServer::start_tls(&papers.certificate, &papers.key, &[]);
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let options = Options::parse(&url).unwrap();
    appends_one(&papers.trusted_by(&options));
    let said = checked(&options).unwrap_err().to_string();
    assert!(said.starts_with("redis.ca_file: "), "{said}");
    let said = checked(&Papers::new().trusted_by(&options)).unwrap_err().to_string();
    assert!(said.contains("certificate"), "{said}");
}

#[test]
fn a_cluster_is_spoken_to_over_tls() {
    let papers = Papers::new();
    let server = RedisServer::start_tls_cluster(&papers.certificate, &papers.key);
    let options = Options::parse(&format!("rediss+cluster://127.0.0.1:{}", server.port())).unwrap();
    appends_one(&papers.trusted_by(&options));
}

#[test]
fn sentinels_and_their_primary_are_spoken_to_over_tls() {
    let papers = Papers::new();
    let server = RedisServer::start_tls(&papers.certificate, &papers.key, &[]);
    let sentinel = RedisServer::sentinel_tls_of(&server, &papers.certificate, &papers.key);
    let options = Options::parse(&format!("rediss+sentinel://127.0.0.1:{}/main", sentinel.port())).unwrap();
    appends_one(&papers.trusted_by(&options));
}

/// A certificate that vouches for itself, and its key.
struct Papers {
    der: rustls::pki_types::CertificateDer<'static>,
    certificate: PathBuf,
    key: PathBuf,
    _folder: tempfile::TempDir,
}

impl Papers {
    fn new() -> Self {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { der: made.cert.der().clone(), certificate, key, _folder: folder }
    }

    fn trusted_by(&self, options: &Options) -> Options {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        options.clone().trust(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

/// Both connections come about.
fn appends_one(options: &Options) {
    checked(options).unwrap();
    let driven = Driven::open(options, Arc::new(Memory::default()));
    driven.wait_healthy();
    let list = keys(options).single(Partition(1), "list");
    assert_eq!(driven.run(&APPEND, Partition(1), &[&list], &["x"]), Ok(Value::Int(1)));
}
