//! One worker's core with a publisher and its subscribers, without sockets: what a publish costs is measured on it.

use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;

use stompede::backend::memory::embedded;
use stompede::broker::{Broker, EventSettings, Link, Now, Parts, Settings, Shard, Shown};
use stompede::features::Rooms;
use stompede::features::rooms::{Events, Utterance};
use stompede::model::{
    DestinationRule, DestinationRules, Limits, MessageId, Pattern, Principal, Retention, WorkerId,
};
use stompede::policy::authenticator::Mode;
use stompede::policy::quota::ConnectionLimits;
use stompede::policy::{Access, Accounts, Authenticator, Connections, UserRates};
use stompede::transport::encode::encoders;
use stompede_protocol::{HeartBeat, Millis};

/// Who listens where, and what is said to them.
#[derive(Debug, Clone)]
pub(crate) struct Scene<'a> {
    /// What the subscribers' bytes travel over; the publisher's travel over TCP.
    pub(crate) link: Link,
    pub(crate) subscribers: usize,
    /// Headers of the subscribers' CONNECT beside those that it must have.
    pub(crate) connect: &'a str,
    /// What they subscribe to, and how they acknowledge.
    pub(crate) listens: &'a str,
    pub(crate) ack: &'a str,
    /// Each has another subscription id.
    pub(crate) own_ids: bool,
    /// Where the publisher sends.
    pub(crate) says: &'a str,
    pub(crate) body: &'a [u8],
    /// Messages that are kept of each topic.
    pub(crate) keeps: usize,
}

impl Default for Scene<'_> {
    fn default() -> Self {
        Self {
            link: Link::Stream,
            subscribers: 1,
            connect: "",
            listens: TOPIC,
            ack: "auto",
            own_ids: false,
            says: TOPIC,
            body: CHAT,
            keeps: 0,
        }
    }
}

/// Who says something in a chat room, and when.
pub(crate) fn utterance() -> Utterance<'static> {
    Utterance {
        room: "4711",
        sender: "alice",
        service: false,
        id: MessageId { node: 0xfeed, number: 12_345 },
        timestamp_ms: 1_800_000_000_000,
    }
}

/// A publisher and its subscribers on one worker.
pub(crate) struct Room {
    shard: Shard,
    publisher: u32,
    subscribers: Vec<u32>,
    send: Vec<u8>,
    subscribe: Vec<u8>,
    turn: usize,
    now: Now,
    taken_bytes: usize,
}

impl Room {
    /// Everybody has subscribed, and has heard one message.
    pub(crate) fn of(scene: &Scene<'_>) -> Self {
        let broker = Arc::new(Broker::new(parts(scene.keeps), embedded(&Limits::default(), usize::MAX)));
        let shard = Shard::new(WorkerId(0), broker, NOW);
        let head = format!("SEND\ndestination:{}\ncontent-length:{}\n\n", scene.says, scene.body.len());
        let send = [head.as_bytes(), scene.body, b"\0"].concat();
        let subscribe = |n: usize| {
            let (listens, ack) = (scene.listens, scene.ack);
            format!("SUBSCRIBE\nid:sub-{n}\ndestination:{listens}\nack:{ack}\n\n\0").into_bytes()
        };
        let mut room = Self {
            shard,
            publisher: 0,
            subscribers: Vec::new(),
            send,
            subscribe: subscribe(0),
            turn: 0,
            now: NOW,
            taken_bytes: 0,
        };
        room.publisher = room.open(Link::Stream, "");
        for n in 0..scene.subscribers {
            let slot = room.open(scene.link, scene.connect);
            let subscribe = subscribe(if scene.own_ids { n } else { 0 });
            room.shard.receive(slot, &subscribe, true, NOW);
            room.shard.drain(NOW);
            room.subscribers.push(slot);
        }
        room.empty();
        let before = room.deliveries();
        room.say();
        assert_eq!(room.deliveries() - before, scene.subscribers as u64, "the room does not work");
        room
    }

    /// So many clients, each another user, who have subscribed nothing yet.
    #[allow(dead_code, reason = "not every program that shares this file asks")]
    pub(crate) fn of_strangers(count: usize) -> Self {
        let mut room = Self::of(&Scene { listens: "/topic/chat/4711", subscribers: 0, ..Scene::default() });
        room.subscribers =
            (0..count).map(|n| room.open_as(&format!("user-{n}"), Link::WebSocket, "")).collect();
        room.empty();
        room
    }

    /// Every one of them subscribes, and every socket takes what it is told of the others.
    #[allow(dead_code, reason = "not every program that shares this file asks")]
    pub(crate) fn join(&mut self) {
        for at in 0..self.subscribers.len() {
            self.shard.receive(self.subscribers[at], &self.subscribe, true, self.now);
            self.shard.drain(self.now);
        }
        self.empty();
        assert_eq!(self.shard.broker().census().rooms, 1, "nobody is present");
    }

    /// One SEND, and every socket takes what waits for it.
    pub(crate) fn say(&mut self) {
        self.shard.receive(self.publisher, &self.send, true, self.now);
        self.shard.drain(self.now);
        self.empty();
    }

    /// Deliveries so far.
    pub(crate) fn deliveries(&self) -> u64 {
        self.shard.broker().counters().sum(|tally| &tally.deliveries)
    }

    /// Bytes that the sockets took so far.
    #[allow(dead_code, reason = "not every program that shares this file asks")]
    pub(crate) fn taken_bytes(&self) -> usize {
        self.taken_bytes
    }

    /// One of the subscribers leaves the topic and returns, each in turn.
    pub(crate) fn resubscribe(&mut self) {
        let slot = self.subscribers[self.turn % self.subscribers.len()];
        self.turn += 1;
        self.shard.receive(slot, b"UNSUBSCRIBE\nid:sub-0\n\n\0", true, self.now);
        self.shard.drain(self.now);
        self.shard.receive(slot, &self.subscribe, true, self.now);
        self.shard.drain(self.now);
        self.takes(slot);
    }

    /// A client comes, is accepted, subscribes beside the others, and vanishes. Somebody else vouches for it.
    pub(crate) fn come_and_go(&mut self) {
        let slot = self.open(Link::WebSocket, "");
        self.shard.receive(slot, &self.subscribe, true, self.now);
        self.shard.drain(self.now);
        self.takes(slot);
        self.shard.remove(slot, self.now);
    }

    /// A heart-beat's interval passes: every subscriber beats, and is beaten to.
    pub(crate) fn beat(&mut self) {
        self.now = Now { mono: self.now.mono.after(BEAT_MS.into()), ..self.now };
        self.shard.tick(self.now);
        for at in 0..self.subscribers.len() {
            self.shard.receive(self.subscribers[at], b"\n", true, self.now);
            self.shard.drain(self.now);
        }
        self.empty();
    }

    fn open(&mut self, link: Link, headers: &str) -> u32 {
        self.open_as("bench", link, headers)
    }

    fn open_as(&mut self, user: &str, link: Link, headers: &str) -> u32 {
        let shown = Shown::Vouched(Box::new(Principal::service(user)));
        let slot = self.shard.open(link, shown, self.now).slot;
        let connect = format!("CONNECT\naccept-version:1.2\nhost:bench\n{headers}\n\0");
        self.shard.receive(slot, connect.as_bytes(), true, self.now);
        self.shard.drain(self.now);
        slot
    }

    /// Every socket takes what waits for it.
    fn empty(&mut self) {
        for at in 0..self.subscribers.len() {
            self.takes(self.subscribers[at]);
        }
        self.takes(self.publisher);
    }

    fn takes(&mut self, slot: u32) {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = self.shard.outbox(slot).map_or(0, |outbox| outbox.gather(&mut slices));
        let bytes = slices[..count].iter().map(|slice| slice.len()).sum();
        self.taken_bytes += bytes;
        if bytes > 0 {
            self.shard.wrote(slot, black_box(bytes), self.now);
        }
    }
}

fn parts(keeps: usize) -> Parts {
    let history = Some(Retention { messages_max: keeps, bytes_max: usize::MAX, age_ms_max: u64::MAX });
    let pattern = Pattern::parse("/topic/**").expect("a pattern");
    let rule = DestinationRule { pattern, overflow: None, history, offline: None };
    let rules = if keeps == 0 { Vec::new() } else { vec![rule] };
    let limits = Limits { sends_per_second: 0, ..Limits::default() };
    Parts {
        settings: Settings {
            limits,
            heart_beat: HeartBeat { send_ms: BEAT_MS, receive_ms: BEAT_MS },
            websocket_ping_ms: 25_000,
            pong_ms: 10_000,
            rules: DestinationRules::new(rules),
            rooms: Rooms::new("/topic/chat/", "/app/chat/", Events::Topic),
            linger_ms: 10_000,
            events: EventSettings::default(),
            mark_read_on_subscribe: false,
            server_name: "bench".into(),
            memory_bytes_max: usize::MAX,
        },
        authenticator: Authenticator::new(None, Accounts::new(&[]).expect("no accounts"), Mode::Development),
        access: Access::defaults(),
        connections: Connections::new(ConnectionLimits::default()),
        user_rates: UserRates::new(),
        encoders: encoders(),
        workers: 1,
        node: 0xfeed,
        stopwatch: Box::new(|| 0),
        random: Box::new(|| 42),
    }
}

/// A topic without any rules of its own.
pub(crate) const TOPIC: &str = "/topic/news/4711";

/// What the broker offers, milliseconds; who says nothing of heart-beats has none.
pub(crate) const BEAT_MS: u32 = 10_000;

const NOW: Now = Now { mono: Millis(1_000), wall_ms: 1_800_000_000_000 };

/// 130 bytes, as a page sends them.
pub(crate) const CHAT: &[u8] = br#"{"type":"TEXT","content":"Hello, is anybody there? The kettle is on and the door is open.","clientId":"0b7f3c1e-55","locale":"en"}"#;
