//! What history costs: a message that is kept, beside its body, and a destination.

use std::sync::Arc;

use bytes::Bytes;
use stompede::backend::memory::MemoryHistory;
use stompede::backend::{Acked, Edge, History, Inbound, News, Patience, Report, Sink, Word};
use stompede::model::{
    Address, Answer, ConnectionId, Destination, Full, Message, MessageId, Now, Retention, Ticket, WorkerId,
};
use stompede_protocol::Headers;

/// Subscribes nothing.
#[derive(Debug)]
struct Nobody;

impl Sink for Nobody {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        (inbound.make)();
        Ok(())
    }

    fn force(&self, _: &Arc<Message>) {}

    fn room_for(&self, _: &Destination, _: usize, _: WorkerId) -> Result<(), Full> {
        Ok(())
    }

    fn tell_room(&self, _: WorkerId) {}

    fn answer(&self, _: Ticket, _: Answer) {}

    fn is_heard(&self, _: &Destination) -> bool {
        false
    }

    fn is_wanted(&self, _: &Destination) -> bool {
        false
    }

    fn wants_patterns(&self) -> bool {
        false
    }

    fn gap(&self, _: &Destination) {}

    fn gap_in_patterns(&self) {}

    fn review(&self) {}

    fn ready(&self, _: &Destination) {}

    fn reply(&self, _: &Arc<Message>) {}

    fn obey(&self, _: &Bytes, _: Report) {}

    fn changed(&self, _: &News<'_>, _: Now) {}

    fn said(&self, _: &Word<'_>) {}

    fn edge(&self, _: &Edge<'_>, _: Acked) {}
}

/// Prints bytes for each, as the allocator counts them; at the most expensive number of messages, since lists grow by
/// doubling.
pub(crate) fn measure(allocated: impl Fn() -> usize) {
    let before = allocated();
    let history = MemoryHistory::new(Arc::new(Nobody), usize::MAX);
    println!("history of nothing     {} bytes", allocated() - before);
    let rooms: Vec<Destination> = (0..ROOMS).map(|n| room(&format!("/topic/chat/room-{n:04}"))).collect();
    let named = allocated();
    let mut most = 0;
    for n in 0..MESSAGES {
        for room in &rooms {
            append(&history, room, n);
        }
        if n == 0 {
            println!("a room with a message  {} bytes beside its body", (allocated() - named) / ROOMS - BODY);
        } else if n > FEW {
            most = most.max((allocated() - named) / ((n + 1) * ROOMS) - BODY);
        }
    }
    let each = (allocated() - named) / (MESSAGES * ROOMS) - BODY;
    println!("a kept message         {each} bytes beside its body of {BODY}, {most} at most");
}

fn append(history: &MemoryHistory, room: &Destination, number: usize) {
    let mut headers = Headers::new();
    headers.push("content-type", "application/json");
    let mut message = Arc::new(Message {
        id: MessageId { node: 0xfeed, number: number as u64 },
        destination: room.clone(),
        timestamp_ms: 0,
        sender: Some("alice".into()),
        headers,
        body: Bytes::from(vec![b'x'; BODY]),
        text: true,
        position: None,
        numbered: false,
    });
    let connection = ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 };
    let retention = Retention { messages_max: MESSAGES, bytes_max: usize::MAX, age_ms_max: u64::MAX };
    let ticket = Ticket { connection, call: 0, key: 0 };
    history.append(&mut message, &retention, Patience::None, ticket).expect("memory keeps everything");
}

fn room(name: &str) -> Destination {
    match Address::of_send(name) {
        Ok(Address::Topic(destination)) => destination,
        other => panic!("no topic: {other:?}"),
    }
}

const ROOMS: usize = 100;
const MESSAGES: usize = 1_000;
const FEW: usize = 100;
const BODY: usize = 200;
