//! What every history does. Nothing in here knows an adapter: a test is handed a maker of empty ones.

#![expect(clippy::unwrap_used, reason = "every function is a test, whose attribute stands in the macro")]

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use stompede::backend::{Appended, History, Patience, Question, Read, UNREAD_MAX, Unappended, record};
use stompede::model::{
    Address, Answer, Destination, Message, MessageId, Page, Place, Position, Reader, Retention, Start, Which,
    WorkerId,
};
use stompede_protocol::Headers;

use crate::subject::Subject;

/// Makes an empty history that forgets what is older than so many milliseconds.
pub(crate) type Maker = fn(u64) -> Subject<dyn History>;

/// Every test of this file for the adapter that `$maker` makes.
macro_rules! judge {
    ($maker:expr) => {
        crate::history::judge!($maker, shared);
        crate::history::judge! { $maker =>
            a_message_that_finds_no_room_is_not_kept_and_takes_no_number
        }
    };
    // A shared store keeps what finds no room here, and hands it on later.
    ($maker:expr, shared) => {
        crate::history::judge! { $maker =>
            pages_follow_each_other_until_the_end
            a_page_is_bounded_in_bytes_but_has_one_message
            number_bytes_and_age_bound_what_is_kept
            a_log_that_begins_anew_repeats_no_offset_and_an_old_end_is_still_the_end
            a_position_of_elsewhere_is_not_taken_for_one_of_here
            what_everybody_has_taken_goes
            unread_is_what_others_sent_after_what_was_read
            who_has_many_unread_is_told_so_whoever_else_is_counted
            a_message_is_found_by_its_id_its_offset_and_as_the_last
            what_is_kept_has_all_that_was_sent
        }
    };
    ($maker:expr => $($test:ident)*) => {
        $(#[test]
        fn $test() {
            crate::history::$test($maker);
        })*
    };
}
pub(crate) use judge;

struct Stand {
    subject: Subject<dyn History>,
    retention: Retention,
}

impl Deref for Stand {
    type Target = Subject<dyn History>;

    fn deref(&self) -> &Subject<dyn History> {
        &self.subject
    }
}

impl Stand {
    fn new(maker: Maker, messages_max: usize) -> Self {
        let retention = Retention { messages_max, bytes_max: usize::MAX, age_ms_max: AGE_MS_MAX };
        Self { subject: maker(AGE_MS_MAX), retention }
    }

    fn append(&self, name: &str, body: &str, now_ms: u64) -> Result<Position, Unappended> {
        self.append_of("alice", name, body, now_ms)
    }

    fn append_of(&self, sender: &str, name: &str, body: &str, now_ms: u64) -> Result<Position, Unappended> {
        let ticket = self.ticket();
        let mut message = Arc::new(message(sender, name, body, now_ms));
        let patience = Patience::Wait(WorkerId(0));
        match self.subject.append(&mut message, &self.retention, patience, ticket)? {
            Appended::Now(position) => Ok(position),
            Appended::Later => match self.answer(ticket) {
                Answer::Stored(Ok(position)) => Ok(position),
                other => panic!("{other:?}"),
            },
        }
    }

    fn read(&self, name: &str, start: Start, now_ms: u64) -> Page {
        self.read_pages(
            name,
            Read { start, messages_max: 3, bytes_max: usize::MAX, is_followed: false },
            now_ms,
        )
    }

    fn read_pages(&self, name: &str, read: Read, now_ms: u64) -> Page {
        match self.ask(name, Question::Read(read), now_ms) {
            Answer::Page(Ok(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, name: &str, question: Question, now_ms: u64) -> Answer {
        let ticket = self.ticket();
        self.subject.ask(&name_of(name), question, ticket, now_ms);
        self.answer(ticket)
    }

    fn unread(&self, readers: &[(&str, u64)]) -> Vec<u32> {
        let readers = readers.iter().map(|(user, read)| Reader { user: (*user).into(), read: *read });
        match self.ask("/topic/a", Question::Count(readers.collect()), 0) {
            Answer::Unread(Ok(counts)) => counts.into_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// Time goes by until everything that is too old has been found.
    fn ages(&self, now_ms: u64) {
        for _ in 0..64 {
            self.tick(now_ms);
        }
        self.settles();
    }
}

fn message(sender: &str, name: &str, body: &str, now_ms: u64) -> Message {
    Message {
        id: MessageId { node: 1, number: body.parse().unwrap_or(0) },
        destination: name_of(name),
        timestamp_ms: now_ms,
        sender: Some(sender.into()),
        headers: Headers::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        text: true,
        position: None,
        numbered: false,
    }
}

fn name_of(topic: &str) -> Destination {
    match Address::of_send(topic) {
        Ok(Address::Topic(destination)) => destination,
        other => panic!("{topic} is no topic: {other:?}"),
    }
}

fn bodies(page: &Page) -> Vec<&str> {
    page.messages.iter().map(|message| std::str::from_utf8(&message.body).unwrap()).collect()
}

pub(crate) fn pages_follow_each_other_until_the_end(maker: Maker) {
    let stand = Stand::new(maker, 100);
    for n in 1..=7 {
        assert_eq!(stand.append("/topic/a", &n.to_string(), 0).unwrap().offset, n);
    }
    let first = stand.read("/topic/a", Start::Last(5), 0);
    assert_eq!((bodies(&first), first.recovered, first.joined), (vec!["3", "4", "5"], true, false));
    let second = stand.read("/topic/a", Start::After(first.end.offset), 0);
    assert_eq!((bodies(&second), second.recovered, second.joined), (vec!["6", "7"], true, true));
    assert_eq!(stand.heard.await_messages(7).len(), 7);
    assert_eq!(second.messages[1].position, Some(second.end));
}

pub(crate) fn a_page_is_bounded_in_bytes_but_has_one_message(maker: Maker) {
    let stand = Stand::new(maker, 100);
    for body in ["1", "2", "3"] {
        stand.append("/topic/a", &body.repeat(100), 0).unwrap();
    }
    for (bytes_max, expected) in [(0, 1), (150, 1), (320, 2), (10_000, 3)] {
        let read = Read { start: Start::Last(9), messages_max: 9, bytes_max, is_followed: false };
        assert_eq!(stand.read_pages("/topic/a", read, 0).messages.len(), expected, "{bytes_max}");
    }
}

pub(crate) fn a_message_that_finds_no_room_is_not_kept_and_takes_no_number(maker: Maker) {
    let stand = Stand::new(maker, 100);
    stand.heard.is_full.store(true, Ordering::Relaxed);
    assert_eq!(stand.append("/topic/a", "1", 0), Err(Unappended::Busy));
    stand.heard.is_full.store(false, Ordering::Relaxed);
    assert_eq!(stand.append("/topic/a", "2", 0).unwrap().offset, 1);
    assert_eq!(bodies(&stand.read("/topic/a", Start::Last(9), 0)), ["2"]);
}

pub(crate) fn number_bytes_and_age_bound_what_is_kept(maker: Maker) {
    let mut stand = Stand::new(maker, 3);
    for n in 1..=50 {
        stand.append("/topic/a", &n.to_string(), 0).unwrap();
    }
    assert_eq!(bodies(&stand.read("/topic/a", Start::Last(9), 0)), ["48", "49", "50"]);
    // Two records, and what memory takes for each beside it.
    stand.retention.bytes_max = 2 * record::encode(&message("alice", "/topic/a", "51", 0)).len() + 33;
    stand.append("/topic/a", "51", 900_000).unwrap();
    assert_eq!(bodies(&stand.read("/topic/a", Start::Last(9), 900_000)), ["50", "51"]);
    let page = stand.read("/topic/a", Start::Last(9), 1_500_000);
    assert_eq!((bodies(&page), page.recovered), (vec!["51"], true));
    stand.ages(2_000_000);
    assert_eq!(stand.read("/topic/a", Start::Last(9), 2_000_000).messages.len(), 0);
    if !stand.is_shared {
        assert_eq!((stand.bytes(), stand.len()), (0, 0));
    }
}

pub(crate) fn a_log_that_begins_anew_repeats_no_offset_and_an_old_end_is_still_the_end(maker: Maker) {
    let stand = Stand::new(maker, 100);
    let last = stand.append("/topic/a", "1", 0).unwrap();
    stand.ages(5_000_000);
    assert!(stand.is_shared || stand.is_empty());
    assert!(stand.read("/topic/a", Start::Since(Some(last), 0), 5_000_000).recovered, "nothing came since");
    let next = stand.append("/topic/a", "2", 5_000_000).unwrap();
    assert_eq!((next.epoch, next.offset), (last.epoch, last.offset + 1));
    let page = stand.read("/topic/a", Start::Since(Some(last), 0), 5_000_000);
    assert_eq!((bodies(&page), page.recovered), (vec!["2"], true));
}

pub(crate) fn a_position_of_elsewhere_is_not_taken_for_one_of_here(maker: Maker) {
    let stand = Stand::new(maker, 3);
    let elsewhere = stand.append("/topic/b", "1", 0).unwrap();
    for n in 1..=5 {
        stand.append("/topic/a", &n.to_string(), 0).unwrap();
    }
    let here = stand.append("/topic/a", "6", 0).unwrap();
    let at = |offset| Some(Position { offset, ..here });
    for (start, expected, recovered) in [
        (at(6), vec![], true),
        (at(4), vec!["5", "6"], true),
        (at(3), vec!["4", "5", "6"], true),
        (at(2), vec!["4", "5", "6"], false),
        (at(0), vec!["4", "5", "6"], false),
        (at(7), vec!["5", "6"], false),
        (at(u64::MAX), vec!["5", "6"], false),
        (Some(elsewhere), vec!["5", "6"], false),
        (None, vec!["5", "6"], false),
    ] {
        let page = stand.read("/topic/a", Start::Since(start, 2), 0);
        assert_eq!((bodies(&page), page.recovered), (expected, recovered), "{start:?}");
    }
}

pub(crate) fn what_everybody_has_taken_goes(maker: Maker) {
    let stand = Stand::new(maker, 100);
    for n in 1..=40 {
        stand.append("/topic/a", &n.to_string(), 0).unwrap();
    }
    stand.trim(&name_of("/topic/a"), 38);
    stand.settles();
    assert_eq!(bodies(&stand.read("/topic/a", Start::Last(9), 0)), ["39", "40"]);
    let page = stand.read("/topic/a", Start::After(20), 0);
    assert_eq!((bodies(&page), page.recovered), (vec!["39", "40"], false));
    stand.trim(&name_of("/topic/a"), u64::MAX);
    stand.trim(&name_of("/topic/b"), 1);
    stand.settles();
    if !stand.is_shared {
        assert_eq!(stand.last(&name_of("/topic/a")), 40);
    }
    let page = stand.read("/topic/a", Start::After(40), 0);
    assert_eq!((bodies(&page), page.recovered), (vec![], true), "who has taken all has missed nothing");
    assert_eq!(stand.append("/topic/a", "41", 0).unwrap().offset, 41);
}

pub(crate) fn unread_is_what_others_sent_after_what_was_read(maker: Maker) {
    let stand = Stand::new(maker, 5);
    assert_eq!(stand.unread(&[("alice", 0), ("bob", 7)]), [0, 0]);
    for (n, sender) in ["alice", "bob", "alice", "carol", "alice", "bob", "bob"].iter().enumerate() {
        stand.append_of(sender, "/topic/a", &n.to_string(), 0).unwrap();
    }
    // 1 and 2 have made room; 3 to 7 are of alice, carol, alice, bob, bob.
    let readers =
        [("alice", 0), ("bob", 0), ("carol", 4), ("dave", 6), ("dave", 7), ("alice", 5), ("eve", 99)];
    assert_eq!(stand.unread(&readers), [3, 3, 3, 1, 0, 2, 0]);
}

pub(crate) fn who_has_many_unread_is_told_so_whoever_else_is_counted(maker: Maker) {
    let stand = Stand::new(maker, usize::MAX);
    for n in 0..3 * u64::from(UNREAD_MAX) {
        let sender = if n % 3 == 0 { "alice" } else { "bob" };
        stand.append_of(sender, "/topic/a", "", 0).unwrap();
    }
    let last = 3 * u64::from(UNREAD_MAX);
    let counts =
        stand.unread(&[("alice", 0), ("bob", 0), ("carol", 0), ("carol", last - 5), ("alice", last - 9)]);
    assert_eq!(counts, [UNREAD_MAX, UNREAD_MAX, UNREAD_MAX, 5, 6]);
}

pub(crate) fn a_message_is_found_by_its_id_its_offset_and_as_the_last(maker: Maker) {
    let stand = Stand::new(maker, 3);
    let find = |which| match stand.ask("/topic/a", Question::Find(which), 0) {
        Answer::Found(Ok(found)) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(find(Which::Last), None);
    for n in 1..=5 {
        stand.append("/topic/a", &n.to_string(), 0).unwrap();
    }
    let id = |number| MessageId { node: 1, number };
    let kept = |offset| Some(Place { offset, id: Some(id(offset)) });
    assert_eq!(find(Which::Last), kept(5));
    assert_eq!((find(Which::At(4)), find(Which::Id(id(3)))), (kept(4), kept(3)));
    assert_eq!(find(Which::At(1)), Some(Place { offset: 1, id: None }), "it was there");
    for which in [Which::At(0), Which::At(6), Which::At(u64::MAX), Which::Id(id(1)), Which::Id(id(9))] {
        assert_eq!(find(which), None, "{which:?}");
    }
}

pub(crate) fn what_is_kept_has_all_that_was_sent(maker: Maker) {
    let stand = Stand::new(maker, 3);
    let ticket = stand.ticket();
    let sent = Message {
        headers: [("content-type", "application/json"), ("k", "v")].into_iter().collect(),
        body: Bytes::from_static(br#"{"a":1}"#),
        numbered: true,
        ..message("alice", "/topic/a", "", 7)
    };
    let mut shared = Arc::new(sent);
    if stand.subject.append(&mut shared, &stand.retention, Patience::None, ticket).unwrap() == Appended::Later
    {
        assert!(matches!(stand.answer(ticket), Answer::Stored(Ok(_))));
    }
    let page = stand.read("/topic/a", Start::Last(1), 7);
    let (live, kept) = (stand.heard.await_messages(1).pop().unwrap(), Arc::clone(&page.messages[0]));
    assert_eq!(kept.body, Bytes::from_static(br#"{"a":1,"offset":1}"#));
    assert_eq!((&live.body, live.position), (&kept.body, kept.position));
    assert_eq!((kept.id, kept.timestamp_ms, kept.text), (live.id, 7, true));
    assert_eq!(kept.headers.get("k"), Some("v"));
    assert_eq!(kept.sender.as_deref(), Some("alice"));
}

/// What is older is not kept.
const AGE_MS_MAX: u64 = 1_000_000;
