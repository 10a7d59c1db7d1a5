//! One reading thread: its connections, one poll, one buffer.

mod asking;
mod opening;
mod receiving;
mod restless;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::{Events, Poll, Token};

use crate::body::Expected;
use crate::client::Client;
use crate::shared::{Link, Run, Scratch, Wait};
use crate::tally::Tally;
use crate::target::Target;

/// What an engine is told while it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    /// Opens all connections that are closed.
    Open,
    /// Cuts all connections.
    Cut,
    /// Some of those that come and go do so.
    Churn,
    /// Those that are to be deaf stop reading; they read again.
    Deafen,
    Hear,
    /// Of those that wait to be told, so many clients from this number on subscribe.
    Subscribe {
        first: usize,
        count: usize,
    },
    /// All of them unsubscribe.
    Leave,
    /// Begins to publish, so many messages of each client at once.
    Start(u32),
    /// Ends; what is missing is counted.
    Finish,
}

pub(crate) struct Engine {
    poll: Poll,
    run: Arc<Run>,
    target: Target,
    commands: Receiver<Command>,
    connections: Vec<Connection>,
    closed: VecDeque<usize>,
    /// Connections that are being opened, and how many may be.
    opening: usize,
    pub(crate) opening_max: usize,
    churned: usize,
    buffer: Vec<u8>,
    scratch: Scratch,
    tally: Tally,
    /// How often each connection sends a heart-beat, and the one whose turn is next.
    pub(crate) heart_beat: Option<Duration>,
    beaten: f64,
}

struct Connection {
    /// Its number among all threads' clients.
    number: usize,
    client: Client,
    stage: Stage,
    link: Option<Arc<Link>>,
    /// Bytes of a frame that is not complete, of a STOMP frame in several WebSocket messages.
    partial: Vec<u8>,
    pieces: Vec<u8>,
    /// By stream.
    expected: Vec<Expected>,
    /// The position of what came last, of those who come back for the rest.
    since: Option<String>,
    turn: usize,
    /// What it was told to ask, until it has it.
    wait: Option<Wait>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Closed,
    Connecting,
    Upgrading,
    Greeting,
    Subscribing,
    Open,
    /// Unsubscribes, and has no subscription.
    Leaving,
    Away,
}

impl Engine {
    pub(crate) fn new(poll: Poll, run: Arc<Run>, target: Target, commands: Receiver<Command>) -> Self {
        Self {
            poll,
            run,
            target,
            commands,
            connections: Vec::new(),
            closed: VecDeque::new(),
            opening: 0,
            opening_max: 1,
            churned: 0,
            buffer: vec![0; BUFFER],
            scratch: Scratch::default(),
            tally: Tally::default(),
            heart_beat: None,
            beaten: 0.0,
        }
    }

    pub(crate) fn add(&mut self, number: usize, client: Client) {
        self.closed.push_back(self.connections.len());
        let (link, partial, pieces) = (None, Vec::new(), Vec::new());
        let (stage, expected, since, turn, wait) = (Stage::Closed, Vec::new(), None, 0, None);
        let connection =
            Connection { number, client, stage, link, partial, pieces, expected, since, turn, wait };
        self.connections.push(connection);
    }

    /// Works until it is told to finish.
    pub(crate) fn work(mut self) -> io::Result<Tally> {
        let mut events = Events::with_capacity(1_024);
        let mut is_opening = false;
        loop {
            match self.poll.poll(&mut events, self.heart_beat.map(|_| TICK)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                let Token(key) = event.token();
                if key == WAKE.0 {
                    continue;
                }
                if event.is_writable() {
                    self.writable(key);
                }
                if event.is_readable() || event.is_error() {
                    self.readable(key, event.is_read_closed());
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Open => is_opening = true,
                    Command::Cut => {
                        is_opening = false;
                        (0..self.connections.len()).for_each(|key| self.cut(key));
                    }
                    Command::Churn => self.churn(),
                    Command::Deafen => self.turn_deaf(true),
                    Command::Hear => self.turn_deaf(false),
                    Command::Subscribe { first, count } => self.ask_to_join(first..first + count),
                    Command::Leave => self.ask_to_leave(),
                    Command::Start(window) => self.start(window),
                    Command::Finish => return Ok(self.finish()),
                }
            }
            while is_opening && self.opening < self.opening_max {
                let Some(key) = self.closed.pop_front() else { break };
                self.open(key);
            }
            self.beat();
        }
    }

    fn start(&mut self, window: u32) {
        (0..self.connections.len()).for_each(|key| self.publish(key, window));
    }

    fn publish(&mut self, key: usize, count: u32) {
        let connection = &mut self.connections[key];
        if connection.client.publishes.is_empty() || !self.run.is_publishing.load(Relaxed) {
            return;
        }
        self.scratch.out.clear();
        for _ in 0..count {
            let publication =
                &connection.client.publishes[connection.turn % connection.client.publishes.len()];
            connection.turn += 1;
            self.run.send(publication, self.run.now(), true, &mut self.scratch);
        }
        self.transmit(key);
    }

    fn beat(&mut self) {
        // The share of connections that are due since the last tick is told by the clock, not by ticks.
        let Some(beat) = self.heart_beat else { return };
        let due = self.run.now() as f64 / beat.as_nanos() as f64 * self.connections.len() as f64;
        self.scratch.out.clear();
        self.run.wire.wrap(1, b"\n", &mut self.scratch.out);
        for n in self.beaten as u64..due as u64 {
            let key = (n % self.connections.len() as u64) as usize;
            if self.connections[key].stage == Stage::Open {
                self.transmit(key);
            }
        }
        self.beaten = due;
    }

    fn transmit(&mut self, key: usize) {
        let Some(link) = &self.connections[key].link else { return };
        let sent = link.send(&self.scratch.out);
        self.check(key, sent);
    }

    fn check(&mut self, key: usize, sent: io::Result<()>) {
        if let Err(error) = sent {
            self.fail(key, &format!("write: {error}"));
        }
    }

    /// A connection that ended and was not to.
    fn fail(&mut self, key: usize, why: &str) {
        if self.connections[key].client.is_loyal && self.run.has_lost.load(Relaxed) {
            let wait = self.connections[key].wait;
            self.cut(key);
            return self.wait_again(key, wait);
        }
        if self.connections[key].client.is_deaf && self.connections[key].stage == Stage::Open {
            self.tally.deaf_ended += 1;
        } else {
            self.tally.ended += 1;
            self.run.note(why);
            match self.connections[key].stage {
                Stage::Open => self.run.ended.fetch_add(1, Relaxed),
                _ => self.run.failed.fetch_add(1, Relaxed),
            };
        }
        self.cut(key);
        // It is not opened again: what failed stays seen.
        self.closed.retain(|closed| *closed != key);
    }

    fn cut(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        match mem::replace(&mut connection.stage, Stage::Closed) {
            Stage::Closed => return,
            Stage::Open => {
                self.run.open.fetch_sub(1, Relaxed);
            }
            _ => self.opening -= 1,
        }
        (connection.link, connection.wait) = (None, None);
        (connection.partial, connection.pieces) = (Vec::new(), Vec::new());
        if connection.since.is_none() {
            connection.expected.clear();
        }
        *self.run.link(connection.number) = None;
        self.closed.push_back(key);
    }

    fn finish(mut self) -> Tally {
        for connection in self.connections.iter().filter(|connection| !connection.client.is_deaf) {
            for expected in &connection.expected {
                let sent = self.run.sent[expected.stream as usize].load(Relaxed);
                self.tally.missing += u64::from(expected.missing(sent));
            }
        }
        self.tally
    }
}

pub(crate) const WAKE: Token = Token(usize::MAX);
const TICK: Duration = Duration::from_millis(100);
/// The largest frame that fits, and one read.
const BUFFER: usize = 256 << 10;
