//! Where frames end, seen from outside: what the codec holds back, when it holds nothing, and whether the text it
//! holds can still become valid.

use super::header::{CONTINUATION, CONTROL, Header, HeaderReader, TEXT};
use super::utf8::Utf8;

/// Follows frame headers through any split of the bytes. Knows only lengths; whether a frame is right is the codec's
/// business, and after its first error nobody asks here again.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    header: HeaderReader,
    /// Bytes of the payload that are still to come.
    remaining: u64,
    /// Turned so that its first byte masks the next byte of the payload.
    mask: [u8; 4],
    /// What these bytes are part of.
    payload: Payload,
    /// The message in progress is text.
    text: bool,
    utf8: Utf8,
    /// Bytes of the message in progress, over all its frames and their headers.
    held: u64,
    /// The message in progress goes on with another frame.
    fragmented: bool,
    /// The longest frame so far.
    largest: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Payload {
    /// Binary, a control frame, or a text that the codec gets whole at once and judges itself.
    #[default]
    Passed,
    /// Text that comes in pieces.
    Judged,
}

impl Boundary {
    /// Follows `bytes`; `false` when they hold a text that cannot become valid any more.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(first) = bytes.first() {
            if self.remaining > 0 {
                let count = self.remaining.min(bytes.len() as u64);
                let (piece, rest) = bytes.split_at(count as usize);
                self.remaining -= count;
                self.held += count;
                bytes = rest;
                if self.payload == Payload::Judged && !self.judge(piece) {
                    return false;
                }
            } else {
                bytes = &bytes[1..];
                if let Some(header) = self.header.push(*first) {
                    self.begin_frame(header, bytes.len() as u64);
                }
            }
            if self.remaining == 0 && self.header.len() == 0 && !self.fragmented {
                self.held = 0;
            }
        }
        true
    }

    fn judge(&mut self, masked: &[u8]) -> bool {
        let mut plain = [0; JUDGED_BYTES];
        masked.chunks(JUDGED_BYTES).all(|chunk| {
            plain
                .iter_mut()
                .zip(chunk)
                .enumerate()
                .for_each(|(at, (plain, byte))| *plain = byte ^ self.mask[at % 4]);
            self.mask.rotate_left(chunk.len() % 4);
            self.utf8.feed(&plain[..chunk.len()])
        })
    }

    /// Bytes of a message or header in progress; 0 between two messages.
    pub(super) fn held_bytes(&self) -> usize {
        usize::try_from(self.held).unwrap_or(usize::MAX).saturating_add(self.header.len())
    }

    /// The longest frame so far, without the first bytes of its header.
    pub(super) fn largest_bytes(&self) -> u64 {
        self.largest
    }

    /// `following` bytes come after the header in the piece at hand.
    fn begin_frame(&mut self, header: Header, following: u64) {
        self.remaining = header.payload_bytes;
        self.mask = header.mask.unwrap_or_default();
        self.largest = self.largest.max(self.remaining);
        self.held += u64::from(header.header_bytes);
        self.begin_payload(header.opcode(), header.is_final(), following);
    }

    fn begin_payload(&mut self, opcode: u8, last: bool, following: u64) {
        self.payload = Payload::Passed;
        if opcode >= CONTROL {
            return;
        }
        if opcode != CONTINUATION {
            self.text = opcode == TEXT;
            self.utf8 = Utf8::default();
        }
        let whole = opcode != CONTINUATION && last && self.remaining <= following;
        if self.text && !whole {
            self.payload = Payload::Judged;
        }
        self.fragmented = !last;
    }
}

/// Unmasked on the stack at a time; a multiple of the mask's length.
const JUDGED_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes held after each byte of `bytes`.
    fn held(bytes: &[u8]) -> Vec<usize> {
        let mut boundary = Boundary::default();
        let each = bytes.iter().map(|byte| {
            assert!(boundary.feed(&[*byte]));
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
                assert!(bytes.chunks(cut).all(|piece| boundary.feed(piece)));
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
