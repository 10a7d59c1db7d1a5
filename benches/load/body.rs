//! What stands in a body, and what it proves.

use memchr::memchr;

/// The place of a message among those of its stream, and when it was due.
///
/// A stream is what one publisher sends to one destination: its numbers reach each receiver without a hole, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) stream: u32,
    pub(crate) number: u32,
    /// Nanoseconds of the run's clock.
    pub(crate) due: u64,
}

impl Stamp {
    /// Appends a body of about `bytes` bytes by `template`.
    pub(crate) fn write(self, template: &Template, bytes: usize, to: &mut Vec<u8>) {
        let start = to.len();
        to.extend_from_slice(template.before.as_bytes());
        self.mark(to);
        to.extend_from_slice(template.between.as_bytes());
        let end = start + bytes.max(to.len() - start + template.after.len()) - template.after.len();
        template.pad(end, to);
        to.extend_from_slice(template.after.as_bytes());
    }

    /// Appends the stamp alone.
    pub(crate) fn mark(self, to: &mut Vec<u8>) {
        to.push(MARK);
        hex(self.stream.into(), 8, to);
        hex(self.number.into(), 8, to);
        hex(self.due, 16, to);
    }

    /// The stamp of a body or a receipt; none, when it is not of ours.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let at = memchr(MARK, body)? + 1;
        let digits = body.get(at..at + 32)?;
        let (stream, rest) = digits.split_at(8);
        let (number, due) = rest.split_at(8);
        Some(Self { stream: value(stream) as u32, number: value(number) as u32, due: value(due) })
    }
}

/// The shape of a body.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    before: String,
    between: String,
    after: String,
    padding: &'static str,
}

impl Template {
    /// `text` with `{stamp}` and, after it, `{pad}`.
    pub(crate) fn new(text: &str, padding: &'static str) -> Option<Self> {
        let (before, rest) = text.split_once("{stamp}")?;
        let (between, after) = rest.split_once("{pad}").unwrap_or((rest, ""));
        let [before, between, after] = [before, between, after].map(str::to_owned);
        Some(Self { before, between, after, padding })
    }

    /// Whole characters only, then blanks.
    fn pad(&self, end: usize, to: &mut Vec<u8>) {
        let unit = self.padding.as_bytes();
        while to.len() + unit.len() <= end {
            to.extend_from_slice(unit);
        }
        to.resize(end.max(to.len()), b' ');
    }
}

/// What one receiver is to get of one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) stream: u32,
    /// Number of the subscription, among those of the connection.
    pub(crate) subscription: u32,
    /// The next number; none until the first has come to one who joined while messages were under way.
    next: Option<u32>,
    /// Numbers from here on must come.
    from: u32,
}

/// What an arrival was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Next,
    /// So many before it did not come, or will come too late.
    After(u32),
    /// It came before, or after a later one.
    Again,
}

impl Expected {
    pub(crate) fn new(stream: u32, subscription: u32) -> Self {
        Self { stream, subscription, next: None, from: u32::MAX }
    }

    /// The subscription is active: all from number `from` on will come. What was promised before still holds.
    pub(crate) fn join(&mut self, from: u32) {
        self.from = self.from.min(from);
    }

    pub(crate) fn arrive(&mut self, number: u32) -> Arrival {
        let next = self.next.unwrap_or(number.min(self.from));
        if number < next {
            return Arrival::Again;
        }
        self.next = Some(number + 1);
        if number == next { Arrival::Next } else { Arrival::After(number - next) }
    }

    /// How many of `sent` are missing at the end.
    pub(crate) fn missing(&self, sent: u32) -> u32 {
        sent.saturating_sub(self.next.unwrap_or(self.from))
    }
}

fn hex(value: u64, digits: u32, to: &mut Vec<u8>) {
    let digit = |n: u32| b"0123456789abcdef"[(value >> (4 * n)) as usize & 15];
    to.extend((0..digits).rev().map(digit));
}

fn value(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, digit| value << 4 | u64::from((digit & 15) + 9 * (digit >> 6)))
}

/// Begins a stamp; nothing that a server adds to a body has it.
const MARK: u8 = b'#';
