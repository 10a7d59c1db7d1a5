//! How long a connection stands still for a worker whose inbox is full, and what is owed to those who were not waited for.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

use crate::backend::redis::keys::Partition;
use crate::backend::redis::link::FULL_MS_MAX;
use crate::model::Full;

/// Of one connection. It is used up by standing still, and comes back slowly: everybody else waits too.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
    /// Since when it stands still, or has not.
    since: Instant,
    is_waiting: bool,
    /// Until the next offer.
    pause: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    owed: BTreeSet<Partition>,
    debt_timer: Option<Pin<Box<Sleep>>>,
}

/// How an offer ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It was taken.
    Taken,
    /// It is to be offered again when the task is woken.
    Wait,
    /// It has been waited for long enough.
    Drop,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            left: FULL_MAX,
            since: Instant::now(),
            is_waiting: false,
            pause: PAUSE_MIN,
            timer: None,
            owed: BTreeSet::new(),
            debt_timer: None,
        }
    }

    /// Offers something.
    pub(super) fn offer(&mut self, cx: &mut Context<'_>, hear: impl Fn() -> Result<(), Full>) -> Offer {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_pending()
        {
            return Offer::Wait;
        }
        self.timer = None;
        if hear().is_ok() {
            if self.is_waiting {
                self.turn(false);
            }
            return Offer::Taken;
        }
        if !self.is_waiting {
            self.turn(true);
        }
        let waited = self.since.elapsed();
        if waited >= self.left {
            self.turn(false);
            return Offer::Drop;
        }
        let mut timer = Box::pin(sleep(self.pause.min(self.left - waited)));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        match timer.as_mut().poll(cx) {
            Poll::Pending => self.timer = Some(timer),
            Poll::Ready(()) => cx.waker().wake_by_ref(),
        }
        Offer::Wait
    }

    /// Somebody of that partition was not waited for.
    pub(super) fn owe(&mut self, partition: Partition) {
        self.owed.insert(partition);
    }

    /// Tells of what was dropped, a little later: where one message was, more will be.
    pub(super) fn poll_missed(&mut self, cx: &mut Context<'_>, missed: impl FnOnce(&BTreeSet<Partition>)) {
        if self.owed.is_empty() {
            return;
        }
        let timer = self.debt_timer.get_or_insert_with(|| Box::pin(sleep(DEBT)));
        if timer.as_mut().poll(cx).is_ready() {
            self.debt_timer = None;
            missed(&std::mem::take(&mut self.owed));
        }
    }

    /// It begins, or ceases, to stand still.
    fn turn(&mut self, is_waiting: bool) {
        let passed = self.since.elapsed();
        self.left = match self.is_waiting {
            true => self.left.saturating_sub(passed),
            false => (self.left + passed / REST).min(FULL_MAX),
        };
        self.since = Instant::now();
        self.is_waiting = is_waiting;
        self.pause = PAUSE_MIN;
    }
}

const FULL_MAX: Duration = Duration::from_millis(FULL_MS_MAX);

/// Patience comes back in so many times the time in which it was used up.
const REST: u32 = 10;

const PAUSE_MIN: Duration = Duration::from_millis(1);

const PAUSE_MAX: Duration = Duration::from_millis(16);

/// What was dropped is told of so much later.
const DEBT: Duration = Duration::from_millis(200);
