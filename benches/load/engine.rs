//! One reading thread: its connections, one poll, one buffer.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::mem;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::body::{Expected, Stamp};
use crate::client::{Client, SUBSCRIBED};
use crate::shared::{Link, Run, Scratch};
use crate::tally::Tally;
use crate::target::Target;
use crate::wire::Arrived;

/// What an engine is told while it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    /// Opens all connections that are closed.
    Open,
    /// Cuts all connections.
    Cut,
    /// Cuts some of those that come and go.
    Churn,
    /// Those that are to be deaf stop reading; they read again.
    Deafen,
    Hear,
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
    turn: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Closed,
    Connecting,
    Upgrading,
    Greeting,
    Subscribing,
    Open,
}

/// What to do about what one read brought.
#[derive(Default)]
struct Answers {
    connected: bool,
    subscribed: bool,
    /// Receipts of SENDs.
    accepted: u32,
    pong: Option<Vec<u8>>,
    ended: bool,
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
        let (stage, expected, turn) = (Stage::Closed, Vec::new(), 0);
        self.connections.push(Connection { number, client, stage, link, partial, pieces, expected, turn });
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
                    self.readable(key);
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

    fn open(&mut self, key: usize) {
        let Connection { number, client, .. } = &self.connections[key];
        let stream = match self.target.connect(*number, client.is_deaf.then_some(DEAF_BUFFER)) {
            Ok(stream) => stream,
            Err(error) => return self.fail(key, &format!("connect: {error}")),
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), Token(key), both);
        self.opening += 1;
        let connection = &mut self.connections[key];
        connection.stage = Stage::Connecting;
        connection.link = Some(Arc::new(Link::new(stream)));
        let subscriptions = connection.client.subscriptions.iter();
        let streams = subscriptions.flat_map(|subscription| subscription.streams.iter().copied());
        connection.expected = streams.map(Expected::new).collect();
        connection.expected.sort_unstable_by_key(|expected| expected.stream);
        if let Err(error) = registered {
            self.fail(key, &format!("epoll: {error}"));
        }
    }

    fn writable(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let Some(link) = &connection.link else { return };
        if connection.stage > Stage::Connecting {
            if let Err(error) = link.flush() {
                self.fail(key, &format!("write: {error}"));
            }
            return;
        }
        if let Ok(Some(error)) | Err(error) = link.stream.take_error() {
            return self.fail(key, &format!("connect: {error}"));
        }
        if self.target.wire == crate::wire::Wire::WebSocket {
            connection.stage = Stage::Upgrading;
            let sent = link.send(self.target.upgrade().as_bytes());
            self.check(key, sent);
        } else {
            self.greet(key);
        }
    }

    fn greet(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        connection.stage = Stage::Greeting;
        self.scratch.out.clear();
        self.run.wire.wrap(1, connection.client.connect.as_bytes(), &mut self.scratch.out);
        self.transmit(key);
    }

    fn subscribe(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        connection.stage = Stage::Subscribing;
        self.scratch.out.clear();
        for frame in connection.client.subscribe() {
            self.run.wire.wrap(1, frame.as_bytes(), &mut self.scratch.out);
        }
        if connection.client.subscriptions.is_empty() {
            return self.opened(key);
        }
        self.transmit(key);
    }

    fn opened(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        connection.stage = Stage::Open;
        self.opening -= 1;
        let run = &self.run;
        connection
            .expected
            .iter_mut()
            .for_each(|expected| expected.join(run.sent[expected.stream as usize].load(Relaxed)));
        if connection.client.is_lent {
            self.run.link(connection.number).clone_from(&connection.link);
        }
        self.run.open.fetch_add(1, Relaxed);
    }

    fn readable(&mut self, key: usize) {
        loop {
            let connection = &mut self.connections[key];
            let Some(link) = connection.link.clone() else { return };
            let kept = connection.partial.len();
            self.buffer[..kept].copy_from_slice(&connection.partial);
            let end = match (&link.stream).read(&mut self.buffer[kept..]) {
                Ok(count) if count > 0 => kept + count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) => return self.fail(key, "the server closed the connection"),
                Err(error) => return self.fail(key, &format!("read: {error}")),
            };
            connection.partial.clear();
            // A WebSocket message that holds nothing but a line's end.
            self.tally.beats += u64::from(end == 3 || end == 1);
            let (used, answers) = self.digest(key, end);
            let connection = &mut self.connections[key];
            connection.partial.extend_from_slice(&self.buffer[used..end]);
            if connection.partial.is_empty() && connection.partial.capacity() > 0 {
                connection.partial = Vec::new();
            }
            self.answer(key, answers);
            if end < self.buffer.len() {
                return;
            }
        }
    }

    /// Reads what the buffer holds.
    fn digest(&mut self, key: usize, end: usize) -> (usize, Answers) {
        let now = self.run.now();
        let connection = &mut self.connections[key];
        let mut start = 0;
        let mut answers = Answers::default();
        if connection.stage == Stage::Upgrading {
            let Some(head) = memchr::memmem::find(&self.buffer[..end], b"\r\n\r\n") else {
                return (0, answers);
            };
            if !self.buffer.starts_with(b"HTTP/1.1 101") {
                self.run.note(&String::from_utf8_lossy(&self.buffer[..head]));
                answers.ended = true;
                return (end, answers);
            }
            start = head + 4;
            self.greet(key);
        }
        let connection = &mut self.connections[key];
        let Connection { expected, pieces, client, .. } = connection;
        let (run, tally) = (&self.run, &mut self.tally);
        let measured_from = run.measured_from.load(Relaxed);
        let before = tally.received;
        let used = self.run.wire.scan(&self.buffer[start..end], pieces, |arrived| match arrived {
            Arrived::Message(_) if client.is_deaf => {}
            Arrived::Error(_) if client.is_deaf => {}
            Arrived::Message(body) => match Stamp::read(body) {
                Some(stamp) => tally.arrive(expected, stamp, now, measured_from),
                None => tally.events += 1,
            },
            Arrived::Receipt(id) if id == SUBSCRIBED.as_bytes() => answers.subscribed = true,
            Arrived::Receipt(_) => answers.accepted += 1,
            Arrived::Connected => answers.connected = true,
            Arrived::Ping(payload) => answers.pong = Some(payload.to_vec()),
            Arrived::Error(frame) => {
                tally.errors += 1;
                run.note(&String::from_utf8_lossy(frame));
            }
            Arrived::Close(number) => {
                run.note(&format!("close {number}"));
                answers.ended = true;
            }
        });
        let fresh = tally.received - before;
        if fresh > 0 {
            self.run.last.fetch_max(now, Relaxed);
            self.run.received.fetch_add(fresh, Relaxed);
        }
        (start + used, answers)
    }

    fn answer(&mut self, key: usize, answers: Answers) {
        if answers.ended {
            return self.fail(key, "ended by the server");
        }
        let stage = self.connections[key].stage;
        if answers.connected && stage == Stage::Greeting {
            self.subscribe(key);
        }
        if answers.subscribed && stage == Stage::Subscribing {
            self.opened(key);
        }
        if let Some(payload) = answers.pong {
            self.scratch.out.clear();
            self.run.wire.wrap(10, &payload, &mut self.scratch.out);
            self.transmit(key);
        }
        if answers.accepted > 0 {
            self.tally.receipts += u64::from(answers.accepted);
            self.publish(key, answers.accepted);
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
        connection.link = None;
        (connection.partial, connection.pieces) = (Vec::new(), Vec::new());
        *self.run.link(connection.number) = None;
        self.closed.push_back(key);
    }

    fn churn(&mut self) {
        let fleeting =
            |connection: &Connection| connection.client.is_fleeting && connection.stage == Stage::Open;
        let keys: Vec<_> =
            (0..self.connections.len()).filter(|key| fleeting(&self.connections[*key])).collect();
        self.churned += 1;
        keys.iter().skip(self.churned % CHURN).step_by(CHURN).for_each(|key| self.cut(*key));
    }

    fn turn_deaf(&mut self, is_deaf: bool) {
        let registry = self.poll.registry();
        for (key, connection) in self.connections.iter().enumerate().filter(|(_, other)| other.client.is_deaf)
        {
            let Some(link) = &connection.link else { continue };
            let (fd, both) = (link.stream.as_raw_fd(), Interest::READABLE | Interest::WRITABLE);
            let _ = match is_deaf {
                true => registry.deregister(&mut SourceFd(&fd)),
                false => registry.register(&mut SourceFd(&fd), Token(key), both),
            };
        }
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

/// Bytes that the system takes for one who does not read.
const DEAF_BUFFER: usize = 8 << 10;
/// One in so many of those that come and go is cut at once.
const CHURN: usize = 8;
pub(crate) const WAKE: Token = Token(usize::MAX);
const TICK: Duration = Duration::from_millis(100);
/// The largest frame that fits, and one read.
const BUFFER: usize = 256 << 10;
