//! Headers of a client's frames, read byte by byte.

/// Collects the bytes of one header (RFC 6455, section 5.2); knows only lengths.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

/// A complete header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// FIN, the reserved bits and the opcode.
    pub(super) first: u8,
    /// Bytes of the payload.
    pub(super) payload_bytes: u64,
    /// `None` in a frame that is not masked.
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of the header itself.
    pub(super) header_bytes: u8,
}

impl HeaderReader {
    /// Takes the next byte; gives the header with its last one, and is then ready for another.
    pub(super) fn push(&mut self, byte: u8) -> Option<Header> {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
        let [first, second, ..] = self.bytes;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masked = second & 0x80 != 0;
        let header_bytes = 2 + extended + if masked { 4 } else { 0 };
        if self.len < 2 || usize::from(self.len) < header_bytes {
            return None;
        }
        let payload_bytes = match extended {
            0 => u64::from(second & 0x7f),
            _ => self.bytes[2..2 + extended].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let mask = masked.then(|| std::array::from_fn(|i| self.bytes[header_bytes - 4 + i]));
        self.len = 0;
        Some(Header { first, payload_bytes, mask, header_bytes: header_bytes as u8 })
    }

    /// Bytes of a header that is not complete.
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }
}

impl Header {
    /// The last frame of its message.
    pub(super) fn is_final(&self) -> bool {
        self.first & 0x80 != 0
    }

    pub(super) fn opcode(&self) -> u8 {
        opcode(self.first)
    }
}

/// The opcode in the first byte of a header.
pub(super) fn opcode(first: u8) -> u8 {
    first & 0x0f
}

/// A further frame of a message.
pub(super) const CONTINUATION: u8 = 0;
/// The first frame of a text message.
pub(super) const TEXT: u8 = 1;
/// The first frame of a binary message.
pub(super) const BINARY: u8 = 2;
/// Opcodes from here on are control frames.
pub(super) const CONTROL: u8 = 8;

/// Opcode, length, extended length and mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;
