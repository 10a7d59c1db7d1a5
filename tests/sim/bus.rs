//! A model of the way to Redis: a link for each node, of which every step is taken when it is told to be.
//!
//! ```text
//!  node -- orders --> waiting --execute--> a real Redis --> replies --reply--> node
//!  node -- listen --> tasks ----task----->     |
//!  node <--hear-- pushes <---------------------+
//! ```
//!
//! The scripts are the real ones, run one at a time by a real server, so that nothing of them is modelled. What is modelled
//! is the way: how long anything waits at each place, what is lost when a connection is, a node that stands still or is
//! killed, and a server that has forgotten the last writes. It reorders nothing: orders of one partition, replies and pushes
//! stay in line. Only one thread ever acts, and what a server draws by lot follows from what it did before: see `steady.lua`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use redis::{Parser, PushKind, Value};
use stompede::backend::redis::LinkMaker;
use stompede::backend::redis::link::{
    Channel, Doubt, Ears, FULL_MS_MAX, Fault, HOLD_MS, Heard, Link, Order, Partition, Script,
};
use stompede::model::WorkerId;

/// What the model does wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Nobody is told that pushes were lost.
    Silence,
    /// After a failover the primary calls itself as before.
    SamePrimary,
    /// Two pushes change places.
    Disorder,
    /// What was sent and is in doubt is sent again, whatever was asked for.
    Repeats,
    /// A channel counts as confirmed before it is.
    Haste,
    /// What is sent to reply addresses is not heard.
    Deafness,
    /// Scripts have something else in place of this.
    Script(&'static str, &'static str),
}

/// The server, and the way of each node to it.
pub(crate) struct Bus {
    ways: Vec<Arc<Way>>,
    server: Server,
    clock: Arc<AtomicU64>,
    wrong: Option<Wrong>,
    /// Nobody reaches the server before that moment.
    down_until: u64,
    /// Failovers that lost something.
    pub(crate) losses: usize,
}

/// One node's.
pub(crate) struct Way {
    state: Mutex<State>,
    ears: OnceLock<Arc<dyn Ears>>,
    clock: Arc<AtomicU64>,
    wrong: Option<Wrong>,
    orders_max: usize,
}

struct State {
    life: Life,
    /// The connection for orders was lost while the node stood still, with so many orders on their way.
    cut: Option<usize>,
    /// Of the connection for orders.
    is_up: bool,
    waiting: VecDeque<Waiting>,
    replies: VecDeque<(Waiting, Result<Value, Fault>)>,
    refused: Vec<WorkerId>,
    /// Of the connection for channels. Once it is lost, `pushes` ends with the news of it.
    bus_is_up: bool,
    connection: Connection,
    wanted: BTreeMap<Arc<str>, Wanted>,
    serial: u64,
    tasks: VecDeque<Task>,
    expected: VecDeque<(Arc<str>, u64)>,
    heard: BTreeMap<Arc<str>, Channel>,
    pushes: VecDeque<Push>,
    /// Confirmations that a new connection waits for, and the partitions of those channels.
    unconfirmed: BTreeSet<u64>,
    partitions: BTreeSet<Partition>,
    /// Somebody's inbox is full: since when, and whether it is no use to try again yet.
    full_since: Option<u64>,
    is_blocked: bool,
    owed: BTreeSet<Partition>,
}

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Awake,
    /// It stands still. What it has sent goes on, and what it is sent waits.
    Paused,
    /// It was killed.
    Dead,
}

struct Waiting {
    order: Order,
    since: u64,
    is_doubtful: bool,
}

struct Wanted {
    channel: Channel,
    serial: u64,
    is_confirmed: bool,
    waiting: Vec<(Heard, u64)>,
}

enum Task {
    Subscribe(Arc<str>, u64),
    Unsubscribe(Arc<str>),
    Confirm(Arc<str>, Heard),
}

enum Push {
    Message(Arc<str>, Bytes),
    Confirmed(Arc<str>, u64),
    End,
}

/// Something that a way can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Dial,
    DialBus,
    Execute,
    Reply,
    Task,
    Hear,
}

impl Bus {
    /// An empty server, with a way for each node.
    pub(crate) fn new(port: u16, nodes: usize, clock: &Arc<AtomicU64>, wrong: Option<Wrong>) -> Self {
        let mut server = Server::new(port, wrong);
        server.connection.ask(&[b"FLUSHALL"]);
        let way = |_| {
            let state = State {
                life: Life::Awake,
                cut: None,
                is_up: true,
                waiting: VecDeque::new(),
                replies: VecDeque::new(),
                refused: Vec::new(),
                bus_is_up: true,
                connection: Connection::new(port),
                wanted: BTreeMap::new(),
                serial: 0,
                tasks: VecDeque::new(),
                expected: VecDeque::new(),
                heard: BTreeMap::new(),
                pushes: VecDeque::new(),
                unconfirmed: BTreeSet::new(),
                partitions: BTreeSet::new(),
                full_since: None,
                is_blocked: false,
                owed: BTreeSet::new(),
            };
            Arc::new(Way {
                state: Mutex::new(state),
                ears: OnceLock::new(),
                clock: Arc::clone(clock),
                wrong,
                orders_max: ORDERS_MAX,
            })
        };
        let ways = (0..nodes).map(way).collect();
        Self { ways, server, clock: Arc::clone(clock), wrong, down_until: 0, losses: 0 }
    }

    /// The link of a node.
    pub(crate) fn link(&self, node: usize) -> LinkMaker {
        let way = Arc::clone(&self.ways[node]);
        Box::new(move |ears| {
            let _ = way.ears.set(ears);
            way
        })
    }

    /// Takes a step of a node's way; `choice` picks which. `false` where there is none.
    pub(crate) fn step(&mut self, node: usize, choice: usize) -> bool {
        let way = Arc::clone(&self.ways[node]);
        let steps = way.steps(self.now() >= self.down_until);
        let Some(step) = steps.get(choice % steps.len().max(1)) else { return false };
        match step {
            Step::Dial => {
                way.lock().is_up = true;
                way.ears().reunited();
            }
            Step::DialBus => way.dial_bus(),
            Step::Execute => self.executes(&way, choice),
            Step::Reply => {
                while way.lock().replies.front().is_some_and(|(waiting, _)| is_upkeep(waiting)) {
                    way.replies(1);
                }
                way.replies(1);
            }
            Step::Task => way.works(1 + choice % TASKS_MAX),
            Step::Hear => way.hears(),
        }
        true
    }

    /// The node's inboxes may have room again.
    pub(crate) fn unblock(&self, node: usize) {
        self.ways[node].lock().is_blocked = false;
    }

    /// Ends what has waited too long; scripts are told what time it is.
    pub(crate) fn tick(&mut self, wall_ms: u64) {
        self.server.tells_time(wall_ms);
        self.ways.iter().for_each(|way| way.tick());
    }

    /// A node loses its connection for orders: it has heard so many more replies, and so many more orders were sent in vain.
    pub(crate) fn cut(&self, node: usize, heard: usize, sent: usize) {
        let way = &self.ways[node];
        if way.lock().life == Life::Paused {
            // It hears of it when it wakes.
            way.lock().cut = Some(sent);
            return;
        }
        way.replies(heard);
        way.loses(sent);
    }

    /// A node stands still.
    pub(crate) fn pauses(&self, node: usize) {
        self.ways[node].lock().life = Life::Paused;
    }

    /// It goes on.
    pub(crate) fn wakes(&self, node: usize) {
        let way = &self.ways[node];
        let cut = {
            let mut state = way.lock();
            state.life = Life::Awake;
            state.cut.take()
        };
        cut.into_iter().for_each(|sent| way.loses(sent));
    }

    /// A node is killed: so many more of its orders are executed.
    pub(crate) fn kills(&mut self, node: usize, executed: usize) {
        let way = Arc::clone(&self.ways[node]);
        for _ in 0..executed {
            let is_sent = {
                let state = way.lock();
                state.is_up && state.cut.is_none() && !state.waiting.is_empty()
            };
            if is_sent {
                self.executes(&way, 0);
            }
        }
        let _lost = {
            let mut state = way.lock();
            state.connection.ask(&[b"SUNSUBSCRIBE"]);
            (state.life, state.is_up, state.bus_is_up) = (Life::Dead, false, false);
            state.expected.clear();
            state.pushes.clear();
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.replies))
        };
    }

    /// What operators read of that name, where it is a set.
    pub(crate) fn members(&mut self, name: &str) -> BTreeSet<String> {
        texts(&self.server.connection.ask(&[b"SMEMBERS", name.as_bytes()])).into_iter().collect()
    }

    /// What operators read of that name, where it is a text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        texts(&self.server.connection.ask(&[b"GET", name.as_bytes()])).pop()
    }

    /// All names of that form.
    pub(crate) fn names(&mut self, form: &str) -> BTreeSet<String> {
        texts(&self.server.connection.ask(&[b"KEYS", form.as_bytes()])).into_iter().collect()
    }

    /// A node loses its connection for channels, when so many more of what was pushed have come.
    pub(crate) fn cut_bus(&self, node: usize, heard: usize) {
        let mut state = self.ways[node].lock();
        if state.bus_is_up && !state.pushes.iter().any(|push| matches!(push, Push::End)) {
            // At once for the server, which counts who listens.
            state.connection.ask(&[b"SUNSUBSCRIBE"]);
            state.expected.clear();
            state.pushes.truncate(heard);
            state.pushes.push_back(Push::End);
        }
    }

    /// Nobody reaches the server for so long.
    pub(crate) fn goes_down(&mut self, ms: u64) {
        self.down_until = self.now() + ms;
    }

    /// Another server takes over, and has not heard of the last so many orders.
    pub(crate) fn fails_over(&mut self, lost: usize) {
        self.losses += usize::from(lost > 0);
        self.server.begins_again(lost, self.wrong == Some(Wrong::SamePrimary));
    }

    /// Orders that were executed since the last failover, or before and not lost.
    pub(crate) fn executed(&self) -> usize {
        self.server.done.len()
    }

    pub(crate) fn nodes(&self) -> usize {
        self.ways.len()
    }

    fn executes(&mut self, way: &Way, choice: usize) {
        let some = way.lock().takes(choice);
        let results = self.server.executes(&some);
        way.lock().replies.extend(some.into_iter().zip(results));
        self.ways.iter().for_each(|way| way.lock().begins_to_receive());
        self.ways.iter().for_each(|way| way.lock().receives());
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }
}

impl Way {
    fn steps(&self, may_dial: bool) -> Vec<Step> {
        let state = self.lock();
        let mut steps = Vec::new();
        if state.life != Life::Awake {
            let is_sent = state.life == Life::Paused && state.is_up && state.cut.is_none();
            steps.extend((is_sent && !state.waiting.is_empty()).then_some(Step::Execute));
            return steps;
        }
        let mut add = |is_due: bool, step| {
            if is_due {
                steps.push(step);
            }
        };
        add(may_dial && !state.is_up, Step::Dial);
        add(may_dial && !state.bus_is_up, Step::DialBus);
        add(state.is_up && !state.waiting.is_empty(), Step::Execute);
        add(!state.replies.is_empty(), Step::Reply);
        let is_whole = state.bus_is_up && !state.pushes.iter().any(|push| matches!(push, Push::End));
        add(is_whole && !state.tasks.is_empty(), Step::Task);
        add(!state.pushes.is_empty() && !state.is_blocked, Step::Hear);
        steps
    }

    fn replies(&self, count: usize) {
        for _ in 0..count {
            let Some((waiting, result)) = self.lock().replies.pop_front() else { return };
            (waiting.order.then)(result);
            self.tells_of_room();
        }
    }

    fn tells_of_room(&self) {
        let relieved = {
            let mut state = self.lock();
            let is_half = state.count() * 2 <= self.orders_max;
            if is_half { std::mem::take(&mut state.refused) } else { Vec::new() }
        };
        relieved.into_iter().for_each(|worker| self.ears().room(worker));
    }

    fn loses(&self, sent: usize) {
        let mut unknown = Vec::new();
        {
            let mut state = self.lock();
            if !state.is_up {
                return;
            }
            state.is_up = false;
            let lost: Vec<_> = state.replies.drain(..).map(|(waiting, _)| waiting).collect();
            let count = sent.min(state.waiting.len());
            let sent: Vec<_> = state.waiting.drain(..count).collect();
            for mut waiting in lost.into_iter().chain(sent).rev() {
                waiting.is_doubtful = true;
                if waiting.order.doubt == Doubt::Tell && self.wrong != Some(Wrong::Repeats) {
                    unknown.push(waiting);
                } else {
                    state.waiting.push_front(waiting);
                }
            }
        }
        unknown.into_iter().rev().for_each(|waiting| (waiting.order.then)(Err(Fault::Unknown)));
        self.tells_of_room();
    }

    fn dial_bus(&self) {
        let interrupted: BTreeSet<_> =
            self.lock().wanted.values().map(|wanted| wanted.channel.partition).collect();
        if self.wrong != Some(Wrong::Silence) && !interrupted.is_empty() {
            self.ears().interrupted(&interrupted);
        }
        let mut state = self.lock();
        let state = &mut *state;
        state.bus_is_up = true;
        state.tasks.clear();
        let mut commands = Vec::new();
        for (name, wanted) in &mut state.wanted {
            state.serial += 1;
            (wanted.serial, wanted.is_confirmed) = (state.serial, false);
            state.unconfirmed.insert(state.serial);
            state.partitions.insert(wanted.channel.partition);
            state.heard.insert(Arc::clone(name), wanted.channel.clone());
            state.expected.push_back((Arc::clone(name), state.serial));
            pack(&mut commands, &[b"SSUBSCRIBE", name.as_bytes()]);
        }
        state.connection.write(&commands);
        state.begins_to_receive();
        state.receives();
    }

    fn works(&self, count: usize) {
        let mut calls = Vec::new();
        {
            let mut state = self.lock();
            let mut commands = Vec::new();
            for _ in 0..count {
                match state.tasks.pop_front() {
                    Some(Task::Subscribe(name, serial)) => {
                        pack(&mut commands, &[b"SSUBSCRIBE", name.as_bytes()]);
                        if let Some(wanted) = state.wanted.get(&name) {
                            let channel = wanted.channel.clone();
                            state.heard.insert(Arc::clone(&name), channel);
                        }
                        state.expected.push_back((name, serial));
                    }
                    Some(Task::Unsubscribe(name)) => {
                        pack(&mut commands, &[b"SUNSUBSCRIBE", name.as_bytes()]);
                        state.heard.remove(&name);
                    }
                    Some(Task::Confirm(name, then)) => calls.extend(state.confirms(&name, then, self.now())),
                    None => break,
                }
            }
            state.connection.write(&commands);
            state.begins_to_receive();
            state.receives();
        }
        calls.into_iter().for_each(|(then, result)| then(result));
    }

    fn hears(&self) {
        let push = self.lock().pushes.pop_front();
        match push {
            Some(Push::Message(name, payload)) => self.hears_message(name, payload),
            Some(Push::Confirmed(name, serial)) => self.is_confirmed(&name, serial),
            Some(Push::End) => self.ends_bus(),
            None => {}
        }
    }

    fn hears_message(&self, name: Arc<str>, payload: Bytes) {
        let channel = self.lock().heard.get(&name).cloned();
        let Some(channel) = channel else { return };
        if self.wrong == Some(Wrong::Deafness) && name.contains("}:n:") {
            return;
        }
        if self.wrong == Some(Wrong::Disorder) {
            let mut state = self.lock();
            if let Some(Push::Message(..)) = state.pushes.front()
                && let Some(Push::Message(next, other)) = state.pushes.pop_front()
                && let Some(next) = state.heard.get(&next).cloned()
            {
                drop(state);
                let _ = self.ears().hear(&next, &other);
            }
        }
        let heard = self.ears().hear(&channel, &payload);
        let mut state = self.lock();
        if heard.is_ok() {
            state.full_since = None;
            return;
        }
        let since = *state.full_since.get_or_insert(self.now());
        if self.now() >= since + FULL_MS_MAX {
            state.full_since = None;
            state.owed.insert(channel.partition);
        } else {
            state.is_blocked = true;
            state.pushes.push_front(Push::Message(name, payload));
        }
    }

    fn is_confirmed(&self, name: &str, serial: u64) {
        let mut calls = Vec::new();
        let mut missed = BTreeSet::new();
        {
            let mut state = self.lock();
            if let Some(wanted) = state.wanted.get_mut(name).filter(|wanted| wanted.serial == serial) {
                wanted.is_confirmed = true;
                calls.append(&mut wanted.waiting);
            }
            if state.unconfirmed.remove(&serial) && state.unconfirmed.is_empty() {
                missed = std::mem::take(&mut state.partitions);
            }
        }
        calls.into_iter().for_each(|(then, _)| then(Ok(())));
        self.tells_missed(&missed);
    }

    fn ends_bus(&self) {
        let now = self.now();
        let mut calls = Vec::new();
        {
            let mut state = self.lock();
            state.bus_is_up = false;
            (state.full_since, state.is_blocked) = (None, false);
            state.unconfirmed.clear();
            state.heard.clear();
            state.wanted.values_mut().for_each(|wanted| wanted.is_confirmed = false);
            for task in std::mem::take(&mut state.tasks) {
                if let Task::Confirm(name, then) = task {
                    calls.extend(state.confirms(&name, then, now));
                }
            }
        }
        calls.into_iter().for_each(|(then, result)| then(result));
    }

    fn tick(&self) {
        let now = self.now();
        let orders;
        let mut channels = Vec::new();
        let owed = {
            let mut state = self.lock();
            if state.life != Life::Awake {
                return;
            }
            state.is_blocked = false;
            let is_late = |since: u64| now > since + HOLD_MS;
            let (late, rest): (VecDeque<_>, _) =
                state.waiting.drain(..).partition(|waiting| is_late(waiting.since));
            (orders, state.waiting) = (late, rest);
            for wanted in state.wanted.values_mut() {
                channels.extend(wanted.waiting.extract_if(.., |(_, since)| is_late(*since)));
            }
            std::mem::take(&mut state.owed)
        };
        for waiting in orders {
            let fault = if waiting.is_doubtful { Fault::Unknown } else { Fault::Unreachable };
            (waiting.order.then)(Err(fault));
        }
        channels.into_iter().for_each(|(then, _)| then(Err(Fault::Unreachable)));
        self.tells_of_room();
        self.tells_missed(&owed);
    }

    fn tells_missed(&self, partitions: &BTreeSet<Partition>) {
        if self.wrong != Some(Wrong::Silence) && !partitions.is_empty() {
            self.ears().missed(partitions);
        }
    }

    fn ears(&self) -> &Arc<dyn Ears> {
        self.ears.get().expect("the node was opened")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }
}

impl State {
    /// The first order of some partition; together with it, if it is one of them, all that come only because time passes:
    /// they are many, and seldom do anything.
    fn takes(&mut self, choice: usize) -> Vec<Waiting> {
        let place = choice % self.waiting.len();
        if !is_upkeep(&self.waiting[place]) {
            let chosen = self.waiting[place].order.partition;
            let first = self.waiting.iter().position(|waiting| waiting.order.partition == chosen);
            return first.and_then(|first| self.waiting.remove(first)).into_iter().collect();
        }
        let mut others = BTreeSet::new();
        let mut taken = Vec::new();
        let mut rest = VecDeque::new();
        for waiting in self.waiting.drain(..) {
            if is_upkeep(&waiting) && !others.contains(&waiting.order.partition) {
                taken.push(waiting);
            } else {
                others.insert(waiting.order.partition);
                rest.push_back(waiting);
            }
        }
        self.waiting = rest;
        if taken.is_empty() {
            taken.extend(self.waiting.pop_front());
        }
        taken
    }

    /// Orders of clients that wait.
    fn count(&self) -> usize {
        let replies = self.replies.iter().map(|(waiting, _)| waiting);
        self.waiting.iter().chain(replies).filter(|waiting| !is_upkeep(waiting)).count()
    }

    /// What was pushed so far: asked for here, taken by [`State::receives`].
    fn begins_to_receive(&mut self) {
        let mut ping = Vec::new();
        pack(&mut ping, &[b"PING"]);
        self.connection.write(&ping);
    }

    fn receives(&mut self) {
        let is_lost = !self.bus_is_up || self.pushes.iter().any(|push| matches!(push, Push::End));
        loop {
            let Value::Push { kind, data } = self.connection.read() else { return };
            if is_lost {
                continue;
            }
            match (kind, &data[..]) {
                (PushKind::SMessage, [Value::BulkString(name), Value::BulkString(payload)]) => {
                    let name = String::from_utf8_lossy(name).into();
                    self.pushes.push_back(Push::Message(name, Bytes::copy_from_slice(payload)));
                }
                (PushKind::SSubscribe, _) => {
                    let (name, serial) = self.expected.pop_front().expect("it was asked");
                    self.pushes.push_back(Push::Confirmed(name, serial));
                }
                _ => {}
            }
        }
    }

    /// Somebody wants to know whether a channel is confirmed.
    fn confirms(&mut self, name: &str, then: Heard, now: u64) -> Option<(Heard, Result<(), Fault>)> {
        match self.wanted.get_mut(name) {
            None => return Some((then, Err(Fault::Unreachable))),
            Some(wanted) if wanted.is_confirmed => return Some((then, Ok(()))),
            Some(wanted) => wanted.waiting.push((then, now)),
        }
        None
    }
}

impl Link for Way {
    fn send(&self, order: Order, from: Option<WorkerId>) -> Result<(), Order> {
        let mut state = self.lock();
        if state.count() >= self.orders_max {
            state.refused.extend(from);
            return Err(order);
        }
        drop(state);
        self.force(order);
        Ok(())
    }

    fn force(&self, order: Order) {
        let waiting = Waiting { order, since: self.now(), is_doubtful: false };
        self.lock().waiting.push_back(waiting);
    }

    fn listen(&self, channel: Channel, then: Option<Heard>) {
        let now = self.now();
        let mut state = self.lock();
        let then = match then {
            Some(then) if self.wrong == Some(Wrong::Haste) => {
                drop(state);
                then(Ok(()));
                state = self.lock();
                None
            }
            then => then,
        };
        let name = Arc::clone(&channel.name);
        let bus_is_up = state.bus_is_up;
        if let Some(wanted) = state.wanted.get_mut(&name) {
            let Some(then) = then else { return };
            if wanted.is_confirmed && bus_is_up {
                state.tasks.push_back(Task::Confirm(name, then));
            } else {
                wanted.waiting.push((then, now));
            }
            return;
        }
        state.serial += 1;
        let serial = state.serial;
        let waiting = then.into_iter().map(|then| (then, now)).collect();
        state.wanted.insert(Arc::clone(&name), Wanted { channel, serial, is_confirmed: false, waiting });
        if state.bus_is_up {
            state.tasks.push_back(Task::Subscribe(name, serial));
        }
    }

    fn unlisten(&self, channel: &Channel) {
        let mut state = self.lock();
        let Some(wanted) = state.wanted.remove(&channel.name) else { return };
        if state.bus_is_up {
            state.tasks.push_back(Task::Unsubscribe(Arc::clone(&channel.name)));
        }
        drop(state);
        wanted.waiting.into_iter().for_each(|(then, _)| then(Err(Fault::Unreachable)));
    }

    fn health(&self) -> Result<(), String> {
        let state = self.lock();
        match state.is_up && state.bus_is_up && state.unconfirmed.is_empty() {
            true => Ok(()),
            false => Err("the model says so".to_owned()),
        }
    }

    fn is_clustered(&self) -> bool {
        false
    }

    fn close(&self) {}
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").finish_non_exhaustive()
    }
}

/// The server, and what it has done.
struct Server {
    connection: Connection,
    digests: HashMap<&'static str, Vec<u8>>,
    done: Vec<Done>,
    /// What it calls itself: the first argument of each script.
    primary: u64,
    /// What scripts are told of the time.
    now: u64,
    wrong: Option<Wrong>,
}

/// An order as it was executed, and when.
struct Done {
    at: u64,
    command: Vec<u8>,
    is_upkeep: bool,
}

impl Server {
    fn new(port: u16, wrong: Option<Wrong>) -> Self {
        Self {
            wrong,
            connection: Connection::new(port),
            digests: HashMap::new(),
            done: Vec::new(),
            primary: 1,
            now: 0,
        }
    }

    fn executes(&mut self, some: &[Waiting]) -> Vec<Result<Value, Fault>> {
        let mut all = Vec::new();
        for waiting in some {
            let order = &waiting.order;
            let digest = self.digest(order.script);
            let (count, primary) = (order.keys.len().to_string(), format!("{:040x}", self.primary));
            let mut parts: Vec<&[u8]> = vec![b"EVALSHA", &digest, count.as_bytes()];
            parts.extend(order.keys.iter().map(String::as_bytes));
            parts.push(primary.as_bytes());
            parts.extend(order.args.iter().map(|arg| &arg[..]));
            let mut command = Vec::new();
            pack(&mut command, &parts);
            all.extend_from_slice(&command);
            self.done.push(Done { at: self.now, command, is_upkeep: is_upkeep(waiting) });
        }
        self.connection.write(&all);
        let result = |_| match self.connection.read() {
            Value::ServerError(error) => Err(Fault::Refused {
                code: error.code().to_owned(),
                text: error.details().unwrap_or_default().to_owned(),
            }),
            value => Ok(value),
        };
        some.iter().map(result).collect()
    }

    /// Does everything again but the last orders; nobody listens.
    fn begins_again(&mut self, lost: usize, is_same: bool) {
        for _ in 0..lost {
            while self.done.pop_if(|done| done.is_upkeep).is_some() {}
            self.done.pop();
        }
        self.connection.ask(&[b"FLUSHALL"]);
        let (now, done) = (self.now, std::mem::take(&mut self.done));
        for some in done.chunk_by(|one, other| one.at == other.at) {
            self.tells_time(some[0].at);
            for some in some.chunks(64) {
                let commands: Vec<u8> = some.iter().flat_map(|done| &done.command).copied().collect();
                self.connection.write(&commands);
                some.iter().for_each(|_| drop(self.connection.read()));
            }
        }
        self.done = done;
        self.tells_time(now);
        self.primary += u64::from(!is_same);
    }

    fn tells_time(&mut self, wall_ms: u64) {
        let (s, us) = ((wall_ms / 1_000).to_string(), (wall_ms % 1_000 * 1_000).to_string());
        self.connection.ask(&[b"DEL", b"{time}"]);
        self.connection.ask(&[b"RPUSH", b"{time}", s.as_bytes(), us.as_bytes()]);
        self.now = wall_ms;
    }

    fn digest(&mut self, script: &'static Script) -> Vec<u8> {
        if let Some(digest) = self.digests.get(script.name) {
            return digest.clone();
        }
        let text = match self.wrong {
            Some(Wrong::Script(part, other)) => script.text.replace(part, other),
            _ => script.text.to_owned(),
        };
        // Flags of a script are its first line.
        let (flags, rest) =
            if text.starts_with("#!") { text.split_once('\n') } else { None }.unwrap_or(("", &text));
        let text = format!("{flags}\n{STEADY}\n{rest}");
        let Value::BulkString(digest) = self.connection.ask(&[b"SCRIPT", b"LOAD", text.as_bytes()]) else {
            panic!("{} is no script", script.name);
        };
        self.digests.insert(script.name, digest.clone());
        digest
    }
}

/// A connection that waits for its answers.
struct Connection {
    stream: TcpStream,
    parser: Parser,
}

impl Connection {
    fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a Redis");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a socket");
        let mut connection = Self { stream, parser: Parser::new() };
        connection.ask(&[b"HELLO", b"3"]);
        connection
    }

    /// What is pushed meanwhile is dropped.
    fn ask(&mut self, parts: &[&[u8]]) -> Value {
        let mut command = Vec::new();
        pack(&mut command, parts);
        // SUNSUBSCRIBE is answered by pushes alone.
        let is_silent = parts[0] == b"SUNSUBSCRIBE";
        if is_silent {
            pack(&mut command, &[b"PING"]);
        }
        self.write(&command);
        loop {
            match self.read() {
                Value::Push { .. } => {}
                value => return value,
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("Redis reads");
    }

    fn read(&mut self) -> Value {
        self.parser.parse_value(&mut self.stream).expect("Redis answers")
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::SimpleString(text) => vec![text.clone()],
        Value::Array(all) | Value::Set(all) => all.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Comes because time passes.
fn is_upkeep(waiting: &Waiting) -> bool {
    UPKEEP.contains(&waiting.order.script.name)
}

fn pack(into: &mut Vec<u8>, parts: &[&[u8]]) {
    into.extend(format!("*{}\r\n", parts.len()).bytes());
    for part in parts {
        into.extend(format!("${}\r\n", part.len()).bytes());
        into.extend_from_slice(part);
        into.extend_from_slice(b"\r\n");
    }
}

/// Scripts that run because time passes, or a node has been killed: in each partition.
const UPKEEP: [&str; 6] =
    ["presence/sweep", "presence/audit", "presence/bury", "queues_due", "queues_of", "nodes/strike"];

/// What stands before each script.
const STEADY: &str = include_str!("steady.lua");

/// Channels that are asked for in one step.
const TASKS_MAX: usize = 300;

/// Orders that a node may have under way: few, so that it comes to that.
const ORDERS_MAX: usize = 40;
