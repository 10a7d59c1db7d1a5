//! The usual case: a message that is one frame, and is there.
//!
//! tungstenite copies what it is given into a buffer of its own and makes an allocation of each message. A whole message
//! in the slice at hand needs neither; whatever else comes, and whatever is wrong, is left to it.

use std::cell::RefCell;
use std::io::Cursor;
use std::ops::ControlFlow;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::transport::Incoming;

/// Gives whole messages from the front of `bytes` to `sink`, as far as there are any; returns what is left.
pub(super) fn take<'a>(
    mut bytes: &'a [u8],
    message_bytes_max: usize,
    sink: &mut dyn FnMut(Incoming<'_>),
) -> &'a [u8] {
    while let Some(frame) = WholeFrame::at(bytes, message_bytes_max) {
        // Taken out, so that nobody finds it borrowed; a fault on the way costs the buffer.
        let mut plain = PLAIN.take();
        plain.clear();
        plain.extend_from_slice(frame.payload);
        unmask(&mut plain, frame.mask);
        let given = frame.give(&plain, sink);
        if plain.capacity() <= KEPT_BYTES {
            PLAIN.replace(plain);
        }
        if given.is_break() {
            break;
        }
        bytes = frame.rest;
    }
    bytes
}

struct WholeFrame<'a> {
    text: bool,
    mask: [u8; 4],
    payload: &'a [u8],
    rest: &'a [u8],
}

impl<'a> WholeFrame<'a> {
    /// A frame that is a message of its own, if `bytes` begin with one.
    fn at(bytes: &'a [u8], message_bytes_max: usize) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let (header, length) = FrameHeader::parse(&mut cursor).ok()??;
        let text = match header.opcode {
            OpCode::Data(Data::Text) => true,
            OpCode::Data(Data::Binary) => false,
            _ => return None,
        };
        let reserved = header.rsv1 || header.rsv2 || header.rsv3;
        let length = usize::try_from(length).ok().filter(|length| *length <= message_bytes_max)?;
        let after_header = &bytes[usize::try_from(cursor.position()).ok()?..];
        if !header.is_final || reserved || after_header.len() < length {
            return None;
        }
        let (payload, rest) = after_header.split_at(length);
        Some(Self { text, mask: header.mask?, payload, rest })
    }

    /// Breaks at a text that is none.
    fn give(&self, plain: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> ControlFlow<()> {
        if self.text && std::str::from_utf8(plain).is_err() {
            return ControlFlow::Break(());
        }
        sink(Incoming::Payload { bytes: plain, text: self.text, end: true });
        ControlFlow::Continue(())
    }
}

/// RFC 6455, section 5.3: "octet i of the transformed data is the XOR of octet i of the original data with octet at index
/// i modulo 4 of the masking key".
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let eight = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let mut octets = [0; 8];
        octets.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(octets) ^ eight).to_ne_bytes());
    }
    words.into_remainder().iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

thread_local! {
    /// Messages are unmasked into this.
    static PLAIN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Capacity that a thread keeps.
const KEPT_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unmasking_follows_the_specification(bytes in prop::collection::vec(any::<u8>(), 0..70), mask: [u8; 4]) {
            let mut fast = bytes.clone();
            unmask(&mut fast, mask);
            let slow: Vec<u8> = bytes.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            prop_assert_eq!(fast, slow);
        }
    }
}
