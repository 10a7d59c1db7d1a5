//! One broker, its shards, a clock that stands still until it is told to go on, and clients in memory.
//!
//! Each connection is driven as the server's own driver does it: it looks at its connection only when it was woken or
//! when its socket has changed, so a wake-up that the broker forgets is a test that fails. After each verb everything
//! runs until nobody has more to do, unless the world is held ([`World::holds_still`]); then [`World::steps`] decides
//! who takes a turn.

use std::cell::{Ref, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};

use stompede::backend::Backend;
use stompede::backend::disk::{Disk, DiskOptions, Fsync};
use stompede::backend::memory::embedded;
use stompede::broker::{Broker, CallAnswer, Census, EventSettings, Link, Now, Parts, Settings, Shard, Shown};
use stompede::features::Rooms;
use stompede::features::rooms::Events;
use stompede::model::{CloseReason, DestinationRules, Limits, Principal, Refusal, WorkerId};
use stompede::policy::authenticator::Mode;
use stompede::policy::quota::ConnectionLimits;
use stompede::policy::{
    Access, AccountConfig, Accounts, Authenticator, Connections, HookRules, JwtConfig, JwtSigner,
    JwtVerifier, Secret, TokenOrder, UserRates,
};
use stompede::transport::encode::encoders;
use stompede_protocol::{Client, HeartBeat, Introduction, Millis, Version};
use tempfile::TempDir;

use crate::line::{Heard, Line};
use crate::person::Person;
use crate::store::{Fault, FaultySink, LateHistory};
use crate::wire::ServerFraming;

/// The world's own settings; tests change what they are about.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) shards: usize,
    /// Tokens and access rules count; else anybody may be anybody.
    pub(crate) guarded: bool,
    pub(crate) rules: DestinationRules,
    pub(crate) events: Events,
    pub(crate) linger_ms: u64,
    pub(crate) memory_bytes_max: usize,
    pub(crate) heart_beat: HeartBeat,
    /// The broker's source of randomness fails when its numbers have come so far.
    pub(crate) random_fails_at: u64,
    /// Logins whose passcodes take long to check.
    pub(crate) accounts: Vec<AccountConfig>,
    /// What is kept is written by somebody who takes his time: he gets turns like others, see [`World::holds_still`].
    pub(crate) late_store: bool,
    /// What is kept is kept in this directory; who writes and who reads get turns like others.
    pub(crate) disk: Option<Rc<TempDir>>,
    pub(crate) disk_bytes_max: u64,
    /// What the store does wrong.
    pub(crate) fault: Option<Fault>,
    /// SUBSCRIBE to a room marks as read what is there.
    pub(crate) marks_read: bool,
    /// Which backends are asked what.
    pub(crate) hooks: HookRules,
    /// One of several; else it is alone.
    pub(crate) node: Option<Node>,
}

/// What one of several brokers has of its own.
pub(crate) struct Node {
    pub(crate) number: u64,
    pub(crate) backend: Backend,
}

/// Who comes, and how.
#[derive(Clone, Copy)]
pub(crate) struct Guest<'a> {
    pub(crate) name: &'a str,
    pub(crate) service: bool,
    /// Claim `rooms`.
    pub(crate) rooms: &'a [&'a str],
    pub(crate) link: Link,
    pub(crate) versions: &'a [Version],
    pub(crate) heart_beat: HeartBeat,
    /// The shard; by turns otherwise.
    pub(crate) shard: Option<usize>,
    /// How long the token is good, seconds.
    pub(crate) ttl_s: u64,
}

impl<'a> Guest<'a> {
    /// A user over TCP with the newest version and no heart-beats. Whose name begins with `service` is one.
    pub(crate) fn named(name: &'a str) -> Self {
        Self {
            name,
            service: name.starts_with("service"),
            rooms: &[],
            link: Link::Stream,
            versions: &Version::ALL,
            heart_beat: HeartBeat::default(),
            shard: None,
            ttl_s: 3_600,
        }
    }
}

pub(crate) struct World {
    pub(crate) core: Rc<RefCell<Core>>,
}

/// Everything that lives in the world.
pub(crate) struct Core {
    pub(crate) broker: Arc<Broker>,
    pub(crate) shards: Vec<Shard>,
    inboxes: Vec<Arc<Flag>>,
    pub(crate) store: Option<Arc<LateHistory>>,
    disk: Option<Arc<Disk>>,
    _dir: Option<Rc<TempDir>>,
    pub(crate) lines: Vec<Line>,
    now_ms: u64,
    signer: JwtSigner,
    guarded: bool,
    still: bool,
    turn: usize,
}

/// Set when somebody calls.
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn raised() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn lower(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.raise();
    }
}

impl World {
    /// Two shards, nobody restricted, no rates.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Tokens and the default access rules count.
    pub(crate) fn guarded() -> Self {
        Self::with(|setup| setup.guarded = true)
    }

    pub(crate) fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            limits: Limits { sends_per_second: 0, user_sends_per_second: 0, ..Limits::default() },
            shards: 2,
            guarded: false,
            rules: DestinationRules::default(),
            events: Events::Topic,
            linger_ms: 10_000,
            memory_bytes_max: usize::MAX,
            heart_beat: HeartBeat { send_ms: 10_000, receive_ms: 10_000 },
            random_fails_at: 0,
            accounts: Vec::new(),
            late_store: false,
            disk: None,
            disk_bytes_max: u64::MAX,
            fault: None,
            marks_read: false,
            hooks: HookRules::default(),
            node: None,
        };
        change(&mut setup);
        Self { core: Rc::new(RefCell::new(Core::new(setup))) }
    }

    /// CONNECT, and CONNECTED is expected.
    #[track_caller]
    pub(crate) fn connect_as(&self, name: &str) -> Person {
        self.connect(Guest::named(name))
    }

    #[track_caller]
    pub(crate) fn connect(&self, guest: Guest<'_>) -> Person {
        let person = self.knock(guest);
        let heard = person.line(|line| line.take_heard());
        assert!(matches!(&heard[..], [Heard::Connected(_)]), "not accepted: {heard:?}");
        person
    }

    /// CONNECT, whatever becomes of it.
    pub(crate) fn knock(&self, guest: Guest<'_>) -> Person {
        let person = self.stranger(guest.link, guest.shard);
        let guarded = self.core.borrow().guarded;
        let bearer = if guarded { format!("Bearer {}", self.token(&guest)) } else { String::new() };
        let shown = [("Authorization", &*bearer)];
        person.says(|client| {
            client.connect(&Introduction {
                versions: guest.versions,
                login: (!guarded).then_some(if guest.service { "guest" } else { guest.name }),
                passcode: (!guarded).then_some("guest"),
                heart_beat: guest.heart_beat,
                headers: if guarded { &shown } else { &[] },
                ..Introduction::default()
            });
        });
        person
    }

    /// CONNECT of somebody for whom the embedding program vouches.
    #[track_caller]
    pub(crate) fn connect_vouched(&self, principal: Principal) -> Person {
        let at = self.core.borrow_mut().open(Link::Stream, None, Shown::Vouched(Box::new(principal)));
        let person = Person::new(Rc::clone(&self.core), at);
        person.says(|client| {
            client.connect(&Introduction { versions: &Version::ALL, ..Introduction::default() });
        });
        person.hears(&["CONNECTED"]);
        person
    }

    /// A stream of events for `user`.
    pub(crate) fn listens(&self, user: &str, destinations: &[&str], last_event_id: Option<&str>) -> Person {
        let principal = Principal { unrestricted: true, ..Principal::user(user) };
        let destinations: Vec<Box<str>> = destinations.iter().map(|name| (*name).into()).collect();
        let frames = self.broker().stream(&principal, &destinations, last_event_id).expect("it is allowed");
        let at = self.core.borrow_mut().open(Link::Events, None, Shown::Vouched(Box::new(principal)));
        let person = Person::new(Rc::clone(&self.core), at);
        person.writes(&frames);
        person
    }

    /// A connection that has said nothing.
    pub(crate) fn stranger(&self, link: Link, shard: Option<usize>) -> Person {
        let mut core = self.core.borrow_mut();
        let at = core.open(link, shard, Shown::Credentials(Box::default()));
        drop(core);
        let person = Person::new(Rc::clone(&self.core), at);
        self.goes_on();
        person
    }

    pub(crate) fn token(&self, guest: &Guest<'_>) -> String {
        let core = self.core.borrow();
        let mut claims = serde_json::Map::new();
        claims.insert("rooms".to_owned(), guest.rooms.into());
        let order =
            TokenOrder { user: guest.name.to_owned(), service: guest.service, claims, ttl_s: guest.ttl_s };
        core.signer.sign(&order, core.now().wall_s()).expect("the settings of the world are valid")
    }

    /// Time passes, in the worker's own ticks.
    pub(crate) fn runs_for(&self, ms: u64) {
        let until = self.core.borrow().now_ms + ms;
        loop {
            let mut core = self.core.borrow_mut();
            let step = TICK_MS.min(until - core.now_ms);
            if step == 0 {
                return;
            }
            core.passes(step);
            core.settle();
        }
    }

    /// Time passes for the shards and the clients.
    pub(crate) fn passes(&self, ms: u64) {
        self.core.borrow_mut().passes(ms);
    }

    /// The process is killed: who is here hears the end, and nothing happens here any more.
    pub(crate) fn dies(&self) {
        self.core.borrow_mut().lines.iter_mut().for_each(Line::dies);
    }

    /// Nothing happens but by [`World::steps`], until [`World::goes_on`] is told to all.
    pub(crate) fn holds_still(&self) {
        self.core.borrow_mut().still = true;
    }

    /// Everybody takes turns again, until there is nothing to do.
    pub(crate) fn moves_again(&self) {
        self.core.borrow_mut().still = false;
        self.goes_on();
    }

    fn goes_on(&self) {
        self.core.borrow_mut().settle();
    }

    /// One of those who have something to do takes a turn; `choice` picks who. `false` when nobody has.
    pub(crate) fn steps(&self, choice: usize) -> bool {
        self.core.borrow_mut().step(choice)
    }

    /// As [`World::steps`], but these connections get no turn.
    pub(crate) fn steps_except(&self, slow: &[&Person]) -> bool {
        let mut core = self.core.borrow_mut();
        let slow: Vec<usize> = slow.iter().map(|person| person.number()).collect();
        core.step_of(0, |n| !slow.contains(&n))
    }

    /// Timers that wait in all shards.
    pub(crate) fn timers(&self) -> usize {
        self.core.borrow().shards.iter().map(Shard::timers).sum()
    }

    /// As [`World::steps`], but no shard looks into its inbox by its own turn.
    pub(crate) fn steps_line(&self) -> bool {
        let mut core = self.core.borrow_mut();
        let now = core.now();
        core.list_dirty();
        let Some(n) = (0..core.lines.len()).find(|n| core.lines[*n].is_due()) else { return false };
        let Core { lines, shards, .. } = &mut *core;
        lines[n].turn(shards, now);
        true
    }

    pub(crate) fn broker(&self) -> Ref<'_, Arc<Broker>> {
        Ref::map(self.core.borrow(), |core| &core.broker)
    }

    /// The store of [`Setup::late_store`].
    pub(crate) fn store(&self) -> Arc<LateHistory> {
        self.core.borrow().store.clone().expect("a late store")
    }

    /// How often sessions were ended for `reason`.
    pub(crate) fn closes(&self, reason: CloseReason) -> u64 {
        self.broker().counters().closes(reason)
    }

    /// Whoever waits to hear who he is hears it now. Returns how many did.
    pub(crate) fn answers_calls(&self, answer: &Result<Principal, Refusal>) -> usize {
        let mut core = self.core.borrow_mut();
        let now = core.now();
        let mut count = 0;
        for shard in &mut core.shards {
            for (connection, _) in shard.take_calls() {
                shard.answer(connection, CallAnswer::Authenticated(answer.clone()), now);
                count += 1;
            }
        }
        core.settle();
        count
    }

    /// An operator ends the session of `person`.
    pub(crate) fn ends(&self, person: &Person, refusal: &Refusal) {
        let mut core = self.core.borrow_mut();
        let now = core.now();
        let (shard, slot) = person.place(&core);
        core.shards[shard].end(slot, refusal, now);
        core.settle();
    }

    /// The monotonic clock, milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.core.borrow().now_ms
    }

    /// Nobody is here and nothing of anybody is left.
    #[track_caller]
    pub(crate) fn is_deserted(&self) {
        let core = self.core.borrow();
        for shard in &core.shards {
            assert_eq!((shard.connections(), shard.subscriptions()), (0, 0), "a connection is left");
        }
        let census = Census { queues: 0, ..core.broker.census() };
        assert_eq!(census, Census::default());
    }
}

impl Core {
    fn new(setup: Setup) -> Self {
        let secret = Secret::new("a secret of at least thirty-two bytes");
        let jwt = JwtConfig { secret: Some(secret), leeway_s: 0, ..JwtConfig::default() };
        let access = Access::defaults().with_hooks(setup.hooks);
        let verifier = JwtVerifier::new(&jwt, access.claims()).expect("the settings of the world are valid");
        let mode = if setup.guarded { Mode::Closed } else { Mode::Development };
        let connections = Connections::new(ConnectionLimits {
            total: setup.limits.connections_max,
            per_address: setup.limits.address_connections_max,
            per_user: setup.limits.user_connections_max,
        });
        let fails_at = setup.random_fails_at;
        let number = setup.node.as_ref().map_or(0xbeef, |node| node.number);
        let seed = AtomicU64::new(1 + (number - 0xbeef) * 1_000_000);
        let random = move || {
            let turn = seed.fetch_add(1, Ordering::Relaxed);
            assert!(turn != fails_at, "a fault on purpose");
            u128::from(mixed(turn)) << 64 | 7
        };
        let (disk, mut backend) = match (&setup.disk, setup.node) {
            (_, Some(node)) => (None, node.backend),
            (Some(dir), None) => {
                let options = DiskOptions {
                    dir: dir.path().to_owned(),
                    fsync: Fsync::Interval,
                    bytes_max: setup.disk_bytes_max,
                    free_bytes_min: 0,
                    cache_bytes: 1 << 20,
                    accept_loss: false,
                };
                let (limits, bytes_max) = (&setup.limits, setup.memory_bytes_max);
                let opened = Disk::open(&options, limits, &setup.rules, bytes_max, EPOCH_MS, 7);
                let (disk, backend) = opened.expect("it opens");
                (Some(disk), backend)
            }
            (None, None) => (None, embedded(&setup.limits, setup.memory_bytes_max)),
        };
        if let Some(fault) = setup.fault {
            backend.bus = FaultySink::in_front_of(backend.bus, fault);
        }
        let late = Arc::<OnceLock<Arc<LateHistory>>>::default();
        if setup.late_store {
            backend.bus = LateHistory::in_place_of(backend.bus, Arc::clone(&late));
        }
        let parts = Parts {
            settings: Settings {
                heart_beat: setup.heart_beat,
                websocket_ping_ms: 25_000,
                pong_ms: 10_000,
                events: EventSettings::default(),
                rules: setup.rules,
                rooms: Rooms::new("/topic/chat/", "/app/chat/", setup.events),
                linger_ms: setup.linger_ms,
                mark_read_on_subscribe: setup.marks_read,
                server_name: "stompede/test".into(),
                memory_bytes_max: setup.memory_bytes_max,
                limits: setup.limits,
            },
            authenticator: Authenticator::new(
                Some(verifier),
                Accounts::new(&setup.accounts).expect("the settings of the world are valid"),
                mode,
            ),
            access,
            connections,
            user_rates: UserRates::new(),
            encoders: encoders(),
            workers: setup.shards,
            node: number,
            stopwatch: Box::new(|| 0),
            random: Box::new(random),
        };
        let broker = Arc::new(Broker::new(parts, backend));
        let now_ms = 1_000;
        let now = both(now_ms);
        let shards =
            (0..setup.shards).map(|n| Shard::new(WorkerId(n as u8), Arc::clone(&broker), now)).collect();
        Self {
            shards,
            inboxes: (0..setup.shards).map(|_| Flag::raised()).collect(),
            broker,
            store: late.get().cloned(),
            disk,
            _dir: setup.disk,
            lines: Vec::new(),
            now_ms,
            signer: JwtSigner::new(&jwt).expect("the settings of the world are valid"),
            guarded: setup.guarded,
            still: false,
            turn: 0,
        }
    }

    pub(crate) fn now(&self) -> Now {
        both(self.now_ms)
    }

    fn open(&mut self, link: Link, shard: Option<usize>, shown: Shown) -> usize {
        let shard = shard.unwrap_or(self.turn % self.shards.len());
        self.turn += 1;
        let now = self.now();
        let id = self.shards[shard].open(link, shown, now);
        let limits = &self.broker.settings().limits;
        let framing = ServerFraming::new(link, limits.unconnected_bytes_max);
        self.lines.push(Line::new(shard, id, link, framing, Client::new(limits.protocol())));
        self.lines.len() - 1
    }

    fn passes(&mut self, ms: u64) {
        self.now_ms += ms;
        let now = self.now();
        for shard in &mut self.shards {
            shard.tick(now);
        }
        for line in &mut self.lines {
            line.beats(now.mono);
        }
    }

    /// Everybody takes turns until nobody has anything to do.
    pub(crate) fn settle(&mut self) {
        if self.still {
            return;
        }
        for _ in 0..TURNS_MAX {
            if !self.step(0) {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Who has something to do: the shards' inboxes, calls, and connections.
    fn step(&mut self, choice: usize) -> bool {
        self.step_of(choice, |_| true)
    }

    fn step_of(&mut self, choice: usize, may: impl Fn(usize) -> bool) -> bool {
        let now = self.now();
        self.list_dirty();
        let inboxes = (0..self.shards.len()).filter(|n| self.inboxes[*n].is_raised()).map(Turn::Inbox);
        let lines = (0..self.lines.len()).filter(|n| self.lines[*n].is_due() && may(*n)).map(Turn::Line);
        let store = self.store.iter().filter(|store| store.is_due()).map(|_| Turn::Store);
        let writer = self.disk.iter().filter(|disk| disk.orders() > 0).map(|_| Turn::Write);
        let reader = self.disk.iter().filter(|disk| disk.questions() > 0).map(|_| Turn::Read);
        let turns: Vec<Turn> = inboxes.chain(lines).chain(store).chain(writer).chain(reader).collect();
        let Some(turn) = turns.get(choice % turns.len().max(1)) else { return false };
        match *turn {
            Turn::Inbox(n) => self.empties(n, now),
            Turn::Store => self.store.iter().for_each(|store| store.answers()),
            Turn::Write => drop(self.disk.iter().map(|disk| disk.write_now()).next()),
            Turn::Read => drop(self.disk.iter().map(|disk| disk.read_now()).next()),
            Turn::Line(n) => self.lines[n].turn(&mut self.shards, now),
        }
        true
    }

    /// As the flusher does it: takes the lists of what is to be written. Each line then has a turn of its own, in any
    /// order.
    fn list_dirty(&mut self) {
        let mut slots = Vec::new();
        for (n, shard) in self.shards.iter_mut().enumerate() {
            shard.swap_dirty(&mut slots);
            for line in &mut self.lines {
                if line.shard == n && slots.contains(&line.id.slot) {
                    line.list();
                }
            }
            slots.clear();
        }
    }

    /// As the worker's loop: a turn when something is there, else it waits to be woken.
    fn empties(&mut self, n: usize, now: Now) {
        let flag = Arc::clone(&self.inboxes[n]);
        flag.lower();
        if self.shards[n].watch_inbox(&Waker::from(Arc::clone(&flag))) {
            self.shards[n].drain(now);
            flag.raise();
        }
    }
}

#[derive(Clone, Copy)]
enum Turn {
    Inbox(usize),
    Line(usize),
    Store,
    Write,
    Read,
}

pub(crate) fn both(ms: u64) -> Now {
    Now { mono: Millis(ms), wall_ms: EPOCH_MS + ms }
}

/// SplitMix64: spreads a counter over all bits.
pub(crate) fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

const TICK_MS: u64 = 100;

/// A day in 2026, in milliseconds.
const EPOCH_MS: u64 = 1_780_000_000_000;

/// More turns than any conversation takes.
const TURNS_MAX: usize = 2_000_000;
