//! What the session itself has to say: CONNECTED, RECEIPT, ERROR and the ends of line that are heart-beats.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Accepted, ErrorFrame};
use crate::encode::{self, encode};
use crate::{Command, Frame, Headers, HeartBeat, Version};

/// Frames that wait for the driver, in order. One has its place here; more are rare.
#[derive(Debug, Default)]
pub(crate) struct Transmit {
    /// Empty only if all is.
    first: Option<Bytes>,
    #[expect(
        clippy::box_collection,
        reason = "every connection has one, and nearly all are empty: 8 bytes instead of 32"
    )]
    rest: Option<Box<VecDeque<Bytes>>>,
}

impl Transmit {
    pub(crate) fn frame(&mut self, frame: &Frame, version: Version) {
        let mut out = Vec::new();
        encode(frame, version, &mut out);
        self.push(out.into());
    }

    pub(crate) fn receipt(&mut self, id: &str, own: &[(&'static str, &str)], version: Version) {
        let mut out = Vec::new();
        encode::receipt(id, own, version, &mut out);
        self.push(out.into());
    }

    pub(crate) fn heart_beat(&mut self) {
        self.push(Bytes::from_static(b"\n"));
    }

    pub(crate) fn poll(&mut self) -> Option<Bytes> {
        let next = self.first.take();
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() {
                self.rest = None;
            }
        }
        next
    }

    fn push(&mut self, frame: Bytes) {
        match self.first {
            None => self.first = Some(frame),
            Some(_) => self.rest.get_or_insert_default().push_back(frame),
        }
    }
}

/// "CONNECTED frame [...] version : the version of the STOMP protocol the session will be using."
pub(super) fn connected(accepted: &Accepted<'_>, version: Version, heart_beat: HeartBeat) -> Frame {
    let mut frame = Frame::new(Command::Connected);
    frame.headers = Headers::with_capacity(CONNECTED_TEXT_BYTES);
    frame.headers.push("version", version.as_str());
    // 1.0 has none, and whoever looks is told so.
    let heart_beat = if version == Version::V1_0 { HeartBeat::default() } else { heart_beat };
    frame.headers.push("heart-beat", &heart_beat.to_string());
    let named = [("session", accepted.session), ("server", accepted.server)];
    frame.headers.extend(named.into_iter().filter(|(_, value)| !value.is_empty()));
    frame.headers.extend(accepted.user_name.map(|name| ("user-name", name)));
    frame.headers.extend(accepted.headers.iter().copied());
    frame
}

/// An ERROR; with `versions`, the ones we speak are listed: "If the server does not share any common protocol
/// versions with the client, then the server MUST respond with an ERROR frame similar to" one with that header.
pub(super) fn error(error: &ErrorFrame<'_>, versions: bool) -> Frame {
    let mut frame = Frame::new(Command::Error).with("message", error.message);
    if !error.code.is_empty() {
        frame.headers.push("error-code", error.code);
    }
    frame.headers.extend(error.receipt.iter().map(|receipt| ("receipt-id", receipt.id())));
    frame.headers.extend(error.retry_after.map(|after| ("retry-after", after)));
    if versions {
        frame.headers.push("version", Version::LIST);
    }
    frame.headers.extend(error.headers.iter().copied());
    if !error.body.is_empty() {
        if frame.headers.get("content-type").is_none() {
            frame.headers.push("content-type", "text/plain;charset=utf-8");
        }
        frame.body = Bytes::copy_from_slice(error.body);
    }
    frame
}

/// Room for the headers of a CONNECTED with names of a usual length.
const CONNECTED_TEXT_BYTES: usize = 160;
