//! What arrives: read into the one buffer, checked, answered.

use std::io::{ErrorKind, Read};
use std::sync::atomic::Ordering::Relaxed;

use memchr::memmem;

use super::{Connection, Engine, Stage};
use crate::body::Stamp;
use crate::client::{LEFT, Publication, SUBSCRIBED};
use crate::wire::{Arrived, events, header_value, subscription};

/// What to do about what one read brought.
#[derive(Default)]
struct Answers {
    connected: bool,
    subscribed: bool,
    left: bool,
    /// Receipts of SENDs.
    accepted: u32,
    pong: Option<Vec<u8>>,
    ended: bool,
}

impl Engine {
    pub(super) fn readable(&mut self, key: usize, is_ending: bool) {
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
            // A read that leaves room has taken all there was, but the end is not told twice.
            if end < self.buffer.len() && !is_ending {
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
            let Some(head) = memmem::find(&self.buffer[..end], b"\r\n\r\n") else {
                return (0, answers);
            };
            let is_stream = connection.client.request.is_some();
            if !self.buffer.starts_with(if is_stream { b"HTTP/1.1 200" } else { b"HTTP/1.1 101" }) {
                self.run.note(&String::from_utf8_lossy(&self.buffer[..head]));
                answers.ended = true;
                return (end, answers);
            }
            start = head + 4;
            if is_stream {
                connection.stage = Stage::Greeting;
            } else {
                self.greet(key);
            }
        }
        let connection = &mut self.connections[key];
        let Connection { expected, pieces, client, since, .. } = connection;
        let (run, tally) = (&self.run, &mut self.tally);
        let measured_from = run.measured_from.load(Relaxed);
        let before = tally.received;
        let is_stream = client.request.is_some();
        let each = |arrived: Arrived<'_>| match arrived {
            Arrived::Message { .. } | Arrived::Error(_) if client.is_deaf => {}
            Arrived::Message { head, body } => match Stamp::read(body) {
                Some(stamp) => {
                    if client.is_loyal {
                        *since = Some(
                            String::from_utf8_lossy(header_value(head, b"\nstompede-position:")).into_owned(),
                        );
                    }
                    // With one subscription there is nothing to confuse it with.
                    let place = if client.subscriptions.len() == 1 { None } else { subscription(head) };
                    tally.arrive(expected, stamp, place, now, measured_from);
                    let is_own = |publication: &Publication| publication.stream == stamp.stream;
                    answers.accepted += u32::from(!run.has_receipts && client.publishes.iter().any(is_own));
                }
                None => tally.events += 1,
            },
            Arrived::Receipt { id, head } if id == SUBSCRIBED.as_bytes() => {
                answers.subscribed = true;
                let is_recovered = header_value(head, b"\nstompede-recovered:") != b"false";
                run.unrecovered.fetch_add(u64::from(!is_recovered), Relaxed);
            }
            Arrived::Receipt { id, .. } if id == LEFT.as_bytes() => answers.left = true,
            Arrived::Receipt { id, .. } => {
                answers.accepted += 1;
                if let Some(stamp) = Stamp::read(id) {
                    tally.arrive(expected, stamp, None, now, measured_from);
                }
            }
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
        };
        let input = &self.buffer[start..end];
        let used = if is_stream { events(input, each) } else { run.wire.scan(input, pieces, each) };
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
            let client = &self.connections[key].client;
            match () {
                () if client.request.is_some() => self.attend(key),
                () if client.is_told => self.opened(key),
                () => self.subscribe(key),
            }
        }
        if answers.subscribed && stage == Stage::Subscribing {
            self.opened(key);
        }
        if answers.left && stage == Stage::Leaving {
            self.away(key);
        }
        self.catch_up(key);
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
}
