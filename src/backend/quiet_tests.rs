//! A sink of which a test says only what it is about.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

use super::{Acked, Edge, Inbound, News, Report, Sink, Word};
use crate::model::{Answer, Destination, Full, Message, Now, Ticket, WorkerId};

/// A [`Sink`] that takes and wants everything, and does nothing about it.
pub(crate) trait Quiet: Send + Sync + Debug {
    fn accept(&self, _: Inbound<'_>) -> Result<(), Full> {
        Ok(())
    }
    fn force(&self, _: &Arc<Message>) {}
    fn answer(&self, _: Ticket, _: Answer) {}
    fn is_wanted(&self, _: &Destination) -> bool {
        true
    }
    fn gap(&self, _: &Destination) {}
    fn ready(&self, _: &Destination) {}
    fn changed(&self, _: &News<'_>, _: Now) {}
    fn said(&self, _: &Word<'_>) {}
    fn edge(&self, _: &Edge<'_>, _: Acked) {}
}

impl<T: Quiet> Sink for T {
    fn accept(&self, inbound: Inbound<'_>) -> Result<(), Full> {
        Quiet::accept(self, inbound)
    }

    fn force(&self, message: &Arc<Message>) {
        Quiet::force(self, message);
    }

    fn room_for(&self, _: &Destination, _: usize, _: WorkerId) -> Result<(), Full> {
        Ok(())
    }

    fn tell_room(&self, _: WorkerId) {}

    fn answer(&self, ticket: Ticket, answer: Answer) {
        Quiet::answer(self, ticket, answer);
    }

    fn is_heard(&self, _: &Destination) -> bool {
        true
    }

    fn is_wanted(&self, destination: &Destination) -> bool {
        Quiet::is_wanted(self, destination)
    }

    fn wants_patterns(&self) -> bool {
        false
    }

    fn gap(&self, destination: &Destination) {
        Quiet::gap(self, destination);
    }

    fn gap_in_patterns(&self) {}

    fn review(&self) {}

    fn ready(&self, queue: &Destination) {
        Quiet::ready(self, queue);
    }

    fn reply(&self, _: &Arc<Message>) {}

    fn obey(&self, _: &Bytes, _: Report) {}

    fn changed(&self, news: &News<'_>, now: Now) {
        Quiet::changed(self, news, now);
    }

    fn said(&self, word: &Word<'_>) {
        Quiet::said(self, word);
    }

    fn edge(&self, edge: &Edge<'_>, acked: Acked) {
        Quiet::edge(self, edge, acked);
    }
}
