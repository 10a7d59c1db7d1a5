//! One connection of the load program, and reading many of them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use stompede_protocol::{AckMode, Client, ClientEvent, Introduction, Limits, Millis, Version};

use super::Plan;
use super::report::Tally;

/// How STOMP travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    Tcp,
    WebSocket { path: String },
}

impl Wire {
    pub(super) fn of_url(url: &str) -> Result<(Self, String), String> {
        if let Some(address) = url.strip_prefix("tcp://") {
            return Ok((Self::Tcp, address.to_owned()));
        }
        let rest = url.strip_prefix("ws://").ok_or("the URL begins with tcp:// or ws://")?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok((Self::WebSocket { path: format!("/{path}") }, address.to_owned()))
    }
}

/// A connected client. Reads are blocking until [`read_all`].
pub(super) struct Connection {
    stream: TcpStream,
    client: Client,
    wire: Wire,
    /// Bytes of a WebSocket frame that is not complete.
    partial: Vec<u8>,
    /// Next number expected of each publisher.
    next: Vec<u64>,
    received: u64,
    unreceipted: u32,
    ended: bool,
}

impl Connection {
    pub(super) fn open(plan: &Plan, name: &str) -> Self {
        let mut stream = TcpStream::connect(&plan.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if let Wire::WebSocket { path } = &plan.wire {
            shake_hands(&mut stream, &plan.address, path);
        }
        let mut client = Client::new(Limits { body_bytes_max: 64 << 20, ..Limits::default() });
        let login = if plan.login == "NAME" { name } else { &plan.login };
        client.connect(&Introduction {
            versions: &[Version::V1_2],
            login: Some(login),
            passcode: Some(&plan.passcode),
            ..Introduction::default()
        });
        let mut connection = Self {
            stream,
            client,
            wire: plan.wire.clone(),
            partial: Vec::new(),
            next: Vec::new(),
            received: 0,
            unreceipted: 0,
            ended: false,
        };
        connection.wait_for(|event| matches!(event, ClientEvent::Connected(_)));
        connection
    }

    pub(super) fn subscribe(&mut self, topic: &str) {
        self.client.subscribe("sub-0", topic, AckMode::Auto, &[("receipt", "subscribed")]);
        self.wait_for(|event| matches!(event, ClientEvent::Receipt(_)));
    }

    /// The body says who sent it, its number, and when it was due.
    pub(super) fn publish(&mut self, topic: &str, publisher: usize, number: u64, at_us: u128, bytes: usize) {
        let mut body = format!("{publisher} {number} {at_us} ");
        while body.len() < bytes {
            body.push('x');
        }
        self.unreceipted += 1;
        if self.unreceipted < RECEIPT_EVERY {
            self.client.send(topic, &[], body);
            return self.flush();
        }
        self.finish_with(topic, body);
    }

    fn finish_with(&mut self, topic: &str, body: String) {
        self.unreceipted = 0;
        self.client.send(topic, &[("receipt", "sent")], body);
        self.wait_for(|event| matches!(event, ClientEvent::Receipt(_)));
    }

    /// Waits until everything sent has been handled.
    pub(super) fn finish(&mut self) {
        self.client.disconnect(Some("end"));
        self.wait_for(|event| matches!(event, ClientEvent::Receipt(_)));
    }

    fn flush(&mut self) {
        while let Some(frame) = self.client.poll_transmit() {
            match self.wire {
                Wire::Tcp => self.stream.write_all(&frame).unwrap(),
                Wire::WebSocket { .. } => self.stream.write_all(&masked(&frame)).unwrap(),
            }
        }
    }

    fn wait_for(&mut self, wanted: impl Fn(&ClientEvent) -> bool) {
        self.flush();
        let mut buffer = [0; 16 << 10];
        loop {
            let count = self.stream.read(&mut buffer).expect("an answer in time");
            assert!(count > 0, "the server closed the connection");
            let mut found = false;
            self.take(&buffer[..count], &mut |event| {
                assert!(!matches!(event, ClientEvent::Error(_)), "the server refused: {event:?}");
                found |= wanted(&event);
            });
            if found {
                return;
            }
        }
    }

    fn take(&mut self, bytes: &[u8], sink: &mut dyn FnMut(ClientEvent)) {
        if self.wire == Wire::Tcp {
            return decode(&mut self.client, bytes, sink);
        }
        self.partial.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((opcode, from, to)) = frame_at(&self.partial[at..]) {
            let payload = &self.partial[at + from..at + to];
            match opcode {
                0..=2 => decode(&mut self.client, payload, sink),
                8 => self.ended = true,
                9 => self.stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).unwrap(),
                _ => {}
            }
            at += to;
        }
        self.partial.drain(..at);
    }
}

fn decode(client: &mut Client, mut bytes: &[u8], sink: &mut dyn FnMut(ClientEvent)) {
    while let Some(event) = client.receive(Millis(0), &mut bytes) {
        sink(event);
    }
}

/// Reads all connections in turn until `is_complete` for the one that is furthest behind, or nothing came for long.
pub(super) fn read_all(
    connections: &mut [Connection],
    publishers: usize,
    is_complete: &dyn Fn(u64) -> bool,
) -> Tally {
    let mut tally = Tally::default();
    for connection in connections.iter_mut() {
        connection.stream.set_nonblocking(true).unwrap();
        connection.next = vec![0; publishers];
    }
    let begin = Instant::now();
    let mut last_news = Instant::now();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mut news = false;
        for connection in connections.iter_mut().filter(|connection| !connection.ended) {
            match connection.stream.read(&mut buffer) {
                Ok(0) => connection.ended = true,
                Ok(count) => {
                    news = true;
                    receive(connection, &buffer[..count], &mut tally);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => connection.ended = true,
            }
        }
        let least = connections.iter().filter(|connection| !connection.ended).map(|c| c.received).min();
        match least {
            None => break,
            Some(least) if is_complete(least) => break,
            Some(_) if news => last_news = Instant::now(),
            Some(_) if last_news.elapsed() > PATIENCE => break,
            Some(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    tally.ended = connections.iter().filter(|connection| connection.ended).count() as u64;
    tally.reading = begin.elapsed();
    tally
}

fn receive(connection: &mut Connection, bytes: &[u8], tally: &mut Tally) {
    let mut next = std::mem::take(&mut connection.next);
    let mut received = 0;
    connection.take(bytes, &mut |event| {
        let ClientEvent::Message(frame) = event else {
            if matches!(event, ClientEvent::Error(_)) {
                tally.errors += 1;
            }
            return;
        };
        received += 1;
        tally.received += 1;
        let text = std::str::from_utf8(&frame.body).unwrap_or("");
        let mut words = text.split(' ').map(str::parse::<u64>);
        let (Some(Ok(publisher)), Some(Ok(number))) = (words.next(), words.next()) else { return };
        let Some(expected) = next.get_mut(publisher as usize) else { return };
        match number.cmp(expected) {
            std::cmp::Ordering::Less => tally.doubled_or_late += 1,
            std::cmp::Ordering::Greater => tally.gaps += 1,
            std::cmp::Ordering::Equal => {}
        }
        *expected = (*expected).max(number + 1);
    });
    connection.next = next;
    connection.received += received;
}

fn shake_hands(stream: &mut TcpStream, address: &str, path: &str) {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: v12.stomp\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        assert!(stream.read(&mut byte).unwrap() > 0, "no WebSocket here");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "no WebSocket here: {}", String::from_utf8_lossy(&answer));
}

/// A text message of a client; the mask is zero, which RFC 6455 allows a test to be lazy with.
fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        n @ 0..126 => frame.push(0x80 | n as u8),
        n @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Opcode, begin and end of the payload of a whole frame of the server.
fn frame_at(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        n => (usize::from(n), 2),
    };
    (bytes.len() >= head + length).then_some((first & 0x0f, head, head + length))
}

/// How long an answer may take, and how long silence lasts before it counts as the end.
const PATIENCE: Duration = Duration::from_secs(15);

/// Every so many messages a publisher waits for a receipt.
const RECEIPT_EVERY: u32 = 100;
