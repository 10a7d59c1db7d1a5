//! Compressed messages become plain frames before [`WebSocket`] sees them; everything else passes as it is.

use super::inflate::{Inflater, malformed};
use crate::transport::websocket::WebSocket;
use crate::transport::websocket::header::{
    BINARY, CONTINUATION, CONTROL, Header, HeaderReader, TEXT, opcode,
};
use crate::transport::{Framing, FramingError, Incoming};

/// The receiving side of a WebSocket on which permessage-deflate was agreed.
///
/// A compressed message is held compressed until it is complete, then inflated by the thread's inflater, so a
/// connection keeps no state from one message to the next. All rules of RFC 6455 that are not about RSV1 are
/// [`WebSocket`]'s business: order of fragments, control frames, UTF-8.
#[derive(Debug)]
pub struct Deflated {
    socket: WebSocket,
    /// `None` between two messages.
    progress: Option<Box<Progress>>,
}

/// Where in the bytes of the client we are.
#[derive(Debug, Default)]
struct Progress {
    header: HeaderReader,
    /// Payload of the frame at hand that is still to come.
    remaining: u64,
    mask: [u8; 4],
    /// The frame at hand is the last of its message.
    last: bool,
    /// Whose the frame at hand is.
    owner: Owner,
    message: Message,
    /// The payload of a compressed message so far.
    held: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// A control frame or a part of a plain message: it passes.
    #[default]
    Plain,
    /// A part of a compressed message.
    Compressed,
}

/// The message that goes on with the next data frame.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Message {
    #[default]
    None,
    Plain,
    Compressed {
        opcode: u8,
    },
}

impl Deflated {
    /// A connection after its handshake; a message may have up to `message_bytes_max` bytes, inflated.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { socket: WebSocket::new(message_bytes_max), progress: None }
    }

    fn follow(
        &mut self,
        progress: &mut Progress,
        mut bytes: &[u8],
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), FramingError> {
        // Nothing after a close is looked at.
        while !bytes.is_empty() && self.socket.is_open() {
            let plain = progress.pass(&mut bytes);
            if !plain.is_empty() {
                self.socket.receive(plain, sink)?;
                continue;
            }
            let bytes_max = self.socket.message_bytes_max();
            if let Some(opcode) = progress.hold(&mut bytes, bytes_max)? {
                let payload = std::mem::take(&mut progress.held);
                Inflater::with(|inflater| {
                    self.socket.receive(inflater.frame(opcode, &payload, bytes_max)?, sink)
                })?;
            }
        }
        Ok(())
    }
}

impl Framing for Deflated {
    fn receive(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
        let mut progress = self.progress.take().map(|progress| *progress).unwrap_or_default();
        let result = self.follow(&mut progress, bytes, sink);
        self.progress = (!progress.is_between_messages()).then(|| Box::new(progress));
        result
    }

    fn set_message_bytes_max(&mut self, bytes_max: usize) {
        self.socket.set_message_bytes_max(bytes_max);
    }

    fn closing(&mut self) {
        self.socket.closing();
    }

    fn buffered_bytes(&self) -> usize {
        let held = self.progress.as_ref().filter(|progress| progress.owner == Owner::Compressed);
        self.socket.buffered_bytes()
            + held.map_or(0, |progress| progress.held.capacity() + progress.header.len())
    }
}

impl Progress {
    fn is_between_messages(&self) -> bool {
        self.header.len() == 0 && self.remaining == 0 && self.message == Message::None
    }

    /// Takes the bytes up to the next frame of a compressed message.
    fn pass<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        let all = *bytes;
        while let Some((first, behind)) = bytes.split_first() {
            if self.is_between_frames() {
                let Ok(Owner::Plain) = self.owner_of(*first) else { break };
                self.owner = Owner::Plain;
            }
            if self.owner == Owner::Compressed {
                break;
            }
            if self.remaining > 0 {
                self.take(bytes);
            } else {
                *bytes = behind;
                if let Some(header) = self.header.push(*first) {
                    self.begin_plain(header);
                }
            }
        }
        &all[..all.len() - bytes.len()]
    }

    /// Takes the bytes of a compressed message up to its end, or to a control frame within; gives the opcode when the
    /// message is complete.
    fn hold(&mut self, bytes: &mut &[u8], bytes_max: usize) -> Result<Option<u8>, FramingError> {
        while let Some((first, behind)) = bytes.split_first() {
            if self.is_between_frames() {
                self.owner = self.owner_of(*first)?;
                if self.owner == Owner::Plain {
                    break;
                }
            }
            if self.remaining > 0 {
                let piece = self.take(bytes);
                self.unmask(piece);
            } else {
                *bytes = behind;
                let Some(header) = self.header.push(*first) else { continue };
                self.begin_compressed(header, bytes_max)?;
            }
            if let Message::Compressed { opcode } = self.message
                && self.remaining == 0
                && self.last
            {
                self.message = Message::None;
                return Ok(Some(opcode));
            }
        }
        Ok(None)
    }

    fn is_between_frames(&self) -> bool {
        self.header.len() == 0 && self.remaining == 0
    }

    /// Whose the frame is that begins with `first`. RFC 7692, section 6.1: RSV1 is set on the first frame of a
    /// compressed message and on no other. A plain frame that has it is refused by the codec.
    fn owner_of(&self, first: u8) -> Result<Owner, FramingError> {
        match (self.message, opcode(first)) {
            (_, CONTROL..) => Ok(Owner::Plain),
            (Message::Compressed { .. }, CONTINUATION) if first & RESERVED == 0 => Ok(Owner::Compressed),
            (Message::Compressed { .. }, CONTINUATION) => Err(malformed("reserved bits within a message")),
            (Message::Compressed { .. }, _) => Err(malformed("a message within a message")),
            (Message::None, TEXT | BINARY) if first & RESERVED == RSV1 => Ok(Owner::Compressed),
            (Message::None | Message::Plain, _) => Ok(Owner::Plain),
        }
    }

    fn begin_plain(&mut self, header: Header) {
        self.remaining = header.payload_bytes;
        if header.opcode() < CONTROL {
            self.message = if header.is_final() { Message::None } else { Message::Plain };
        }
    }

    fn begin_compressed(&mut self, header: Header, bytes_max: usize) -> Result<(), FramingError> {
        self.mask = header.mask.ok_or_else(|| malformed("a frame of a client that is not masked"))?;
        // What cannot be compressed grows by five bytes for each stored block.
        let held_max = bytes_max.saturating_add(bytes_max / GROWN_SHARE + GROWN_BYTES);
        let bytes =
            usize::try_from(header.payload_bytes).unwrap_or(usize::MAX).saturating_add(self.held.len());
        if bytes > held_max {
            return Err(FramingError::TooLarge { bytes, bytes_max });
        }
        self.remaining = header.payload_bytes;
        self.last = header.is_final();
        if header.opcode() != CONTINUATION {
            self.message = Message::Compressed { opcode: header.opcode() };
        }
        Ok(())
    }

    /// The payload of the frame at hand, as much as there is.
    fn take<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        let count = self.remaining.min(bytes.len() as u64);
        self.remaining -= count;
        let (piece, behind) = bytes.split_at(count as usize);
        *bytes = behind;
        piece
    }

    fn unmask(&mut self, piece: &[u8]) {
        let start = self.held.len();
        self.held.extend_from_slice(piece);
        for four in self.held[start..].chunks_mut(4) {
            four.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.mask.rotate_left(piece.len() % 4);
    }
}

/// All three reserved bits, and the one that says that a message is compressed.
const RESERVED: u8 = 0x70;
const RSV1: u8 = 0x40;

/// A compressed message may be longer than the inflated one by this share and so many bytes.
const GROWN_SHARE: usize = 256;
const GROWN_BYTES: usize = 64;

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
