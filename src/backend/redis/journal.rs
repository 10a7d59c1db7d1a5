//! What is done and not confirmed yet, and who waits for it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use stompede_protocol::Millis;

use super::hub::Hub;
use super::link::HOLD_MS;
use crate::backend::{Journal, Kept};
use crate::model::{Answer, StoreError, Ticket};

/// Changes that Redis was told and has not confirmed. Every adapter whose changes take effect before they are safe notes
/// them here.
#[derive(Debug)]
pub(super) struct Ledger {
    hub: Arc<Hub>,
    state: Mutex<State>,
}

/// A change that is not confirmed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use]
pub(super) struct Entry(u64);

#[derive(Debug, Default)]
struct State {
    /// The number of the last change.
    last: u64,
    open: BTreeSet<u64>,
    /// Who waits for all changes up to that one, and since when; in the order in which they asked.
    waiting: VecDeque<(u64, Ticket, Millis)>,
}

impl Ledger {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, state: Mutex::default() }
    }

    /// A change is on its way.
    pub(super) fn open(&self) -> Entry {
        let mut state = self.state.lock();
        state.last += 1;
        let last = state.last;
        state.open.insert(last);
        Entry(last)
    }

    /// It is safe.
    #[expect(clippy::needless_pass_by_value, reason = "an entry is closed once")]
    pub(super) fn close(&self, entry: Entry) {
        let told = {
            let mut state = self.state.lock();
            state.open.remove(&entry.0);
            state.take_ready()
        };
        self.tell(told, Ok(()));
    }

    /// It will never be: nobody who waits for it is told that it is.
    #[expect(clippy::needless_pass_by_value, reason = "an entry is closed once")]
    pub(super) fn fail(&self, entry: Entry) {
        let (failed, ready) = {
            let mut state = self.state.lock();
            state.open.remove(&entry.0);
            let place = state.waiting.partition_point(|(upto, ..)| *upto < entry.0);
            let failed: Vec<Ticket> = state.waiting.drain(place..).map(|(_, ticket, _)| ticket).collect();
            (failed, state.take_ready())
        };
        self.tell(ready, Ok(()));
        self.tell(failed, Err(StoreError::Unavailable));
    }

    /// Tells who has waited too long.
    pub(super) fn tick(&self, now: Millis) {
        let late: Vec<Ticket> = {
            let mut state = self.state.lock();
            let count = state.waiting.partition_point(|(.., since)| now.since(*since) >= HOLD_MS);
            state.waiting.drain(..count).map(|(_, ticket, _)| ticket).collect()
        };
        self.tell(late, Err(StoreError::Unavailable));
    }

    /// Changes that are not confirmed.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().open.len()
    }

    fn sync(&self, ticket: Ticket) -> Kept {
        let now = (self.hub.clock)().mono;
        let mut state = self.state.lock();
        if state.open.is_empty() {
            return Kept::Now;
        }
        let last = state.last;
        state.waiting.push_back((last, ticket, now));
        Kept::Later
    }

    fn tell(&self, tickets: Vec<Ticket>, result: Result<(), StoreError>) {
        let Some(sink) = self.hub.sink() else { return };
        for ticket in tickets {
            sink.answer(ticket, Answer::Synced(result));
        }
    }
}

impl State {
    fn take_ready(&mut self) -> Vec<Ticket> {
        let first = self.open.first().copied().unwrap_or(u64::MAX);
        let count = self.waiting.partition_point(|(upto, ..)| *upto < first);
        self.waiting.drain(..count).map(|(_, ticket, _)| ticket).collect()
    }
}

/// The journal of a node.
#[derive(Debug)]
pub(super) struct RedisJournal(pub(super) Arc<Ledger>);

impl Journal for RedisJournal {
    fn sync(&self, ticket: Ticket) -> Kept {
        self.0.sync(ticket)
    }

    /// Each change is one script. Several are done in order, but not as one.
    fn as_one(&self, act: &mut dyn FnMut()) {
        act();
    }

    fn is_late(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn admits(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn health(&self) -> Result<(), String> {
        self.0.hub.link().map_or_else(|| Err("there is no way to Redis".to_owned()), |link| link.health())
    }

    fn tick(&self, _: u64) {
        self.0.tick((self.0.hub.clock)().mono);
    }
}
