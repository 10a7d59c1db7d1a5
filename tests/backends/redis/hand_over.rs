//! What was and what comes, put together: readers who come while others publish, connections that break, another primary.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use stompede::backend::{
    Appended, Bus, History, Inbound, Kept, News, Patience, Question, Read, Relay, Report, Sink, Wanted, Word,
};
use stompede::model::{
    Address, Answer, ConnectionId, Destination, Full, Limits, Message, MessageId, Now, Page, Position,
    Retention, Start, Ticket, WorkerId,
};
use stompede_protocol::Headers;

use super::server::RedisServer;
use super::{Node, open};

/// One worker's inbox: everything in the order in which it came.
#[derive(Debug, Default)]
struct Inbox {
    items: Mutex<Vec<Item>>,
    changed: Condvar,
    is_full: AtomicBool,
}

#[derive(Debug, Clone)]
enum Item {
    Message(Arc<Message>),
    Answer(u32, Answer),
    Gap,
}

impl Inbox {
    fn push(&self, item: Item) {
        self.items.lock().expect("nobody panicked").push(item);
        self.changed.notify_all();
    }

    fn items(&self) -> Vec<Item> {
        self.items.lock().expect("nobody panicked").clone()
    }

    /// Waits until `found` finds something.
    fn wait<T>(&self, what: &str, found: impl Fn(&[Item]) -> Option<T>) -> T {
        let items = self.items.lock().expect("nobody panicked");
        let waits = |items: &mut Vec<Item>| found(items).is_none();
        let (items, _) = self.changed.wait_timeout_while(items, PATIENCE, waits).expect("nobody panicked");
        found(&items).unwrap_or_else(|| panic!("{what}: only {} items", items.len()))
    }

    fn answer(&self, call: u32) -> Answer {
        self.wait("an answer", |items| {
            items.iter().find_map(|item| match item {
                Item::Answer(of, answer) if *of == call => Some(answer.clone()),
                _ => None,
            })
        })
    }

    fn page(&self, call: u32) -> Page {
        match self.answer(call) {
            Answer::Page(Ok(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    fn offsets(&self) -> Vec<u64> {
        self.items().iter().filter_map(offset).collect()
    }
}

fn offset(item: &Item) -> Option<u64> {
    match item {
        Item::Message(message) => message.position.map(|position| position.offset),
        _ => None,
    }
}

impl Sink for Inbox {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(Full);
        }
        self.push(Item::Message((inbound.make)()));
        Ok(())
    }

    fn force(&self, message: &Arc<Message>) {
        self.push(Item::Message(Arc::clone(message)));
    }

    fn room_for(&self, _: &Destination, _: usize, _: WorkerId) -> Result<(), Full> {
        Ok(())
    }

    fn tell_room(&self, _: WorkerId) {}

    fn answer(&self, ticket: Ticket, answer: Answer) {
        self.push(Item::Answer(ticket.call, answer));
    }

    fn is_heard(&self, _: &Destination) -> bool {
        true
    }

    fn is_wanted(&self, _: &Destination) -> bool {
        true
    }

    fn wants_patterns(&self) -> bool {
        false
    }

    fn gap(&self, _: &Destination) {
        self.push(Item::Gap);
    }

    fn gap_in_patterns(&self) {}

    fn ready(&self, _: &Destination) {}

    fn reply(&self, _: &Arc<Message>) {}

    fn obey(&self, _: &Bytes, _: Report) {}

    fn said(&self, _: &Word<'_>) {}

    fn changed(&self, _: &News<'_>, _: Now) {}
}

/// A node with one worker.
struct Stand {
    node: Node,
    inbox: Arc<Inbox>,
    history: Arc<dyn History>,
    relay: Arc<dyn Relay>,
    calls: std::sync::atomic::AtomicU32,
    number: u64,
}

impl Stand {
    fn new(server: &RedisServer, number: u64) -> Self {
        let (node, backend) = open(server, number, &Limits::default(), u64::MAX >> 12);
        let inbox = Arc::<Inbox>::default();
        let Bus { history, relay, .. } = (backend.bus)(Arc::clone(&inbox) as _);
        node.waits_until_healthy();
        let calls = std::sync::atomic::AtomicU32::new(0);
        Self { node, inbox, history, relay, calls, number }
    }

    fn ticket(&self) -> Ticket {
        let call = 1 + self.calls.fetch_add(1, Ordering::Relaxed);
        Ticket { connection: ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 }, call, key: 0 }
    }

    fn listen(&self, name: &str) {
        let ticket = self.ticket();
        if self.relay.listen(Wanted::Exact(&destination(name)), Some(ticket)) == Kept::Later {
            assert!(matches!(self.inbox.answer(ticket.call), Answer::Listening(Ok(()))));
        }
    }

    /// Sends; the number of the question.
    fn append(&self, name: &str, serial: u64) -> u32 {
        let ticket = self.ticket();
        let mut message = Arc::new(self.message(name, serial));
        let retention = Retention { messages_max: 10_000, bytes_max: usize::MAX, age_ms_max: u64::MAX >> 12 };
        let patience = Patience::None;
        let appended =
            self.history.append(&mut message, &retention, patience, ticket).expect("there is room");
        assert_eq!(appended, Appended::Later);
        ticket.call
    }

    fn stored(&self, call: u32) -> Position {
        match self.inbox.answer(call) {
            Answer::Stored(Ok(position)) => position,
            other => panic!("{other:?}"),
        }
    }

    fn read(&self, name: &str, start: Start) -> u32 {
        let ticket = self.ticket();
        let read = Read { start, messages_max: 20, bytes_max: usize::MAX };
        self.history.ask(&destination(name), Question::Read(read), ticket, 0);
        ticket.call
    }

    fn message(&self, name: &str, serial: u64) -> Message {
        Message {
            id: MessageId { node: self.number, number: serial },
            destination: destination(name),
            timestamp_ms: 0,
            sender: Some("alice".into()),
            headers: Headers::new(),
            body: Bytes::from(serial.to_string()),
            text: true,
            position: None,
            numbered: false,
        }
    }
}

fn destination(name: &str) -> Destination {
    match Address::of_send(name) {
        Ok(Address::Topic(destination) | Address::Queue(destination)) => destination,
        other => panic!("{name} is no topic: {other:?}"),
    }
}

/// From the first of these items on, offsets follow each other.
fn follow_each_other(offsets: &[u64]) {
    for pair in offsets.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "{offsets:?}");
    }
}

#[test]
fn who_comes_while_others_publish_misses_nothing_and_hears_nothing_twice() {
    let server = RedisServer::start();
    let (here, there) = (Stand::new(&server, 1), Stand::new(&server, 2));
    here.listen(TOPIC);
    let is_over = AtomicBool::new(false);
    let readers = std::thread::scope(|scope| {
        for stand in [&here, &there] {
            scope.spawn(|| {
                let mut serial = 0;
                while !is_over.load(Ordering::Relaxed) {
                    serial += 1;
                    stand.stored(stand.append(TOPIC, serial));
                }
            });
        }
        let mut joined = Vec::new();
        for turn in 0..60 {
            let mut call = here.read(TOPIC, if turn % 2 == 0 { Start::Last(5) } else { Start::Last(0) });
            let mut read: Vec<u64> = Vec::new();
            loop {
                let page = here.inbox.page(call);
                read.extend(page.messages.iter().filter_map(|message| Some(message.position?.offset)));
                if page.joined {
                    break;
                }
                call = here.read(TOPIC, Start::After(page.end.offset));
            }
            joined.push((call, read));
        }
        is_over.store(true, Ordering::Relaxed);
        joined
    });
    let last = here.inbox.page(here.read(TOPIC, Start::Last(0))).end;
    let items = here.inbox.items();
    follow_each_other(&here.inbox.offsets());
    for (call, read) in readers {
        let is_answer = |item: &Item| matches!(item, Item::Answer(of, _) if *of == call);
        let place = items.iter().position(is_answer).unwrap();
        let page = here.inbox.page(call);
        let behind: Vec<u64> = items[place..].iter().filter_map(offset).collect();
        let all: Vec<u64> = read.iter().copied().chain(behind.iter().copied()).collect();
        follow_each_other(&all);
        assert_eq!(behind.first().copied().unwrap_or(page.end.offset + 1), page.end.offset + 1);
        assert_eq!(all.last().copied().unwrap_or(page.end.offset), last.offset);
    }
}

#[test]
fn what_a_broken_connection_has_lost_is_filled_from_what_is_kept() {
    let server = RedisServer::start();
    let (here, there) = (Stand::new(&server, 1), Stand::new(&server, 2));
    here.listen(TOPIC);
    let mut last = 0;
    for serial in 1..=400 {
        last = there.stored(there.append(TOPIC, serial)).offset;
        if serial % 100 == 0 {
            server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
    }
    here.inbox
        .wait("all messages", |items| items.iter().filter_map(offset).any(|at| at == last).then_some(()));
    follow_each_other(&here.inbox.offsets());
    assert_eq!(here.inbox.offsets().first(), Some(&1));
    assert!(!here.inbox.items().iter().any(|item| matches!(item, Item::Gap)), "nothing was lost for good");
}

#[test]
fn of_what_is_not_kept_a_broken_connection_tells_that_something_may_be_missing() {
    let server = RedisServer::start();
    let here = Stand::new(&server, 1);
    here.listen(UNKEPT);
    let published = Arc::new(here.message(UNKEPT, 1));
    let ticket = here.ticket();
    assert_eq!(here.relay.publish(&published, None, ticket), Ok(Kept::Later));
    assert!(matches!(here.inbox.answer(ticket.call), Answer::Published(Ok(()))));
    here.inbox
        .wait("the message", |items| items.iter().any(|item| matches!(item, Item::Message(_))).then_some(()));
    assert!(!here.inbox.items().iter().any(|item| matches!(item, Item::Gap)));
    server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    here.inbox.wait("a gap", |items| items.iter().any(|item| matches!(item, Item::Gap)).then_some(()));
}

#[test]
fn after_another_primary_no_offset_comes_again_and_nobody_is_told_that_nothing_is_missing() {
    let mut server = RedisServer::start();
    let here = Stand::new(&server, 1);
    here.listen(TOPIC);
    let before = here.stored(here.append(TOPIC, 1));
    here.stored(here.append(TOPIC, 2));
    // It comes back empty, as one that has lost all that it acknowledged.
    server.restart();
    here.node.waits_until_healthy();
    let page = here.inbox.page(here.read(TOPIC, Start::Since(Some(before), 10)));
    assert!(!page.recovered, "{page:?}");
    let after = here.stored(here.append(TOPIC, 3));
    assert_ne!(after.epoch, before.epoch);
    here.inbox.wait("a gap", |items| items.iter().any(|item| matches!(item, Item::Gap)).then_some(()));
    here.inbox.wait("the message after it", |items| {
        let is_it = |item: &Item| matches!(item, Item::Message(message) if message.position == Some(after));
        items.iter().any(is_it).then_some(())
    });
}

#[test]
fn of_a_numbering_that_began_anew_everything_comes_behind_one_gap() {
    let mut server = RedisServer::start();
    let (here, there) = (Stand::new(&server, 1), Stand::new(&server, 2));
    here.listen(TOPIC);
    there.listen(TOPIC);
    let before = (1..=5).map(|serial| there.stored(there.append(TOPIC, serial))).next_back().unwrap();
    let has = |items: &[Item], sought: Position| {
        let is_it = |item: &Item| matches!(item, Item::Message(message) if message.position == Some(sought));
        items.iter().any(is_it).then_some(())
    };
    for stand in [&here, &there] {
        stand.inbox.wait("what was before", |items| has(items, before));
    }
    server.kill();
    // They wait, and are stored as soon as orders are taken, before all channels are heard again.
    let calls: Vec<u32> = (6..=15).map(|serial| there.append(TOPIC, serial)).collect();
    server.restart();
    let last = calls.into_iter().map(|call| there.stored(call)).next_back().unwrap();
    assert_ne!(last.epoch, before.epoch);
    for stand in [&here, &there] {
        stand.inbox.wait("the last", |items| has(items, last));
        stand.node.waits_until_healthy();
        let items = stand.inbox.items();
        let gaps: Vec<usize> = (0..items.len()).filter(|&place| matches!(items[place], Item::Gap)).collect();
        assert_eq!(gaps.len(), 1, "{items:?}");
        let offsets: Vec<u64> = items[gaps[0]..].iter().filter_map(offset).collect();
        assert_eq!(offsets, (1..=last.offset).collect::<Vec<_>>());
    }
}

#[test]
fn a_full_inbox_holds_back_the_bus_and_loses_nothing() {
    let server = RedisServer::start();
    let (here, there) = (Stand::new(&server, 1), Stand::new(&server, 2));
    here.listen(TOPIC);
    here.inbox.is_full.store(true, Ordering::Relaxed);
    let calls: Vec<u32> = (1..=50).map(|serial| there.append(TOPIC, serial)).collect();
    let last = calls.into_iter().map(|call| there.stored(call)).next_back().unwrap();
    assert!(here.inbox.offsets().is_empty());
    here.inbox.is_full.store(false, Ordering::Relaxed);
    here.inbox.wait("all", |items| items.iter().filter_map(offset).any(|at| at == last.offset).then_some(()));
    assert_eq!(here.inbox.offsets(), (1..=50).collect::<Vec<_>>());
}

const TOPIC: &str = "/topic/chat/42";

/// Of what is published here nothing is kept.
const UNKEPT: &str = "/queue/jobs";

const PATIENCE: Duration = Duration::from_secs(20);
