//! Several nodes in one process before a real Redis.

mod edges;
mod lives;
mod rooms;
mod views;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::backend::redis::hub::{Clock, Random};
use crate::backend::redis::interest::Interest;
use crate::backend::redis::keys::{Channel, Partition};
use crate::backend::redis::link::{Ears, Heard, Line, Link, Options, Order, open};
use crate::backend::redis::registry::{Pace, Registry};
use crate::backend::redis::testing::{RedisCluster, RedisServer, eventually, keys, options};
use crate::backend::redis::wire;
use crate::backend::{Acked, Edge, News, Quiet, Sink, Word};
use crate::model::{ConnectionId, Full, WorkerId};

/// Quick, where somebody is to be found dead. A busy machine must not find others so.
const QUICK: Pace = Pace { beat_ms: 150, lease_ms: 1_350 };

/// A node without clients: its sessions are what the test says.
struct Node {
    presence: Arc<RedisPresence>,
    registry: Arc<Registry>,
    custody: Arc<Custody>,
    hub: Arc<Hub>,
    line: Arc<Line>,
    heard: Arc<Clients>,
    sessions: AtomicU32,
    running: Option<Running>,
}

/// The thread on which everything of the node runs.
struct Running {
    runtime: tokio::runtime::Handle,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What the node's clients would hear.
#[derive(Debug, Default)]
struct Clients {
    told: Mutex<Vec<String>>,
    answers: Mutex<Vec<Answer>>,
    edges: Mutex<Vec<edges::Given>>,
}

/// How to make a node.
#[derive(Clone, Copy)]
struct Kind {
    linger_ms: u64,
    is_clustered: bool,
    pace: Pace,
}

/// As it is by default.
const STEADY: Kind =
    Kind { linger_ms: 1_000, is_clustered: false, pace: Pace { beat_ms: 1_000, lease_ms: 9_000 } };

/// Where nodes die.
const MORTAL: Kind = Kind { pace: QUICK, ..STEADY };

impl Node {
    fn start(server: &RedisServer, kind: Kind) -> Self {
        Self::start_at(&options(server), kind)
    }

    fn start_at(options: &Options, kind: Kind) -> Self {
        static NODES: AtomicU64 = AtomicU64::new(1);
        let origin = Instant::now();
        let clock: Clock = Arc::new(move || Now {
            mono: Millis(1_000_000 + origin.elapsed().as_millis() as u64),
            wall_ms: 1_700_000_000_000,
        });
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let serial = AtomicU64::new(1);
        let random: Random =
            Arc::new(move || u128::from(number << 32 | serial.fetch_add(1, Ordering::Relaxed) << 1 | 1));
        let hub = Arc::new(Hub::new(keys(options), "/topic/chat/", clock, random));
        let presence_options = PresenceOptions {
            user_rooms_max: 100,
            events: Some("".into()),
            edges: true,
            linger_ms: kind.linger_ms,
        };
        let scribe = Arc::new(Scribe::new(Arc::clone(&hub), &presence_options));
        let custody = Arc::new(Custody::new(Arc::clone(&hub)));
        let interest = Arc::new(Interest::new(Arc::clone(&hub)));
        let presence =
            RedisPresence::new(Arc::clone(&hub), interest, scribe, Arc::clone(&custody), &presence_options);
        let presence = Arc::new(presence);
        custody.register(Arc::new(Arc::clone(&presence)));
        let describe = Arc::new(move || format!("node {number}"));
        let registry = Arc::new(Registry::new(Arc::clone(&hub), Arc::clone(&custody), kind.pace, describe));
        let heard = Arc::new(Clients::default());
        hub.serve(Arc::clone(&heard) as Arc<dyn Sink>);
        let node_ears = NodeEars {
            hub: Arc::clone(&hub),
            presence: Arc::clone(&presence),
            registry: Arc::clone(&registry),
        };
        let (line, driver) = open(options, Arc::new(node_ears)).expect("good options");
        let link = Arc::clone(&line) as Arc<dyn Link>;
        hub.connect(if kind.is_clustered { Arc::new(Clustered(link)) } else { link });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (telling, beating) = (Arc::clone(&presence).run(), Arc::clone(&registry).run());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = driver => {}
                    _ = telling => {}
                    _ = beating => {}
                    _ = stopped => {}
                }
            });
        });
        let running = Some(Running { runtime: handle, stop, thread });
        let node =
            Self { presence, registry, custody, hub, line, heard, sessions: AtomicU32::new(1), running };
        eventually(|| node.line.health());
        node
    }

    /// Somebody on this node hears the rooms.
    fn listen(&self, rooms: &[&str]) {
        for room in rooms {
            let (sender, receiver) = mpsc::channel();
            let channel = self.hub.keys.channel(&format!("/topic/chat/{room}"));
            self.line.listen(channel, Some(Box::new(move |heard| drop(sender.send(heard)))));
            receiver.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
        }
    }

    /// A session of a user begins.
    fn begin(&self, user: &str) -> ConnectionId {
        self.presence.begin(&user.into());
        let slot = self.sessions.fetch_add(1, Ordering::Relaxed);
        ConnectionId { worker: WorkerId(0), slot, serial: 0 }
    }

    fn end(&self, user: &str) {
        self.presence.end(user, Millis(0));
    }

    fn enter(&self, room: &str, user: &str, session: ConnectionId) {
        let unheard = &mut |_| panic!("a shared store tells by its scripts");
        self.presence.enter(Row { room, user: &user.into(), session }, unheard).unwrap();
    }

    fn leave(&self, room: &str, user: &str, session: ConnectionId) {
        self.presence.leave(Row { room, user: &user.into(), session }, &mut |_| panic!());
    }

    fn lose(&self, room: &str, user: &str, session: ConnectionId) {
        self.presence.lose(Row { room, user: &user.into(), session });
    }

    /// A session that begins in these rooms.
    fn come(&self, rooms: &[&str], user: &str) -> ConnectionId {
        let session = self.begin(user);
        rooms.iter().for_each(|room| self.enter(room, user, session));
        session
    }

    fn say(&self, user: &str, status: Option<(&str, Option<u64>)>) {
        let now = (self.hub.clock)().mono;
        let status = status.map(|(text, ttl_ms)| Status {
            text: text.into(),
            until: ttl_ms.map(|ttl_ms| now.after(ttl_ms)),
        });
        self.presence.set_status(&user.into(), status, &mut |_| panic!());
    }

    /// Who is in a room: users with status, and the number and version that was told with them.
    fn page(&self, room: &str, after: u64, count: usize) -> Members {
        static CALLS: AtomicU32 = AtomicU32::new(1);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let connection = ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 };
        let soon = self.presence.members(room, after, count, Ticket { connection, call, key: 0 });
        assert_eq!(soon, Soon::Later);
        eventually(|| match self.heard.answers.lock().pop() {
            Some(Answer::Members(members)) => Ok(members.unwrap()),
            other => Err(other),
        })
    }

    fn members(&self, room: &str) -> Vec<String> {
        let member = |member: &crate::model::Member| match &member.status {
            Some(status) => format!("{} {status}", member.user),
            None => member.user.to_string(),
        };
        self.page(room, 0, 1_000).listed.iter().map(member).collect()
    }

    /// Waits until everything that happened here was told.
    fn settle(&self) {
        eventually(|| {
            if self.presence.is_settled() && self.custody.is_idle() {
                return Ok(());
            }
            let waiting = self.presence.ledger.lock().len();
            let flying = self.presence.flying.load(Ordering::Acquire);
            Err(format!("{waiting} wait, {flying} fly, {:?}, {:?}", self.custody, self.line.health()))
        });
    }

    fn told(&self) -> Vec<String> {
        let told = self.heard.told.lock();
        told.iter().filter(|told| !told.contains(NOBODY)).cloned().collect()
    }

    /// Waits until exactly that was told, in whatever order.
    #[track_caller]
    fn hears(&self, expected: &[&str]) {
        let expected: Vec<String> = sorted(expected.iter().map(|&text| text.to_owned()));
        let deadline = Instant::now() + Duration::from_secs(10);
        while sorted(self.told()) != expected {
            assert!(Instant::now() < deadline, "{:?} is not {expected:?}", sorted(self.told()));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that is on its way to this node is heard: something that is published now comes behind it.
    fn catch_up(&self) {
        self.settle();
        let user = format!("{NOBODY}{}", self.hub.incarnation());
        self.listen(&["behind"]);
        let session = self.come(&["behind"], &user);
        self.leave("behind", &user, session);
        self.end(&user);
        let last = format!("LEAVE behind {user}");
        eventually(|| self.heard.told.lock().contains(&last).then_some(()).ok_or("not yet"));
        self.settle();
    }

    /// Ends at once, as `kill -9` does.
    fn crash(mut self) {
        self.stop();
    }

    /// Everything of it stands still for so long, as with SIGSTOP.
    fn freeze(&self, time: Duration) {
        let running = self.running.as_ref().unwrap();
        running.runtime.spawn(async move { std::thread::sleep(time) });
    }

    /// Ends in an orderly way.
    fn retire(mut self) {
        let (registry, presence) = (Arc::clone(&self.registry), Arc::clone(&self.presence));
        let (sender, receiver) = mpsc::channel();
        self.running.as_ref().unwrap().runtime.spawn(async move {
            registry.retire(&presence).await;
            let _ = sender.send(());
        });
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(Running { stop, thread, .. }) = self.running.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Debug)]
struct NodeEars {
    hub: Arc<Hub>,
    presence: Arc<RedisPresence>,
    registry: Arc<Registry>,
}

impl Ears for NodeEars {
    fn hear(&self, channel: &Channel, payload: &Bytes) -> Result<(), Full> {
        let Ok(wire::Heard::Other(kind, rest)) = wire::parse(payload) else {
            panic!("{channel:?} says {payload:?}")
        };
        assert!(self.presence.hear(kind, &rest, (self.hub.clock)()), "{payload:?}");
        Ok(())
    }

    fn interrupted(&self, _: &BTreeSet<Partition>) {}

    fn missed(&self, _: &BTreeSet<Partition>) {
        self.presence.missed();
    }

    fn room(&self, _: WorkerId) {}

    fn reunited(&self) {
        self.presence.reunited();
        self.registry.reunited();
    }
}

impl Quiet for Clients {
    fn edge(&self, edge: &Edge<'_>, acked: Acked) {
        self.edges.lock().push(edges::Given::new(edge, acked));
    }

    fn answer(&self, _: Ticket, answer: Answer) {
        self.answers.lock().push(answer);
    }

    fn changed(&self, news: &News<'_>, _: Now) {
        let what = if news.came { "JOIN" } else { "LEAVE" };
        self.told.lock().push(format!("{what} {} {}", news.room, news.user));
    }

    fn said(&self, word: &Word<'_>) {
        self.told.lock().push(format!(
            "STATUS {} {} {}",
            word.room,
            word.user,
            word.status.unwrap_or("online")
        ));
    }
}

/// A link that says of its one server that it is one of many.
#[derive(Debug)]
struct Clustered(Arc<dyn Link>);

impl Link for Clustered {
    fn send(&self, order: Order, from: Option<WorkerId>) -> Result<(), Order> {
        self.0.send(order, from)
    }

    fn force(&self, order: Order) {
        self.0.force(order);
    }

    fn listen(&self, channel: Channel, then: Option<Heard>) {
        self.0.listen(channel, then);
    }

    fn unlisten(&self, channel: &Channel) {
        self.0.unlisten(channel);
    }

    fn health(&self) -> Result<(), String> {
        self.0.health()
    }

    fn close(&self) {
        self.0.close();
    }

    fn is_clustered(&self) -> bool {
        true
    }
}

/// Who comes and goes so that it is known what came before.
const NOBODY: &str = "nobody";

fn sorted(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.into_iter().collect();
    texts.sort();
    texts
}

/// The members of a set.
fn set(server: &RedisServer, key: &str) -> BTreeSet<String> {
    server.cli(&["SMEMBERS", key]).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Keys that fit a pattern.
fn names(server: &RedisServer, pattern: &str) -> Vec<String> {
    sorted(server.cli(&["KEYS", pattern]).lines().filter(|line| !line.is_empty()).map(str::to_owned))
}
