//! Where a store's messages and answers go: to a test that looks at them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use stompede::backend::{Inbound, Sink};
use stompede::model::{Answer, ConnectionId, Destination, Full, Message, Ticket, WorkerId};

/// Takes everything, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) messages: Mutex<Vec<Arc<Message>>>,
    pub(crate) answers: Mutex<Vec<(u32, Answer)>>,
    pub(crate) is_full: AtomicBool,
}

impl Heard {
    fn room(&self) -> Result<(), Full> {
        if self.is_full.load(Ordering::Relaxed) { Err(Full) } else { Ok(()) }
    }

    /// The answer to the question of that number.
    pub(crate) fn answer_to(&self, call: u32) -> Option<Answer> {
        let mut answers = self.answers.lock().expect("nobody panicked");
        let place = answers.iter().position(|(of, _)| *of == call)?;
        Some(answers.remove(place).1)
    }
}

impl Sink for Heard {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        self.room()?;
        self.messages.lock().expect("nobody panicked").push((inbound.make)());
        Ok(())
    }

    fn force(&self, message: &Arc<Message>) {
        self.messages.lock().expect("nobody panicked").push(Arc::clone(message));
    }

    fn room_for(&self, _: &Destination, _: usize, _: WorkerId) -> Result<(), Full> {
        self.room()
    }

    fn tell_room(&self, _: WorkerId) {}

    fn answer(&self, ticket: Ticket, answer: Answer) {
        self.answers.lock().expect("nobody panicked").push((ticket.call, answer));
    }
}

/// A question of that number.
pub(crate) fn ticket(call: u32) -> Ticket {
    Ticket { connection: ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 }, call, key: 0 }
}
