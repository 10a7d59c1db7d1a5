//! What waits for one connection's socket.

use std::io::IoSlice;

use bytes::Bytes;

use crate::model::Overflow;

use super::pieces::{Piece, Pieces};

/// How a piece may be treated when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// The broker's own word to the client (CONNECTED, RECEIPT, ERROR, heart-beat, pong): small, always taken. What
    /// produces it is bounded: frames are not read from a connection whose outbox is full.
    Control,
    /// A delivery that must not be dropped.
    Kept,
    /// A delivery whose destination drops the oldest when full.
    Droppable,
}

/// Pending bytes of one connection, bounded. Empty, it owns no memory.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: Pieces,
    /// Sum of the pieces, without what of the first one is already written.
    bytes: usize,
    /// Bytes of the first piece that the socket has taken.
    written: usize,
    /// The first piece is the tail of a frame whose head has left.
    mid_frame: bool,
    /// All bytes ever pushed.
    pushed_total: u64,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits.
    Taken,
    /// This many deliveries were dropped: older ones for it, or at last itself.
    Dropped(usize),
    /// There is no room: the connection is slow.
    Full,
}

impl Outbox {
    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Pieces waiting: what [`Outbox::gather`] would fill, had it the room.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// What should be written next, if it is one piece.
    pub fn only(&self) -> Option<&[u8]> {
        let first = self.pieces.first().filter(|_| self.pieces.len() == 1)?;
        Some(&first.bytes[self.written..])
    }

    /// Position after the last byte pushed, counted from the connection's start.
    pub fn pushed_total(&self) -> u64 {
        self.pushed_total
    }

    /// Position after the last byte that the socket has taken. What was dropped before the next byte to be written
    /// counts as taken.
    pub fn written_total(&self) -> u64 {
        let first = self.pieces.first();
        first.map_or(self.pushed_total, |first| first.end - (first.bytes.len() - self.written) as u64)
    }

    /// Adds the broker's own frame; there is always room.
    pub fn push_control(&mut self, bytes: Bytes) {
        self.append(bytes, Priority::Control, false);
    }

    /// Adds a delivery: `head` and, where it is shared, `tail`. An empty outbox takes a delivery of any size.
    #[inline(always)]
    pub fn push(&mut self, head: Bytes, tail: Option<Bytes>, overflow: Overflow, bytes_max: usize) -> Pushed {
        let wanted = head.len() + tail.as_ref().map_or(0, Bytes::len);
        let mut dropped = 0;
        if self.bytes + wanted > bytes_max && !self.is_empty() {
            match overflow {
                Overflow::Close => return Pushed::Full,
                Overflow::DropOldest => {
                    dropped = self.drop_oldest(wanted, bytes_max);
                    if self.bytes + wanted > bytes_max && !self.is_empty() {
                        // What stands before it may not be dropped: then it is this one.
                        return Pushed::Dropped(dropped + 1);
                    }
                }
            }
        }
        let priority = match overflow {
            Overflow::Close => Priority::Kept,
            Overflow::DropOldest => Priority::Droppable,
        };
        self.append(head, priority, tail.is_some());
        if let Some(tail) = tail {
            self.append(tail, priority, false);
        }
        if dropped > 0 { Pushed::Dropped(dropped) } else { Pushed::Taken }
    }

    /// Fills `slices` with what should be written next; returns how many it filled.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.pieces.gather(slices, self.written)
    }

    /// As [`Outbox::gather`], copied: into `buffer` go as many whole pieces as it has room for. Returns the bytes.
    pub fn copy(&self, buffer: &mut [u8]) -> usize {
        self.pieces.copy(buffer, self.written)
    }

    /// The socket took `count` bytes.
    #[inline(always)]
    pub fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while count > 0 {
            let Some(first) = self.pieces.first() else { return };
            let left = first.bytes.len() - self.written;
            if count < left {
                self.written += count;
                return;
            }
            count -= left;
            self.written = 0;
            self.mid_frame = first.continued;
            self.pieces.pop_front();
        }
    }

    /// Drops every frame that has not begun to leave: the connection is about to be closed with a last word. Returns the
    /// position up to which everything is written or still will be.
    pub fn abandon(&mut self) -> u64 {
        let keep = self.begun_pieces();
        let kept = match keep.checked_sub(1) {
            Some(last) => self.pieces.get(last).map_or(self.pushed_total, |last| last.end),
            None => self.written_total(),
        };
        self.bytes -= self.pieces.truncate(keep);
        kept
    }

    fn append(&mut self, bytes: Bytes, priority: Priority, continued: bool) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        self.pushed_total += bytes.len() as u64;
        self.pieces.push_back(Piece { bytes, priority, continued, end: self.pushed_total });
    }

    /// Pieces at the front that belong to a frame of which the socket has taken something.
    fn begun_pieces(&self) -> usize {
        let begun = self.written > 0 || self.mid_frame;
        match self.pieces.first() {
            Some(first) if begun => 1 + usize::from(first.continued),
            _ => 0,
        }
    }

    fn drop_oldest(&mut self, wanted: usize, bytes_max: usize) -> usize {
        let mut dropped = 0;
        let mut index = self.begun_pieces();
        while self.bytes + wanted > bytes_max
            && let Some(piece) = self.pieces.get(index)
        {
            if piece.priority != Priority::Droppable {
                index += 1;
                continue;
            }
            let mut continued = true;
            while continued {
                let Some(piece) = self.pieces.remove(index) else { break };
                self.bytes -= piece.bytes.len();
                continued = piece.continued;
            }
            dropped += 1;
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 100;

    fn bytes(n: usize) -> Bytes {
        Bytes::from(vec![b'x'; n])
    }

    #[test]
    fn an_empty_outbox_takes_any_size_and_a_filled_one_only_its_limit() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(bytes(500), None, Overflow::Close, MAX), Pushed::Taken);
        assert_eq!(outbox.push(bytes(1), None, Overflow::Close, MAX), Pushed::Full);
        outbox.advance(450);
        assert_eq!(outbox.push(bytes(50), None, Overflow::Close, MAX), Pushed::Taken);
    }

    #[test]
    fn the_oldest_whole_deliveries_make_room_but_never_the_one_in_progress() {
        let mut outbox = Outbox::default();
        for _ in 0..2 {
            assert_eq!(outbox.push(bytes(10), Some(bytes(30)), Overflow::DropOldest, MAX), Pushed::Taken);
        }
        outbox.advance(15);
        assert_eq!(outbox.push(bytes(60), None, Overflow::DropOldest, MAX), Pushed::Dropped(1));
        assert_eq!(outbox.bytes(), 25 + 60);
        assert_eq!(outbox.push(bytes(90), None, Overflow::DropOldest, MAX), Pushed::Dropped(2));
        assert_eq!(outbox.bytes(), 25);
    }

    #[test]
    fn abandoning_keeps_only_the_frame_in_progress() {
        let mut outbox = Outbox::default();
        outbox.push(bytes(10), Some(bytes(30)), Overflow::Close, MAX);
        outbox.push(bytes(10), None, Overflow::Close, MAX);
        outbox.advance(10);
        assert_eq!(outbox.abandon(), 40);
        assert_eq!(outbox.bytes(), 30);
        outbox.advance(30);
        outbox.push(bytes(10), None, Overflow::Close, MAX);
        assert_eq!(outbox.abandon(), 50, "the position after what was dropped earlier");
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn a_drop_behind_the_next_byte_does_not_count_as_written() {
        let mut outbox = Outbox::default();
        outbox.push(bytes(50), None, Overflow::Close, MAX);
        outbox.push(bytes(50), None, Overflow::DropOldest, MAX);
        outbox.advance(10);
        assert_eq!(outbox.push(bytes(60), None, Overflow::DropOldest, MAX), Pushed::Dropped(1));
        assert_eq!(outbox.written_total(), 10);
        outbox.advance(40);
        assert_eq!(outbox.written_total(), 100, "what was dropped before the next byte counts");
    }

    proptest! {
        #[test]
        fn whatever_the_socket_takes_every_byte_leaves_once_and_in_order(
            sizes in prop::collection::vec((1usize..40, 0usize..40), 1..40),
            takes in prop::collection::vec(1usize..64, 1..200),
        ) {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for (n, (head, tail)) in sizes.iter().enumerate() {
                let head = Bytes::from(vec![n as u8; *head]);
                let tail = Bytes::from(vec![n as u8 ^ 0xff; *tail]);
                expected.extend_from_slice(&head);
                expected.extend_from_slice(&tail);
                outbox.push(head, Some(tail), Overflow::Close, usize::MAX);
            }
            let mut got = Vec::new();
            for take in takes.into_iter().cycle() {
                if outbox.is_empty() { break }
                let mut slices = [IoSlice::new(&[]); 3];
                let count = outbox.gather(&mut slices);
                let flat: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
                // Whole pieces, as many as there is room for.
                let mut copied = vec![0; take.max(slices[0].len())];
                let filled = outbox.copy(&mut copied);
                prop_assert_eq!(&copied[..filled], &expected[got.len()..][..filled]);
                let ends = slices[..count].iter().scan(0, |end, s| { *end += s.len(); Some(*end) });
                prop_assert!(filled > flat.len() || ends.filter(|end| *end <= copied.len()).last() == Some(filled));
                let take = take.min(flat.len());
                got.extend_from_slice(&flat[..take]);
                outbox.advance(take);
                prop_assert_eq!(outbox.written_total(), got.len() as u64);
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(outbox.bytes(), 0);
        }
    }
}
