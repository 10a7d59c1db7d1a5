use super::*;
use crate::backend::{Quiet, Read};
use crate::model::{ConnectionId, Full, MessageId, Start, WorkerId};
use bytes::Bytes;

/// Takes everything, or nothing.
#[derive(Debug, Default)]
struct Heard {
    messages: Mutex<Vec<Arc<Message>>>,
    answers: Mutex<Vec<Answer>>,
    is_full: std::sync::atomic::AtomicBool,
}

impl Quiet for Heard {
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
        let mut message = Arc::new(Message {
            id: MessageId { node: 1, number: body.parse().unwrap_or(0) },
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
        let question =
            Question::Read(Read { start, messages_max: 3, bytes_max: usize::MAX, is_followed: false });
        match self.ask(name, question, now_ms) {
            Answer::Page(Ok(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, name: &str, question: Question, now_ms: u64) -> Answer {
        self.history.ask(&Destination::internal(name), question, TICKET, now_ms);
        self.heard.answers.lock().pop().unwrap()
    }
}

fn bodies(page: &Page) -> Vec<&str> {
    page.messages.iter().map(|message| std::str::from_utf8(&message.body).unwrap()).collect()
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
