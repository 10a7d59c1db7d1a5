//! The slow work that a worker's peers asked for.
//!
//! Who shows a token whose key is not known waits for the [`Keyring`]. Hashes have a line: a call waits in the worker's own
//! line until one of the hashing threads is free. Who has gone meanwhile costs no hash, so a wave of logins that hang up
//! delays nobody.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_local;

use crate::broker::{Call, CallAnswer};
use crate::model::{CloseReason, ConnectionId};
use crate::policy::Credentials;

use super::hashing::{HASHES_AT_ONCE, Hashing};
use super::keyring::Keyring;
use super::worker::Worker;

/// The calls of one worker.
#[derive(Debug)]
pub(super) struct Calls {
    means: Means,
    waiting: RefCell<VecDeque<(ConnectionId, Box<Credentials>)>>,
    /// Tasks that work the line off.
    clerks: Cell<usize>,
    /// Tasks that wait for keys.
    readers: Cell<usize>,
}

/// Where slow work is done.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) hashing: Hashing,
    pub(super) keyring: Arc<Keyring>,
}

/// Counts a task while it lives.
struct Clerk(Rc<Worker>);

impl Calls {
    pub(super) fn new(means: Means) -> Self {
        Self { means, waiting: RefCell::default(), clerks: Cell::new(0), readers: Cell::new(0) }
    }
}

impl Worker {
    /// Takes up the slow work that peers asked for.
    pub(crate) fn see_to_calls(self: &Rc<Self>) {
        let calls = self.shard.borrow_mut().take_calls();
        for (connection, call) in calls {
            self.take_up(connection, call);
        }
        let clerks = self.calls.waiting.borrow().len().min(HASHES_AT_ONCE);
        while self.calls.clerks.get() < clerks {
            let clerk = Clerk::new(self);
            spawn_local(async move { clerk.0.work_off().await });
        }
    }

    #[inline(never)]
    fn take_up(self: &Rc<Self>, connection: ConnectionId, call: Call) {
        match call {
            Call::Authenticate(credentials) if self.has_room() => {
                self.calls.waiting.borrow_mut().push_back((connection, credentials));
            }
            Call::FetchKeys(credentials, source) if self.may_read() => {
                self.read_keys(source, move |worker| worker.judge(connection, &credentials));
            }
            Call::SeekKeys(source) if self.may_read() => {
                self.read_keys(source, move |worker| worker.answer(connection, CallAnswer::KeysSought));
            }
            Call::SeekKeys(_) => self.answer(connection, CallAnswer::KeysSought),
            Call::Authenticate(_) | Call::FetchKeys(..) => {
                let answer = Err(CloseReason::Unavailable.into());
                self.answer(connection, CallAnswer::Authenticated(answer));
            }
        }
    }

    fn may_read(&self) -> bool {
        self.calls.readers.get() < READERS_MAX
    }

    /// Has keys looked for, for somebody who will come again; whether another look may find some.
    pub(super) fn seek_keys(self: &Rc<Self>, source: usize) -> bool {
        let may_find = self.calls.means.keyring.may_find(source);
        if may_find && self.may_read() {
            self.read_keys(source, |_| {});
        }
        may_find
    }

    /// Has keys looked for, and then does what waits for them.
    fn read_keys(self: &Rc<Self>, source: usize, then: impl FnOnce(&Self) + 'static) {
        self.calls.readers.set(self.calls.readers.get() + 1);
        let worker = Rc::clone(self);
        spawn_local(async move {
            worker.calls.means.keyring.look_up(source).await;
            worker.calls.readers.set(worker.calls.readers.get() - 1);
            then(&worker);
        });
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
            let turn = self.calls.means.hashing.turn().await;
            let Some((connection, credentials)) = self.next_call() else { return };
            let broker = Arc::clone(self.shard.borrow().broker());
            let now_s = self.now().wall_s();
            let done = turn.run(move || broker.authenticator().authenticate(&credentials, now_s)).await;
            let answer = done.unwrap_or_else(|| Err(CloseReason::Internal.into()));
            self.answer(connection, CallAnswer::Authenticated(answer));
        }
    }

    /// The first call that somebody still waits for.
    fn next_call(&self) -> Option<(ConnectionId, Box<Credentials>)> {
        let mut waiting = self.calls.waiting.borrow_mut();
        let shard = self.shard.borrow();
        std::iter::from_fn(|| waiting.pop_front()).find(|(connection, _)| shard.is_waiting(*connection))
    }

    /// Whoever still waits is who the keys of now say.
    fn judge(&self, connection: ConnectionId, credentials: &Credentials) {
        let broker = Arc::clone(self.shard.borrow().broker());
        if self.shard.borrow().is_waiting(connection) {
            let answer = broker.authenticator().authenticate(credentials, self.now().wall_s());
            self.answer(connection, CallAnswer::Authenticated(answer));
        }
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

/// Connections of one worker that may wait for keys; whoever comes then is told `unavailable`.
const READERS_MAX: usize = 1_024;
