//! Which channels are wanted, and how far each has come.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::redis::keys::{Channel, Partition};
use crate::backend::redis::link::{Fault, HOLD_MS, Heard};

use super::calls::Calls;
use super::servers::ServerId;

/// All channels that are wanted.
#[derive(Default)]
pub(super) struct Channels {
    wanted: HashMap<Arc<str>, Wanted, foldhash::fast::RandomState>,
    /// What each bus connection that there is has to do.
    tasks: HashMap<ServerId, VecDeque<Task>>,
    /// Who can be told at once, by the next that comes.
    untold: Calls<()>,
    /// Counts subscriptions.
    serial: u64,
    /// Channels with somebody who waits for their confirmation.
    awaited: usize,
}

struct Wanted {
    channel: Channel,
    /// The subscription of which we wait to hear, or have heard.
    serial: u64,
    is_confirmed: bool,
    waiting: Vec<(Heard, Instant)>,
}

/// Something for a bus connection.
pub(super) enum Task {
    /// Subscribe.
    Subscribe {
        /// To what.
        channel: Channel,
        /// Of the subscription.
        serial: u64,
        /// Whether it was heard before, elsewhere or otherwise: then something may have been missed.
        is_again: bool,
    },
    /// Unsubscribe.
    Unsubscribe(Channel),
    /// Tell somebody that the channel is confirmed.
    Confirm(Arc<str>, Heard),
}

impl Task {
    /// The partition of a channel that was heard before.
    pub(super) fn again(&self) -> Option<Partition> {
        match self {
            Self::Subscribe { channel, is_again: true, .. } => Some(channel.partition),
            Self::Subscribe { .. } | Self::Unsubscribe(_) | Self::Confirm(..) => None,
        }
    }
}

impl Channels {
    /// A channel is wanted.
    pub(super) fn listen(&mut self, channel: Channel, then: Option<Heard>, server: Option<ServerId>) {
        if let Some(wanted) = self.wanted.get(&channel.name) {
            let Some(then) = then else { return };
            let tasks = server.filter(|_| wanted.is_confirmed).and_then(|server| self.tasks.get_mut(&server));
            match tasks {
                Some(tasks) => tasks.push_back(Task::Confirm(channel.name, then)),
                None => self.wait(&channel.name, then, Instant::now()),
            }
            return;
        }
        self.serial += 1;
        let serial = self.serial;
        let wanted = Wanted { channel: channel.clone(), serial, is_confirmed: false, waiting: Vec::new() };
        let name = Arc::clone(&channel.name);
        self.wanted.insert(Arc::clone(&name), wanted);
        if let Some(then) = then {
            self.wait(&name, then, Instant::now());
        }
        if let Some(tasks) = server.and_then(|server| self.tasks.get_mut(&server)) {
            tasks.push_back(Task::Subscribe { channel, serial, is_again: false });
        }
    }

    /// The channels of some partitions are to be heard from a server that was not heard for them until now.
    pub(super) fn resubscribe(&mut self, server: ServerId, partitions: &BTreeSet<Partition>) {
        let moved = self.wanted.values_mut().filter(|wanted| partitions.contains(&wanted.channel.partition));
        for wanted in moved {
            self.serial += 1;
            wanted.serial = self.serial;
            wanted.is_confirmed = false;
            if let Some(tasks) = self.tasks.get_mut(&server) {
                let (channel, serial) = (wanted.channel.clone(), wanted.serial);
                tasks.push_back(Task::Subscribe { channel, serial, is_again: true });
            }
        }
    }

    /// Canaries are to be heard.
    pub(super) fn listen_to_canaries(&mut self, channel: Channel, server: ServerId) {
        if let Some(tasks) = self.tasks.get_mut(&server) {
            tasks.push_back(Task::Subscribe { channel, serial: CANARY, is_again: false });
        }
    }

    /// A channel is not wanted any more.
    pub(super) fn unlisten(&mut self, channel: &Channel, server: Option<ServerId>) {
        let Some(wanted) = self.wanted.remove(&channel.name) else { return };
        self.awaited -= usize::from(!wanted.waiting.is_empty());
        for (then, _) in wanted.waiting {
            self.untold.push(then, Err(Fault::Unreachable));
        }
        if let Some(tasks) = server.and_then(|server| self.tasks.get_mut(&server)) {
            tasks.push_back(Task::Unsubscribe(wanted.channel));
        }
    }

    /// A bus connection is there. Gives what it has to subscribe to at first: all that is wanted.
    pub(super) fn begin(&mut self, server: ServerId, owns: impl Fn(&Channel) -> bool) -> Vec<(Channel, u64)> {
        self.tasks.insert(server, VecDeque::new());
        let mut first = Vec::new();
        for wanted in self.wanted.values_mut().filter(|wanted| owns(&wanted.channel)) {
            self.serial += 1;
            wanted.serial = self.serial;
            wanted.is_confirmed = false;
            first.push((wanted.channel.clone(), wanted.serial));
        }
        first
    }

    /// A bus connection is gone: nothing of these channels is heard any more, until they are confirmed anew.
    pub(super) fn end(&mut self, server: ServerId, owns: impl Fn(&Channel) -> bool) {
        for wanted in self.wanted.values_mut().filter(|wanted| owns(&wanted.channel)) {
            wanted.is_confirmed = false;
        }
        for task in self.tasks.remove(&server).into_iter().flatten() {
            if let Task::Confirm(name, then) = task {
                self.wait(&name, then, Instant::now());
            }
        }
    }

    /// Somebody waits for the confirmation of a channel.
    fn wait(&mut self, name: &str, then: Heard, since: Instant) {
        let Some(wanted) = self.wanted.get_mut(name) else {
            return self.untold.push(then, Err(Fault::Unreachable));
        };
        self.awaited += usize::from(wanted.waiting.is_empty());
        wanted.waiting.push((then, since));
    }

    /// The next task of a bus connection.
    pub(super) fn task(&mut self, server: ServerId) -> Option<Task> {
        self.tasks.get_mut(&server)?.pop_front()
    }

    /// Whether a bus connection has something to do.
    pub(super) fn has_task(&self, server: ServerId) -> bool {
        self.tasks.get(&server).is_some_and(|tasks| !tasks.is_empty())
    }

    /// A subscription is confirmed. Gives who waits for it.
    pub(super) fn confirm(&mut self, name: &str, serial: u64, confirmations: &mut Calls<()>) {
        let Some(wanted) = self.wanted.get_mut(name).filter(|wanted| wanted.serial == serial) else { return };
        wanted.is_confirmed = true;
        self.awaited -= usize::from(!wanted.waiting.is_empty());
        confirmations.extend(wanted.waiting.drain(..).map(|(then, _)| (then, Ok(()))));
    }

    /// Somebody is told whether a channel is confirmed now; if it is not, when it is.
    pub(super) fn tell(&mut self, name: &str, then: Heard, confirmations: &mut Calls<()>) {
        match self.wanted.get(name) {
            Some(wanted) if wanted.is_confirmed => confirmations.push(then, Ok(())),
            _ => self.wait(name, then, Instant::now()),
        }
    }

    /// Ends the waiting of those who have waited too long.
    pub(super) fn tick(&mut self, now: Instant, confirmations: &mut Calls<()>) {
        confirmations.append(&mut self.untold);
        if self.awaited == 0 {
            return;
        }
        for wanted in self.wanted.values_mut().filter(|wanted| !wanted.waiting.is_empty()) {
            let late = wanted.waiting.extract_if(.., |(_, since)| now - *since > HOLD);
            confirmations.extend(late.map(|(then, _)| (then, Err(Fault::Unreachable))));
            self.awaited -= usize::from(wanted.waiting.is_empty());
        }
    }

    /// Nobody will be told anything any more but this.
    pub(super) fn abandon(&mut self, confirmations: &mut Calls<()>) {
        confirmations.append(&mut self.untold);
        for task in self.tasks.values_mut().flat_map(|tasks| tasks.drain(..)) {
            if let Task::Confirm(_, then) = task {
                confirmations.push(then, Err(Fault::Unreachable));
            }
        }
        let waiting = self.wanted.values_mut().flat_map(|wanted| wanted.waiting.drain(..));
        confirmations.extend(waiting.map(|(then, _)| (then, Err(Fault::Unreachable))));
        self.awaited = 0;
    }
}

impl std::fmt::Debug for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channels").field("wanted", &self.wanted.len()).finish_non_exhaustive()
    }
}

/// In place of the number of a subscription: canaries are nobody's but ours.
pub(super) const CANARY: u64 = 0;

const HOLD: Duration = Duration::from_millis(HOLD_MS);
