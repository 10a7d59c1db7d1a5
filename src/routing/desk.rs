//! The desk: where those ask and publish who have no connection to a worker, such as requests over HTTP.
//!
//! For stores it is a worker like the others, [`DESK`], with a number of its own: what they answer it, and the room that it
//! waited for, comes here and not into an inbox.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::model::{Answer, ConnectionId, Ticket, WorkerId};

use super::directory::WORKERS_MAX;

/// The desk among the workers.
pub const DESK: WorkerId = WorkerId(WORKERS_MAX as u8);

/// Called with an answer, under the lock of whoever gives it: it must neither wait nor call back.
pub type Answered = Box<dyn FnOnce(Answer) + Send>;

/// What was asked there, and who waits for room.
#[derive(Default)]
pub struct Desk {
    last_call: AtomicU32,
    open: Mutex<HashMap<u32, Answered, RandomState>>,
    has_room: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Desk {
    /// A question whose answer `answered` gets.
    pub fn ask(&self, answered: Answered) -> Ticket {
        let ticket = self.ticket();
        self.open.lock().insert(ticket.call, answered);
        ticket
    }

    /// For what is not answered.
    pub fn ticket(&self) -> Ticket {
        let call = self.last_call.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Ticket { connection: ConnectionId { worker: DESK, slot: 0, serial: 0 }, call, key: 0 }
    }

    /// Nobody waits for the answer any more.
    pub fn forget(&self, ticket: Ticket) {
        let open = self.open.lock().remove(&ticket.call);
        drop(open);
    }

    /// The answer to a question. Nothing happens when nobody waits for it.
    pub fn answer(&self, ticket: Ticket, answer: Answer) {
        let open = self.open.lock().remove(&ticket.call);
        if let Some(answered) = open {
            answered(answer);
        }
    }

    /// `told` is called whenever an inbox or a store that was full has room again. Later calls change nothing.
    pub fn watch_room(&self, told: Box<dyn Fn() + Send + Sync>) {
        let _ = self.has_room.set(told);
    }

    /// An inbox or a store has room again.
    pub fn tell_room(&self) {
        if let Some(told) = self.has_room.get() {
            told();
        }
    }

    /// Questions that are open.
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("open", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn an_answer_reaches_who_asked_once_and_nobody_who_has_gone() {
        let (desk, told) = (Desk::default(), Arc::new(AtomicUsize::new(0)));
        let ask = || {
            let heard = Arc::clone(&told);
            desk.ask(Box::new(move |_| {
                heard.fetch_add(1, Ordering::Relaxed);
            }))
        };
        let (stays, goes) = (ask(), ask());
        desk.forget(goes);
        for ticket in [stays, stays, goes] {
            desk.answer(ticket, Answer::Synced(Ok(())));
        }
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(desk.is_empty());
    }
}
