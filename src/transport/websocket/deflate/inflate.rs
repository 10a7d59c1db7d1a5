//! The inbound half: a compressed message becomes one plain frame.

use std::cell::Cell;

use flate2::{Decompress, FlushDecompress, Status};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

use crate::transport::FramingError;
use crate::transport::websocket::header::HEADER_BYTES_MAX;

thread_local! {
    /// Each thread has one, from its first use on; it is taken while it is in use.
    static INFLATER: Cell<Option<Box<Inflater>>> = const { Cell::new(None) };
}

/// Inflates messages, one after the other.
pub(super) struct Inflater {
    state: Decompress,
    /// Room for a header, then the message.
    frame: Vec<u8>,
}

impl Inflater {
    /// Borrows the thread's own.
    pub(super) fn with<T>(act: impl FnOnce(&mut Self) -> T) -> T {
        let mut inflater = INFLATER.take().unwrap_or_else(|| Box::new(Self::new()));
        let result = act(&mut inflater);
        inflater.frame.truncate(FRAME_BYTES_KEPT);
        inflater.frame.shrink_to(FRAME_BYTES_KEPT);
        INFLATER.set(Some(inflater));
        result
    }

    #[cfg(test)]
    pub(super) fn frame_bytes(&self) -> usize {
        self.frame.capacity()
    }

    fn new() -> Self {
        Self { state: Decompress::new(false), frame: Vec::new() }
    }

    /// A frame as a client would have sent it without compression, with a mask that changes nothing.
    ///
    /// # Errors
    /// `payload` is no deflate stream, or more than `bytes_max` bytes come out of it; it is not inflated further.
    pub(super) fn frame(
        &mut self,
        opcode: u8,
        payload: &[u8],
        bytes_max: usize,
    ) -> Result<&[u8], FramingError> {
        self.state.reset(false);
        let mut end = HEADER_BYTES_MAX;
        let mut last_blocks = 0;
        // RFC 7692, section 7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload".
        for (mut input, follows) in [(payload, true), (&FLUSH_END[..], false)] {
            loop {
                self.make_room(end, bytes_max);
                let status = self.inflate(&mut input, &mut end)?;
                let bytes = end - HEADER_BYTES_MAX;
                if bytes > bytes_max {
                    return Err(FramingError::TooLarge { bytes, bytes_max });
                }
                if status == Status::StreamEnd {
                    if input.is_empty() || !follows {
                        return Ok(self.finished(opcode, end));
                    }
                    // Section 7.2.3.4: a block that says it is the last may be followed by others.
                    self.state.reset(false);
                    last_blocks += 1;
                    if last_blocks > LAST_BLOCKS_MAX {
                        return Err(malformed("a compressed message of too many streams"));
                    }
                }
                if input.is_empty() && end < self.frame.len() {
                    break;
                }
            }
        }
        Ok(self.finished(opcode, end))
    }

    /// Inflates as much of `input` as there is room for behind `end`.
    fn inflate(&mut self, input: &mut &[u8], end: &mut usize) -> Result<Status, FramingError> {
        let before = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(input, &mut self.frame[*end..], FlushDecompress::Sync);
        let taken = (self.state.total_in() - before.0) as usize;
        let made = (self.state.total_out() - before.1) as usize;
        let goes_on = taken > 0 || made > 0 || input.is_empty();
        *input = &input[taken..];
        *end += made;
        status
            .ok()
            .filter(|_| goes_on)
            .ok_or_else(|| malformed("a compressed message that cannot be inflated"))
    }

    /// Doubles the room when it is full, up to one byte more than may come.
    fn make_room(&mut self, end: usize, bytes_max: usize) {
        if end >= self.frame.len() {
            let wanted = (self.frame.len() * 2).max(FRAME_BYTES_MIN);
            let most = bytes_max.saturating_add(HEADER_BYTES_MAX + 1);
            self.frame.resize(wanted.min(most), 0);
        }
    }

    /// Writes the header before the message that ends at `end`.
    fn finished(&mut self, opcode: u8, end: usize) -> &[u8] {
        let length = (end - HEADER_BYTES_MAX) as u64;
        let header =
            FrameHeader { opcode: OpCode::from(opcode), mask: Some([0; 4]), ..FrameHeader::default() };
        let start = HEADER_BYTES_MAX - header.len(length);
        let written = header.format(length, &mut &mut self.frame[start..HEADER_BYTES_MAX]);
        debug_assert!(written.is_ok(), "a frame header has its room");
        &self.frame[start..end]
    }
}

/// RFC 6455, section 7.4.1: 1002.
pub(super) fn malformed(what: &str) -> FramingError {
    FramingError::Malformed(what.into())
}

/// What a sync flush ends with, and its sender cuts off.
const FLUSH_END: [u8; 4] = [0, 0, 0xff, 0xff];

/// Streams that end within a message. Beginning anew costs more than a byte should.
const LAST_BLOCKS_MAX: usize = 64;

/// Room that is made at once: for most messages, all.
const FRAME_BYTES_MIN: usize = 4 << 10;

/// A large message leaves no large buffer behind.
pub(super) const FRAME_BYTES_KEPT: usize = 64 << 10;
