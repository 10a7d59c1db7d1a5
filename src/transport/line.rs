//! Ids and numbers as text, without an allocation and without the formatting machinery.

use crate::model::{MessageId, Position};

/// A short text on the stack: ids and numbers are written without the formatting machinery.
pub(super) struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; LINE_BYTES], len: 0 }
    }
}

impl Line {
    /// As [`MessageId`] displays itself.
    #[inline(always)]
    pub(super) fn message_id(&mut self, id: MessageId) {
        self.hexadecimal(id.node, 1);
        self.byte(b'-');
        self.decimal(id.number);
    }

    /// As [`Position`] displays itself.
    #[inline(never)]
    pub(super) fn position(&mut self, position: Position) {
        self.hexadecimal(position.epoch, 16);
        self.byte(b'-');
        self.decimal(position.offset);
    }

    pub(super) fn decimal(&mut self, number: u64) {
        self.text(itoa::Buffer::new().format(number).as_bytes());
    }

    #[inline(always)]
    fn hexadecimal(&mut self, number: u64, digits_min: usize) {
        let mut digits = [[0; 2]; 8];
        for (pair, byte) in digits.iter_mut().zip(number.to_be_bytes()) {
            *pair = HEXADECIMAL[usize::from(byte)];
        }
        let zeros = (number.leading_zeros() / 4) as usize;
        self.text(&digits.as_flattened()[zeros.min(16 - digits_min)..]);
    }

    fn text(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    pub(super) fn as_str(&self) -> &str {
        // Only ASCII was written.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// The two digits of each byte.
const HEXADECIMAL: [[u8; 2]; 256] = {
    let mut digits = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        digits[byte] = [b"0123456789abcdef"[byte >> 4], b"0123456789abcdef"[byte & 0xf]];
        byte += 1;
    }
    digits
};

/// The longest id: 16 hexadecimal digits, two numbers of 20 digits and one of 10, three separators.
pub(super) const LINE_BYTES: usize = 16 + 2 * 20 + 10 + 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_they_display_themselves() {
        for (node, number) in [(0, 0), (1, 9), (u64::MAX, u64::MAX), (0x10, 10)] {
            let id = MessageId { node, number };
            let mut line = Line::default();
            line.message_id(id);
            assert_eq!(line.as_str(), id.to_string());
        }
        for (epoch, offset) in [(0, 0), (0x10, 10), (u64::MAX, u64::MAX)] {
            let position = Position { epoch, offset };
            let mut line = Line::default();
            line.position(position);
            assert_eq!(line.as_str(), position.to_string());
        }
        let mut longest = Line::default();
        longest.message_id(MessageId { node: u64::MAX, number: u64::MAX });
        longest.byte(b'@');
        longest.decimal(u32::MAX.into());
        longest.byte(b'-');
        longest.decimal(u64::MAX);
        assert_eq!(longest.len, LINE_BYTES);
    }
}
