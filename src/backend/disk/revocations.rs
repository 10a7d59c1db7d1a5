//! Revoked tokens: known to the node at once, and on disk for the one that begins after it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::backend::memory::RevocationList;
use crate::backend::{Done, Revocations, Sink};
use crate::model::{Principal, Refusal, Revocation, StoreError, Tokens};

use super::OpenError;
use super::changes::Change;
use super::line::{Line, Order, Word};
use super::open::Known;
use super::tables::{self, REVOKED, Table, Tables, named};

/// Revocations that outlive the process.
#[derive(Debug)]
pub(super) struct DiskRevocations {
    pub(super) known: Arc<RevocationList>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) line: Arc<Line>,
    /// Changes of one entry are written in the order in which they took effect.
    pub(super) order: Mutex<()>,
}

impl Revocations for DiskRevocations {
    fn revoke(&self, revocation: &Revocation, done: Done) {
        let tokens = &revocation.tokens;
        if !self.known.has_room_for(tokens) {
            return done(Err(StoreError::Full));
        }
        let order = self.order.lock();
        let is_news = self.known.add([revocation]);
        let Revocation { before_s, until_s, .. } =
            self.known.of(tokens).unwrap_or_else(|| revocation.clone());
        let (key, value) = (named(REVOKED, &tokens.key()), tables::numbers(&[before_s, until_s]));
        let sink = Arc::clone(&self.sink);
        // Who ordered it hears of it before his own session ends.
        let told: Done = Box::new(move |kept| {
            done(kept);
            if is_news {
                sink.review();
            }
        });
        self.line.push_all([Order::Change(Change::put(Table::State, key, value)), Order::Tell(Word(told))]);
        drop(order);
    }

    fn check(&self, principal: &Principal) -> Result<(), Refusal> {
        self.known.check(principal)
    }

    fn forget_old(&self, now_s: u64) {
        let _order = self.order.lock();
        for tokens in self.known.forget_old(now_s) {
            self.line.push(Order::Change(Change::remove(Table::State, named(REVOKED, &tokens.key()))));
        }
    }

    fn len(&self) -> usize {
        self.known.len()
    }
}

/// Reads what an earlier process has kept.
pub(super) fn load(tables: &Tables, known: &Known<'_>) -> Result<RevocationList, OpenError> {
    let list = RevocationList::default();
    for entry in tables.prefix(Table::State, &[REVOKED]) {
        let (key, value) = entry.map_err(|error| known.fault(&error))?;
        let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
        match (name.and_then(Tokens::of_key), tables::parse_numbers(&value)) {
            (Some(tokens), Some([before_s, until_s])) => {
                list.add([&Revocation { tokens, before_s, until_s }]);
            }
            _ => known.lacks(&format!("the entry {} of a revocation is none", key.escape_ascii()))?,
        }
    }
    Ok(list)
}
