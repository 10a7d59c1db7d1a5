//! The adapters on Redis, each with a server of its own.

mod hand_over;
#[expect(dead_code, reason = "other tests use more of it, and the library's own")]
#[path = "../support/redis.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use server::RedisServer;
use stompede::backend::claims::CLAIM_MS;
use stompede::backend::redis::{NodeOptions, Options, Redis};
use stompede::backend::{
    Backend, Bus, Cursors, History, Holder, Kept, Memberships, Queues, Relay, Revocations, Wanted,
};
use stompede::model::{
    Address, Answer, DestinationRule, DestinationRules, Limits, Now, Pattern, Retention, Tokens,
};
use stompede_protocol::Millis;

use crate::claims::Claimant;
use crate::cursors::Devices;
use crate::revocations::{Revoker, bearer};
use crate::sink::Heard;
use crate::subject::Subject;

/// A node.
struct Node {
    redis: Arc<Redis>,
    thread: Option<JoinHandle<()>>,
}

/// A node of which nobody else knows.
struct Alone {
    node: Node,
    _server: RedisServer,
}

/// What a node has of Redis.
struct Stores {
    node: Alone,
    heard: Arc<Heard>,
    memberships: Arc<dyn Memberships>,
    queues: Arc<dyn Queues>,
    cursors: Arc<dyn Cursors>,
    history: Arc<dyn History>,
    relay: Arc<dyn Relay>,
    revocations: Arc<dyn Revocations>,
}

fn stores(limits: &Limits, age_ms_max: u64) -> Stores {
    let server = RedisServer::start();
    let heard = Arc::<Heard>::default();
    let (node, backend) = open(&server, 1, limits, age_ms_max);
    let Backend { memberships, queues, cursors, bus, .. } = backend;
    let Bus { relay, history, revocations, .. } = bus(Arc::<Heard>::clone(&heard) as _);
    let node = Alone { node, _server: server };
    node.node.waits_until_healthy();
    Stores { node, heard, memberships, queues, cursors, history, relay, revocations }
}

/// A node on a server that others may use as well.
fn open(server: &RedisServer, node: u64, limits: &Limits, age_ms_max: u64) -> (Node, Backend) {
    let retention = Retention { messages_max: 100, bytes_max: usize::MAX, age_ms_max };
    let rules = ["/topic/**", "/user/**"].map(|pattern| DestinationRule {
        pattern: Pattern::parse(pattern).expect("a pattern"),
        overflow: None,
        history: Some(retention),
        offline: None,
    });
    let (begun, numbers) = (Instant::now(), AtomicU64::new(1));
    let options = NodeOptions {
        node,
        topic_prefix: "/topic/chat/".into(),
        events: Some("".into()),
        edges: true,
        linger_ms: 10_000,
        describe: Arc::new(|| "{}".to_owned()),
        rules: DestinationRules::new(rules.into()),
        limits: limits.clone(),
        clock: Arc::new(move || Now { mono: Millis(begun.elapsed().as_millis() as u64), wall_ms: 0 }),
        random: Arc::new(move || {
            RANDOM.wrapping_mul((numbers.fetch_add(1, Ordering::Relaxed) << 32 | node).into())
        }),
    };
    let url = Options::parse(&server.url()).expect("its address");
    let (redis, backend, work) = Redis::open(&url, options).expect("good options");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let thread = Some(std::thread::spawn(move || runtime.block_on(work)));
    (Node { redis, thread }, backend)
}

impl Alone {
    /// Of all of it, so that whoever calls this keeps the server too.
    fn waits_until_quiet(&self) {
        waits(|| self.node.redis.is_quiet().then_some(()).ok_or_else(|| "is never quiet".to_owned()));
    }
}

impl Node {
    fn waits_until_healthy(&self) {
        waits(|| self.redis.health());
    }
}

fn waits(attempt: impl Fn() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = attempt() {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.redis.close();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking(), "it panicked");
    }
}

fn memberships(limits: &Limits) -> Subject<dyn Memberships> {
    let Stores { node, heard, memberships, .. } = stores(limits, u64::MAX);
    Subject::shared(heard, memberships, node)
}

crate::memberships::judge!(memberships, shared);

fn cursors(limits: &Limits) -> Devices {
    let Stores { node, heard, cursors, history, .. } = stores(limits, u64::MAX);
    Devices::Kept(cursors, Subject::shared(heard, history, node))
}

crate::cursors::judge!(cursors, shared);

fn history(age_ms_max: u64) -> Subject<dyn History> {
    let Stores { node, heard, history, relay, .. } = stores(&Limits::default(), age_ms_max);
    let history = Subject::shared(heard, history, node);
    let Ok(Address::Topic(topic)) = Address::of_send("/topic/a") else { panic!("a topic") };
    let ticket = history.ticket();
    if relay.listen(Wanted::Exact(&topic), Some(ticket)) == Kept::Later {
        assert!(matches!(history.answer(ticket), Answer::Listening(Ok(()))));
    }
    history
}

crate::history::judge!(history, shared);

fn queues(limits: &Limits, _total_bytes_max: usize) -> Subject<dyn Queues> {
    let Stores { node, heard, queues, .. } = stores(limits, u64::MAX);
    Subject::slow(heard, queues, move || node.waits_until_quiet())
}

crate::queues::judge!(queues, shared);

fn revocations() -> Revoker {
    let Stores { node, heard, revocations, .. } = stores(&Limits::default(), u64::MAX);
    let work = move || {
        // Of all of it, so that the server stays.
        let Alone { node, _server } = &node;
        node.waits_until_healthy();
    };
    Revoker { port: revocations, heard, work: Box::new(work) }
}

crate::revocations::judge!(revocations);

/// Another node on a server, before the same questions.
fn revoker(server: &RedisServer, node: u64) -> Revoker {
    let heard = Arc::<Heard>::default();
    let (node, Backend { bus, .. }) = open(server, node, &Limits::default(), u64::MAX);
    let Bus { revocations, .. } = bus(Arc::<Heard>::clone(&heard) as _);
    node.waits_until_healthy();
    Revoker { port: revocations, heard, work: Box::new(move || node.waits_until_healthy()) }
}

#[test]
fn what_one_node_revokes_holds_on_all_and_on_those_that_begin_later_and_after_redis_has_lost_it() {
    let server = RedisServer::start();
    let (one, other) = (revoker(&server, 1), revoker(&server, 2));
    assert_eq!(one.revoke(Tokens::OfUser("bob".into()), 60, u64::MAX >> 12), Ok(()));
    let begun = Instant::now();
    other.hears_of(&bearer("bob", "1", 59));
    // It is called, and need not look by itself.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!other.is_revoked(&bearer("bob", "2", 60)));
    for number in 0..1_200 {
        assert_eq!(one.revoke(Tokens::Named(format!("t{number}").into()), 0, 9_000), Ok(()));
    }
    let later = revoker(&server, 3);
    later.hears_of(&bearer("bob", "1", 59));
    for number in 0..1_200 {
        later.hears_of(&bearer("alice", &format!("t{number}"), 1));
    }
    server.cli(&["FLUSHALL"]);
    // Who knows tells it again.
    let begun = Instant::now();
    while server.cli(&["KEYS", "*revoked"]).trim().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody tells it again");
        std::thread::sleep(Duration::from_millis(20));
    }
    let last = revoker(&server, 4);
    last.hears_of(&bearer("bob", "1", 59));
    last.hears_of(&bearer("alice", "t1199", 1));
}

/// A node that claims.
fn claimant(server: &RedisServer, node: u64) -> Claimant {
    let (redis, Backend { claims, .. }) = open(server, node, &Limits::default(), u64::MAX);
    redis.waits_until_healthy();
    let holder = Holder { address: format!("10.0.0.{node}:80").into(), proof: format!("proof{node}").into() };
    Claimant { port: claims, holder, _work: Box::new(redis) }
}

#[test]
fn what_a_node_claims_is_its_own() {
    let server = RedisServer::start();
    let (one, other) = (claimant(&server, 1), claimant(&server, 2));
    crate::claims::the_first_has_it_until_he_lets_it_go(&one, &other);
    // Nobody needs to let go what nobody keeps.
    let key = server.cli(&["KEYS", "websocket:*:s:a b/d"]);
    let left: u64 = server.cli(&["PTTL", &key]).parse().expect("it lapses");
    assert!((1..=CLAIM_MS).contains(&left), "{left}");
    server.cli(&["PEXPIRE", &key, "1"]);
    waits(|| if one.find("a b/d") == Ok(None) { Ok(()) } else { Err("it never lapses".to_owned()) });
    assert_eq!(one.claim("a b/d"), Ok(Some(one.holder.clone())));
}

/// Odd, so that no two products are alike.
const RANDOM: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
