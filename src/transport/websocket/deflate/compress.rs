//! The outbound half: tails are compressed, heads are stored before them.

use std::cell::RefCell;

use bytes::{BufMut, Bytes};
use flate2::{Compress, Compression, FlushCompress, Status};

thread_local! {
    /// Each thread has one, from its first use on.
    static COMPRESSOR: RefCell<Option<Compressor>> = const { RefCell::new(None) };
}

struct Compressor {
    state: Compress,
    /// Where the result stands until its length is known.
    scratch: Vec<u8>,
}

/// `plain` as deflate blocks from a fresh state, which end at a byte and may follow any blocks that do; `None` where
/// that would save too little.
pub(crate) fn compress(plain: &[u8]) -> Option<Bytes> {
    if !(COMPRESSED_BYTES_MIN..=COMPRESSED_BYTES_MAX).contains(&plain.len()) {
        return None;
    }
    COMPRESSOR.with_borrow_mut(|compressor| {
        let made = compressor.get_or_insert_with(Compressor::new).compress(plain);
        if made.is_none() {
            // zlib-rs 0.6.8 does not forget unfinished output when it is reset, and runs out of room later.
            *compressor = None;
        }
        made?
    })
}

impl Compressor {
    fn new() -> Self {
        Self { state: Compress::new(Compression::new(LEVEL), false), scratch: Vec::new() }
    }

    /// `None` when the output is not complete, which nothing should lead to; within, whether it is short enough.
    fn compress(&mut self, plain: &[u8]) -> Option<Option<Bytes>> {
        // What zlib calls the bound without further knowledge; less room would leave output behind in the state.
        let room = plain.len() + plain.len() / 8 + plain.len() / 64 + 64;
        self.scratch.resize(room.max(SCRATCH_BYTES_KEPT), 0);
        self.state.reset();
        let status = self.state.compress(plain, &mut self.scratch, FlushCompress::Sync);
        let (taken, made) = (self.state.total_in(), self.state.total_out() as usize);
        if !matches!(status, Ok(Status::Ok)) || taken != plain.len() as u64 || made == self.scratch.len() {
            return None;
        }
        // RFC 7692, section 7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
        let compressed = self.scratch[..made].strip_suffix(&FLUSH_END)?;
        let is_short = compressed.len() <= plain.len() - plain.len() / SAVED_SHARE_MIN;
        let compressed = is_short.then(|| Bytes::copy_from_slice(compressed));
        self.scratch.truncate(SCRATCH_BYTES_KEPT);
        self.scratch.shrink_to(SCRATCH_BYTES_KEPT);
        Some(compressed)
    }
}

/// Makes stored blocks (RFC 1951, section 3.2.4) of what stands in `buffer` behind `start` and the [`STORED_BYTES`]
/// left free there. They end at a byte.
pub(crate) fn store(buffer: &mut Vec<u8>, start: usize) {
    let first = (buffer.len() - start - STORED_BYTES).min(BLOCK_BYTES_MAX);
    let more = buffer.split_off(start + STORED_BYTES + first);
    buffer[start..start + STORED_BYTES].copy_from_slice(&block_header(first));
    for block in more.chunks(BLOCK_BYTES_MAX) {
        buffer.put_slice(&block_header(block.len()));
        buffer.put_slice(block);
    }
}

/// Not the last block, stored, five bits of padding; then the length and its complement, little-endian.
fn block_header(len: usize) -> [u8; STORED_BYTES] {
    let [low, high] = (len as u16).to_le_bytes();
    [0, low, high, !low, !high]
}

/// Bytes before a stored block.
pub(crate) const STORED_BYTES: usize = 5;

/// What a stored block can hold.
const BLOCK_BYTES_MAX: usize = 65_535;

/// How a sync flush ends.
const FLUSH_END: [u8; 4] = [0, 0, 0xff, 0xff];

/// The first that chooses its codes by the text: 1,000 bytes of JSON become 373, of level 1 479, of level 6 371; 64,000
/// become 13,231, 18,039 and 11,170, for 2.2, 1.2 and 4.2 million instructions.
const LEVEL: u32 = 2;

/// What is shorter leaves as it is. At this size a quarter is saved, as much as the TCP/IP header of a packet weighs, for
/// some 100,000 instructions that compression costs at any size.
const COMPRESSED_BYTES_MIN: usize = 256;

/// What is longer leaves as it is: the worker would be away from everybody else for more than 10 ms.
const COMPRESSED_BYTES_MAX: usize = 1 << 20;

/// At least one byte in so many must be saved, or the receivers' inflating is not worth it.
const SAVED_SHARE_MIN: usize = 10;

/// A large message leaves no large buffer behind.
const SCRATCH_BYTES_KEPT: usize = 64 << 10;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    /// The message of a payload, by RFC 7692, section 7.2.2, with nothing known from before.
    pub(crate) fn inflated(payload: &[u8]) -> Vec<u8> {
        let mut state = Decompress::new(false);
        let mut plain = Vec::with_capacity(1 << 21);
        let input = [payload, &FLUSH_END].concat();
        state.decompress_vec(&input, &mut plain, FlushDecompress::Sync).unwrap();
        assert_eq!(state.total_in(), input.len() as u64, "the room sufficed");
        plain
    }

    fn stored(head: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; 3 + STORED_BYTES];
        buffer.extend_from_slice(head);
        store(&mut buffer, 3);
        buffer.split_off(3)
    }

    #[test]
    fn what_is_short_or_gains_nothing_is_left_alone() {
        assert_eq!(compress(&[b'a'; COMPRESSED_BYTES_MIN - 1]), None);
        assert!(compress(&[b'a'; COMPRESSED_BYTES_MIN]).is_some_and(|bytes| bytes.len() < 20));
        assert!(compress(&vec![b'a'; COMPRESSED_BYTES_MAX]).is_some());
        assert_eq!(compress(&vec![b'a'; COMPRESSED_BYTES_MAX + 1]), None);
        let mut noise = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 56) as u8
        })
        .take(100_000)
        .collect();
        for length in [COMPRESSED_BYTES_MIN, 1_000, 10_000, 65_000, 100_000, 100_000, 30_000] {
            assert_eq!(compress(&noise[..length]), None, "{length}");
            assert!(COMPRESSOR.with_borrow(Option::is_some), "{length}: the compressor had to be given up");
        }
    }

    #[test]
    fn a_message_leaves_nothing_behind_for_the_next() {
        let text = "to be or not to be; ".repeat(50);
        let first = compress(text.as_bytes());
        assert!(first.is_some());
        assert!(compress("something else ".repeat(60_000).as_bytes()).is_some());
        assert_eq!(compress(text.as_bytes()), first);
        let kept = COMPRESSOR.with_borrow(|compressor| compressor.as_ref().map(|c| c.scratch.capacity()));
        assert_eq!(kept, Some(SCRATCH_BYTES_KEPT));
    }

    #[test]
    fn a_head_of_any_length_is_stored() {
        for length in [1, 127, BLOCK_BYTES_MAX, BLOCK_BYTES_MAX + 1, 3 * BLOCK_BYTES_MAX + 7] {
            let head: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let blocks = stored(&head);
            assert_eq!(blocks.len(), length + length.div_ceil(BLOCK_BYTES_MAX) * STORED_BYTES);
            // Their end is a byte's end: the blocks of an empty tail may follow.
            assert_eq!(inflated(&[&blocks[..], &[0]].concat()), head, "{length}");
        }
        assert_eq!(&stored(b"ab")[..], [0, 2, 0, 0xfd, 0xff, b'a', b'b']);
    }

    proptest! {
        #[test]
        fn any_head_and_tail_inflate_to_the_message(
            head in prop::collection::vec(any::<u8>(), 1..200),
            words in prop::collection::vec(prop::sample::select(vec!["a", "{\"x\":", "ü", "\0", "true}", "0123456789"]), 100..3_000),
        ) {
            let tail = words.concat().into_bytes();
            if let Some(compressed) = compress(&tail) {
                prop_assert!(compressed.len() < tail.len());
                prop_assert_eq!(inflated(&[&stored(&head)[..], &compressed].concat()), [head, tail].concat());
            } else {
                prop_assert!(tail.len() < COMPRESSED_BYTES_MIN, "{} bytes", tail.len());
            }
        }
    }
}
