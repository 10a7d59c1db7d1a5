//! Questions that wait for those who read.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use crate::backend::history::Question;
use crate::model::{Answer, Destination, StoreError, Ticket};

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

impl Asked {
    /// The answer of a store that is closed.
    pub(super) fn refused(&self) -> Answer {
        match self.question {
            Question::Read(_) | Question::Resume(..) => Answer::Page(Err(StoreError::Unavailable)),
            Question::Find(_) => Answer::Found(Err(StoreError::Unavailable)),
            Question::Count(_) => Answer::Unread(Err(StoreError::Unavailable)),
        }
    }
}

impl Questions {
    /// Adds a question; gives it back when nobody will answer.
    pub(super) fn push(&self, asked: Asked) -> Result<(), Asked> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(asked);
        }
        state.asked.push_back(asked);
        drop(state);
        self.filled.notify_one();
        Ok(())
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
