//! What is known of each server: its two connections, and when it was last proven to carry messages.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::backend::redis::keys::Partition;

use super::dial::Primary;
use super::options::Address;

/// A server, for as long as we have to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ServerId(pub(super) u32);

/// One server.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it is; nothing where Sentinel is asked each time.
    pub(super) address: Option<Address>,
    /// On which orders are sent.
    pub(super) commands: Wing,
    /// On which channels are heard.
    pub(super) bus: Wing,
    /// Whether some partition is its.
    pub(super) is_owner: bool,
    /// When it was last of use.
    pub(super) used: Instant,
    /// When the canary left that came back last, of those that left on the connections that there are.
    pub(super) proven: Option<Instant>,
    /// How long that canary was on its way.
    pub(super) round_trip: Option<Duration>,
    /// The canary that is on its way: its number, and when it left.
    pub(super) canary: Option<(u64, Instant)>,
    /// The last canary whose order was done.
    pub(super) answered: Option<u64>,
    /// When something was last answered.
    pub(super) replied: Instant,
    /// In which partition canaries are heard; and shall be, as the bus connection was told.
    pub(super) nest: Nest,
    /// Cuts short the pause before the next attempt to dial.
    pub(super) hurry: Arc<Notify>,
}

/// Where canaries are heard.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Nest {
    pub(super) confirmed: Option<Partition>,
    pub(super) asked: Option<Partition>,
}

/// One of the two connections.
#[derive(Debug, Default)]
pub(super) struct Wing {
    /// Wakes its task.
    pub(super) waker: Option<Waker>,
    /// Why it is to be dropped.
    pub(super) cut: Option<String>,
    /// Why it cannot be used; nothing when it can.
    pub(super) trouble: Option<String>,
    /// Where it leads.
    pub(super) address: Option<Address>,
    /// What the server said there of its history of writes.
    pub(super) replication_id: Bytes,
}

impl Server {
    pub(super) fn new(address: Option<Address>) -> Self {
        Self {
            address,
            commands: Wing::new(),
            bus: Wing::new(),
            is_owner: false,
            used: Instant::now(),
            proven: None,
            round_trip: None,
            canary: None,
            answered: None,
            replied: Instant::now(),
            nest: Nest::default(),
            hurry: Arc::new(Notify::new()),
        }
    }

    /// Whether both connections are there, and a canary came through them a moment ago.
    pub(super) fn health(&self, now: Instant) -> Result<(), String> {
        if !self.is_owner {
            return Ok(());
        }
        let known = [&self.address, &self.commands.address, &self.bus.address];
        let name = match known.into_iter().flatten().next() {
            Some(address) => format!("Redis at {address}"),
            None => "Redis".to_owned(),
        };
        let troubles = [&self.commands.trouble, &self.bus.trouble];
        if let Some(trouble) = troubles.into_iter().flatten().next() {
            return Err(format!("{name}: {trouble}"));
        }
        match self.proven {
            None => Err(format!("{name}: not proven yet to carry messages")),
            Some(proven) if now - proven > PROOF_MAX => Err(format!("{name}: carries no messages")),
            Some(_) => Ok(()),
        }
    }

    /// Both connections are to be dropped, and dialled anew.
    pub(super) fn cut(&mut self, why: &str) {
        self.unprove();
        self.commands.cut(why);
        self.bus.cut(why);
        self.hurry.notify_waiters();
    }

    /// Not all is as it was when the canary left.
    pub(super) fn unprove(&mut self) {
        self.canary = None;
        self.answered = None;
        self.proven = None;
        self.round_trip = None;
    }
}

impl Wing {
    fn new() -> Self {
        Self { trouble: Some("not reached yet".to_owned()), ..Self::default() }
    }

    /// It is there, and leads to that address.
    pub(super) fn begin(&mut self, primary: &Primary) {
        self.cut = None;
        self.address = Some(primary.address.clone());
        self.replication_id = primary.replication_id.clone();
    }

    pub(super) fn cut(&mut self, why: &str) {
        self.cut = Some(why.to_owned());
        self.trouble.get_or_insert_with(|| why.to_owned());
        self.wake();
    }

    /// Lets its task look again. Only its task, on its own thread, is woken so: it does not run at once.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A server that let no canary through for so long is not healthy: one leaves each second, and may take its time.
const PROOF_MAX: Duration = Duration::from_millis(2_500);
