//! How what waits leaves: as it is, copied together, or in one vectored write.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::routing::Outbox;

/// One write of what waits in `outbox`. `scratch` may hold what is copied, unless it is in use.
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
