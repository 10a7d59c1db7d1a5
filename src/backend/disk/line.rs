//! What waits to be written, in the order in which it was done.
//!
//! Messages are taken while there is room. What has taken effect already is always taken: an acknowledgement, a read
//! position. Its bytes count as memory of the process, above whose limit nothing more is read from clients.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard, ReentrantMutex};

use crate::backend::Done;
use crate::model::{Destination, Full, Message, Retention, Ticket, WorkerId};

use super::changes::Change;

/// The line before the thread that writes.
#[derive(Debug, Default)]
pub(super) struct Line {
    state: Mutex<State>,
    filled: Condvar,
    /// One group at a time.
    gathering: ReentrantMutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Orders, and whether the next one belongs to the same batch.
    orders: VecDeque<(Order, bool)>,
    /// So many of them; behind, a group is not complete.
    takeable: usize,
    is_gathering: bool,
    bytes: usize,
    /// Workers that found it full.
    waiting: Vec<WorkerId>,
    is_closed: bool,
    /// Nobody will ever write.
    is_abandoned: bool,
}

/// One thing to write.
#[derive(Debug)]
pub(super) enum Order {
    /// A message for a destination's log.
    Append { message: Arc<Message>, retention: Retention, ticket: Ticket },
    /// What stands up to an offset is not needed any more.
    Trim { destination: Destination, offset: u64 },
    /// What came before goes.
    Expire { destination: Destination, since_ms: u64 },
    /// A message for a queue, where its place is reserved.
    Enqueue { queue: Destination, tag: u64, message: Arc<Message>, ticket: Ticket },
    /// Something that has taken effect already.
    Change(Change),
    /// Somebody wants to know when everything before is safe.
    Sync(Ticket),
    /// The same, told by a call.
    Tell(Word),
}

/// A call that waits.
pub(super) struct Word(pub(super) Done);

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Word")
    }
}

impl Order {
    fn cost_bytes(&self) -> usize {
        let held = match self {
            Self::Append { message, .. } | Self::Enqueue { message, .. } => message.cost_bytes(),
            Self::Change(change) => change.cost_bytes(),
            Self::Trim { .. } | Self::Expire { .. } | Self::Sync(_) | Self::Tell(_) => 0,
        };
        size_of::<(Self, bool)>() + held
    }
}

impl Line {
    /// Whether a message has room; if not, `from` is told when it has.
    pub(super) fn room_for(&self, from: WorkerId) -> Result<(), Full> {
        let mut state = self.state.lock();
        if state.has_room() {
            return Ok(());
        }
        if !state.waiting.contains(&from) {
            state.waiting.push(from);
        }
        Err(Full)
    }

    /// Adds an order at the end.
    pub(super) fn push(&self, order: Order) {
        self.push_all([order]);
    }

    /// Adds orders that are written together.
    pub(super) fn push_all(&self, orders: impl IntoIterator<Item = Order>) {
        let mut orders = orders.into_iter().peekable();
        let mut state = self.state.lock();
        if state.is_abandoned {
            return;
        }
        while let Some(order) = orders.next() {
            let more = orders.peek().is_some() || state.is_gathering;
            state.bytes += order.cost_bytes();
            state.orders.push_back((order, more));
        }
        if !state.is_gathering {
            self.close_group(state);
        }
    }

    /// All orders that `act` gives are written together, and with them what others give meanwhile: so the order in which
    /// things took effect is the order of the line.
    pub(super) fn gather(&self, act: &mut dyn FnMut()) {
        let _one_at_a_time = self.gathering.lock();
        let was_gathering = std::mem::replace(&mut self.state.lock().is_gathering, true);
        // A fault in there costs a connection; what was given must not wait for ever.
        let gathering = Gathering { line: self, was_gathering };
        act();
        drop(gathering);
    }

    /// Everything up to here may be taken.
    fn close_group(&self, mut state: MutexGuard<'_, State>) {
        if let Some((_, more)) = state.orders.back_mut() {
            *more = false;
        }
        let wakes = state.takeable == 0 && !state.orders.is_empty();
        state.takeable = state.orders.len();
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// Takes what waits, as much as one batch may have. Waits for it if there is nothing; `None` when there will never be.
    pub(super) fn wait(&self) -> Option<Vec<Order>> {
        let mut state = self.state.lock();
        while state.takeable == 0 {
            if state.is_closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
        Some(state.take())
    }

    /// As [`Line::wait`], but what is there.
    pub(super) fn take(&self) -> Vec<Order> {
        self.state.lock().take()
    }

    /// Workers that wait, once it is half empty.
    pub(super) fn relieved(&self) -> Vec<WorkerId> {
        let mut state = self.state.lock();
        let is_half = state.orders.len() * 2 <= ORDERS_MAX && state.bytes * 2 <= BYTES_MAX;
        if is_half { std::mem::take(&mut state.waiting) } else { Vec::new() }
    }

    /// Nothing is taken any more: nobody will ever write it.
    pub(super) fn abandon(&self) {
        self.state.lock().is_abandoned = true;
    }

    /// Nothing more is waited for.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.filled.notify_all();
    }

    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().orders.len()
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.orders.len() < ORDERS_MAX && self.bytes < BYTES_MAX
    }

    fn take(&mut self) -> Vec<Order> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let mut is_open = false;
        while is_open || taken.len() < BATCH_ORDERS_MAX && bytes < BATCH_BYTES_MAX {
            if self.takeable == 0 {
                break;
            }
            let Some((order, more)) = self.orders.pop_front() else { break };
            self.takeable -= 1;
            bytes += order.cost_bytes();
            taken.push(order);
            is_open = more;
        }
        self.bytes -= bytes;
        taken
    }
}

/// Ends a group.
struct Gathering<'a> {
    line: &'a Line,
    was_gathering: bool,
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        let mut state = self.line.state.lock();
        state.is_gathering = self.was_gathering;
        if !self.was_gathering {
            self.line.close_group(state);
        }
    }
}

/// Messages are taken while fewer orders wait.
pub(super) const ORDERS_MAX: usize = 8_192;

/// Messages are taken while fewer bytes wait.
const BYTES_MAX: usize = 16 << 20;

/// Orders of one batch: what comes while one is written goes into the next.
const BATCH_ORDERS_MAX: usize = 1_024;

/// Bytes of one batch; a single order may be larger.
const BATCH_BYTES_MAX: usize = 4 << 20;
