//! Bytes to frames.
use crate::{Frame, Limits, Version, Violation};

/// What the bytes hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A complete frame.
    Frame(Frame),
    /// One end of line between frames.
    HeartBeat,
}

/// Feed bytes, take frames and heart-beats.
#[derive(Debug, Default)]
pub struct Decoder;

impl Decoder {
    /// Expects the first frame of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// The version was agreed on: frames after CONNECT are read by its rules.
    pub fn set_version(&mut self, _version: Version) {
        unimplemented!()
    }

    /// Consumes bytes from the front of `input` until one item is complete. `None`: `input` is used up.
    pub fn decode(&mut self, _limits: &Limits, _input: &mut &[u8]) -> Option<Result<Item, Violation>> {
        unimplemented!()
    }

    /// Bytes allocated for an incomplete frame.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        unimplemented!()
    }
}
