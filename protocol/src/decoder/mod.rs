//! Bytes to frames: feed bytes in any cut, take frames and heart-beats.
//!
//! ```text
//!            EOL                 blank line                 NUL
//!  Between ------> Between      Head ------------> Body -------------> Between
//!     | any other byte            ^                  |
//!     +---------------------------+                  +-- violation --> Failed
//! ```
//!
//! A frame that lies wholly in the input is parsed where it lies. Of an incomplete one the head or the body is kept,
//! and each byte is looked at once, however the input is cut. A limit is checked before anything is allocated for
//! what would cross it.

mod body;
mod head;

use std::hint::cold_path;

use bytes::Bytes;

use crate::parse::{self, Head};
use crate::{Frame, Limits, Version, Violation};

use body::{Expected, PartialBody};
use head::PartialHead;

/// What the bytes hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A complete frame.
    Frame(Frame),
    /// One end of line between frames.
    HeartBeat,
}

/// Takes the bytes of one direction of a connection apart.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    version: Option<Version>,
    begun: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Between,
    /// Between frames, after a CR whose LF is still to come.
    Return,
    Head(Box<PartialHead>),
    Body(Box<PartialBody>),
    /// There was a violation; what follows has no meaning. If the head of the frame at fault could be read, this is
    /// the receipt that it asked for.
    Failed(Option<Box<str>>),
}

/// An item, a violation, or nothing before there is more input.
type Decoded = Option<Result<Item, Violation>>;

impl Decoder {
    /// Expects the first frame of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The version was agreed on: the frames that follow are read by its rules. Until then no escape is read, which
    /// is right for CONNECT and CONNECTED.
    pub fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Consumes bytes from the front of `input` until one item is complete. `None`: `input` is used up.
    ///
    /// After a violation the rest of the input, and all input that follows, is discarded.
    #[inline(always)]
    pub fn decode(&mut self, limits: &Limits, input: &mut &[u8]) -> Option<Result<Item, Violation>> {
        let decoded = match &mut self.state {
            State::Between => self.between(limits, input),
            State::Return => self.after_return(input),
            State::Head(_) => self.continue_head(limits, input),
            State::Body(_) => self.continue_body(limits, input),
            State::Failed(_) => {
                *input = &[];
                None
            }
        };
        if let Some(Err(_)) = decoded {
            cold_path();
            *input = &[];
            if !matches!(self.state, State::Failed(_)) {
                self.state = State::Failed(None);
            }
        }
        decoded
    }

    /// Bytes of memory held for an incomplete frame.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        match &self.state {
            State::Between | State::Return | State::Failed(_) => 0,
            State::Head(partial) => partial.heap_bytes(),
            State::Body(partial) => partial.heap_bytes(),
        }
    }

    /// The `receipt` header of the frame at fault, when its head was right and its body was not.
    pub(crate) fn take_receipt(&mut self) -> Option<Box<str>> {
        if let State::Failed(receipt) = &mut self.state { receipt.take() } else { None }
    }

    #[inline(always)]
    fn between(&mut self, limits: &Limits, input: &mut &[u8]) -> Decoded {
        match **input {
            [] => None,
            [b'\n', ..] => heart_beat(input, 1),
            [b'\r', b'\n', ..] => heart_beat(input, 2),
            [b'\r'] => {
                *input = &[];
                self.state = State::Return;
                None
            }
            [b'\r', ..] => faulty(Violation::BareCarriageReturn),
            _ => self.whole_head(limits, input),
        }
    }

    #[inline(never)]
    fn after_return(&mut self, input: &mut &[u8]) -> Decoded {
        match **input {
            [] => None,
            [b'\n', ..] => {
                self.state = State::Between;
                heart_beat(input, 1)
            }
            _ => Some(Err(Violation::BareCarriageReturn)),
        }
    }

    #[inline(always)]
    fn whole_head(&mut self, limits: &Limits, input: &mut &[u8]) -> Decoded {
        if !self.begun
            && let Err(violation) = head::misplaced(input)
        {
            return faulty(violation);
        }
        let end = match head::find_end(input, limits.head_bytes_max) {
            Ok(Some(end)) => end,
            Ok(None) => {
                self.state = State::Head(Box::new(PartialHead::new(input, limits.head_bytes_max)));
                *input = &[];
                return None;
            }
            Err(violation) => return faulty(violation),
        };
        let lines = &input[..end.lines];
        *input = &input[end.head..];
        self.after_head(lines, limits, input)
    }

    #[inline(never)]
    fn continue_head(&mut self, limits: &Limits, input: &mut &[u8]) -> Decoded {
        let State::Head(partial) = &mut self.state else { return None };
        if !self.begun
            && let Err(violation) = partial.misplaced(input)
        {
            return Some(Err(violation));
        }
        match partial.fill(input, limits.head_bytes_max) {
            Ok(false) => return None,
            Err(violation) => return Some(Err(violation)),
            Ok(true) => {}
        }
        let State::Head(partial) = std::mem::take(&mut self.state) else { return None };
        self.after_head(partial.lines(), limits, input)
    }

    /// The head is complete; `input` goes on with the body.
    fn after_head(&mut self, lines: &[u8], limits: &Limits, input: &mut &[u8]) -> Decoded {
        self.begun = true;
        let head = match parse::head(lines, self.version, limits) {
            Ok(head) => head,
            Err(violation) => return faulty(violation),
        };
        let expected = match Expected::of(&head, self.version, limits) {
            Ok(expected) => expected,
            Err(violation) => return self.fail(violation, &head),
        };
        match expected.whole(head.command, limits, input) {
            Ok(Some(body)) => Some(Ok(frame(head, body))),
            Ok(None) => {
                self.state = State::Body(Box::new(PartialBody::new(head, expected)));
                self.continue_body(limits, input)
            }
            Err(violation) => self.fail(violation, &head),
        }
    }

    #[inline(never)]
    fn continue_body(&mut self, limits: &Limits, input: &mut &[u8]) -> Decoded {
        let State::Body(partial) = &mut self.state else { return None };
        let filled = partial.fill(limits, input);
        if let Ok(false) = filled {
            return None;
        }
        let State::Body(partial) = std::mem::take(&mut self.state) else { return None };
        let (head, body) = partial.finish();
        match filled {
            Ok(_) => Some(Ok(frame(head, body))),
            Err(violation) => self.fail(violation, &head),
        }
    }

    #[cold]
    fn fail(&mut self, violation: Violation, head: &Head) -> Decoded {
        self.state = State::Failed(head.receipt().map(Into::into));
        Some(Err(violation))
    }
}

#[cold]
fn faulty(violation: Violation) -> Decoded {
    Some(Err(violation))
}

fn heart_beat(input: &mut &[u8], bytes: usize) -> Decoded {
    *input = &input[bytes..];
    Some(Ok(Item::HeartBeat))
}

fn frame(head: Head, body: Bytes) -> Item {
    Item::Frame(Frame { command: head.command, headers: head.headers, body })
}

#[cfg(test)]
mod tests;
