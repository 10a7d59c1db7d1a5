//! One client: a STOMP session and its way through the door.
//!
//! ```text
//!            CONNECT            accepted
//!  Unknown ----------> Asking ----------> Known
//!     |                   |                 |   SEND that must wait: held, nothing is read
//!     +-------------------+-----------------+--> Closing: the last word waits to be written
//! ```

mod browse;
mod calls;
mod connect;
mod control;
mod deliver;
pub(super) mod events;
mod link;
mod listen;
mod live;
mod mailbox;
pub(super) mod membership;
mod pleas;
mod presence;
mod recheck;
mod refuse;
mod replay;
mod replies;
mod send;
mod settle;
mod subscribe;
pub(super) mod timers;
mod unread;
mod work;

use std::collections::VecDeque;
use std::hint::cold_path;
use std::mem;

use bytes::Bytes;
use stompede_protocol::{Event, Millis, Receipt, Session};

use crate::model::{ConnectionId, EncoderKind, Principal};
use crate::policy::{Credentials, Gcra};
use crate::routing::{Lanes, Table};
use crate::transport::encode::{Wire, kind};

use super::counters::Tally;
use super::door::Broker;
use super::settings::Now;

use calls::Calls;
pub use connect::{Call, CallAnswer};
use connect::{Introduced, Member};
use link::Manner;
pub use link::{Link, Shown};
use live::{Browse, Listening, Live, QueueShare, Unwritten};
use presence::Departure;
use unread::Unread;
use work::Held;

/// What a peer works with while it handles something.
pub(super) struct Env<'a> {
    pub(super) broker: &'a Broker,
    pub(super) tally: &'a Tally,
    pub(super) table: &'a mut Table,
    pub(super) lanes: &'a mut Lanes,
    pub(super) calls: &'a mut Vec<(ConnectionId, Call)>,
    pub(super) now: Now,
}

/// One connection.
#[derive(Debug)]
pub struct Peer {
    id: ConnectionId,
    session: Session,
    identity: Identity,
    live: Vec<Live>,
    held: Option<Box<Held>>,
    calls: Calls,
    unread: Option<Box<Unread>>,
    last_call: u32,
    /// Messages of work queues that nobody acknowledges and that wait in the outbox, oldest first.
    unwritten: VecDeque<Unwritten>,
    /// Bytes that came while nothing could be handled.
    input: Vec<u8>,
    /// Bytes that the transport holds of an unfinished message.
    unfinished_bytes: usize,
    wire: Wire,
    kind: EncoderKind,
    manner: Manner,
    rate: Gcra,
    subscription_rate: Gcra,
    /// The shard has it on its list of those with held work.
    pub(super) listed: bool,
    /// When the wheel calls next.
    pub(super) scheduled: Millis,
    closing: Option<Closing>,
    /// The transport's close frame has been pushed.
    goodbye_said: bool,
    /// The session counts as one of its user's.
    online: bool,
}

/// Who it is.
#[derive(Debug)]
enum Identity {
    /// Nobody yet; what the handshake showed.
    Unknown(Box<Credentials>),
    /// Whoever connects here is known: the embedding program vouches.
    Vouched(Box<Principal>),
    /// The answer is awaited; with the number of the question and who it is so far, where a backend is asked.
    Asking(Option<Box<Introduced>>),
    /// Signed in, or accepted as anonymous.
    Known(Box<Member>),
}

/// The session has ended; its last word is on the way.
#[derive(Debug, Clone, Copy)]
struct Closing {
    deadline: Millis,
}

impl Peer {
    pub(super) fn new(id: ConnectionId, link: Link, shown: Shown, broker: &Broker, now: Now) -> Self {
        let settings = broker.settings();
        let wire = link.wire();
        let session = Session::new(broker.protocol_limits.clone(), settings.heart_beat, now.mono);
        Self {
            id,
            kind: kind(wire, session.version()),
            session,
            identity: match shown {
                Shown::Credentials(credentials) => Identity::Unknown(credentials),
                Shown::Vouched(principal) => Identity::Vouched(principal),
            },
            live: Vec::new(),
            held: None,
            calls: Calls::default(),
            unread: None,
            last_call: 0,
            unwritten: VecDeque::new(),
            input: Vec::new(),
            unfinished_bytes: 0,
            wire,
            manner: Manner::of(link, settings, now.mono),
            rate: Gcra::default(),
            subscription_rate: Gcra::default(),
            listed: false,
            scheduled: Millis(u64::MAX),
            closing: None,
            goodbye_said: false,
            online: false,
        }
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(super) fn said_goodbye(&mut self) {
        self.goodbye_said = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.identity, Identity::Known(_))
    }

    /// A frame waits to be handled.
    fn waits(&self) -> bool {
        self.held.is_some() || self.calls.defers()
    }

    /// Bytes that the peer itself keeps, its transport included. One function: each message asks twice.
    #[inline(never)]
    pub(super) fn held_bytes(&self) -> usize {
        let early_bytes = if let Manner::Events(stream) = &self.manner { stream.early_bytes() } else { 0 };
        self.input.len() + self.session.buffered_bytes() + self.unfinished_bytes + early_bytes
    }

    /// The transport holds so many bytes of a message that is not complete; returns how many it held before.
    pub(super) fn holds_unfinished(&mut self, bytes: usize) -> usize {
        mem::replace(&mut self.unfinished_bytes, bytes)
    }

    /// Whether more input can be handled now.
    pub(super) fn wants_input(&self) -> bool {
        self.closing.is_none()
            && !self.waits()
            && self.input.is_empty()
            && !matches!(self.identity, Identity::Asking(_))
    }

    /// Bytes came from the client.
    #[inline(always)]
    pub(super) fn receive(&mut self, env: &mut Env<'_>, bytes: &[u8], text: bool) {
        if self.is_closing() {
            return;
        }
        if let Manner::WebSocket(liveness) = &mut self.manner {
            liveness.alive();
            if !text && self.wire != self.wire.binary() {
                self.wire = self.wire.binary();
                self.kind = kind(self.wire, self.session.version());
            }
        }
        if !self.wants_input() {
            self.input.extend_from_slice(bytes);
            return;
        }
        let mut input = bytes;
        self.read(env, &mut input);
        if !input.is_empty() && !self.is_closing() {
            self.input.extend_from_slice(input);
        }
    }

    /// Goes on with what came while nothing could be handled.
    pub(super) fn read_on(&mut self, env: &mut Env<'_>) {
        if self.waits() || self.is_closing() || self.input.is_empty() {
            return;
        }
        let input = mem::take(&mut self.input);
        let mut rest = &input[..];
        self.read(env, &mut rest);
        if !self.is_closing() {
            self.input = rest.to_vec();
        }
    }

    fn read(&mut self, env: &mut Env<'_>, input: &mut &[u8]) {
        while !self.waits() && !self.is_closing() {
            let Some(event) = self.session.receive(env.now.mono, input) else { break };
            env.tally.heard(&event);
            if self.calls.may_pass(&event) {
                self.handle(env, event);
            } else {
                cold_path();
                self.calls.defer(event);
                self.session.suspend();
            }
            self.transmit(env);
        }
    }

    fn handle(&mut self, env: &mut Env<'_>, event: Event) {
        match event {
            Event::Connect(connect) => self.connect(env, connect),
            Event::Send(send) => self.send(env, send),
            Event::Subscribe(subscribe) => self.subscribe(env, subscribe),
            Event::Unsubscribe(unsubscribe) => self.unsubscribe(env, unsubscribe),
            Event::Ack(settle) => self.settle(env, settle),
            Event::Nack(settle) => self.settle_negatively(env, settle),
            Event::Commit(commit) => self.commit(env, commit),
            Event::Receipted(receipt) => self.session.complete(receipt),
            Event::Disconnect(receipt) => self.disconnect(env, receipt),
            Event::Violation(violation, receipt) => self.violated(env, &violation, receipt),
        }
    }

    /// What the session has to say goes to the outbox, in order with the deliveries.
    #[inline(always)]
    fn transmit(&mut self, env: &mut Env<'_>) {
        while let Some(frame) = self.session.poll_transmit() {
            self.push(env, frame);
        }
    }

    fn push(&mut self, env: &mut Env<'_>, frame: Bytes) {
        if matches!(self.manner, Manner::Events(_)) {
            return self.say_as_event(env, &frame);
        }
        env.tally.answers_sent.count(1);
        let frame = env.broker.parts.encoders.of(self.kind).wrap(frame);
        env.lanes.push_control(self.id.slot, frame);
    }

    fn complete(&mut self, receipt: Option<Receipt>) {
        if let Some(receipt) = receipt {
            self.session.complete(receipt);
        }
    }

    #[inline(never)]
    fn disconnect(&mut self, env: &mut Env<'_>, receipt: Option<Receipt>) {
        self.complete(receipt);
        self.session.end();
        self.transmit(env);
        self.leave(env, NORMAL_CLOSURE, "", Departure::Meant);
    }

    /// Nothing more is tried: the connection is closed at its next timeout.
    pub(super) fn give_up_for_good(&mut self, now: Millis) {
        self.closing = Some(Closing { deadline: now });
    }

    /// The client has gone without DISCONNECT.
    pub(super) fn hang_up(&mut self, env: &mut Env<'_>) {
        if !self.is_closing() {
            self.session.end();
            self.leave(env, NORMAL_CLOSURE, "", Departure::Broken);
        }
    }

    /// Ends the connection once what waits is written: takes it out of everything, and says goodbye on the transport.
    fn leave(&mut self, env: &mut Env<'_>, code: u16, text: &str, departure: Departure) {
        let reason = match (text, departure) {
            ("", Departure::Meant) => "disconnect",
            ("", Departure::Broken) => CONNECTION_LOST,
            (reason, _) => reason,
        };
        self.release(env, departure, reason);
        let goodbye =
            env.broker.parts.encoders.of(self.kind).close(code, text).filter(|_| !self.goodbye_said);
        if let Some(frame) = goodbye {
            env.lanes.push_control(self.id.slot, frame);
        }
        self.closing =
            Some(Closing { deadline: env.now.mono.after(env.broker.settings().limits.write_ms_max) });
        self.input = Vec::new();
        env.lanes.wake(self.id.slot);
    }

    /// Takes the connection out of everything that could reach it.
    fn release(&mut self, env: &mut Env<'_>, departure: Departure, reason: &str) {
        self.tell_ended(env, reason);
        self.finish_begun(env);
        for live in mem::take(&mut self.live) {
            self.session.cancel_subscription(live.key);
            self.end_listening(env, live, departure);
        }
        self.forget_replies(env);
        self.go_offline(env);
    }
}

/// Why a session has ended that said nothing.
const CONNECTION_LOST: &str = "connection-lost";

/// WebSocket close code of an orderly end.
const NORMAL_CLOSURE: u16 = 1000;
