//! Tokens that are revoked: on one instance, after its restart, and on several that share a Redis.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::Broker;
use crate::redis::RedisServer;

/// A directory with a configuration of which all instances are.
struct Place {
    dir: tempfile::TempDir,
    config: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("stompede.toml");
        std::fs::write(&config, "[jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\n").unwrap();
        Self { dir, config }
    }

    /// A broker with files of its own.
    fn start(&self, name: &str, more: &[&str]) -> Broker {
        let directory = self.dir.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let config = ["--config", path(&self.config)];
        Broker::start(&directory, &[&config, more].concat())
    }

    fn token(&self, user: &str, more: &[&str]) -> String {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stompede"));
        command.args(["token", "--sub", user, "--config", path(&self.config)]).args(more);
        let output = command.env_clear().output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn revoke(&self, broker: &Broker, what: &[&str]) {
        let operator = self.token("operator", &["--service"]);
        let output = broker.run(&[&["admin", "revoke", "--token", &operator], what].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.starts_with("revoked until "), "{output:?}");
    }
}

/// A client that has sent its CONNECT.
struct Session(TcpStream);

impl Session {
    fn open(broker: &Broker, token: &str) -> Self {
        let mut stream = TcpStream::connect(&broker.stomp).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let connect = format!("CONNECT\naccept-version:1.2\nhost:/\nAuthorization:Bearer {token}\n\n\0");
        stream.write_all(connect.as_bytes()).unwrap();
        Self(stream)
    }

    /// A client that was let in.
    fn signed_in(broker: &Broker, token: &str) -> Self {
        let mut session = Self::open(broker, token);
        let answer = session.frame();
        assert!(answer.starts_with("CONNECTED"), "{answer}");
        session
    }

    fn frame(&mut self) -> String {
        let mut frame = Vec::new();
        let mut byte = [0];
        loop {
            self.0.read_exact(&mut byte).unwrap();
            match byte[0] {
                0 => return String::from_utf8(frame).unwrap().trim_start().to_owned(),
                byte => frame.push(byte),
            }
        }
    }

    fn ends_by_revocation(mut self) {
        let answer = self.frame();
        assert!(answer.starts_with("ERROR") && answer.contains("error-code:token-revoked"), "{answer}");
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0, "the connection is closed");
    }

    fn goes_on(&mut self) {
        self.0.write_all(b"SUBSCRIBE\nid:1\ndestination:/user/queue/a\nreceipt:r\n\n\0").unwrap();
        let answer = self.frame();
        assert!(answer.starts_with("RECEIPT"), "{answer}");
    }
}

fn is_refused(broker: &Broker, token: &str) -> bool {
    let answer = Session::open(broker, token).frame();
    assert!(answer.starts_with("CONNECTED") || answer.contains("error-code:token-revoked"), "{answer}");
    answer.starts_with("ERROR")
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_is_revoked_ends_sessions_on_all_instances_and_lets_nobody_in_on_any() {
    let (place, redis) = (Place::new(), RedisServer::start());
    let shared = ["--redis", &redis.url()];
    let (one, other) = (place.start("one", &shared), place.start("other", &shared));
    let named = place.token("alice", &["--claim", "jti=a1"]);
    let spared = place.token("alice", &["--claim", "jti=a2"]);
    let bob = place.token("bob", &[]);
    let (mine, theirs) = (Session::signed_in(&one, &named), Session::signed_in(&other, &named));
    let mut still = Session::signed_in(&other, &spared);
    let bobs = Session::signed_in(&other, &bob);
    place.revoke(&one, &["--jti", "a1"]);
    let begun = Instant::now();
    mine.ends_by_revocation();
    theirs.ends_by_revocation();
    assert!(begun.elapsed() < EVERYWHERE, "{:?}", begun.elapsed());
    assert!(is_refused(&one, &named) && is_refused(&other, &named));
    place.revoke(&one, &["--user", "bob"]);
    let begun = Instant::now();
    bobs.ends_by_revocation();
    assert!(begun.elapsed() < EVERYWHERE, "{:?}", begun.elapsed());
    assert!(is_refused(&other, &bob));
    // Who signs in again has a token that was issued later.
    let begun = Instant::now();
    while is_refused(&other, &place.token("bob", &[])) {
        assert!(begun.elapsed() < DEADLINE, "bob never comes back");
        std::thread::sleep(Duration::from_millis(50));
    }
    // An instance that begins later knows it too, within the same time.
    let later = place.start("later", &shared);
    let begun = Instant::now();
    while !(is_refused(&later, &named) && is_refused(&later, &bob)) {
        assert!(begun.elapsed() < EVERYWHERE, "the new instance knows nothing of it");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!is_refused(&later, &spared));
    still.goes_on();
}

#[test]
fn everything_that_was_issued_before_a_time_is_revoked_and_stays_so_after_a_restart() {
    let place = Place::new();
    let data = place.dir.path().join("data");
    let kept = ["--data", path(&data)];
    let one = place.start("one", &kept);
    let old = place.token("alice", &[]);
    let session = Session::signed_in(&one, &old);
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // The token of whoever orders it is issued as well: only what is later goes on.
    place.revoke(&one, &["--issued-before", &(now_s + 1).to_string()]);
    session.ends_by_revocation();
    assert!(is_refused(&one, &old));
    one.stop();
    let again = place.start("again", &kept);
    assert!(is_refused(&again, &old));
    let begun = Instant::now();
    while is_refused(&again, &place.token("alice", &[])) {
        assert!(begun.elapsed() < DEADLINE, "nobody gets in again");
        std::thread::sleep(Duration::from_millis(50));
    }
    again.stop();
}

#[test]
fn only_a_service_revokes_and_only_what_it_names() {
    let place = Place::new();
    let broker = place.start("one", &[]);
    let user = place.token("alice", &[]);
    let output = broker.run(&["admin", "revoke", "--token", &user, "--jti", "a1"]);
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("service"), "{output:?}");
    let service = place.token("operator", &["--service"]);
    for (what, part) in [
        (&[][..], "issued-before"),
        (&["--jti", "1", "--user", "bob"], "cannot be used with"),
        (&["--issued-before", "99999999999"], "future"),
        (&["--jti", "1", "--until", "7"], "past"),
    ] {
        let output = broker.run(&[&["admin", "revoke", "--token", &service], what].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(part), "{what:?}: {said}");
    }
    assert!(!is_refused(&broker, &user));
}

/// Within this a revocation holds on all instances that reach the store.
const EVERYWHERE: Duration = Duration::from_secs(5);

/// For what must happen, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(20);
