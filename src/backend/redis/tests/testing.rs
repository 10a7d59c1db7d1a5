//! For tests of what stands on the link: a real Redis, a driver on a thread of its own, and ears that remember.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use redis::Value;
use stompede_protocol::Millis;

use super::hub::Hub;
use super::keys::{Channel, Keys, Partition};
use super::link::{Doubt, Ears, Fault, Line, Link, Options, Order, open};
use super::scripts::Script;
use crate::backend::Quiet;
use crate::model::{Answer, ConnectionId, Destination, Full, Now, Ticket, WorkerId};

#[path = "../../../../tests/support/proxy.rs"]
mod proxy;
#[path = "../../../../tests/support/redis.rs"]
mod server;

pub(super) use proxy::{FaultProxy, Way};
pub(super) use server::{RedisCluster, RedisServer};

/// A driven link.
#[derive(Debug)]
pub(super) struct Driven {
    /// The way to Redis.
    pub(super) line: Arc<Line>,
    thread: Option<JoinHandle<()>>,
}

/// What ears were told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// A message: name of the channel, and what it says.
    Heard(String, Bytes),
    /// Something may have been missed in that partition.
    Missed(Partition),
    /// There is room for a worker.
    Room(WorkerId),
    /// Redis is there again.
    Reunited,
}

/// Remember what they were told.
#[derive(Debug, Default)]
pub(super) struct Memory {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    told: Vec<Told>,
    is_full: bool,
}

impl Driven {
    /// Runs a driver, and waits until its link is healthy.
    pub(super) fn open(options: &Options, ears: Arc<dyn Ears>) -> Self {
        let driven = Self::start(options, ears);
        driven.wait_healthy();
        driven
    }

    /// Runs a driver.
    pub(super) fn start(options: &Options, ears: Arc<dyn Ears>) -> Self {
        let (line, driver) = open(options, ears).expect("good options");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::spawn(move || runtime.block_on(driver));
        Self { line, thread: Some(thread) }
    }

    /// The way to Redis, as adapters want it.
    pub(super) fn link(&self) -> Arc<dyn Link> {
        Arc::clone(&self.line) as Arc<dyn Link>
    }

    /// Waits until everything is proven to come through.
    pub(super) fn wait_healthy(&self) {
        eventually(|| self.line.health());
    }

    /// Waits until it does not; gives the reason.
    pub(super) fn wait_unhealthy(&self) -> String {
        eventually(|| self.line.health().err().ok_or("is healthy"))
    }

    /// Runs a script and waits for its reply.
    pub(super) fn run(
        &self,
        script: &'static Script,
        partition: Partition,
        keys: &[&str],
        args: &[&str],
    ) -> Result<Value, Fault> {
        let (sender, receiver) = mpsc::channel();
        let then = Box::new(move |result| drop(sender.send(result)));
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        let args = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
        self.line.force(Order { partition, script, keys, args, doubt: Doubt::Repeat, then });
        receiver.recv_timeout(DEADLINE + DEADLINE).expect("an end of the order")
    }

    /// Listens to a channel, and waits until it is confirmed.
    pub(super) fn listen(&self, channel: &Channel) {
        let (sender, receiver) = mpsc::channel();
        self.line.listen(channel.clone(), Some(Box::new(move |result| drop(sender.send(result)))));
        receiver.recv_timeout(DEADLINE).expect("an answer").expect("a confirmation");
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.line.close();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the driver panicked");
        }
    }
}

impl Memory {
    /// Waits until `found` finds something in what they were told so far.
    pub(super) fn wait<T>(&self, found: impl Fn(&[Told]) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.state.lock();
        loop {
            if let Some(found) = found(&state.told) {
                return found;
            }
            let late = self.changed.wait_until(&mut state, deadline).timed_out();
            assert!(!late, "never told; only {:?}", state.told);
        }
    }

    /// What they were told so far.
    pub(super) fn told(&self) -> Vec<Told> {
        self.state.lock().told.clone()
    }

    /// Takes what they were told so far.
    pub(super) fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.state.lock().told)
    }

    /// From now on nothing is taken, or everything again.
    pub(super) fn set_full(&self, is_full: bool) {
        self.state.lock().is_full = is_full;
    }

    fn push(&self, told: Told) {
        self.state.lock().told.push(told);
        self.changed.notify_all();
    }
}

impl Ears for Memory {
    fn hear(&self, channel: &Channel, payload: &Bytes) -> Result<(), Full> {
        if self.state.lock().is_full {
            return Err(Full);
        }
        self.push(Told::Heard(channel.name.to_string(), payload.clone()));
        Ok(())
    }

    fn interrupted(&self, _: &BTreeSet<Partition>) {}

    fn missed(&self, partitions: &BTreeSet<Partition>) {
        partitions.iter().for_each(|partition| self.push(Told::Missed(*partition)));
    }

    fn room(&self, worker: WorkerId) {
        self.push(Told::Room(worker));
    }

    fn reunited(&self) {
        self.push(Told::Reunited);
    }
}

/// Tries until it succeeds, ten seconds at most.
pub(super) fn eventually<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "never: {error:?}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The options for a server of the tests.
pub(super) fn options(server: &RedisServer) -> Options {
    Options::parse(&server.url()).expect("its address")
}

/// The names that a link of these options uses.
pub(super) fn keys(options: &Options) -> Keys {
    Keys::new(options.key_prefix())
}

const DEADLINE: Duration = Duration::from_secs(10);

/// Takes answers and nothing else.
#[derive(Debug, Default)]
pub(super) struct Answers {
    told: Mutex<Vec<(u32, Answer)>>,
    came: Condvar,
}

impl Answers {
    /// Waits for the answer to that call.
    pub(super) fn wait(&self, call: u32) -> Answer {
        let deadline = Instant::now() + DEADLINE + DEADLINE;
        let mut told = self.told.lock();
        loop {
            if let Some(place) = told.iter().position(|(of, _)| *of == call) {
                return told.swap_remove(place).1;
            }
            assert!(!self.came.wait_until(&mut told, deadline).timed_out(), "call {call} is never answered");
        }
    }
}

impl Quiet for Answers {
    fn answer(&self, ticket: Ticket, answer: Answer) {
        self.told.lock().push((ticket.call, answer));
        self.came.notify_all();
    }

    fn is_wanted(&self, _: &Destination) -> bool {
        false
    }
}

/// A question of that number.
pub(super) fn ticket(call: u32) -> Ticket {
    Ticket { connection: ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 }, call, key: 0 }
}

/// What adapters share, on a link that is driven.
pub(super) fn hub(options: &Options, link: Arc<dyn Link>, answers: &Arc<Answers>) -> Arc<Hub> {
    let now = Now { mono: Millis(0), wall_ms: 0 };
    let hub = Hub::new(keys(options), "/topic/chat/", Arc::new(move || now), Arc::new(|| 7));
    hub.connect(link);
    hub.serve(Arc::<Answers>::clone(answers));
    Arc::new(hub)
}
