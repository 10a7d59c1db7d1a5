//! Questions that wait for those who read.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use crate::backend::history::Question;
use crate::model::{Destination, Ticket};

/// Questions that wait. Each comes from one subscription or one of the few calls of a connection, which waits for it.
#[derive(Debug, Default)]
pub(super) struct Questions {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asked: VecDeque<Asked>,
    is_closed: bool,
}

/// One question.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) destination: Destination,
    pub(super) question: Question,
    pub(super) ticket: Ticket,
    pub(super) now_ms: u64,
}

impl Questions {
    pub(super) fn push(&self, asked: Asked) {
        self.state.lock().asked.push_back(asked);
        self.filled.notify_one();
    }

    /// Waits for a question; `None` when there will never be one.
    pub(super) fn wait(&self) -> Option<Asked> {
        let mut state = self.state.lock();
        loop {
            if let Some(asked) = state.asked.pop_front() {
                return Some(asked);
            }
            if state.is_closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
    }

    pub(super) fn take(&self) -> Option<Asked> {
        self.state.lock().asked.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().asked.len()
    }

    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.filled.notify_all();
    }
}
