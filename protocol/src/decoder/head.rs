//! Finding the end of a head, in the input or over several inputs.

use memchr::memchr2;

use crate::Violation;

/// Where a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Bytes of the command line and the header lines.
    pub(super) lines: usize,
    /// Bytes of the head: the lines and the blank line.
    pub(super) head: usize,
}

/// The end of the head that `input` begins with; `None` before it is there.
pub(super) fn find_end(input: &[u8], head_bytes_max: usize) -> Result<Option<End>, Violation> {
    let window = &input[..input.len().min(head_bytes_max)];
    let mut from = 0;
    while let Some(offset) = memchr2(b'\n', 0, &window[from..]) {
        let at = from + offset;
        match window[at..] {
            [0, ..] => return Err(Violation::NulInHead),
            [_, b'\n', ..] => return Ok(Some(End { lines: at + 1, head: at + 2 })),
            [_, b'\r', b'\n', ..] => return Ok(Some(End { lines: at + 1, head: at + 3 })),
            _ => from = at + 1,
        }
    }
    if window.len() == head_bytes_max {
        return Err(Violation::HeadTooLarge { limit: head_bytes_max });
    }
    Ok(None)
}

/// Whether a connection begins with something that is no STOMP and is easily mistaken for it. `input` is the first
/// bytes of the connection.
pub(super) fn misplaced(input: &[u8]) -> Result<(), Violation> {
    if input.starts_with(&[0x16, 0x03]) {
        return Err(Violation::TlsOnStompPort);
    }
    if input.starts_with(b"\xef\xbb\xbf") {
        return Err(Violation::ByteOrderMark);
    }
    if HTTP_METHODS.iter().any(|method| input.starts_with(method)) {
        return Err(Violation::HttpOnStompPort);
    }
    Ok(())
}

/// The beginning of a head whose end is still to come. All of it has been searched.
#[derive(Debug)]
pub(super) struct PartialHead {
    bytes: Vec<u8>,
}

impl PartialHead {
    pub(super) fn new(input: &[u8], head_bytes_max: usize) -> Self {
        let mut partial = Self { bytes: Vec::new() };
        partial.append(input, head_bytes_max);
        partial
    }

    /// Takes from `input` up to the end of the head; whether the head is complete.
    pub(super) fn fill(&mut self, input: &mut &[u8], head_bytes_max: usize) -> Result<bool, Violation> {
        loop {
            let room = head_bytes_max.saturating_sub(self.bytes.len());
            let window = &input[..input.len().min(room)];
            let Some(at) = memchr2(b'\n', 0, window) else {
                self.append(window, head_bytes_max);
                *input = &input[window.len()..];
                break;
            };
            if window[at] == 0 {
                return Err(Violation::NulInHead);
            }
            self.append(&window[..=at], head_bytes_max);
            *input = &input[at + 1..];
            if self.lines_end().is_some() {
                return Ok(true);
            }
        }
        if self.bytes.len() >= head_bytes_max {
            return Err(Violation::HeadTooLarge { limit: head_bytes_max });
        }
        Ok(false)
    }

    /// As [`misplaced`], for what is held and `input` behind it.
    pub(super) fn misplaced(&self, input: &[u8]) -> Result<(), Violation> {
        let start = self.bytes.iter().chain(input).take(PREFIX_BYTES).copied();
        misplaced(&start.collect::<smallvec::SmallVec<[u8; PREFIX_BYTES]>>())
    }

    /// The lines of the complete head.
    pub(super) fn lines(&self) -> &[u8] {
        &self.bytes[..self.lines_end().unwrap_or(self.bytes.len())]
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    fn lines_end(&self) -> Option<usize> {
        let blank = if self.bytes.ends_with(b"\n\n") {
            1
        } else if self.bytes.ends_with(b"\n\r\n") {
            2
        } else {
            return None;
        };
        Some(self.bytes.len() - blank)
    }

    fn append(&mut self, more: &[u8], head_bytes_max: usize) {
        super::body::reserve(&mut self.bytes, more.len(), head_bytes_max);
        self.bytes.extend_from_slice(more);
    }
}

/// The longest of what [`misplaced`] looks for.
const PREFIX_BYTES: usize = 8;
const HTTP_METHODS: [&[u8]; 8] =
    [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"PRI * HT"];
