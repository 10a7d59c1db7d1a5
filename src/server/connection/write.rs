//! How what waits leaves: as it is, copied together, or in one vectored write.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::routing::Outbox;

/// One write of what waits in `outbox`. `scratch` may hold what is copied, unless it is in use.
#[inline(always)]
pub(super) fn poll_write<S>(
    context: &mut Context<'_>,
    stream: &mut S,
    outbox: &Outbox,
    scratch: &RefCell<Box<[u8]>>,
) -> Poll<io::Result<usize>>
where
    S: AsyncWrite + Unpin,
{
    if let Some(bytes) = outbox.only() {
        // The plain call costs the system less than the vectored one.
        return Pin::new(stream).poll_write(context, bytes);
    }
    if outbox.bytes() <= COPIED_BYTES_MAX.min(outbox.pieces() * COPIED_PIECE_BYTES)
        && let Ok(mut scratch) = scratch.try_borrow_mut()
        && let count @ 1.. = outbox.copy(&mut scratch)
    {
        return Pin::new(stream).poll_write(context, &scratch[..count]);
    }
    if outbox.pieces() <= FEW_SLICES {
        return poll_write_gathered::<S, FEW_SLICES>(context, stream, outbox);
    }
    poll_write_gathered::<S, MANY_SLICES>(context, stream, outbox)
}

fn poll_write_gathered<S, const SLICES: usize>(
    context: &mut Context<'_>,
    stream: &mut S,
    outbox: &Outbox,
) -> Poll<io::Result<usize>>
where
    S: AsyncWrite + Unpin,
{
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = outbox.gather(&mut slices);
    Pin::new(stream).poll_write_vectored(context, &slices[..count])
}

/// Pieces that are not larger on average, bytes, cost the system more as slices of their own than it costs to copy them.
const COPIED_PIECE_BYTES: usize = 512;

/// So much is copied at most, bytes: a part of the scratch space.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Slices of one vectored write; the system takes at most 1,024.
const MANY_SLICES: usize = 256;

/// Slices for which a small array does, which costs less to fill.
const FEW_SLICES: usize = 16;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::duplex;

    use crate::model::Overflow;

    use super::*;

    /// What one write takes of `pieces` and what is in the scratch space then, `room` being what the other end holds.
    fn written(pieces: &[usize], room: usize) -> (usize, Box<[u8]>) {
        let mut outbox = Outbox::default();
        for (n, bytes) in pieces.iter().enumerate() {
            outbox.push(Bytes::from(vec![n as u8 + 1; *bytes]), None, Overflow::Close, usize::MAX);
        }
        let scratch = RefCell::new(vec![0; 64 << 10].into_boxed_slice());
        let (mut here, _there) = duplex(room);
        let mut context = Context::from_waker(std::task::Waker::noop());
        match poll_write(&mut context, &mut here, &outbox, &scratch) {
            Poll::Ready(Ok(count)) => (count, scratch.into_inner()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn small_pieces_are_copied_together_and_large_ones_are_not() {
        let (few, full) = ([10, 20, 30], vec![COPIED_PIECE_BYTES; COPIED_BYTES_MAX / COPIED_PIECE_BYTES]);
        for (pieces, room, expected, copied) in [
            (&few[..], 1_000, 60, 60),
            (&few[..], 25, 25, 60),
            (&[10], 1_000, 10, 0),
            (&[COPIED_PIECE_BYTES + 1; 2], 9_999, 2 * COPIED_PIECE_BYTES + 2, 0),
            (&full, 99_999, COPIED_BYTES_MAX, COPIED_BYTES_MAX),
            (&[&full[..], &[1]].concat(), 99_999, COPIED_BYTES_MAX + 1, 0),
        ] {
            let (count, scratch) = written(pieces, room);
            assert_eq!(count, expected, "{pieces:?}");
            assert_eq!(scratch.iter().filter(|byte| **byte != 0).count(), copied, "{pieces:?}");
        }
    }

    #[test]
    fn where_the_scratch_space_is_in_use_nothing_is_copied() {
        let mut outbox = Outbox::default();
        for _ in 0..3 {
            outbox.push(Bytes::from_static(b"abc"), None, Overflow::Close, usize::MAX);
        }
        let scratch = RefCell::new(vec![0; 64 << 10].into_boxed_slice());
        let _in_use = scratch.borrow_mut();
        let (mut here, _there) = duplex(100);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(poll_write(&mut context, &mut here, &outbox, &scratch), Poll::Ready(Ok(9))));
    }
}
