//! The client's side of one connection: the mirror image of the session, for tests, benches, examples and simulation.
//!
//! Verbs queue frames, [`Client::poll_transmit`] gives them out as bytes, [`Client::receive`] reads what the server
//! says. The client obeys: it does not check that its frames make sense, so it can be used to send nonsense, too.

use bytes::Bytes;

use crate::heartbeat::Pulse;
use crate::session::Transmit;
use crate::{
    AckMode, Command, Decoder, Frame, Headers, HeartBeat, Item, Limits, Millis, Timeout, Version, Violation,
};

/// The client's side of one connection.
#[derive(Debug)]
pub struct Client {
    limits: Limits,
    offer: HeartBeat,
    version: Version,
    phase: Phase,
    decoder: Decoder,
    transmit: Transmit,
}

/// Where the client stands.
#[derive(Debug)]
enum Phase {
    /// Before CONNECTED.
    Connecting,
    Open(Pulse),
    /// After ERROR or a violation.
    Closed,
}

/// How a client introduces itself in CONNECT.
#[derive(Clone, Copy, Debug)]
pub struct Introduction<'a> {
    /// The versions it accepts; with none there is no `accept-version`, which is 1.0.
    pub versions: &'a [Version],
    /// The virtual host.
    pub host: &'a str,
    /// Who it is.
    pub login: Option<&'a str>,
    /// Its password, or a token.
    pub passcode: Option<&'a str>,
    /// What it offers.
    pub heart_beat: HeartBeat,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
}

impl Default for Introduction<'_> {
    /// All versions, host `localhost`, no heart-beats.
    fn default() -> Self {
        Self {
            versions: &Version::ALL,
            host: "localhost",
            login: None,
            passcode: None,
            heart_beat: HeartBeat::default(),
            headers: &[],
        }
    }
}

/// CONNECTED.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The version agreed on.
    pub version: Version,
    /// What the server offers.
    pub heart_beat: HeartBeat,
    /// All headers.
    pub headers: Headers,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// CONNECTED.
    Connected(Connected),
    /// MESSAGE.
    Message(Frame),
    /// RECEIPT, by its `receipt-id`, and all its headers.
    Receipt(Box<str>, Headers),
    /// ERROR; nothing more is read.
    Error(Frame),
    /// An end of line between frames.
    HeartBeat,
    /// The server misbehaved; nothing more is read.
    Violation(Violation),
}

impl Client {
    /// A client that has said nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            offer: HeartBeat::default(),
            version: Version::V1_0,
            phase: Phase::Connecting,
            decoder: Decoder::new(),
            transmit: Transmit::default(),
        }
    }

    /// CONNECT. "clients SHOULD continue to use the CONNECT command".
    pub fn connect(&mut self, introduction: &Introduction<'_>) {
        let mut headers = Headers::new();
        let versions: Vec<&str> = introduction.versions.iter().map(|version| version.as_str()).collect();
        if !versions.is_empty() {
            headers.push("accept-version", &versions.join(","));
            headers.push("host", introduction.host);
        }
        headers.extend(introduction.login.map(|login| ("login", login)));
        headers.extend(introduction.passcode.map(|passcode| ("passcode", passcode)));
        if introduction.heart_beat != HeartBeat::default() {
            headers.push("heart-beat", &introduction.heart_beat.to_string());
        }
        headers.extend(introduction.headers.iter().copied());
        self.offer = introduction.heart_beat;
        self.frame(&Frame { command: Command::Connect, headers, body: Bytes::new() });
    }

    /// SEND.
    pub fn send(&mut self, destination: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        let mut frame = with(Command::Send, &[("destination", destination)], headers);
        frame.body = body.into();
        self.frame(&frame);
    }

    /// SUBSCRIBE.
    pub fn subscribe(&mut self, id: &str, destination: &str, ack: AckMode, headers: &[(&str, &str)]) {
        let own = [("id", id), ("destination", destination), ("ack", ack.as_str())];
        self.frame(&with(Command::Subscribe, &own, headers));
    }

    /// UNSUBSCRIBE.
    pub fn unsubscribe(&mut self, id: &str, headers: &[(&str, &str)]) {
        self.frame(&with(Command::Unsubscribe, &[("id", id)], headers));
    }

    /// ACK of a MESSAGE, with the headers that the version asks for.
    pub fn ack(&mut self, message: &Frame, headers: &[(&str, &str)]) {
        self.settle(Command::Ack, message, headers);
    }

    /// NACK of a MESSAGE, with the headers that the version asks for.
    pub fn nack(&mut self, message: &Frame, headers: &[(&str, &str)]) {
        self.settle(Command::Nack, message, headers);
    }

    /// BEGIN.
    pub fn begin(&mut self, transaction: &str, headers: &[(&str, &str)]) {
        self.frame(&with(Command::Begin, &[("transaction", transaction)], headers));
    }

    /// COMMIT.
    pub fn commit(&mut self, transaction: &str, headers: &[(&str, &str)]) {
        self.frame(&with(Command::Commit, &[("transaction", transaction)], headers));
    }

    /// ABORT.
    pub fn abort(&mut self, transaction: &str, headers: &[(&str, &str)]) {
        self.frame(&with(Command::Abort, &[("transaction", transaction)], headers));
    }

    /// DISCONNECT, and the receipt that it asks for.
    pub fn disconnect(&mut self, receipt: Option<&str>) {
        let mut frame = Frame::new(Command::Disconnect);
        frame.headers.extend(receipt.map(|id| ("receipt", id)));
        self.frame(&frame);
    }

    /// Any frame as it is.
    pub fn frame(&mut self, frame: &Frame) {
        self.transmit.frame(frame, self.version);
    }

    /// What the server says next, out of `input`, from whose front it consumes what it used. `None`: the input is used
    /// up, or nothing is read any more.
    pub fn receive(&mut self, now: Millis, input: &mut &[u8]) -> Option<ClientEvent> {
        match &mut self.phase {
            _ if input.is_empty() => return None,
            Phase::Closed => {
                *input = &[];
                return None;
            }
            Phase::Open(pulse) => pulse.received(now),
            Phase::Connecting => {}
        }
        let event = match self.decoder.decode(&self.limits, input)? {
            Ok(Item::HeartBeat) => return Some(ClientEvent::HeartBeat),
            Ok(Item::Frame(frame)) => self.handle_frame(now, frame),
            Err(violation) => Err(violation),
        };
        let event = event.unwrap_or_else(ClientEvent::Violation);
        if matches!(event, ClientEvent::Error(_) | ClientEvent::Violation(_)) {
            self.phase = Phase::Closed;
        }
        Some(event)
    }

    /// The next frame or end of line to write.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmit.poll()
    }

    /// When [`Self::handle_timeout`] has something to do; `None`: never, as things stand.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        let Phase::Open(pulse) = &self.phase else { return None };
        [pulse.beat_due(), pulse.silent_due()].into_iter().flatten().min()
    }

    /// Does what is due at `now`: queues our own heart-beat, and tells that the server fell silent.
    pub fn handle_timeout(&mut self, now: Millis) -> Option<Timeout> {
        let Phase::Open(pulse) = &mut self.phase else { return None };
        if pulse.beat_due().is_some_and(|due| due <= now) {
            pulse.sent(now);
            self.transmit.heart_beat();
        }
        let silent = pulse.silent_due().is_some_and(|due| due <= now);
        silent.then(|| {
            pulse.told();
            Timeout::Silent
        })
    }

    /// The driver wrote something.
    pub fn sent(&mut self, now: Millis) {
        if let Phase::Open(pulse) = &mut self.phase {
            pulse.sent(now);
        }
    }

    /// The version agreed on; 1.0 before CONNECTED.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the server said CONNECTED and no ERROR since.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    fn handle_frame(&mut self, now: Millis, frame: Frame) -> Result<ClientEvent, Violation> {
        match (frame.command, &self.phase) {
            (Command::Error, _) => Ok(ClientEvent::Error(frame)),
            (Command::Connected, Phase::Connecting) => self.handle_connected(now, frame),
            (Command::Connected, _) => Err(Violation::AlreadyConnected),
            (command @ (Command::Message | Command::Receipt), Phase::Connecting) => {
                Err(Violation::NotConnected { command })
            }
            (Command::Message, _) => Ok(ClientEvent::Message(frame)),
            (command @ Command::Receipt, _) => {
                let id = frame.headers.get("receipt-id");
                let id = id.ok_or(Violation::MissingHeader { command, header: "receipt-id" })?;
                Ok(ClientEvent::Receipt(id.into(), frame.headers))
            }
            (command, _) => Err(Violation::ClientCommand { command }),
        }
    }

    fn handle_connected(&mut self, now: Millis, frame: Frame) -> Result<ClientEvent, Violation> {
        let version = Version::negotiate(frame.headers.get("version"))?;
        let heart_beat =
            frame.headers.get("heart-beat").map(HeartBeat::parse).transpose()?.unwrap_or_default();
        self.version = version;
        self.decoder.set_version(version);
        self.phase = Phase::Open(Pulse::new(self.offer.negotiate(heart_beat), now));
        Ok(ClientEvent::Connected(Connected { version, heart_beat, headers: frame.headers }))
    }

    fn settle(&mut self, command: Command, message: &Frame, headers: &[(&str, &str)]) {
        let copied: &[(&str, &str)] = match self.version {
            Version::V1_0 => &[("message-id", "message-id")],
            Version::V1_1 => &[("message-id", "message-id"), ("subscription", "subscription")],
            Version::V1_2 => &[("id", "ack")],
        };
        let own: Vec<_> =
            copied.iter().filter_map(|(name, source)| Some((*name, message.headers.get(source)?))).collect();
        self.frame(&with(command, &own, headers));
    }
}

fn with(command: Command, own: &[(&str, &str)], further: &[(&str, &str)]) -> Frame {
    Frame { command, headers: own.iter().chain(further).copied().collect(), body: Bytes::new() }
}
