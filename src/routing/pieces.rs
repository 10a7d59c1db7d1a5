//! A queue that is nearly always empty or one long.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::outbox::Priority;

/// A part of a frame. A frame is one piece, or a head that is followed by its tail.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) priority: Priority,
    pub(super) continued: bool,
    /// Position after its last byte, counted from the connection's start.
    pub(super) end: u64,
}

/// Pieces in the order in which they leave. The first one has its place here: what waits for a socket that keeps up
/// is one piece, for which nothing is allocated and no other memory is touched.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Empty only if all is.
    first: Option<Piece>,
    rest: VecDeque<Piece>,
}

impl Pieces {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn first(&self) -> Option<&Piece> {
        self.first.as_ref()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Piece> {
        match index.checked_sub(1) {
            None => self.first.as_ref(),
            Some(index) => self.rest.get(index),
        }
    }

    pub(super) fn push_back(&mut self, piece: Piece) {
        match self.first {
            None => self.first = Some(piece),
            Some(_) => self.rest.push_back(piece),
        }
    }

    #[inline(always)]
    pub(super) fn pop_front(&mut self) -> Option<Piece> {
        let first = self.first.take();
        if first.is_some() && !self.rest.is_empty() {
            self.first = self.rest.pop_front();
            self.shrink();
        }
        first
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<Piece> {
        match index.checked_sub(1) {
            None => self.pop_front(),
            Some(index) => self.rest.remove(index),
        }
    }

    /// Fills `slices` from the front; returns how many it filled.
    pub(super) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>], skip: usize) -> usize {
        let Some(first) = &self.first else { return 0 };
        slices[0] = IoSlice::new(&first.bytes[skip..]);
        for (slice, piece) in slices[1..].iter_mut().zip(&self.rest) {
            *slice = IoSlice::new(&piece.bytes);
        }
        slices.len().min(self.len())
    }

    /// Copies from the front what `buffer` has room for; returns how many bytes.
    pub(super) fn copy(&self, buffer: &mut [u8], mut skip: usize) -> usize {
        let mut filled = 0;
        for piece in self.first.iter().chain(&self.rest) {
            let bytes = &piece.bytes[std::mem::take(&mut skip)..];
            let Some(room) = buffer[filled..].get_mut(..bytes.len()) else { break };
            room.copy_from_slice(bytes);
            filled += bytes.len();
        }
        filled
    }

    /// Leaves the first `keep`; returns the bytes of the others.
    pub(super) fn truncate(&mut self, keep: usize) -> usize {
        let mut bytes = 0;
        while self.len() > keep {
            let last = self.rest.pop_back().or_else(|| self.first.take());
            bytes += last.map_or(0, |piece| piece.bytes.len());
        }
        self.shrink();
        bytes
    }

    // A burst must not leave its memory behind on a connection that is idle again.
    fn shrink(&mut self) {
        if self.rest.is_empty() {
            self.rest = VecDeque::new();
        }
    }
}
