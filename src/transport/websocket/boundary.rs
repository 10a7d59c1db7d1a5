//! Where frames end, seen from outside: what the codec holds back, and when it holds nothing.

/// Follows frame headers through any split of the bytes. Knows only lengths; whether a frame is right is the codec's
/// business, and after its first error nobody asks here again.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    header: [u8; HEADER_START_BYTES],
    header_len: u8,
    /// Bytes of the header's rest (the mask) and the payload that are still to come.
    remaining: u64,
    /// Bytes of the message in progress, over all its frames and their headers.
    held: u64,
    /// The message in progress goes on with another frame.
    fragmented: bool,
    /// The longest frame so far.
    largest: u64,
}

impl Boundary {
    /// Follows `bytes`.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if self.remaining > 0 {
                let taken = self.remaining.min(bytes.len() as u64);
                self.remaining -= taken;
                self.held += taken;
                bytes = &bytes[taken as usize..];
            } else {
                self.header[usize::from(self.header_len)] = *first;
                self.header_len += 1;
                bytes = &bytes[1..];
                self.read_header();
            }
            if self.remaining == 0 && self.header_len == 0 && !self.fragmented {
                self.held = 0;
            }
        }
    }

    /// Bytes of a message or header in progress; 0 between two messages.
    pub(super) fn held_bytes(&self) -> usize {
        usize::try_from(self.held).unwrap_or(usize::MAX).saturating_add(usize::from(self.header_len))
    }

    /// The longest frame so far, without the first bytes of its header.
    pub(super) fn largest_bytes(&self) -> u64 {
        self.largest
    }

    fn read_header(&mut self) {
        let [first, second, ..] = self.header;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if usize::from(self.header_len) < 2 + extended {
            return;
        }
        let length = match extended {
            0 => u64::from(second & 0x7f),
            _ => self.header[2..2 + extended].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
        self.remaining = length.saturating_add(mask_bytes);
        self.largest = self.largest.max(self.remaining);
        self.held += u64::from(self.header_len);
        self.header_len = 0;
        let is_control = first & 0x08 != 0;
        if !is_control {
            self.fragmented = first & 0x80 == 0;
        }
    }
}

/// Opcode, length and extended length; the mask that follows is counted with the payload.
const HEADER_START_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes held after each byte of `bytes`.
    fn held(bytes: &[u8]) -> Vec<usize> {
        let mut boundary = Boundary::default();
        let each = bytes.iter().map(|byte| {
            boundary.feed(&[*byte]);
            boundary.held_bytes()
        });
        each.collect()
    }

    #[test]
    fn nothing_is_held_between_messages() {
        assert_eq!(held(&[0x82, 0x82, 1, 2, 3, 4, 9, 9, 0x89, 0x00]), [1, 2, 3, 4, 5, 6, 7, 0, 1, 0]);
    }

    #[test]
    fn a_fragmented_message_is_held_until_its_end_across_control_frames() {
        let bytes = [0x01, 1, b'a', 0x89, 0, 0x80, 1, b'b'];
        assert_eq!(held(&bytes), [1, 2, 3, 4, 5, 6, 7, 0]);
    }

    #[test]
    fn long_lengths_are_followed_in_any_split() {
        for length in [126usize, 65_535, 65_536] {
            let mut bytes =
                super::super::frame::message(super::super::frame::Kind::Binary, &vec![0; length]).to_vec();
            bytes.extend([0x89, 0]);
            for cut in [1, 3, 9, 11, length / 2] {
                let mut boundary = Boundary::default();
                bytes.chunks(cut).for_each(|piece| boundary.feed(piece));
                assert_eq!(boundary.held_bytes(), 0);
                boundary.feed(&bytes[..bytes.len() - 3]);
                assert!(boundary.held_bytes() >= length - 1);
            }
        }
    }

    #[test]
    fn an_absurd_length_does_not_overflow() {
        let mut boundary = Boundary::default();
        boundary.feed(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1]);
        assert_eq!(boundary.held_bytes(), 15);
    }
}
