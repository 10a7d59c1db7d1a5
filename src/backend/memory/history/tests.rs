use super::*;
use crate::model::{ConnectionId, Full, MessageId, Start, WorkerId};
use bytes::Bytes;

/// Takes everything, or nothing.
#[derive(Debug, Default)]
struct Heard {
    messages: Mutex<Vec<Arc<Message>>>,
    pages: Mutex<Vec<Page>>,
    is_full: std::sync::atomic::AtomicBool,
}

impl Sink for Heard {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(Full);
        }
        self.messages.lock().push((inbound.make)());
        Ok(())
    }

    fn force(&self, message: &Arc<Message>) {
        self.messages.lock().push(Arc::clone(message));
    }

    fn answer(&self, _: Ticket, answer: Answer) {
        if let Answer::Page(Ok(page)) = answer {
            self.pages.lock().push(page);
        }
    }
}

struct Stand {
    heard: Arc<Heard>,
    history: MemoryHistory,
    retention: Retention,
}

const TICKET: Ticket =
    Ticket { connection: ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 }, call: 1, key: 0 };

impl Stand {
    fn new(messages_max: usize, bytes_max: usize) -> Self {
        let heard = Arc::<Heard>::default();
        let history = MemoryHistory::new(Arc::<Heard>::clone(&heard), bytes_max);
        let retention = Retention { messages_max, bytes_max: usize::MAX, age_ms_max: 1_000 };
        Self { heard, history, retention }
    }

    fn append(&self, name: &str, body: &str, now_ms: u64) -> Result<Position, Unappended> {
        let mut message = Arc::new(Message {
            id: MessageId { node: 1, number: 1 },
            destination: Destination::internal(name),
            timestamp_ms: now_ms,
            sender: Some("alice".into()),
            headers: stompede_protocol::Headers::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            text: true,
            position: None,
            numbered: false,
        });
        let patience = Patience::Wait(WorkerId(0));
        match self.history.append(&mut message, &self.retention, patience, TICKET)? {
            Appended::Now(position) => Ok(position),
            Appended::Later => panic!("memory keeps at once"),
        }
    }

    fn read(&self, name: &str, start: Start, now_ms: u64) -> Page {
        let question = Question { start, messages_max: 3, bytes_max: usize::MAX };
        self.history.read(&Destination::internal(name), question, TICKET, now_ms);
        self.heard.pages.lock().pop().unwrap()
    }
}

fn bodies(page: &Page) -> Vec<&str> {
    page.messages.iter().map(|message| std::str::from_utf8(&message.body).unwrap()).collect()
}

#[test]
fn pages_follow_each_other_until_the_end() {
    let stand = Stand::new(100, usize::MAX);
    for n in 1..=7 {
        assert_eq!(stand.append("/topic/a", &n.to_string(), 0).unwrap().offset, n);
    }
    let first = stand.read("/topic/a", Start::Last(5), 0);
    assert_eq!((bodies(&first), first.recovered, first.joined), (vec!["3", "4", "5"], true, false));
    let second = stand.read("/topic/a", Start::After(first.end.offset), 0);
    assert_eq!((bodies(&second), second.recovered, second.joined), (vec!["6", "7"], true, true));
    assert_eq!(stand.heard.messages.lock().len(), 7);
    assert_eq!(second.messages[1].position, Some(second.end));
}

#[test]
fn a_message_that_finds_no_room_is_not_kept_and_takes_no_number() {
    let stand = Stand::new(100, usize::MAX);
    stand.heard.is_full.store(true, Ordering::Relaxed);
    assert_eq!(stand.append("/topic/a", "1", 0), Err(Unappended::Busy));
    stand.heard.is_full.store(false, Ordering::Relaxed);
    assert_eq!(stand.append("/topic/a", "2", 0).unwrap().offset, 1);
    assert_eq!(bodies(&stand.read("/topic/a", Start::Last(9), 0)), ["2"]);
}

#[test]
fn number_bytes_and_age_bound_what_is_kept() {
    let mut stand = Stand::new(3, usize::MAX);
    for n in 1..=5 {
        stand.append("/topic/a", &n.to_string(), 0).unwrap();
    }
    assert_eq!(bodies(&stand.read("/topic/a", Start::Last(9), 0)), ["3", "4", "5"]);
    stand.retention.bytes_max = 2 * stand.history.bytes() / 3;
    stand.append("/topic/a", "6", 900).unwrap();
    assert_eq!(bodies(&stand.read("/topic/a", Start::Last(9), 900)), ["5", "6"]);
    assert_eq!(bodies(&stand.read("/topic/a", Start::Last(9), 1_500)), ["6"]);
    for _ in 0..SHARDS {
        stand.history.tick(2_000);
    }
    assert_eq!((stand.history.bytes(), stand.history.len()), (0, 0));
}

#[test]
fn a_log_that_begins_anew_repeats_no_offset_and_an_old_end_is_still_the_end() {
    let stand = Stand::new(100, usize::MAX);
    let last = stand.append("/topic/a", "1", 0).unwrap();
    (0..SHARDS).for_each(|_| stand.history.tick(5_000));
    assert!(stand.history.is_empty());
    assert!(stand.read("/topic/a", Start::Since(Some(last), 0), 5_000).recovered, "nothing came since");
    let next = stand.append("/topic/a", "2", 5_000).unwrap();
    assert_eq!((next.epoch, next.offset), (last.epoch, last.offset + 1));
    let page = stand.read("/topic/a", Start::Since(Some(last), 0), 5_000);
    assert_eq!((bodies(&page), page.recovered), (vec!["2"], true));
}

#[test]
fn the_oldest_of_all_makes_room_where_all_is_too_large() {
    let stand = Stand::new(1_000, 20_000);
    for n in 0..500 {
        stand.append(&format!("/topic/{}", n % 50), &n.to_string(), n).unwrap();
    }
    assert!(stand.history.bytes() <= 20_000);
    let kept: usize =
        (0..50).map(|n| stand.read(&format!("/topic/{n}"), Start::Last(1_000), 500).messages.len()).sum();
    assert!(kept > 100, "{kept} of 500 are kept");
    let page = stand.read("/topic/49", Start::Last(1), 500);
    assert_eq!(bodies(&page), ["499"]);
    // What is larger than all the room is not kept, and no reason to stop.
    stand.append("/topic/large", &"x".repeat(30_000), 501).unwrap();
    assert!(stand.history.bytes() <= 20_000);
}
