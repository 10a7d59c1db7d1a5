//! Reading what is kept, for those who ask.

use std::sync::Arc;

use bytes::Bytes;

use super::{COUNT_MAX, CURSORS, RedisHistory};
use crate::backend::Read;
use crate::backend::redis::link::Fault;
use crate::backend::redis::logs::{Reader, Turn};
use crate::backend::redis::relay::store_error;
use crate::backend::redis::{hub, wire};
use crate::model::{Answer, Destination, Page, Start, StoreError, Ticket};

impl RedisHistory {
    /// Reads a page as soon as everything that comes behind it will be heard.
    pub(super) fn read(
        self: &Arc<Self>,
        destination: &Destination,
        device: Option<Box<str>>,
        read: Read,
        ticket: Ticket,
        now_ms: u64,
    ) {
        self.logs.begin_reading(destination);
        let (history, place) = (Arc::clone(self), destination.clone());
        let go = move |heard: Result<(), Fault>| match heard {
            Ok(()) => history.read_now(&place, device.as_deref(), Reader { read, ticket, now_ms }),
            Err(fault) => {
                history.logs.give_up_reading(&place);
                history.answer(ticket, Answer::Page(Err(store_error(&fault))));
            }
        };
        let mut go = Some(go);
        let is_heard = self.interest.listen(destination, || {
            let go = go.take()?;
            Some(Box::new(go))
        });
        if let Some(go) = go.filter(|_| is_heard) {
            go(Ok(()));
        }
    }

    /// Nobody may want any more what was listened to for a reader's sake.
    fn forget_if_unwanted(&self, destination: &Destination) {
        if self.hub.sink().is_some_and(|sink| !sink.is_wanted(destination)) {
            self.interest.unlisten(Some(destination));
        }
    }

    fn read_now(self: &Arc<Self>, destination: &Destination, device: Option<&str>, reader: Reader) {
        if device.is_some() || !reader.is_like_others(destination) {
            return self.read_alone(destination, device, reader, |_| ());
        }
        match self.logs.take_turn(destination, reader) {
            Turn::Answered => self.forget_if_unwanted(destination),
            Turn::Waits => {}
            Turn::Reads => {
                let place = destination.clone();
                self.read_alone(destination, None, reader, move |history| {
                    history.read_each(&place, history.logs.end_turn(&place));
                });
            }
        }
    }

    /// Each reads for himself.
    pub(in crate::backend::redis) fn read_each(
        self: &Arc<Self>,
        destination: &Destination,
        readers: Vec<Reader>,
    ) {
        for reader in readers {
            self.read_alone(destination, None, reader, |_| ());
        }
    }

    fn read_alone(
        self: &Arc<Self>,
        destination: &Destination,
        device: Option<&str>,
        reader: Reader,
        done: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) {
        let (history, place) = (Arc::clone(self), destination.clone());
        let Reader { read, ticket, now_ms } = reader;
        self.page(destination, device, read, now_ms, move |page| {
            match page {
                Ok(page) => {
                    if let Some(after) = history.logs.hand_over(&place, reader, page) {
                        history.fill(&place, after);
                    }
                }
                Err(error) => {
                    history.logs.give_up_reading(&place);
                    history.answer(ticket, Answer::Page(Err(error)));
                }
            }
            done(&history);
            history.forget_if_unwanted(&place);
        });
    }

    fn page(
        &self,
        destination: &Destination,
        device: Option<&str>,
        read: Read,
        now_ms: u64,
        then: impl FnOnce(Result<Page, StoreError>) + Send + 'static,
    ) {
        let mark =
            if self.logs.wants_mark(destination) { self.mark(destination) } else { Default::default() };
        let mut args = self.read_args(destination, read.messages_max, read.bytes_max, now_ms, mark);
        let number = |count: usize| hub::number((count as u64).min(COUNT_MAX));
        match (device, read.start) {
            (Some(device), _) => args.extend([hub::text("device"), hub::text(device), hub::number(now_ms)]),
            (None, Start::Since(position, count)) => {
                let (nonce, offset) = match position {
                    Some(position) => (wire::nonce(position.epoch), position.offset),
                    None => (Bytes::from_static(b"-"), 0),
                };
                args.extend([hub::text("since"), nonce, hub::number(offset), number(count)]);
            }
            (None, Start::Last(count)) => args.extend([hub::text("last"), number(count)]),
            (None, Start::After(offset)) => args.extend([hub::text("after"), hub::number(offset)]),
        }
        let cursors = device.is_some().then_some(CURSORS);
        self.ask_page(destination, cursors, args, then);
    }
}
