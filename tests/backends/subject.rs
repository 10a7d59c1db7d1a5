//! A store before its judge: whatever it answers later, the judge hears at once.

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use stompede::backend::Soon;
use stompede::model::{Answer, Ticket};

use crate::sink::{Heard, ticket};

/// An empty store behind the port `P`.
pub(crate) struct Subject<P: ?Sized> {
    pub(crate) heard: Arc<Heard>,
    /// Several nodes may use it: how much it holds, and what of it can be taken, it finds out by asking.
    pub(crate) is_shared: bool,
    port: Arc<P>,
    settle: Box<dyn Fn() + Send + Sync>,
    calls: AtomicU32,
}

impl<P: ?Sized> Subject<P> {
    /// A store of one node. `settle` does what the store was asked and has not done by itself.
    pub(crate) fn new(heard: Arc<Heard>, port: Arc<P>, settle: impl Fn() + Send + Sync + 'static) -> Self {
        Self { heard, is_shared: false, port, settle: Box::new(settle), calls: AtomicU32::new(0) }
    }

    /// A store of many nodes. It does everything by itself; `node` is held as long as it is used.
    pub(crate) fn shared(heard: Arc<Heard>, port: Arc<P>, node: impl Send + Sync + 'static) -> Self {
        let settle = move || {
            let _held = &node;
        };
        Self { is_shared: true, ..Self::new(heard, port, settle) }
    }

    /// The same, where `settle` waits until it has done everything.
    pub(crate) fn slow(heard: Arc<Heard>, port: Arc<P>, settle: impl Fn() + Send + Sync + 'static) -> Self {
        Self { is_shared: true, ..Self::new(heard, port, settle) }
    }

    /// Everything that it was asked is done.
    pub(crate) fn settles(&self) {
        (self.settle)();
    }

    /// For the next question.
    pub(crate) fn ticket(&self) -> Ticket {
        ticket(1 + self.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// The answer to a question that is answered later.
    pub(crate) fn answer(&self, ticket: Ticket) -> Answer {
        self.settles();
        self.heard.await_answer_to(ticket.call)
    }

    /// What the port says to `ask`, sooner or later; `read` takes it out of its answer.
    pub(crate) fn says<T: Debug>(
        &self,
        ask: impl FnOnce(&P, Ticket) -> Soon<T>,
        read: impl FnOnce(Answer) -> Result<T, Answer>,
    ) -> T {
        let ticket = self.ticket();
        match ask(&self.port, ticket) {
            Soon::Now(said) => said,
            Soon::Later => read(self.answer(ticket)).expect("an answer to what was asked"),
        }
    }
}

impl<P: ?Sized> Deref for Subject<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.port
    }
}
