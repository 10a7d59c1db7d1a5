//! What is handed on, and what is told, where the bus was interrupted or says nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use stompede_protocol::Headers;

use super::*;
use crate::backend::redis::keys::Keys;
use crate::backend::redis::testing::ticket;
use crate::backend::{Quiet, Read};
use crate::model::{Answer, DestinationRule, Message, MessageId, Now, Pattern, Retention, Start, Ticket};

/// What a worker's inbox was given, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Message(u64),
    /// A page that ends there.
    Page(u32, u64),
    Gap,
}

#[derive(Debug, Default)]
struct Inbox(Mutex<Vec<Item>>);

impl Inbox {
    fn push(&self, item: Item) {
        self.0.lock().push(item);
    }

    fn take(&self) -> Vec<Item> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Quiet for Inbox {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        Quiet::force(self, &(inbound.make)());
        Ok(())
    }

    fn force(&self, message: &Arc<Message>) {
        self.push(Item::Message(message.position.map_or(0, |position| position.offset)));
    }

    fn answer(&self, ticket: Ticket, answer: Answer) {
        let Answer::Page(Ok(page)) = answer else { panic!("{answer:?}") };
        self.push(Item::Page(ticket.call, page.end.offset));
    }

    fn gap(&self, _: &Destination) {
        self.push(Item::Gap);
    }
}

/// The logs of a node on which somebody listens to a topic, and somebody else has asked for a page of it.
struct Stand {
    logs: Logs,
    inbox: Arc<Inbox>,
    topic: Destination,
    now_ms: Arc<AtomicU64>,
}

impl Stand {
    fn new() -> Self {
        let now_ms = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&now_ms);
        let clock = move || Now { mono: Millis(clock.load(Ordering::Relaxed)), wall_ms: 0 };
        let hub = Hub::new(Keys::new("websocket:"), "/topic/chat/", Arc::new(clock), Arc::new(|| 7));
        let kept = Retention { messages_max: 9, bytes_max: 9_999, age_ms_max: 9_999 };
        let pattern = Pattern::parse("/topic/**").expect("it is a pattern");
        let rule = DestinationRule { pattern, overflow: None, history: Some(kept), offline: None };
        let inbox = Arc::<Inbox>::default();
        hub.serve(Arc::clone(&inbox) as _);
        let logs = Logs::new(Arc::new(hub), DestinationRules::new(vec![rule]));
        let topic = Destination::internal("/topic/a");
        logs.begin_reading(&topic);
        Self { logs, inbox, topic, now_ms }
    }

    fn hears(&self, offset: u64) -> Step {
        let record = record::encode(&Message {
            id: MessageId { node: 1, number: offset },
            destination: self.topic.clone(),
            timestamp_ms: 0,
            sender: None,
            headers: Headers::new(),
            body: Bytes::new(),
            text: true,
            position: None,
            numbered: false,
        });
        self.logs.hear(&self.topic, at(offset), &record.into()).expect("there is room")
    }

    /// A page has come that ends there.
    fn reads(&self, end: u64) -> Option<Position> {
        let page = Page { messages: Vec::new(), recovered: true, after: at(end), end: at(end), joined: true };
        let read = Read { start: Start::Last(0), messages_max: 1, bytes_max: 1, is_followed: true };
        self.logs.hand_over(&self.topic, Reader { read, ticket: ticket(1), now_ms: 0 }, page)
    }

    fn passes(&self, ms: u64) -> Vec<(Destination, Position)> {
        let now = self.now_ms.fetch_add(ms, Ordering::Relaxed) + ms;
        self.logs.tick(0, Millis(now)).fill
    }
}

fn at(offset: u64) -> Position {
    Position { epoch: 3, offset }
}

#[test]
fn a_page_waits_for_its_mark_and_what_comes_before_the_mark_is_handed_on() {
    let stand = Stand::new();
    assert_eq!(stand.reads(3), None);
    assert_eq!(stand.inbox.take(), []);
    stand.logs.hear_mark(&stand.topic, at(3));
    assert_eq!(stand.inbox.take(), [Item::Page(1, 3)]);

    let stand = Stand::new();
    stand.reads(3);
    stand.hears(3);
    assert_eq!(stand.inbox.take(), [Item::Message(3), Item::Page(1, 3)]);
    stand.logs.hear_mark(&stand.topic, at(3));
    stand.hears(4);
    assert_eq!(stand.inbox.take(), [Item::Message(4)]);
}

#[test]
fn one_of_those_who_read_asks_for_a_mark_and_another_when_it_does_not_come() {
    let stand = Stand::new();
    assert!(stand.logs.wants_mark(&stand.topic));
    assert!(!stand.logs.wants_mark(&stand.topic));
    stand.passes(OVERDUE_MS);
    assert!(stand.logs.wants_mark(&stand.topic));
    stand.logs.hear_mark(&stand.topic, at(0));
    stand.passes(OVERDUE_MS);
    assert!(!stand.logs.wants_mark(&stand.topic));
}

#[test]
fn where_nothing_says_where_the_bus_stands_a_gap_is_told_before_the_page() {
    let stand = Stand::new();
    stand.reads(3);
    assert_eq!(stand.passes(OVERDUE_MS - 1), []);
    assert_eq!(stand.inbox.take(), []);
    assert_eq!(stand.passes(1), []);
    assert_eq!(stand.inbox.take(), [Item::Gap, Item::Page(1, 3)]);
    stand.hears(3);
    stand.hears(4);
    assert_eq!(stand.inbox.take(), [Item::Message(4)]);
}

#[test]
fn what_was_lost_before_anything_was_heard_is_told_before_what_comes_next() {
    let stand = Stand::new();
    stand.logs.interrupted(&stand.topic);
    stand.hears(5);
    assert_eq!(stand.inbox.take(), [Item::Gap, Item::Message(5)]);
    assert_eq!(stand.logs.missed(&stand.topic), Some(at(5)));
    assert_eq!(stand.inbox.take(), [], "that it was told once is enough");

    let stand = Stand::new();
    stand.reads(5);
    stand.logs.interrupted(&stand.topic);
    stand.logs.hear_mark(&stand.topic, at(5));
    assert_eq!(stand.inbox.take(), [Item::Gap, Item::Page(1, 5)]);

    let stand = Stand::new();
    stand.reads(5);
    stand.logs.interrupted(&stand.topic);
    assert_eq!(stand.logs.missed(&stand.topic), Some(at(5)), "what came after the page is read");
    assert_eq!(stand.inbox.take(), [Item::Gap, Item::Page(1, 5)]);
}

#[test]
fn an_interruption_of_what_was_heard_is_filled_and_not_told() {
    let stand = Stand::new();
    stand.hears(1);
    stand.logs.interrupted(&stand.topic);
    assert_eq!(stand.hears(3), Step::Fill(at(1)));
    assert_eq!(stand.inbox.take(), [Item::Message(1)]);
}

#[test]
fn who_waits_for_the_page_of_another_is_not_forgotten_when_a_message_comes() {
    let stand = Stand::new();
    let read = Read { start: Start::Last(0), messages_max: 1, bytes_max: 1, is_followed: true };
    let reader = |call| Reader { read, ticket: ticket(call), now_ms: 0 };
    assert_eq!(stand.logs.take_turn(&stand.topic, reader(1)), Turn::Reads);
    stand.logs.begin_reading(&stand.topic);
    assert_eq!(stand.logs.take_turn(&stand.topic, reader(2)), Turn::Waits);
    assert_eq!(stand.hears(1), Step::Done);
    assert_eq!(stand.inbox.take(), [Item::Message(1)]);
    assert_eq!(stand.reads(1), None);
    assert!(stand.logs.end_turn(&stand.topic).is_empty(), "nobody has to read himself");
    assert_eq!(stand.inbox.take(), [Item::Page(1, 1), Item::Page(2, 1)]);
}
