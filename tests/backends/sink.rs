//! Where a store's messages and answers go: to a test that looks at them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use stompede::backend::{Acked, Edge, Inbound, News, Report, Sink, Word};
use stompede::model::{Answer, ConnectionId, Destination, Full, Message, Now, Ticket, WorkerId};

/// Takes everything, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) messages: Mutex<Vec<Arc<Message>>>,
    pub(crate) answers: Mutex<Vec<(u32, Answer)>>,
    pub(crate) is_full: AtomicBool,
    /// How often sessions were to be held against what is revoked.
    pub(crate) reviews: AtomicUsize,
    answered: Condvar,
    came: Condvar,
}

impl Heard {
    fn room(&self) -> Result<(), Full> {
        if self.is_full.load(Ordering::Relaxed) { Err(Full) } else { Ok(()) }
    }

    /// The messages, as soon as there are so many.
    pub(crate) fn await_messages(&self, count: usize) -> Vec<Arc<Message>> {
        let messages = self.messages.lock().expect("nobody panicked");
        let are_few = |messages: &mut Vec<_>| messages.len() < count;
        let (messages, _) =
            self.came.wait_timeout_while(messages, PATIENCE, are_few).expect("nobody panicked");
        messages.clone()
    }

    fn take(&self, message: Arc<Message>) {
        self.messages.lock().expect("nobody panicked").push(message);
        self.came.notify_all();
    }

    /// The answer to the question of that number.
    pub(crate) fn answer_to(&self, call: u32) -> Option<Answer> {
        let mut answers = self.answers.lock().expect("nobody panicked");
        let place = answers.iter().position(|(of, _)| *of == call)?;
        Some(answers.remove(place).1)
    }

    /// The same, as soon as it is there.
    pub(crate) fn await_answer_to(&self, call: u32) -> Answer {
        let answers = self.answers.lock().expect("nobody panicked");
        let is_missing = |answers: &mut Vec<(u32, Answer)>| answers.iter().all(|(of, _)| *of != call);
        let waited =
            self.answered.wait_timeout_while(answers, PATIENCE, is_missing).expect("nobody panicked");
        drop(waited);
        self.answer_to(call).expect("the store answers in time")
    }
}

impl Sink for Heard {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        self.room()?;
        self.take((inbound.make)());
        Ok(())
    }

    fn force(&self, message: &Arc<Message>) {
        self.take(Arc::clone(message));
    }

    fn room_for(&self, _: &Destination, _: usize, _: WorkerId) -> Result<(), Full> {
        self.room()
    }

    fn tell_room(&self, _: WorkerId) {}

    fn answer(&self, ticket: Ticket, answer: Answer) {
        self.answers.lock().expect("nobody panicked").push((ticket.call, answer));
        self.answered.notify_all();
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

    fn gap(&self, _: &Destination) {}

    fn gap_in_patterns(&self) {}

    fn review(&self) {
        self.reviews.fetch_add(1, Ordering::SeqCst);
    }

    fn ready(&self, _: &Destination) {}

    fn reply(&self, _: &Arc<Message>) {}

    fn obey(&self, _: &Bytes, _: Report) {}

    fn changed(&self, _: &News<'_>, _: Now) {}

    fn said(&self, _: &Word<'_>) {}

    fn edge(&self, _: &Edge<'_>, _: Acked) {}
}

/// A question of that number.
pub(crate) fn ticket(call: u32) -> Ticket {
    Ticket { connection: ConnectionId { worker: WorkerId(0), slot: 0, serial: 0 }, call, key: 0 }
}

/// So long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
