use super::*;
use crate::backend::Read;
use crate::backend::history::UNREAD_MAX;
use crate::model::{ConnectionId, Full, MessageId, Place, Reader, Start, Which, WorkerId};
use bytes::Bytes;

/// Takes everything, or nothing.
#[derive(Debug, Default)]
struct Heard {
    messages: Mutex<Vec<Arc<Message>>>,
    answers: Mutex<Vec<Answer>>,
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

    fn room_for(&self, _: &Destination, _: usize, _: WorkerId) -> Result<(), Full> {
        Ok(())
    }

    fn tell_room(&self, _: WorkerId) {}

    fn answer(&self, _: Ticket, answer: Answer) {
        self.answers.lock().push(answer);
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
        self.append_of("alice", name, body, now_ms)
    }

    fn append_of(&self, sender: &str, name: &str, body: &str, now_ms: u64) -> Result<Position, Unappended> {
        let mut message = Arc::new(Message {
            id: MessageId { node: 1, number: body.parse().unwrap_or(0) },
            destination: Destination::internal(name),
            timestamp_ms: now_ms,
            sender: Some(sender.into()),
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
        let question = Question::Read(Read { start, messages_max: 3, bytes_max: usize::MAX });
        match self.ask(name, question, now_ms) {
            Answer::Page(Ok(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, name: &str, question: Question, now_ms: u64) -> Answer {
        self.history.ask(&Destination::internal(name), question, TICKET, now_ms);
        self.heard.answers.lock().pop().unwrap()
    }

    fn unread(&self, readers: &[(&str, u64)]) -> Vec<u32> {
        let readers = readers.iter().map(|(user, read)| Reader { user: (*user).into(), read: *read });
        match self.ask("/topic/a", Question::Count(readers.collect()), 0) {
            Answer::Unread(Ok(counts)) => counts.into_vec(),
            other => panic!("{other:?}"),
        }
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

#[test]
fn unread_is_what_others_sent_after_what_was_read() {
    let stand = Stand::new(5, usize::MAX);
    assert_eq!(stand.unread(&[("alice", 0), ("bob", 7)]), [0, 0]);
    for (n, sender) in ["alice", "bob", "alice", "carol", "alice", "bob", "bob"].iter().enumerate() {
        stand.append_of(sender, "/topic/a", &n.to_string(), 0).unwrap();
    }
    // 1 and 2 have made room; 3 to 7 are of alice, carol, alice, bob, bob.
    let readers =
        [("alice", 0), ("bob", 0), ("carol", 4), ("dave", 6), ("dave", 7), ("alice", 5), ("eve", 99)];
    assert_eq!(stand.unread(&readers), [3, 3, 3, 1, 0, 2, 0]);
}

#[test]
fn who_has_many_unread_is_told_so_whoever_else_is_counted() {
    let stand = Stand::new(usize::MAX, usize::MAX);
    for n in 0..3 * u64::from(UNREAD_MAX) {
        let sender = if n % 3 == 0 { "alice" } else { "bob" };
        stand.append_of(sender, "/topic/a", "", 0).unwrap();
    }
    let last = 3 * u64::from(UNREAD_MAX);
    let counts =
        stand.unread(&[("alice", 0), ("bob", 0), ("carol", 0), ("carol", last - 5), ("alice", last - 9)]);
    assert_eq!(counts, [UNREAD_MAX, UNREAD_MAX, UNREAD_MAX, 5, 6]);
}

#[test]
fn a_message_is_found_by_its_id_its_offset_and_as_the_last() {
    let stand = Stand::new(3, usize::MAX);
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
    assert_eq!(find(Which::At(3)), kept(3));
    assert_eq!(find(Which::At(2)), Some(Place { offset: 2, id: None }));
    assert_eq!([find(Which::At(0)), find(Which::At(6)), find(Which::At(u64::MAX))], [None; 3]);
    assert_eq!(find(Which::Id(id(4))), kept(4));
    assert_eq!(find(Which::Id(id(2))), None);
}
