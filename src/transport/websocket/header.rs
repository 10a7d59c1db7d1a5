//! Headers of a client's frames, whatever the split of their bytes.

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
    /// Takes bytes of a header from the front of `bytes`; gives the header with its last one, and is then ready for
    /// another.
    pub(super) fn take(&mut self, bytes: &mut &[u8]) -> Option<Header> {
        loop {
            let len = usize::from(self.len);
            let wanted = if len < 2 { 2 } else { header_bytes(self.bytes[1]) };
            if len == wanted {
                return Some(self.finish(len));
            }
            let (taken, rest) = bytes.split_at_checked(wanted - len).unwrap_or((bytes, &[]));
            if taken.is_empty() {
                return None;
            }
            self.bytes[len..len + taken.len()].copy_from_slice(taken);
            self.len += taken.len() as u8;
            *bytes = rest;
        }
    }

    fn finish(&mut self, len: usize) -> Header {
        self.len = 0;
        let [first, second, ..] = self.bytes;
        let masked = second & MASKED != 0;
        let extended = &self.bytes[2..len - if masked { MASK_BYTES } else { 0 }];
        let payload_bytes = match extended {
            [] => u64::from(second & !MASKED),
            _ => extended.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let mask = masked.then(|| std::array::from_fn(|i| self.bytes[len - MASK_BYTES + i]));
        Header { first, payload_bytes, mask, header_bytes: len as u8 }
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

/// Bytes of a header with this second byte.
fn header_bytes(second: u8) -> usize {
    let extended = match second & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + extended + if second & MASKED == 0 { 0 } else { MASK_BYTES }
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

/// The bit of the second byte that says that a mask follows.
const MASKED: u8 = 0x80;
const MASK_BYTES: usize = 4;

/// Opcode, length, extended length and mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;
