//! What was and what comes, put together: readers who come while others publish, connections that break, another primary.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use stompede::backend::{
    Acked, Appended, Bus, Edge, History, Inbound, Kept, News, Patience, Question, Read, Relay, Report, Sink,
    Wanted, Word,
};
use stompede::model::{
    Address, Answer, ConnectionId, Destination, Full, Limits, Message, MessageId, Now, Page, Pattern,
    Position, Reader, Retention, Start, Ticket, Which, WorkerId,
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
    PatternGap,
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

    fn gap_in_patterns(&self) {
        self.push(Item::PatternGap);
    }

    fn review(&self) {}

    fn ready(&self, _: &Destination) {}

    fn reply(&self, _: &Arc<Message>) {}

    fn obey(&self, _: &Bytes, _: Report) {}

    fn said(&self, _: &Word<'_>) {}

    fn edge(&self, _: &Edge<'_>, _: Acked) {}

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
        let read = Read { start, messages_max: 20, bytes_max: usize::MAX, is_followed: true };
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

/// How often Redis was given the command so far, by scripts too.
fn calls_of(command: &str, server: &RedisServer) -> u64 {
    let statistics = server.cli(&["INFO", "commandstats"]);
    let line = statistics.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
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
        let (mut joined, mut known) = (Vec::new(), None);
        for turn in 0..90 {
            let start = match turn % 3 {
                0 => Start::Last(5),
                1 => Start::Last(0),
                // What he had is where another's page ended.
                _ => Start::Since(known, 0),
            };
            let mut call = here.read(TOPIC, start);
            let mut read: Vec<u64> = Vec::new();
            loop {
                let page = here.inbox.page(call);
                read.extend(page.messages.iter().filter_map(|message| Some(message.position?.offset)));
                assert!(page.recovered);
                if page.joined {
                    known = Some(page.end);
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
fn what_somebody_reads_while_it_is_on_its_way_comes_to_those_who_listened_before() {
    let server = RedisServer::start();
    let (here, there) = (Stand::new(&server, 1), Stand::new(&server, 2));
    here.listen(TOPIC);
    here.listen(OTHER);
    // What is at the head of the line is not taken, so everything behind it is on its way.
    here.inbox.is_full.store(true, Ordering::Relaxed);
    there.stored(there.append(OTHER, 1));
    let ours = there.stored(there.append(TOPIC, 2));
    let call = here.read(TOPIC, Start::Last(5));
    // What is asked in one place is answered in turn, so that page has come.
    let found = here.ticket();
    here.history.ask(&destination(TOPIC), Question::Find(Which::Last), found, 0);
    assert!(matches!(here.inbox.answer(found.call), Answer::Found(Ok(Some(_)))));
    here.inbox.is_full.store(false, Ordering::Relaxed);
    let page = here.inbox.page(call);
    assert_eq!(page.end, ours);
    let items = here.inbox.items();
    let heard: Vec<usize> = (0..items.len())
        .filter(|&place| matches!(&items[place], Item::Message(message) if message.position == Some(ours)))
        .collect();
    let answered = items.iter().position(|item| matches!(item, Item::Answer(of, _) if *of == call));
    assert_eq!(heard.len(), 1, "it came to those who listened, once");
    assert!(Some(heard[0]) < answered, "he who read it does not get it again");
    assert!(!items.iter().any(|item| matches!(item, Item::Gap)));
}

#[test]
fn those_who_come_back_are_answered_by_what_one_of_them_has_read() {
    let server = RedisServer::start();
    let (here, there) = (Stand::new(&server, 1), Stand::new(&server, 2));
    let offsets = |page: &Page| -> Vec<u64> {
        page.messages.iter().filter_map(|message| Some(message.position?.offset)).collect()
    };
    let positions: Vec<Position> = (1..=10).map(|serial| there.stored(there.append(TOPIC, serial))).collect();
    here.listen(TOPIC);
    let before = calls_of("xrange", &server);
    let calls: Vec<u32> = (0..100).map(|_| here.read(TOPIC, Start::Since(Some(positions[4]), 0))).collect();
    for call in calls {
        let page = here.inbox.page(call);
        assert_eq!((offsets(&page), page.recovered, page.joined), (vec![6, 7, 8, 9, 10], true, true));
    }
    let once = calls_of("xrange", &server) - before;
    assert!(once <= 3, "one page was read for all, but {once} commands were given");
    // What comes after it is known, too.
    let newest = (11..=13).map(|serial| there.stored(there.append(TOPIC, serial))).last().unwrap();
    here.inbox.wait("what is new", |items| items.iter().filter_map(offset).any(|at| at == 13).then_some(()));
    let before = calls_of("xrange", &server);
    for (start, expected) in [
        (Start::Since(Some(positions[7]), 0), vec![9, 10, 11, 12, 13]),
        (Start::Since(Some(newest), 0), vec![]),
        (Start::Last(3), vec![11, 12, 13]),
    ] {
        let page = here.inbox.page(here.read(TOPIC, start));
        assert_eq!((offsets(&page), page.recovered, page.end), (expected, true, newest));
    }
    assert_eq!(calls_of("xrange", &server), before);
    // Where one has read all that is kept, others know that there is no more.
    assert_eq!(offsets(&here.inbox.page(here.read(TOPIC, Start::Last(15)))).len(), 13);
    let before = calls_of("xrange", &server);
    assert_eq!(offsets(&here.inbox.page(here.read(TOPIC, Start::Last(20)))).len(), 13);
    assert_eq!(calls_of("xrange", &server), before);
    // Who asks for what is not here gets it nevertheless, and who shows a position of another numbering is told.
    let page = here.inbox.page(here.read(TOPIC, Start::Since(Some(positions[0]), 0)));
    assert_eq!((offsets(&page).len(), page.recovered), (12, true));
    let strange = Position { epoch: newest.epoch ^ 1, ..newest };
    let page = here.inbox.page(here.read(TOPIC, Start::Since(Some(strange), 2)));
    assert_eq!((offsets(&page), page.recovered), (vec![12, 13], false));
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
fn whoever_wants_patterns_is_told_of_each_break_once_however_little_came_between() {
    let server = RedisServer::start();
    let here = Stand::new(&server, 1);
    let ticket = here.ticket();
    let pattern = Pattern::parse("/topic/**").unwrap();
    if here.relay.listen(Wanted::Pattern(&pattern), Some(ticket)) == Kept::Later {
        assert!(matches!(here.inbox.answer(ticket.call), Answer::Listening(Ok(()))));
    }
    for breaks in 1..=3 {
        server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let told = |items: &[Item]| items.iter().filter(|item| matches!(item, Item::PatternGap)).count();
        here.inbox.wait("a gap", |items| (told(items) >= breaks).then_some(()));
        here.node.waits_until_healthy();
        assert_eq!(told(&here.inbox.items()), breaks);
    }
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
fn a_log_of_which_nothing_is_known_any_more_goes_on_above_all_that_it_has_given() {
    let server = RedisServer::start();
    let here = Stand::new(&server, 1);
    let append = |serial| here.stored(here.append(TOPIC, serial));
    assert_eq!(append(1).offset, 1);
    let calls: Vec<u32> = (2..=600).map(|serial| here.append(TOPIC, serial)).collect();
    let before = calls.into_iter().map(|call| here.stored(call)).next_back().unwrap();
    assert_eq!(before.offset, 600);

    forget(&server, TOPIC);
    let after = append(601);
    assert_ne!(after.epoch, before.epoch);
    assert!(after.offset > before.offset, "{after} behind {before}");
    let page = here.inbox.page(here.read(TOPIC, Start::Since(Some(before), 10)));
    assert!(!page.recovered, "{page:?}");
    // Who is a member has read up to there, and does not know that it was forgotten.
    let ticket = here.ticket();
    let readers = vec![Reader { user: "bob".into(), read: before.offset }];
    here.history.ask(&destination(TOPIC), Question::Count(readers.into()), ticket, 0);
    assert!(
        matches!(here.inbox.answer(ticket.call), Answer::Unread(Ok(counts)) if *counts == [1]),
        "what came since is not read"
    );

    // Who looks first begins it as well as who sends.
    forget(&server, TOPIC);
    let page = here.inbox.page(here.read(TOPIC, Start::Last(10)));
    assert!(page.messages.is_empty() && page.end.offset >= after.offset, "{page:?}");
    let next = append(602);
    assert_eq!((next.epoch, next.offset), (page.end.epoch, page.end.offset + 1));

    // What another primary has noted may not be the last that it noted.
    let limit = server.cli(&["--scan", "--pattern", "*:limit"]);
    server.cli(&["SET", &limit, "another 5000"]);
    forget(&server, TOPIC);
    assert_eq!(append(603).offset, 5_000 + (1 << 20) + 1);
}

/// As if it had been too long since anything was sent there.
fn forget(server: &RedisServer, name: &str) {
    for family in ["h", "s"] {
        let key = server.cli(&["--scan", "--pattern", &format!("*:{family}:{name}")]);
        server.cli(&["PEXPIRE", &key, "1"]);
        server.wait_for(&["EXISTS", &key], "0");
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

const OTHER: &str = "/topic/other";

/// Of what is published here nothing is kept.
const UNKEPT: &str = "/queue/jobs";

const PATIENCE: Duration = Duration::from_secs(20);
