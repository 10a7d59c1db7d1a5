//! History: messages are given to the line, questions to those who read.

use std::sync::Arc;

use crate::backend::Sink;
use crate::backend::history::{Appended, History, Patience, Question, Unappended};
use crate::model::{Answer, Destination, Message, Place, Retention, Ticket, Which};

use super::health::Health;
use super::line::{Line, ORDERS_MAX, Order};
use super::logs::{Log, Logs};
use super::questions::{Asked, Questions};
use super::reader::Reader;

/// History that outlives the process.
#[derive(Debug)]
pub(super) struct DiskHistory {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) line: Arc<Line>,
    pub(super) logs: Arc<Logs>,
    pub(super) questions: Arc<Questions>,
    pub(super) reader: Arc<Reader>,
    pub(super) health: Arc<Health>,
}

impl History for DiskHistory {
    fn append(
        &self,
        message: &mut Arc<Message>,
        retention: &Retention,
        patience: Patience,
        ticket: Ticket,
    ) -> Result<Appended, Unappended> {
        self.health.admits()?;
        if let Patience::Wait(worker) = patience {
            self.line.room_for(worker)?;
            self.sink.room_for(&message.destination, message.cost_bytes(), worker)?;
        }
        let order = Order::Append { message: Arc::clone(message), retention: *retention, ticket };
        self.line.push(order);
        Ok(Appended::Later)
    }

    fn ask(&self, destination: &Destination, question: Question, ticket: Ticket, now_ms: u64) {
        let shard = self.logs.lock(destination);
        let known = shard.get(destination);
        let answer = match (&question, known) {
            (Question::Find(which), log) => {
                let none = || Log::new(self.logs.base());
                at_hand(log.unwrap_or(&none()), *which).map(|place| Answer::Found(Ok(place)))
            }
            // There is nothing to read.
            (_, None) => Some(self.reader.answer_nothing(destination, &question, self.logs.base())),
            _ => None,
        };
        if let Some(answer) = answer {
            // Still under the lock: the next message comes behind the answer.
            return self.sink.answer(ticket, answer);
        }
        drop(shard);
        let asked = Asked { destination: destination.clone(), question, ticket, now_ms };
        if let Err(asked) = self.questions.push(asked) {
            self.sink.answer(ticket, asked.refused());
        }
    }

    fn trim(&self, destination: &Destination, offset: u64) {
        let has_some = self.logs.lock(destination).get(destination).is_some_and(|log| log.first <= offset);
        if has_some {
            self.line.push(Order::Trim { destination: destination.clone(), offset });
        }
    }

    fn last(&self, destination: &Destination) -> u64 {
        self.logs.lock(destination).get(destination).map_or_else(|| self.logs.base(), |log| log.last)
    }

    fn tick(&self, now_ms: u64) {
        if self.line.len() * 2 > ORDERS_MAX || self.health.is_broken() {
            return;
        }
        let maybe_old_ms = now_ms.saturating_sub(self.reader.shortest_age_ms());
        let old = |(destination, log): (&Destination, &Log)| {
            if log.oldest_ms >= maybe_old_ms {
                return None;
            }
            let since_ms = now_ms.saturating_sub(self.reader.age_ms_max(destination));
            (log.oldest_ms < since_ms).then(|| Order::Expire { destination: destination.clone(), since_ms })
        };
        let orders: Vec<Order> = self.logs.lock_next().iter().filter_map(old).take(EXPIRED_AT_ONCE).collect();
        orders.into_iter().for_each(|order| self.line.push(order));
    }

    fn bytes(&self) -> usize {
        self.line.bytes() + self.logs.len() * LOG_BYTES
    }

    fn len(&self) -> usize {
        self.logs.len()
    }
}

/// Where a message stands, if that is known without reading.
fn at_hand(log: &Log, which: Which) -> Option<Option<Place>> {
    match which {
        Which::Last if log.last == 0 => Some(None),
        Which::Last => {
            let id = (log.gone() < log.last).then_some(log.last_id);
            Some(Some(Place { offset: log.last, id }))
        }
        Which::At(offset) if !(1..=log.last).contains(&offset) => Some(None),
        Which::At(offset) if offset <= log.gone() => Some(Some(Place { offset, id: None })),
        Which::Id(_) if log.gone() >= log.last => Some(None),
        Which::At(_) | Which::Id(_) => None,
    }
}

/// Logs that one tick has looked through for what is too old.
const EXPIRED_AT_ONCE: usize = 256;

/// Memory that a log takes, its share of names and tables included.
const LOG_BYTES: usize = 256;
