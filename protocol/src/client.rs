//! The client's side of one connection: the mirror image of the session.
use crate::{AckMode, Frame, HeartBeat, Limits, Millis, Timeout, Version, Violation};
use bytes::Bytes;

/// How a client introduces itself.
#[derive(Clone, Debug)]
pub struct Introduction<'a> {
    /// Versions it accepts; none: no `accept-version`, which is 1.0.
    pub versions: &'a [Version],
    /// The virtual host.
    pub host: &'a str,
    /// Who it is.
    pub login: Option<&'a str>,
    /// Its password.
    pub passcode: Option<&'a str>,
    /// What it offers.
    pub heart_beat: HeartBeat,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
}

/// CONNECTED.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The version agreed on.
    pub version: Version,
    /// The whole frame.
    pub frame: Frame,
}

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// CONNECTED.
    Connected(Connected),
    /// MESSAGE.
    Message(Frame),
    /// RECEIPT, with its `receipt-id`.
    Receipt(Box<str>),
    /// ERROR; the server closes after it.
    Error(Frame),
    /// An end of line between frames.
    HeartBeat,
    /// The server misbehaved; nothing more is read.
    Violation(Violation),
}

/// The client's side of one connection.
#[derive(Debug)]
pub struct Client;

#[expect(missing_docs, unused_variables, reason = "signatures first")]
impl Client {
    #[must_use]
    pub fn new(limits: Limits, now: Millis) -> Self {
        unimplemented!()
    }
    pub fn connect(&mut self, introduction: &Introduction<'_>) {
        unimplemented!()
    }
    pub fn send(&mut self, destination: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        unimplemented!()
    }
    pub fn subscribe(&mut self, id: &str, destination: &str, ack: AckMode, headers: &[(&str, &str)]) {
        unimplemented!()
    }
    pub fn unsubscribe(&mut self, id: &str, headers: &[(&str, &str)]) {
        unimplemented!()
    }
    pub fn ack(&mut self, message: &Frame, headers: &[(&str, &str)]) {
        unimplemented!()
    }
    pub fn nack(&mut self, message: &Frame, headers: &[(&str, &str)]) {
        unimplemented!()
    }
    pub fn begin(&mut self, transaction: &str, headers: &[(&str, &str)]) {
        unimplemented!()
    }
    pub fn commit(&mut self, transaction: &str, headers: &[(&str, &str)]) {
        unimplemented!()
    }
    pub fn abort(&mut self, transaction: &str, headers: &[(&str, &str)]) {
        unimplemented!()
    }
    pub fn disconnect(&mut self, receipt: Option<&str>) {
        unimplemented!()
    }
    pub fn frame(&mut self, frame: &Frame) {
        unimplemented!()
    }
    pub fn receive(&mut self, now: Millis, input: &mut &[u8]) -> Option<ClientEvent> {
        unimplemented!()
    }
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        unimplemented!()
    }
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, now: Millis) -> Option<Timeout> {
        unimplemented!()
    }
    pub fn sent(&mut self, now: Millis) {
        unimplemented!()
    }
    #[must_use]
    pub fn version(&self) -> Version {
        unimplemented!()
    }
}
