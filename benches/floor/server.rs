//! One thread of the floor: sockets, topics, and a fixed pool of messages.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use memchr::{memchr, memmem};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Nothing is allocated per delivery: messages come from a pool, and a receiver's ring grows once, if at all.
#[derive(Default)]
pub(crate) struct Server {
    sockets: Vec<Socket>,
    vacant: Vec<usize>,
    topics: HashMap<Box<[u8]>, Vec<usize>, RandomState>,
    /// Messages that nobody waits for.
    pool: Vec<Message>,
    /// Sockets with something new to write, and those that are not read until the pool has messages again.
    dirty: Vec<usize>,
    held: Vec<usize>,
    input: Vec<u8>,
    output: Vec<u8>,
    serial: u64,
    others: Vec<Arc<Inbox>>,
    /// Ticks so far; none without heart-beats.
    tick: Option<usize>,
}

#[derive(Default)]
struct Socket {
    stream: Option<TcpStream>,
    is_upgraded: bool,
    is_dirty: bool,
    /// Bytes of a frame that is not complete or has to wait.
    partial: Vec<u8>,
    ring: VecDeque<Message>,
    /// Bytes of the first message that are written.
    written: usize,
    topics: Vec<Box<[u8]>>,
    /// Ticks between heart-beats, when the next one is due, when something was last read.
    period: usize,
    due: usize,
    heard: usize,
}

/// A frame as it leaves, WebSocket header included.
type Message = Rc<Vec<u8>>;

/// Destinations and frames from the other threads.
pub(crate) struct Inbox(pub(crate) Mutex<Vec<[Box<[u8]>; 2]>>, pub(crate) Waker);

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<[Box<[u8]>; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    pub(crate) fn new(others: Vec<Arc<Inbox>>, heart_beats: bool) -> Self {
        let pool = (0..MESSAGES).map(|_| Rc::new(Vec::with_capacity(1_024))).collect();
        Self { pool, others, input: vec![0; INPUT], tick: heart_beats.then_some(0), ..Self::default() }
    }

    pub(crate) fn run(&mut self, mut poll: Poll, mut listener: TcpListener, inbox: &Inbox) -> io::Result<()> {
        poll.registry().register(&mut listener, LISTEN, Interest::READABLE)?;
        let (mut events, start) = (Events::with_capacity(1_024), Instant::now());
        loop {
            let tick = self.tick.map(|_| TICK);
            // A signal interrupts it; then there are no events.
            let _ = poll
                .poll(&mut events, if self.held.is_empty() { tick } else { Some(Duration::from_millis(1)) });
            mem::take(&mut self.held).into_iter().for_each(|key| self.receive(key));
            for event in &events {
                match event.token() {
                    LISTEN => self.accept(&listener, poll.registry()),
                    WAKE => mem::take(&mut *inbox.lock())
                        .iter()
                        .for_each(|[to, frame]| self.fan_out(to, &[frame])),
                    Token(key) => {
                        if event.is_readable() {
                            // What is last and the end come in one event.
                            (0..=u8::from(event.is_read_closed())).for_each(|_| self.receive(key));
                        }
                        if event.is_writable() {
                            self.push(key, None);
                        }
                    }
                }
            }
            while let Some(tick) = self.tick.filter(|tick| start.elapsed() > TICK * *tick as u32) {
                self.tick = Some(tick + 1);
                (0..self.sockets.len()).for_each(|key| self.beat(key, tick));
            }
            let mut dirty = mem::take(&mut self.dirty);
            dirty.drain(..).for_each(|key| self.write(key));
            self.dirty = dirty;
        }
    }

    fn accept(&mut self, listener: &TcpListener, registry: &Registry) {
        while let Ok((mut stream, _)) = listener.accept() {
            let key = self.vacant.pop().unwrap_or(self.sockets.len());
            self.sockets.resize_with(self.sockets.len().max(key + 1), Socket::default);
            let both = Interest::READABLE | Interest::WRITABLE;
            let registered = registry.register(&mut stream, Token(key), both).and(stream.set_nodelay(true));
            self.sockets[key].stream = registered.is_ok().then_some(stream);
        }
    }

    /// Reads what is there, or goes on with what had to wait.
    fn receive(&mut self, key: usize) {
        let mut input = mem::take(&mut self.input);
        let socket = &mut self.sockets[key];
        let kept = socket.partial.len();
        input[..kept].copy_from_slice(&socket.partial);
        socket.partial.clear();
        socket.heard = self.tick.unwrap_or(0);
        match socket.stream.as_mut().map(|stream| stream.read(&mut input[kept..])) {
            Some(Ok(count)) if count > 0 => self.handle(key, &mut input[..kept + count]),
            Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => self.handle(key, &mut input[..kept]),
            _ => self.close(key),
        }
        self.input = input;
    }

    fn handle(&mut self, key: usize, input: &mut [u8]) {
        let mut at = 0;
        if !self.sockets[key].is_upgraded
            && let Some(end) = memmem::find(input, b"\r\n\r\n")
        {
            let token = header(&input[..end + 2], b"\nSec-WebSocket-Key: ").unwrap_or_default();
            let accept = derive_accept_key(token.trim_ascii_end());
            self.answer(key, &[SWITCHING, accept.as_bytes(), b"\r\n\r\n"]);
            self.sockets[key].is_upgraded = true;
            at = end + 4;
        }
        while let Some((start, end)) = frame(&input[at..]).filter(|_| self.sockets[key].is_upgraded) {
            // One for the MESSAGE, one for the RECEIPT.
            if self.pool.len() < 2 || self.others.iter().any(|other| other.lock().len() > MESSAGES) {
                self.held.push(key);
                break;
            }
            let (head, payload) = input[at..at + end].split_at_mut(start);
            for chunk in payload.chunks_mut(4) {
                chunk.iter_mut().zip(&head[start - 4..]).for_each(|(byte, mask)| *byte ^= mask);
            }
            match head[0] & 0x0f {
                0..=2 => self.stomp(key, payload),
                8 => self.close(key),
                _ => {}
            }
            at += end;
        }
        if self.sockets[key].stream.is_some() {
            self.sockets[key].partial.extend_from_slice(&input[at..]);
            // After a whole buffer there may be more, and the system will not say so again.
            self.held.extend((input.len() == INPUT).then_some(key));
        }
    }

    fn stomp(&mut self, key: usize, payload: &[u8]) {
        let Some(end) = memmem::find(payload, b"\n\n") else { return };
        let (head, body) = (&payload[..=end], &payload[end + 2..]);
        let destination = header(head, b"\ndestination:").unwrap_or_default();
        match head[1] {
            // CONNECT, and STOMP.
            b'O' | b'T' => self.connect(key, header(head, b"\nheart-beat:").unwrap_or(b"0,0")),
            b'U' => {
                self.topics.entry(destination.into()).or_default().push(key);
                self.sockets[key].topics.push(destination.into());
            }
            b'E' => {
                let length = header(head, b"\ncontent-length:").map_or(body.len() - 1, number);
                self.publish(destination, &body[..length.min(body.len())]);
            }
            _ => {}
        }
        if let Some(receipt) = header(head, b"\nreceipt:") {
            let length = 22 + receipt.len() as u8;
            self.answer(key, &[&[0x81, length], b"RECEIPT\nreceipt-id:", receipt, b"\n\n\0"]);
        }
    }

    fn connect(&mut self, key: usize, wish: &[u8]) {
        let (theirs, ours) = wish.split_at(memchr(b',', wish).unwrap_or(0));
        let ours = if self.tick.is_some() { ours.strip_prefix(b",").unwrap_or(b"0") } else { b"0" };
        let tick = self.tick.unwrap_or(0);
        let socket = &mut self.sockets[key];
        socket.period = number(ours) / TICK.as_millis() as usize;
        (socket.due, socket.heard) = (tick + socket.period, tick);
        let length = (37 + ours.len() + theirs.len()) as u8;
        self.answer(
            key,
            &[&[0x81, length], b"CONNECTED\nversion:1.2\nheart-beat:", ours, b",", theirs, b"\n\n\0"],
        );
    }

    /// One encoding for all subscribers.
    fn publish(&mut self, destination: &[u8], body: &[u8]) {
        self.serial += 1;
        let mut middle = mem::take(&mut self.output);
        middle.clear();
        let _ = write!(middle, "\nmessage-id:{}\ncontent-length:{}\n\n", self.serial, body.len());
        let head = b"MESSAGE\nsubscription:sub-0\ndestination:";
        let length = head.len() + destination.len() + middle.len() + body.len() + 1;
        let [.., a, b, c, d] = length.to_be_bytes();
        let websocket = match length {
            0..126 => &[0x81, length as u8][..],
            126..65_536 => &[0x81, 126, c, d],
            _ => &[0x81, 127, 0, 0, 0, 0, a, b, c, d],
        };
        let parts = [websocket, head, destination, &middle, body, b"\0"];
        for other in &self.others {
            let mut inbox = other.lock();
            inbox.push([destination.into(), parts.concat().into()]);
            if inbox.len() == 1 {
                let _ = other.1.wake();
            }
        }
        self.fan_out(destination, &parts);
        self.output = middle;
    }

    fn fan_out(&mut self, destination: &[u8], parts: &[&[u8]]) {
        let message = self.message(parts);
        let mut topic = self.topics.get_mut(destination).map(mem::take).unwrap_or_default();
        topic.iter().for_each(|key| self.push(*key, Some(message.clone())));
        self.topics.get_mut(destination).into_iter().for_each(|place| *place = mem::take(&mut topic));
        recycle(&mut self.pool, message);
    }

    fn answer(&mut self, key: usize, parts: &[&[u8]]) {
        let message = self.message(parts);
        self.push(key, Some(message));
    }

    fn message(&mut self, parts: &[&[u8]]) -> Message {
        let mut message = self.pool.pop().unwrap_or_default();
        if let Some(bytes) = Rc::get_mut(&mut message) {
            bytes.clear();
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
        }
        message
    }

    fn push(&mut self, key: usize, message: Option<Message>) {
        let socket = &mut self.sockets[key];
        socket.ring.extend(message);
        if !mem::replace(&mut socket.is_dirty, true) {
            self.dirty.push(key);
        }
    }

    /// Writes all that waits for a socket, copied together: cheaper than a vectored write of small frames.
    fn write(&mut self, key: usize) {
        self.sockets[key].is_dirty = false;
        let Socket { stream: Some(stream), ring, written, .. } = &mut self.sockets[key] else { return };
        while let Some(first) = ring.front() {
            let mut batch = &first[*written..];
            if ring.len() > 1 {
                self.output.clear();
                self.output.extend_from_slice(batch);
                ring.iter().skip(1).take(TOGETHER).for_each(|next| self.output.extend_from_slice(next));
                batch = &self.output;
            }
            let Ok(count) = stream.write(batch) else { return };
            let is_full = count < batch.len();
            *written += count;
            while let Some(message) = ring.pop_front_if(|message| message.len() <= *written) {
                *written -= message.len();
                recycle(&mut self.pool, message);
            }
            if is_full {
                return;
            }
        }
    }

    fn beat(&mut self, key: usize, tick: usize) {
        let socket = &mut self.sockets[key];
        if socket.period == 0 || socket.due > tick {
            return;
        }
        socket.due = tick + socket.period;
        if tick - socket.heard > 2 * socket.period {
            self.close(key);
        } else if socket.ring.is_empty() {
            self.answer(key, &[&[0x81, 1, b'\n']]);
        }
    }

    fn close(&mut self, key: usize) {
        let socket = mem::take(&mut self.sockets[key]);
        socket.ring.into_iter().for_each(|message| recycle(&mut self.pool, message));
        for topic in &socket.topics {
            self.topics.entry(topic.clone()).and_modify(|topic| topic.retain(|other| *other != key));
        }
        self.vacant.extend(socket.stream.map(|_| key));
    }
}

fn recycle(pool: &mut Vec<Message>, message: Message) {
    if Rc::strong_count(&message) == 1 {
        pool.push(message);
    }
}

/// Where the payload of a masked frame begins and ends, once all of it is there.
fn frame(input: &[u8]) -> Option<(usize, usize)> {
    let length = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    let (start, length) = match usize::from(*input.get(1)? & 0x7f) {
        126 => (8, length(input.get(2..4)?)),
        127 => (14, length(input.get(2..10)?)),
        short => (6, short),
    };
    (input.len() >= start + length).then_some((start, start + length))
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = &head[memmem::find(head, name)? + name.len()..];
    Some(&value[..memchr(b'\n', value)?])
}

fn number(digits: &[u8]) -> usize {
    digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit & 0x0f))
}

const LISTEN: Token = Token(usize::MAX);
pub(crate) const WAKE: Token = Token(usize::MAX - 1);
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Protocol: v12.stomp\r\nSec-WebSocket-Accept: ";
/// Messages that may wait in all; when none is free nothing more is read.
const MESSAGES: usize = 1_024;
/// Bytes of one read, and messages of one write beside the first.
const INPUT: usize = 256 << 10;
const TOGETHER: usize = 127;
const TICK: Duration = Duration::from_millis(250);
