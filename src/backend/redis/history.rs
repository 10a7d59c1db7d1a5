//! What is kept, in Redis: a stream for each destination, and what its script numbers it by.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::Value;

use super::hub::{self, Hub};
use super::interest::Interest;
use super::keys::{PARTITIONS, Partition};
use super::link::{Doubt, Fault, Order, Then};
use super::logs::Logs;
use super::relay::{idempotency_key, store_error};
use super::scripts::{self, Script};
use super::{pages, wire};
use crate::backend::{Appended, History, Patience, Question, UNREAD_MAX, Unappended, record};
use crate::model::{
    Answer, Destination, DestinationRules, Message, Page, Reader, Retention, StoreError, Ticket, Which,
};

mod fill;
mod reading;

/// History of all nodes, as one of them has it.
#[derive(Debug)]
pub(super) struct RedisHistory {
    hub: Arc<Hub>,
    interest: Arc<Interest>,
    logs: Arc<Logs>,
    rules: DestinationRules,
    /// Counts what is appended to each partition. Orders are given under the lock, so that they come in the order of their
    /// numbers: what comes with a lower number has come before.
    sequences: Box<[Mutex<u64>]>,
}

impl RedisHistory {
    pub(super) fn new(
        hub: Arc<Hub>,
        interest: Arc<Interest>,
        logs: Arc<Logs>,
        rules: DestinationRules,
    ) -> Self {
        let sequences = (0..PARTITIONS).map(|_| Mutex::default()).collect();
        Self { hub, interest, logs, rules, sequences }
    }

    fn append_order(&self, message: &Message, retention: &Retention, sequence: u64, then: Then) -> Order {
        let (destination, keys) = (message.destination.as_str(), &self.hub.keys);
        let channel = keys.channel(destination);
        let partition = channel.partition;
        let nest = hub::incarnation_name(self.hub.incarnation());
        let mut names = vec![
            keys.key(partition, META, destination),
            keys.key(partition, STREAM, destination),
            keys.key(partition, SEQUENCE, &nest),
            keys.single(partition, LIMIT),
        ];
        names.extend(idempotency_key(&self.hub, partition, message));
        let good_ms = message.timestamp_ms.saturating_sub(retention.age_ms_max);
        let args = vec![
            self.fresh_nonce(),
            hub::number(sequence),
            hub::number(retention.messages_max as u64),
            hub::number(retention.bytes_max as u64),
            hub::number(retention.age_ms_max.min(AGE_MS_MAX)),
            hub::number(good_ms),
            hub::text(&channel.name),
            hub::text(&keys.star(partition).name),
            Bytes::from_static(&wire::KEPT_HEAD),
            hub::text(destination),
            Bytes::from(record::encode(message)),
        ];
        // The sequence tells a repeat from the first.
        Order { partition, script: &scripts::APPEND, keys: names, args, doubt: Doubt::Repeat, then }
    }

    /// Asks; `answer` makes the answer of the reply.
    fn ask_script(
        &self,
        script: &'static Script,
        destination: &Destination,
        families: &[&str],
        args: Vec<Bytes>,
        answer: impl FnOnce(Result<Value, StoreError>) + Send + 'static,
    ) {
        let partition = Partition::of_destination(destination.as_str());
        let keys = families.iter().map(|family| match *family {
            LIMIT => self.hub.keys.single(partition, LIMIT),
            family => self.hub.keys.key(partition, family, destination.as_str()),
        });
        let keys = keys.collect();
        let then = Box::new(move |reply: Result<Value, Fault>| {
            answer(reply.map_err(|fault| store_error(&fault)));
        });
        self.hub.run(partition, script, keys, args, then);
    }

    /// What every reading begins with.
    fn read_args(
        &self,
        destination: &Destination,
        messages_max: usize,
        bytes_max: usize,
        now_ms: u64,
        [channel, star, mark]: [Bytes; 3],
    ) -> Vec<Bytes> {
        vec![
            self.fresh_nonce(),
            hub::number(self.good_ms(destination, now_ms)),
            hub::number(messages_max as u64),
            hub::number(bytes_max as u64),
            channel,
            star,
            mark,
        ]
    }

    /// Where a mark of the destination is to be published, and what it begins with.
    fn mark(&self, destination: &Destination) -> [Bytes; 3] {
        let channel = self.hub.keys.channel(destination.as_str());
        let star = self.hub.keys.star(channel.partition);
        [hub::text(&channel.name), hub::text(&star.name), wire::mark_head(destination)]
    }

    fn ask_page(
        &self,
        destination: &Destination,
        cursors: Option<&str>,
        args: Vec<Bytes>,
        then: impl FnOnce(Result<Page, StoreError>) + Send + 'static,
    ) {
        let place = destination.clone();
        let families: Vec<&str> = [META, STREAM, LIMIT].into_iter().chain(cursors).collect();
        self.ask_script(&scripts::READ, destination, &families, args, move |reply| {
            then(reply.and_then(|reply| {
                pages::page(reply, &place).map_err(|error| {
                    tracing::error!(destination = %place, %error, "what is kept cannot be read");
                    StoreError::Unavailable
                })
            }));
        });
    }

    fn good_ms(&self, destination: &Destination, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.rules.history(destination).map_or(u64::MAX, |kept| kept.age_ms_max))
    }

    fn fresh_nonce(&self) -> Bytes {
        wire::nonce((self.hub.random)() as u64)
    }

    fn answer(&self, ticket: Ticket, answer: Answer) {
        if let Some(sink) = self.hub.sink() {
            sink.answer(ticket, answer);
        }
    }
}

/// The port, over what is shared with those who answer later.
#[derive(Debug, Clone)]
pub(super) struct HistoryPort(pub(super) Arc<RedisHistory>);

impl History for HistoryPort {
    fn append(
        &self,
        message: &mut Arc<Message>,
        retention: &Retention,
        patience: Patience,
        ticket: Ticket,
    ) -> Result<Appended, Unappended> {
        let history = &self.0;
        let hub = Arc::clone(&history.hub);
        let then = Box::new(move |reply: Result<Value, Fault>| {
            let stored = reply.map_err(|fault| store_error(&fault));
            let stored = stored.and_then(|reply| pages::position(reply).map_err(|_| StoreError::Unavailable));
            hub.sink().into_iter().for_each(|sink| sink.answer(ticket, Answer::Stored(stored)));
        });
        let link = history.hub.link().ok_or(Unappended::Store(StoreError::Unavailable))?;
        let partition = Partition::of_destination(message.destination.as_str());
        let mut sequence = history.sequences[usize::from(partition.0)].lock();
        let order = history.append_order(message, retention, *sequence + 1, then);
        match patience {
            Patience::Wait(worker) => link.send(order, Some(worker)).map_err(|_| Unappended::Busy)?,
            Patience::None => link.force(order),
        }
        *sequence += 1;
        Ok(Appended::Later)
    }

    fn ask(&self, destination: &Destination, question: Question, ticket: Ticket, now_ms: u64) {
        let history = &self.0;
        let answerer = Arc::clone(history);
        let strange = |_| StoreError::Unavailable;
        match question {
            Question::Read(read) => history.read(destination, None, read, ticket, now_ms),
            Question::Resume(device, read) => history.read(destination, Some(device), read, ticket, now_ms),
            Question::Find(which) => {
                let args = match which {
                    Which::Last => vec![hub::text("last")],
                    Which::At(offset) => vec![hub::text("at"), hub::number(offset)],
                    Which::Id(id) => vec![hub::text("id"), pages::id_bytes(id)],
                };
                history.ask_script(&scripts::FIND, destination, &[META, STREAM], args, move |reply| {
                    let found = reply.and_then(|reply| pages::place(reply).map_err(strange));
                    answerer.answer(ticket, Answer::Found(found));
                });
            }
            Question::Count(readers) => {
                let good_ms = history.good_ms(destination, now_ms);
                let mut args = vec![hub::number(UNREAD_MAX.into()), hub::number(good_ms)];
                for Reader { user, read } in readers {
                    args.extend([hub::text(&user), hub::number(read)]);
                }
                history.ask_script(&scripts::COUNT, destination, &[STREAM], args, move |reply| {
                    let counts = reply.and_then(|reply| pages::counts(reply).map_err(strange));
                    answerer.answer(ticket, Answer::Unread(counts));
                });
            }
        }
    }

    fn trim(&self, destination: &Destination, offset: u64) {
        let (port, place) = (self.clone(), destination.clone());
        let args = vec![hub::number(offset)];
        self.0.ask_script(&scripts::TRIM, destination, &[META, STREAM], args, move |reply| {
            if matches!(reply, Ok(Value::Int(1))) {
                port.trim(&place, offset);
            }
        });
    }

    /// Nothing: a shared store knows it itself, where it matters.
    fn last(&self, _: &Destination) -> u64 {
        0
    }

    fn tick(&self, _: u64) {}

    fn bytes(&self) -> usize {
        self.0.logs.bytes()
    }

    fn len(&self) -> usize {
        self.0.logs.len()
    }
}

/// Keys: what a log is numbered by, its messages, the last sequence of an incarnation, cursors of devices.
pub(super) const META: &str = "h";
pub(super) const STREAM: &str = "s";
const SEQUENCE: &str = "seq";

/// Of all logs of a partition together: an offset that none of them has come up to.
const LIMIT: &str = "limit";
pub(super) const CURSORS: &str = "cur";

/// Most messages that are asked for, for scripts count in doubles.
const COUNT_MAX: u64 = 1 << 40;

/// Longest that Redis is told to keep anything, milliseconds: 100 years.
const AGE_MS_MAX: u64 = 100 * 365 * 86_400_000;
