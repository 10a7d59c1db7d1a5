//! One server's connection for channels: it subscribes, and hands on what is pushed.
//!
//! Nothing else is ever sent on it, and what is confirmed must be what was asked next: an answer and a push cannot be mistaken
//! for each other here. A push that ends a subscription which we have not ended means that the slot has gone elsewhere; then
//! it is asked where, and its channels are heard from there.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use redis::{PushKind, ServerError, Value};

use crate::backend::redis::keys::{Channel, Partition};

use super::canary;
use super::channels::{CANARY, Task};
use super::dial::Primary;
use super::line::{Cut, Line};
use super::options::Address;
use super::patience::{Offer, Patience};
use super::pipe::Pipe;
use super::replies::Hint;
use super::servers::{Nest, ServerId};

/// Listens until the connection is lost. Tells why it was.
pub(super) async fn run(line: &Arc<Line>, server: ServerId, primary: Primary) -> String {
    let mut bus = Bus::new(line, server, primary);
    let Cut(why) = std::future::poll_fn(|cx| bus.poll(cx)).await;
    why
}

struct Bus<'a> {
    line: &'a Arc<Line>,
    server: ServerId,
    pipe: Pipe,
    address: Address,
    /// What is to be subscribed to before all is as it was.
    first: VecDeque<(Channel, u64)>,
    /// Whether all of that is confirmed.
    is_ready: bool,
    /// So many channels that were heard before are not confirmed.
    unconfirmed: usize,
    /// Partitions of those.
    partitions: BTreeSet<Partition>,
    /// What pushes are handed on.
    heard: HashMap<Arc<str>, Heard, foldhash::fast::RandomState>,
    /// What the server has to confirm, in this order.
    expected: VecDeque<Expected>,
    /// Was not taken yet.
    held: Option<(Channel, Bytes)>,
    patience: Patience,
    tasks: Vec<Task>,
}

struct Heard {
    channel: Channel,
    is_canary: bool,
}

/// A confirmation that is to come.
enum Expected {
    Subscribed { channel: Channel, serial: u64, is_again: bool },
    Unsubscribed(Channel),
}

impl<'a> Bus<'a> {
    fn new(line: &'a Arc<Line>, server: ServerId, primary: Primary) -> Self {
        let Primary { pipe, address, .. } = primary;
        let first: VecDeque<_> = line.begin_bus(server).into();
        let partitions: BTreeSet<_> = first.iter().map(|(channel, _)| channel.partition).collect();
        tell_interrupted(line, &partitions);
        let unconfirmed = first.len();
        let (heard, expected, held) = (HashMap::default(), VecDeque::new(), None);
        let (is_ready, patience, tasks) = (false, Patience::new(), Vec::new());
        let bus = Self {
            line,
            server,
            pipe,
            address,
            first,
            is_ready,
            unconfirmed,
            partitions,
            heard,
            expected,
            held,
            patience,
            tasks,
        };
        bus.checked()
    }

    /// If there is nothing to be confirmed, that is so.
    fn checked(mut self) -> Self {
        self.check();
        self
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        match self.work(cx) {
            Err(cut) => Poll::Ready(cut),
            Ok(()) => Poll::Pending,
        }
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Result<(), Cut> {
        loop {
            self.receive(cx)?;
            self.patience.poll_missed(cx, |partitions| self.line.ears.missed(partitions));
            let room = EXPECTED_MAX.saturating_sub(self.expected.len());
            let first = self.first.len().min(room);
            for (channel, serial) in self.first.drain(..first).collect::<Vec<_>>() {
                self.subscribe(channel, serial, true);
            }
            // Not before what was wanted is wanted again: a task may undo some of it.
            let room = if self.first.is_empty() { room - first } else { 0 };
            let mut tasks = std::mem::take(&mut self.tasks);
            let taken = self.line.tasks(self.server, room, &mut tasks, cx);
            let is_done = tasks.is_empty() && first == 0;
            tell_interrupted(self.line, &tasks.iter().filter_map(Task::again).collect());
            tasks.drain(..).for_each(|task| self.handle_task(task));
            self.tasks = tasks;
            taken?;
            match self.pipe.poll_flush(cx) {
                Poll::Ready(Err(error)) => return Err(Cut(error.to_string())),
                Poll::Ready(Ok(())) if !is_done => {}
                Poll::Ready(Ok(())) | Poll::Pending => return Ok(()),
            }
        }
    }

    /// Hands on what is there, until somebody is full.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<(), Cut> {
        loop {
            if let Some((channel, payload)) = self.held.take() {
                match self.patience.offer(cx, || self.line.ears.hear(&channel, &payload)) {
                    Offer::Taken => {}
                    Offer::Wait => {
                        self.held = Some((channel, payload));
                        return Ok(());
                    }
                    Offer::Drop => self.patience.owe(channel.partition),
                }
            }
            match self.pipe.poll_value(cx) {
                Poll::Ready(Ok(value)) => self.handle_value(value)?,
                Poll::Ready(Err(error)) => return Err(Cut(error.to_string())),
                Poll::Pending => return Ok(()),
            }
        }
    }

    fn handle_value(&mut self, value: Value) -> Result<(), Cut> {
        match value {
            Value::Push { kind: PushKind::SMessage, data } => self.handle_message(data),
            Value::Push { kind: PushKind::SSubscribe, data } => self.handle_subscribed(&data),
            Value::Push { kind: PushKind::SUnsubscribe, data } => self.handle_unsubscribed(&data),
            Value::Push { .. } => Ok(()),
            Value::ServerError(error) => self.handle_error(&error),
            _ => Err(Cut("has answered what was not asked".to_owned())),
        }
    }

    fn handle_message(&mut self, data: Vec<Value>) -> Result<(), Cut> {
        let Ok([Value::BulkString(name), Value::BulkString(payload)]) = <[Value; 2]>::try_from(data) else {
            return Err(Cut("has pushed something malformed".to_owned()));
        };
        let name = std::str::from_utf8(&name).unwrap_or_default();
        match self.heard.get(name) {
            Some(heard) if heard.is_canary => canary::hear(self.line, self.server, &payload),
            Some(heard) => self.held = Some((heard.channel.clone(), payload.into())),
            // What we have just ended.
            None => {}
        }
        Ok(())
    }

    fn handle_subscribed(&mut self, data: &[Value]) -> Result<(), Cut> {
        let Some(Expected::Subscribed { channel, serial, is_again }) = self.expected.pop_front() else {
            return Err(Cut("has confirmed what was not asked".to_owned()));
        };
        if !is_name(data, &channel.name) {
            return Err(Cut("has confirmed another channel".to_owned()));
        }
        let is_canary = serial == CANARY;
        // Only now: before stands what ends the subscription that there was until the slot went elsewhere and came back.
        self.heard.insert(Arc::clone(&channel.name), Heard { channel: channel.clone(), is_canary });
        if is_canary {
            self.line.with_server(self.server, |known| known.nest.confirmed = Some(channel.partition));
        } else {
            self.line.with_channels(|channels, told| channels.confirm(&channel.name, serial, told));
        }
        self.unconfirmed -= usize::from(is_again);
        self.check();
        Ok(())
    }

    fn handle_unsubscribed(&mut self, data: &[Value]) -> Result<(), Cut> {
        if let Some(Expected::Unsubscribed(channel)) = self.expected.front()
            && is_name(data, &channel.name)
        {
            self.heard.remove(&channel.name);
            self.expected.pop_front();
            return Ok(());
        }
        let Some(Value::BulkString(name)) = data.first() else {
            return Err(Cut("has pushed something malformed".to_owned()));
        };
        // Nobody has asked for that: the slot has gone elsewhere.
        if let Some(heard) = self.heard.remove(std::str::from_utf8(name).unwrap_or_default()) {
            self.displace(&heard.channel, heard.is_canary, None);
        }
        Ok(())
    }

    fn handle_error(&mut self, error: &ServerError) -> Result<(), Cut> {
        let text = || format!("{} {}", error.code(), error.details().unwrap_or_default());
        match (self.expected.pop_front(), Hint::of(error)) {
            (Some(Expected::Subscribed { channel, serial, is_again }), Some(hint))
                if error.code() == "MOVED" =>
            {
                self.displace(&channel, serial == CANARY, Some(&hint));
                self.unconfirmed -= usize::from(is_again);
                self.check();
                Ok(())
            }
            (Some(Expected::Unsubscribed(channel)), Some(_)) if error.code() == "MOVED" => {
                self.heard.remove(&channel.name);
                Ok(())
            }
            (Some(Expected::Subscribed { .. }), _) => Err(Cut(format!("refuses SSUBSCRIBE: {}", text()))),
            (Some(Expected::Unsubscribed(_)), _) => Err(Cut(format!("refuses SUNSUBSCRIBE: {}", text()))),
            (None, _) => Err(Cut(format!("says {}", text()))),
        }
    }

    /// A channel cannot be heard here any more.
    fn displace(&mut self, channel: &Channel, is_canary: bool, hint: Option<&Hint>) {
        let place = hint.map_or_else(|| self.address.clone(), |hint| hint.from(&self.address));
        if is_canary {
            self.line.with_server(self.server, |known| known.nest = Nest::default());
            self.line.ask_survey(Some(place));
        } else {
            self.line.displace(self.server, channel.partition, place);
        }
    }

    /// Once all that was heard before is confirmed, it may be told what may have been missed.
    fn check(&mut self) {
        if self.unconfirmed > 0 {
            return;
        }
        if !self.is_ready {
            self.is_ready = true;
            self.line.with_server(self.server, |known| {
                known.bus.trouble = None;
                known.commands.wake();
            });
            self.line.stirred.notify_one();
        }
        let missed = std::mem::take(&mut self.partitions);
        if !missed.is_empty() {
            self.line.ears.missed(&missed);
        }
    }

    fn handle_task(&mut self, task: Task) {
        match task {
            Task::Subscribe { channel, serial, is_again } => {
                if is_again {
                    self.unconfirmed += 1;
                    self.partitions.insert(channel.partition);
                }
                self.subscribe(channel, serial, is_again);
            }
            Task::Unsubscribe(channel) => {
                let command: [&[u8]; 2] = [b"SUNSUBSCRIBE", channel.name.as_bytes()];
                self.pipe.command(command.into_iter());
                self.expected.push_back(Expected::Unsubscribed(channel));
            }
            Task::Confirm(name, then) => {
                self.line.with_channels(|channels, told| channels.tell(&name, then, told));
            }
        }
    }

    /// One channel for each command: those of one command must lie in one slot.
    fn subscribe(&mut self, channel: Channel, serial: u64, is_again: bool) {
        let command: [&[u8]; 2] = [b"SSUBSCRIBE", channel.name.as_bytes()];
        self.pipe.command(command.into_iter());
        self.expected.push_back(Expected::Subscribed { channel, serial, is_again });
    }
}

impl Drop for Bus<'_> {
    fn drop(&mut self) {
        self.line.end_bus(self.server);
    }
}

fn tell_interrupted(line: &Line, partitions: &BTreeSet<Partition>) {
    if !partitions.is_empty() {
        line.ears.interrupted(partitions);
    }
}

fn is_name(data: &[Value], name: &str) -> bool {
    matches!(data.first(), Some(Value::BulkString(bytes)) if bytes == name.as_bytes())
}

/// Confirmations that are waited for at once.
const EXPECTED_MAX: usize = 4_096;
