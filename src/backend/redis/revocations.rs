//! Revoked tokens in Redis, and what this node has read of them.
//!
//! ```text
//!  websocket:{pXX}:revoked          tokens -> issued before, until when it matters, the number of the change; '#' the last one
//!  websocket:{pXX}:revoked-order    tokens by the number of the change: what is new stands behind what was read
//!  websocket:{pXX}:revoked-until    tokens by when they may be forgotten
//! ```
//! Who revokes calls all nodes by the channel of orders. They read what is new then, when the bus is back, and every other
//! second in any case, so that a call which is lost costs two seconds. Another server than the one that was read from may
//! have lost some: then a node writes all that it knows once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::Value;

use super::hub::{self, Hub};
use super::link::Fault;
use super::presence::{items, number_of, text_of};
use super::relay::store_error;
use super::{scripts, wire};
use crate::backend::memory::RevocationList;
use crate::backend::{Done, Revocations};
use crate::model::revocation::REVOCATIONS_MAX;
use crate::model::{Principal, Refusal, Revocation, StoreError, Tokens};

/// Revocations of all nodes, as one of them has them.
#[derive(Debug)]
pub(super) struct RedisRevocations {
    hub: Arc<Hub>,
    known: RevocationList,
    place: Mutex<Place>,
    is_reading: AtomicBool,
    /// Something came while it was read.
    reads_again: AtomicBool,
}

/// Up to where it was read, and on which server.
#[derive(Debug, Default)]
struct Place {
    number: u64,
    primary: String,
}

impl RedisRevocations {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let (is_reading, reads_again) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { hub, known: RevocationList::default(), place: Mutex::default(), is_reading, reads_again }
    }

    /// Reads what is new.
    pub(super) fn read(self: &Arc<Self>) {
        self.reads_again.store(true, Ordering::Release);
        if self.is_reading.swap(true, Ordering::AcqRel) {
            return;
        }
        self.reads_again.store(false, Ordering::Release);
        let (partition, [entries, order, _]) = self.hub.keys.revoked();
        let args = vec![hub::number(self.place.lock().number), hub::number(READ_AT_ONCE)];
        let revocations = Arc::clone(self);
        let then = Box::new(move |reply: Result<Value, Fault>| revocations.handle_read(reply));
        self.hub.run(partition, &scripts::REVOKED, vec![entries, order], args, then);
    }

    fn handle_read(self: &Arc<Self>, reply: Result<Value, Fault>) {
        let page = reply.ok().and_then(|reply| Page::parse(&reply));
        self.is_reading.store(false, Ordering::Release);
        let Some(Page { primary, number, is_last, entries }) = page else { return };
        let is_other = {
            let mut place = self.place.lock();
            let is_first = place.primary.is_empty();
            // It may also have been emptied.
            let is_other = place.primary != primary || number < place.number;
            // Its numbers are others: it is read from the beginning.
            *place = Place { number: if is_other && !is_first { 0 } else { number }, primary };
            is_other && !is_first
        };
        if self.known.add(&entries) {
            self.hub.sink().into_iter().for_each(|sink| sink.review());
        }
        if is_other {
            for part in self.known.list().chunks(WRITTEN_AT_ONCE) {
                self.write(part, Box::new(|_| {}));
            }
        }
        if is_other || !is_last || self.reads_again.load(Ordering::Acquire) {
            self.read();
        }
    }

    fn write(&self, revocations: &[Revocation], done: Done) {
        let (partition, keys) = self.hub.keys.revoked();
        let channel = self.hub.keys.control();
        let mut args = vec![
            hub::number((self.hub.clock)().wall_s()),
            hub::number(REVOCATIONS_MAX as u64),
            hub::text(&channel.name),
            hub::text(&self.hub.keys.star(channel.partition).name),
            Bytes::from_static(&wire::REVOKED_CALL),
        ];
        for Revocation { tokens, before_s, until_s } in revocations {
            args.extend([
                hub::text(&tokens.key()),
                hub::number(*before_s.min(&SECONDS_MAX)),
                hub::number(*until_s.min(&SECONDS_MAX)),
            ]);
        }
        let then = Box::new(move |reply: Result<Value, Fault>| {
            done(match reply {
                Ok(Value::Int(kept)) if kept >= 0 => Ok(()),
                Ok(_) => Err(StoreError::Full),
                Err(fault) => Err(store_error(&fault)),
            });
        });
        self.hub.run(partition, &scripts::REVOKE, keys.into(), args, then);
    }
}

/// Some of what is new.
struct Page {
    primary: String,
    number: u64,
    is_last: bool,
    entries: Vec<Revocation>,
}

impl Page {
    fn parse(reply: &Value) -> Option<Self> {
        let [primary, number, rest @ ..] = items(reply)? else { return None };
        // What a later version has written and this one does not know is passed over.
        let entry = |pair: &[Value]| {
            let mut numbers = text_of(&pair[1])?.split(' ').map(|number| number.parse::<u64>().ok());
            let (before_s, until_s) = (numbers.next()??, numbers.next()??);
            Some(Revocation { tokens: Tokens::of_key(text_of(&pair[0])?)?, before_s, until_s })
        };
        let pairs = rest.chunks_exact(2);
        let is_last = (pairs.len() as u64) < READ_AT_ONCE;
        let entries = pairs.filter_map(entry).collect();
        Some(Self { primary: text_of(primary)?.to_owned(), number: number_of(number)?, is_last, entries })
    }
}

/// The port.
#[derive(Debug)]
pub(super) struct RevocationsPort(pub(super) Arc<RedisRevocations>);

impl Revocations for RevocationsPort {
    fn revoke(&self, revocation: &Revocation, done: Done) {
        let revocations = Arc::clone(&self.0);
        let revoked = revocation.clone();
        let kept = Box::new(move |kept: Result<(), StoreError>| {
            // In force here, whatever becomes of the call.
            let is_news = kept.is_ok() && revocations.known.add([&revoked]);
            // Who ordered it hears of it before his own session ends.
            done(kept);
            if is_news {
                revocations.hub.sink().into_iter().for_each(|sink| sink.review());
            }
        });
        self.0.write(std::slice::from_ref(revocation), kept);
    }

    fn check(&self, principal: &Principal) -> Result<(), Refusal> {
        self.0.known.check(principal)
    }

    fn forget_old(&self, now_s: u64) {
        self.0.known.forget_old(now_s);
    }

    fn len(&self) -> usize {
        self.0.known.len()
    }
}

/// Scripts count in floating-point numbers, which are exact so far. It is as good as never.
const SECONDS_MAX: u64 = 1 << 52;

/// Entries that are read by one script.
const READ_AT_ONCE: u64 = 1_000;

/// Entries that are written by one script.
const WRITTEN_AT_ONCE: usize = 500;
