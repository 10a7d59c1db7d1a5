//! What adapters, connections and the driver share: the lanes, the channels, the servers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use redis::Value;
use tokio::sync::Notify;

use crate::backend::redis::keys::{Channel, Keys, Partition};
use crate::backend::redis::link::{Ears, Fault, Order};

use super::calls::Calls;
use super::canary::Canary;
use super::channels::{Channels, Task};
use super::lanes::{Lanes, Return, Waiting};
use super::options::Address;
use super::servers::{Server, ServerId};
use super::vitals::Dialled;

/// The way to Redis, as adapters have it. Its driver does the work.
pub(in crate::backend::redis) struct Line {
    pub(super) ears: Arc<dyn Ears>,
    pub(super) keys: Keys,
    pub(super) canary: Canary,
    /// Replicas that must have a batch before it counts as done.
    pub(super) wait_replicas: u32,
    /// Partitions lie on several servers.
    pub(super) is_clustered: bool,
    /// How often its connections have come about.
    pub(super) dialled: Dialled,
    /// The driver has something to look at.
    pub(super) stirred: Notify,
    pub(super) state: Mutex<State>,
}

/// What is behind one lock, which nobody holds for long.
pub(super) struct State {
    pub(super) lanes: Lanes,
    pub(super) channels: Channels,
    pub(super) servers: BTreeMap<ServerId, Server>,
    /// Those of them for whom nobody dials yet.
    pub(super) newcomers: Vec<ServerId>,
    pub(super) next_server: u32,
    /// Partitions whose server was not where it was thought to be.
    pub(super) displaced: BTreeSet<Partition>,
    /// Who is to be asked first where everything is, if that is wanted.
    pub(super) survey: Option<Vec<Address>>,
    /// Why it is not known which servers there are.
    pub(super) trouble: Option<String>,
    is_closing: bool,
    pub(super) is_over: bool,
}

/// How an order that was sent came back.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With a reply.
    Ended(Waiting, Result<Value, Fault>),
    /// It has to be sent again.
    Returned(Waiting, Return),
}

/// The connection is to be dropped, and why.
#[derive(Debug)]
pub(super) struct Cut(pub(super) String);

impl Line {
    pub(super) fn new(keys: Keys, ears: Arc<dyn Ears>, wait_replicas: u32, is_clustered: bool) -> Self {
        let state = State {
            lanes: Lanes::new(),
            channels: Channels::default(),
            servers: BTreeMap::new(),
            newcomers: Vec::new(),
            next_server: 0,
            displaced: BTreeSet::new(),
            survey: None,
            trouble: Some("Redis: no server is known yet".to_owned()),
            is_closing: false,
            is_over: false,
        };
        let (canary, stirred) = (Canary::new(), Notify::new());
        Self {
            ears,
            keys,
            canary,
            wait_replicas,
            is_clustered,
            dialled: Dialled::default(),
            stirred,
            state: Mutex::new(state),
        }
    }

    /// No order is taken any more. The driver sends what waits, a second at most, and ends.
    pub(in crate::backend::redis) fn close(&self) {
        self.state.lock().is_closing = true;
        self.stirred.notify_one();
    }

    /// Takes orders for a server's connection, and sees that it is woken when there are more.
    pub(super) fn take(
        &self,
        server: ServerId,
        room: usize,
        into: &mut Vec<Waiting>,
        cx: &Context<'_>,
    ) -> Result<(), Cut> {
        let mut state = self.state.lock();
        let State { lanes, servers, .. } = &mut *state;
        let Some(known) = servers.get_mut(&server) else { return Err(Cut("is not needed".to_owned())) };
        if let Some(why) = known.commands.cut.take() {
            return Err(Cut(why));
        }
        known.commands.waker = Some(cx.waker().clone());
        // What is published before our own channels are confirmed could not be heard here.
        if known.bus.trouble.is_none() || !known.is_owner {
            lanes.take(server, room, into);
        }
        Ok(())
    }

    /// As [`Link::force`](super::Link::force), but before everything that waits.
    pub(super) fn hurry(&self, order: Order) {
        let mut state = self.state.lock();
        let woken = state.lanes.hurry(order);
        wake(woken.and_then(|server| state.waker_of(server)), state);
    }

    /// Orders have come back, in this order.
    pub(super) fn settle(&self, outcomes: impl Iterator<Item = Outcome>) {
        let mut calls = Calls::default();
        let relieved = {
            let mut state = self.state.lock();
            for outcome in outcomes {
                match outcome {
                    Outcome::Ended(waiting, result) => state.lanes.settle(waiting, result, &mut calls),
                    Outcome::Returned(waiting, why) => state.lanes.give_back(waiting, why, &mut calls),
                }
            }
            if state.is_over {
                state.lanes.abandon(&mut calls);
            }
            state.wake_takers();
            state.lanes.relieved()
        };
        calls.make();
        relieved.into_iter().for_each(|worker| self.ears.room(worker));
    }

    /// The next tasks of a server's bus connection; it is woken when there are more.
    pub(super) fn tasks(
        &self,
        server: ServerId,
        room: usize,
        into: &mut Vec<Task>,
        cx: &Context<'_>,
    ) -> Result<(), Cut> {
        let mut state = self.state.lock();
        let State { channels, servers, .. } = &mut *state;
        let Some(known) = servers.get_mut(&server) else { return Err(Cut("is not needed".to_owned())) };
        if let Some(why) = known.bus.cut.take() {
            return Err(Cut(why));
        }
        known.bus.waker = Some(cx.waker().clone());
        into.extend(std::iter::from_fn(|| channels.task(server)).take(room));
        Ok(())
    }

    /// Something with the channels, and then the calls that follow from it.
    pub(super) fn with_channels(&self, act: impl FnOnce(&mut Channels, &mut Calls<()>)) {
        let mut confirmations = Calls::default();
        act(&mut self.state.lock().channels, &mut confirmations);
        confirmations.make();
    }

    /// A server's bus connection begins. Gives the channels that it has to subscribe to at first.
    pub(super) fn begin_bus(&self, server: ServerId) -> Vec<(Channel, u64)> {
        let mut state = self.state.lock();
        let State { channels, lanes, servers, .. } = &mut *state;
        if let Some(known) = servers.get_mut(&server) {
            known.bus.cut = None;
        }
        channels.begin(server, |channel| lanes.owner(channel.partition) == Some(server))
    }

    /// A server's bus connection is gone.
    pub(super) fn end_bus(&self, server: ServerId) {
        let mut confirmations = Calls::default();
        {
            let mut state = self.state.lock();
            let State { channels, lanes, is_over, .. } = &mut *state;
            channels.end(server, |channel| lanes.owner(channel.partition) == Some(server));
            if *is_over {
                channels.abandon(&mut confirmations);
            }
        }
        confirmations.make();
    }

    /// Something with a server, if it is known still.
    pub(super) fn with_server<R>(&self, server: ServerId, act: impl FnOnce(&mut Server) -> R) -> Option<R> {
        self.state.lock().servers.get_mut(&server).map(act)
    }

    /// The servers that are known.
    pub(super) fn servers(&self) -> Vec<ServerId> {
        self.state.lock().servers.keys().copied().collect()
    }

    /// Canaries are to be heard on a server.
    pub(super) fn listen_to_canaries(&self, channel: Channel, server: ServerId) {
        let mut state = self.state.lock();
        state.channels.listen_to_canaries(channel, server);
        state.wake_bus(Some(server));
    }

    /// Ends what has waited too long.
    pub(super) fn tick(&self, now: Instant) {
        let mut calls = Calls::default();
        let mut confirmations = Calls::default();
        let relieved = {
            let mut state = self.state.lock();
            state.lanes.tick(now, &mut calls);
            state.channels.tick(now, &mut confirmations);
            state.wake_takers();
            state.lanes.relieved()
        };
        calls.make();
        confirmations.make();
        relieved.into_iter().for_each(|worker| self.ears.room(worker));
    }

    /// Whether nothing more is to be done.
    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().is_closing
    }

    /// Whether no order waits or is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().lanes.is_empty()
    }

    /// Nobody sends any more: what waits ends.
    pub(super) fn abandon(&self) {
        let mut calls = Calls::default();
        let mut confirmations = Calls::default();
        {
            let mut state = self.state.lock();
            state.is_over = true;
            state.trouble = Some("Redis: the broker is going down".to_owned());
            state.lanes.abandon(&mut calls);
            state.channels.abandon(&mut confirmations);
        }
        calls.make();
        confirmations.make();
    }
}

impl State {
    pub(super) fn waker_of(&mut self, server: ServerId) -> Option<Waker> {
        self.servers.get_mut(&server)?.commands.waker.take()
    }

    pub(super) fn wake_takers(&mut self) {
        for server in self.lanes.wanted() {
            if let Some(server) = self.servers.get_mut(&server) {
                server.commands.wake();
            }
        }
    }

    pub(super) fn wake_bus(&mut self, server: Option<ServerId>) {
        let Some(server) = server.filter(|server| self.channels.has_task(*server)) else { return };
        if let Some(server) = self.servers.get_mut(&server) {
            server.bus.wake();
        }
    }
}

impl Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// Wakes a connection's task when nothing is locked any more.
pub(super) fn wake<T>(waker: Option<Waker>, unlocked: T) {
    drop(unlocked);
    if let Some(waker) = waker {
        waker.wake();
    }
}
