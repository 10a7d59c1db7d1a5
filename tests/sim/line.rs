//! One connection: the server's driver on one end, a client on the other, and a socket between that can be stalled.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use stompede::broker::{Link, Now, Shard, Status};
use stompede::model::{ConnectionId, Refusal};
use stompede::transport::Incoming;
use stompede_protocol::{Client, ClientEvent, Frame, Millis};

use crate::wire::{ClientFraming, Found, ServerFraming};
use crate::world::Flag;

pub(crate) struct Line {
    pub(crate) shard: usize,
    pub(crate) id: ConnectionId,
    framing: ServerFraming,
    wire: ClientFraming,
    pub(crate) client: Client,
    /// Bytes of the client that the server has not read.
    to_server: VecDeque<u8>,
    /// Bytes that the socket still takes for the client; `None`: any number.
    room: Option<usize>,
    /// Most bytes of one read or write.
    pub(crate) piece_bytes: usize,
    woken: Arc<Flag>,
    /// The flusher has it on its list.
    listed: bool,
    heard: Vec<Heard>,
    /// What came of a stream of events since the last question.
    pub(crate) told: Vec<u8>,
    connected: bool,
    hung_up: bool,
    client_closed: bool,
    /// The server has sent its close frame.
    server_closed: bool,
    /// The client does nothing by itself: no heart-beat, no pong.
    pub(crate) frozen: bool,
    /// The client answers pings and forgets its own heart-beat, as a tab in the background.
    pub(crate) sleepy: bool,
    now: Millis,
    /// The server has forgotten the connection.
    gone: bool,
}

/// What a client hears.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Connected(stompede_protocol::Connected),
    Message(Frame),
    Receipt(String, stompede_protocol::Headers),
    Error(Frame),
    /// The connection ended, with a WebSocket's close code.
    End(Option<u16>),
}

impl Line {
    pub(crate) fn new(
        shard: usize,
        id: ConnectionId,
        link: Link,
        framing: ServerFraming,
        client: Client,
    ) -> Self {
        Self {
            shard,
            id,
            framing,
            wire: ClientFraming::new(link),
            client,
            to_server: VecDeque::new(),
            room: None,
            piece_bytes: 64 << 10,
            woken: Flag::raised(),
            listed: false,
            heard: Vec::new(),
            told: Vec::new(),
            connected: false,
            hung_up: false,
            client_closed: false,
            server_closed: false,
            frozen: false,
            sleepy: false,
            now: Millis(0),
            gone: false,
        }
    }

    pub(crate) fn take_heard(&mut self) -> Vec<Heard> {
        mem::take(&mut self.heard)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(crate) fn is_due(&self) -> bool {
        !self.gone && (self.listed || self.woken.is_raised())
    }

    /// The shard has something to write for it.
    pub(crate) fn list(&mut self) {
        self.listed = true;
    }

    /// What the client has to say goes on the wire.
    pub(crate) fn transmits(&mut self) {
        while let Some(stomp) = self.client.poll_transmit() {
            self.client.sent(self.now);
            let bytes = self.wire.wrap(&stomp);
            self.writes(&bytes);
        }
    }

    pub(crate) fn writes(&mut self, bytes: &[u8]) {
        self.to_server.extend(bytes);
        self.woken.raise();
    }

    /// The socket takes `bytes` more, or any number.
    pub(crate) fn makes_room(&mut self, bytes: Option<usize>) {
        self.room = match (self.room, bytes) {
            (Some(room), Some(bytes)) => Some(room + bytes),
            (None, Some(bytes)) => Some(bytes),
            (_, None) => None,
        };
        self.woken.raise();
    }

    pub(crate) fn stalls(&mut self) {
        self.room = Some(0);
    }

    /// The client closes its sending side.
    pub(crate) fn closes(&mut self) {
        self.client_closed = true;
        self.woken.raise();
    }

    /// The client says goodbye in the WebSocket's own words, without DISCONNECT.
    pub(crate) fn says_goodbye(&mut self) {
        let close = self.wire.close();
        self.writes(&close);
    }

    /// The connection breaks: neither side can read or write any more.
    pub(crate) fn breaks(&mut self, shards: &mut [Shard], now: Now) {
        if !self.gone {
            self.forget(shards, now, None);
        }
    }

    /// The server is killed.
    pub(crate) fn dies(&mut self) {
        if !self.gone {
            self.gone = true;
            self.heard.push(Heard::End(None));
        }
    }

    /// The client's own heart-beat.
    pub(crate) fn beats(&mut self, now: Millis) {
        self.now = now;
        if !self.frozen && !self.sleepy && !self.gone {
            // Silence of the server is for tests of heart-beats to notice.
            let _ = self.client.handle_timeout(now);
            self.transmits();
        }
    }

    /// One turn: of the flusher, if that is all there is to do, else of the driver; as `server/connection.rs` and
    /// `server/flusher.rs` do it.
    pub(crate) fn turn(&mut self, shards: &mut [Shard], now: Now) {
        let flushes = mem::take(&mut self.listed) && shards[self.shard].begin_flush(self.id.slot);
        if !self.woken.lower() {
            self.now = now.mono;
            if flushes && self.flush(shards, now) {
                shards[self.shard].wake(self.id.slot);
            }
            return;
        }
        self.now = now.mono;
        loop {
            let blocked = self.flush(shards, now);
            let shard = &mut shards[self.shard];
            let slot = self.id.slot;
            match shard.status(slot) {
                Status::Dead => return self.forget(shards, now, None),
                Status::Closing if !blocked => return self.forget(shards, now, None),
                Status::Open if !self.hung_up && shard.wants_input(slot) => {
                    if self.read(shards, now) {
                        continue;
                    }
                }
                Status::Open if self.hung_up && shard.is_idle(slot) => {
                    shard.hang_up(slot, now);
                    continue;
                }
                Status::Open | Status::Closing => {}
            }
            shards[self.shard].watch(slot, &Waker::from(Arc::clone(&self.woken)));
            return;
        }
    }

    fn flush(&mut self, shards: &mut [Shard], now: Now) -> bool {
        let slot = self.id.slot;
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = shards[self.shard].outbox(slot).map_or(0, |outbox| outbox.gather(&mut slices));
            if count == 0 {
                return false;
            }
            let take = self.room.unwrap_or(usize::MAX).min(self.piece_bytes);
            let bytes: Vec<u8> =
                slices[..count].iter().flat_map(|slice| slice.iter().copied()).take(take).collect();
            if bytes.is_empty() {
                shards[self.shard].blocked(slot, now);
                return true;
            }
            self.room = self.room.map(|room| room - bytes.len());
            shards[self.shard].wrote(slot, bytes.len(), now);
            self.reads_from_server(&bytes);
        }
    }

    fn reads_from_server(&mut self, bytes: &[u8]) {
        for found in self.wire.receive(bytes) {
            assert!(!self.server_closed, "the server wrote after its close frame");
            match found {
                Found::Stomp(stomp) => self.understands(&stomp),
                Found::Events(bytes) => self.told.extend(bytes),
                Found::Ping if self.frozen => {}
                Found::Ping => {
                    let pong = self.wire.pong();
                    self.writes(&pong);
                }
                Found::Close(code) => {
                    self.server_closed = true;
                    self.heard.push(Heard::End(Some(code)));
                }
            }
        }
    }

    fn understands(&mut self, mut stomp: &[u8]) {
        while let Some(event) = self.client.receive(self.now, &mut stomp) {
            match event {
                ClientEvent::Connected(connected) => self.heard.push(Heard::Connected(connected)),
                ClientEvent::Message(frame) => self.heard.push(Heard::Message(frame)),
                ClientEvent::Receipt(id, headers) => self.heard.push(Heard::Receipt(id.into(), headers)),
                ClientEvent::Error(frame) => {
                    self.heard.push(Heard::Error(frame));
                }
                ClientEvent::HeartBeat => {}
                ClientEvent::Violation(violation) => panic!("the server broke the protocol: {violation}"),
            }
        }
    }

    /// One read of the socket; `false` when there is nothing.
    fn read(&mut self, shards: &mut [Shard], now: Now) -> bool {
        if self.to_server.is_empty() {
            let ended = self.client_closed && !self.hung_up;
            self.hung_up |= ended;
            return ended;
        }
        let count = self.to_server.len().min(self.piece_bytes);
        let bytes: Vec<u8> = self.to_server.drain(..count).collect();
        let shard = &mut shards[self.shard];
        let slot = self.id.slot;
        let mut closed = false;
        let taken = self.framing.receive(&bytes, &mut |incoming| match incoming {
            Incoming::Payload { bytes, text, .. } => shard.receive(slot, bytes, text, now),
            Incoming::Alive => shard.alive(slot, now),
            Incoming::Reply(frame) => shard.push_control(slot, frame),
            Incoming::Closed { .. } => closed = true,
        });
        if let Err(error) = taken {
            shard.end(slot, &Refusal::new(error.reason(), error.to_string()), now);
        } else if closed {
            shard.said_goodbye(slot);
            self.hung_up = true;
        }
        shard.drain(now);
        if !self.connected && shard.is_connected(slot) {
            self.connected = true;
            let limits = &shard.broker().settings().limits;
            self.framing.set_message_bytes_max(limits.body_bytes_max + limits.head_bytes_max);
        }
        if shard.status(slot) != Status::Open {
            self.framing.closing();
        }
        true
    }

    fn forget(&mut self, shards: &mut [Shard], now: Now, code: Option<u16>) {
        self.gone = true;
        shards[self.shard].remove(self.id.slot, now);
        if !matches!(self.heard.last(), Some(Heard::End(_))) {
            self.heard.push(Heard::End(code));
        }
    }
}
