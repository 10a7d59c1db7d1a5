//! A session of requests: between the handler, which speaks as on any connection, and receivers that come and go.

use std::collections::VecDeque;
use std::mem;

use super::frame::{self, AFTER, BEFORE};

/// How much a session may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of messages that wait for a receiver, bytes; above, the handler waits. One message is always taken.
    pub waiting_bytes_max: usize,
    /// Of messages of the client that wait for the handler, bytes; above, the client waits. One request is always taken.
    pub unread_bytes_max: usize,
    /// The same as long as the handler has said nothing, if that is less.
    pub unanswered_bytes_max: usize,
}

/// One session. What it holds is bounded as [`Bounds`] says; a message counts for 48 bytes beside its own.
#[derive(Debug)]
pub struct State {
    bounds: Bounds,
    /// The insides of JSON strings for the receiver.
    waiting: VecDeque<Box<[u8]>>,
    waiting_bytes: usize,
    /// What the handler wrote of a line that is not complete.
    line: Vec<u8>,
    /// Messages for the handler.
    unread: VecDeque<String>,
    unread_bytes: usize,
    /// Bytes of the first of them that are read.
    read: usize,
    opened: bool,
    /// The handler has said something.
    answered: bool,
    /// The last frame, once there is one.
    last: Option<Box<str>>,
    /// It was told.
    told: bool,
    receives: bool,
    /// The client is gone: nothing more comes of it, and nothing reaches it.
    gone: bool,
}

/// Whether a receiver gets what waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached {
    /// It does; [`State::detach`] must follow.
    Yes,
    /// Another one does. This frame is all there is for it.
    No(&'static str),
}

impl State {
    /// A session that was just asked for.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            line: Vec::new(),
            unread: VecDeque::new(),
            unread_bytes: 0,
            read: 0,
            opened: false,
            answered: false,
            last: None,
            told: false,
            receives: false,
            gone: false,
        }
    }

    /// A receiver comes.
    pub fn attach(&mut self) -> Attached {
        if self.receives {
            return Attached::No(frame::STILL_OPEN);
        }
        self.receives = true;
        Attached::Yes
    }

    /// The receiver has got what it was to get, or, if not `in_order`, it vanished: nobody knows what it got, so the session
    /// ends. If it had ended before, why it did and what waits are still there for whoever asks next.
    pub fn detach(&mut self, in_order: bool) {
        self.receives = false;
        if !in_order && self.last.is_none() {
            self.hang_up();
            self.last = Some(frame::INTERRUPTED.into());
        }
    }

    /// Whether a receiver is there.
    pub fn receives(&self) -> bool {
        self.receives
    }

    /// The next frame for the receiver: messages that wait are one frame of about `bytes_max` bytes. After the last frame
    /// the same comes again and again.
    pub fn take(&mut self, bytes_max: usize) -> Option<Vec<u8>> {
        if !self.opened {
            self.opened = true;
            return Some(frame::OPEN.into());
        }
        if self.waiting.is_empty() {
            let last = self.last.as_deref()?;
            self.told = true;
            return Some(last.into());
        }
        let mut out = vec![BEFORE[0], BEFORE[1]];
        while let Some(inside) = self.waiting.pop_front_if(|inside| {
            let begins = out.len() == 2;
            begins || out.len() + inside.len() < bytes_max
        }) {
            self.waiting_bytes -= cost(inside.len());
            if out.len() > 2 {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(&inside);
            out.push(b'"');
        }
        out.push(b']');
        Some(out)
    }

    /// Whether the session has ended and its last frame was told.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Whether the last frame is known: the handler says no more.
    pub fn is_ended(&self) -> bool {
        self.last.is_some()
    }

    /// Messages of the client.
    pub fn receive(&mut self, messages: Vec<String>) {
        if self.gone || self.last.is_some() {
            return;
        }
        // Empty ones say nothing to a handler, and are not kept.
        for message in messages.into_iter().filter(|message| !message.is_empty()) {
            self.unread_bytes += cost(message.len());
            self.unread.push_back(message);
        }
    }

    /// Whether messages of the client may come.
    pub fn has_room_for_messages(&self) -> bool {
        self.unread_bytes < self.request_bytes_max() || self.gone || self.last.is_some()
    }

    /// How much one request of the client may bring, bytes: who has not been heard yet is believed less.
    pub fn request_bytes_max(&self) -> usize {
        let Bounds { unread_bytes_max, unanswered_bytes_max, .. } = self.bounds;
        if self.answered { unread_bytes_max } else { unread_bytes_max.min(unanswered_bytes_max) }
    }

    /// The next message, for a handler that wants such.
    pub fn next_message(&mut self) -> Option<String> {
        let message = self.unread.pop_front()?;
        self.unread_bytes -= cost(message.len()) - mem::take(&mut self.read);
        Some(message)
    }

    /// Messages one behind the other, for a handler that wants bytes; returns how many.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(first) = self.unread.front() {
            let rest = &first.as_bytes()[self.read..];
            let count = rest.len().min(out.len() - filled);
            if count == 0 {
                break;
            }
            out[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
            self.read += count;
            if self.read == first.len() {
                self.unread.pop_front();
                self.unread_bytes -= MESSAGE_BYTES;
                self.read = 0;
            }
        }
        self.unread_bytes -= filled;
        filled
    }

    /// The client is gone: what waits for the handler is still there for it, and then nothing more.
    pub fn hang_up(&mut self) {
        self.gone = true;
        self.waiting = VecDeque::new();
        self.waiting_bytes = 0;
        self.line = Vec::new();
        self.last.get_or_insert_with(|| frame::GO_AWAY.into());
    }

    /// Whether nothing more comes of the client.
    pub fn has_hung_up(&self) -> bool {
        self.gone
    }

    /// Whether the handler may write: to [`State::write`] and [`State::push`].
    pub fn has_room(&self) -> bool {
        self.waiting.is_empty() || self.waiting_bytes + self.line.len() < self.bounds.waiting_bytes_max
    }

    /// A message for the client. Room or not: who has none waits before.
    pub fn push(&mut self, message: &str) {
        if self.last.is_none() {
            let mut inside = Vec::with_capacity(message.len());
            frame::escape(message.as_bytes(), &mut inside);
            self.keep(inside.into());
        }
    }

    /// Frames as lines, cut anywhere.
    pub fn write(&mut self, mut bytes: &[u8]) {
        if self.last.is_some() {
            return;
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (begin, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            self.line.extend_from_slice(begin);
            let line = mem::take(&mut self.line);
            match line.strip_prefix(BEFORE).and_then(|line| line.strip_suffix(AFTER)) {
                Some(inside) => self.keep(inside.into()),
                // Signs of life are told by whoever holds the receiver; all else is the last word.
                None if *line == *frame::HEART_BEAT.as_bytes() => {}
                None => return self.end(&String::from_utf8_lossy(&line)),
            }
        }
        self.line.extend_from_slice(bytes);
    }

    /// The handler says no more than this frame. The first such counts.
    pub fn end(&mut self, last: &str) {
        self.line = Vec::new();
        self.unread = VecDeque::new();
        (self.unread_bytes, self.read) = (0, 0);
        self.last.get_or_insert_with(|| last.into());
    }

    fn keep(&mut self, inside: Box<[u8]>) {
        self.answered = true;
        self.waiting_bytes += cost(inside.len());
        self.waiting.push_back(inside);
    }
}

/// What messages of these lengths take, together.
pub fn cost_of(messages: &[String]) -> usize {
    messages.iter().map(|message| cost(message.len())).sum()
}

fn cost(length: usize) -> usize {
    length + MESSAGE_BYTES
}

/// What a message takes beside its bytes: its place in a queue, and what an allocation has around it.
const MESSAGE_BYTES: usize = 48;

#[cfg(test)]
mod tests;
