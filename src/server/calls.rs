//! The slow work that a worker's peers asked for.
//!
//! A call waits in the worker's own line until one of the hashing threads is free. Who has gone meanwhile costs no hash,
//! so a wave of logins that hang up delays nobody.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_local;

use crate::broker::{Call, CallAnswer};
use crate::model::{CloseReason, ConnectionId};

use super::hashing::{HASHES_AT_ONCE, Hashing};
use super::worker::Worker;

/// The calls of one worker.
#[derive(Debug)]
pub(super) struct Calls {
    hashing: Hashing,
    waiting: RefCell<VecDeque<(ConnectionId, Call)>>,
    /// Tasks that work the line off.
    clerks: Cell<usize>,
}

/// Counts a task while it lives.
struct Clerk(Rc<Worker>);

impl Calls {
    pub(super) fn new(hashing: Hashing) -> Self {
        Self { hashing, waiting: RefCell::default(), clerks: Cell::new(0) }
    }
}

impl Worker {
    /// Takes up the slow work that peers asked for.
    pub(crate) fn see_to_calls(self: &Rc<Self>) {
        let calls = self.shard.borrow_mut().take_calls();
        for (connection, call) in calls {
            if self.has_room() {
                self.calls.waiting.borrow_mut().push_back((connection, call));
            } else {
                self.answer(connection, CallAnswer::Authenticated(Err(CloseReason::Unavailable.into())));
            }
        }
        let clerks = self.calls.waiting.borrow().len().min(HASHES_AT_ONCE);
        while self.calls.clerks.get() < clerks {
            let clerk = Clerk::new(self);
            spawn_local(async move { clerk.0.work_off().await });
        }
    }

    /// Whether one more call may wait; those of connections that are gone make room.
    fn has_room(&self) -> bool {
        let mut waiting = self.calls.waiting.borrow_mut();
        if waiting.len() >= WAITING_MAX {
            let shard = self.shard.borrow();
            waiting.retain(|(connection, _)| shard.is_waiting(*connection));
        }
        waiting.len() < WAITING_MAX
    }

    async fn work_off(&self) {
        while !self.calls.waiting.borrow().is_empty() {
            let turn = self.calls.hashing.turn().await;
            let Some((connection, call)) = self.next_call() else { return };
            let broker = Arc::clone(self.shard.borrow().broker());
            let now_s = self.now().wall_s();
            let Call::Authenticate(credentials) = call;
            let done = turn.run(move || broker.authenticator().authenticate(&credentials, now_s)).await;
            let answer = done.unwrap_or_else(|| Err(CloseReason::Internal.into()));
            self.answer(connection, CallAnswer::Authenticated(answer));
        }
    }

    /// The first call that somebody still waits for.
    fn next_call(&self) -> Option<(ConnectionId, Call)> {
        let mut waiting = self.calls.waiting.borrow_mut();
        let shard = self.shard.borrow();
        std::iter::from_fn(|| waiting.pop_front()).find(|(connection, _)| shard.is_waiting(*connection))
    }

    fn answer(&self, connection: ConnectionId, answer: CallAnswer) {
        let now = self.now();
        self.shard.borrow_mut().answer(connection, answer, now);
    }
}

impl Clerk {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.calls.clerks.set(worker.calls.clerks.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        self.0.calls.clerks.set(self.0.calls.clerks.get() - 1);
    }
}

/// Calls of one worker that may wait; whoever comes then is told `unavailable`.
const WAITING_MAX: usize = 64;
