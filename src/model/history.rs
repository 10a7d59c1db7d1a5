//! The words of history: where a message stands, what is asked of a store, what it answers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::message::{Message, MessageId, written_as};

/// Where a message stands in what is kept of its destination. Opaque to clients, and never given to two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which numbering: another destination's, and one that began anew, has another epoch.
    pub epoch: u64,
    /// The how many-th message; a later one's is greater.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.offset)
    }
}

/// The text is no position that we gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        written_as(text, |epoch, offset| Self { epoch, offset }).ok_or(NoPosition)
    }
}

/// How much of a destination is kept; whatever is crossed first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Messages; 0 = nothing is kept.
    pub messages_max: usize,
    /// Bytes of their records.
    pub bytes_max: usize,
    /// Age, milliseconds.
    pub age_ms_max: u64,
}

/// From where messages are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After a position that a client named; `None` if what it named is none of ours. If it does not belong here, the
    /// last so many.
    Since(Option<Position>, usize),
    /// The last so many.
    Last(usize),
    /// After an offset up to which they were read before.
    After(u64),
}

/// A part of what is kept of a destination.
#[derive(Debug, Clone)]
pub struct Page {
    /// In their order.
    pub messages: Vec<Arc<Message>>,
    /// Nothing is missing between where it was asked to start and the first message.
    pub recovered: bool,
    /// The message after which it begins.
    pub after: Position,
    /// Up to where it was read.
    pub end: Position,
    /// It reaches the end: what comes later follows this answer in the worker's inbox.
    pub joined: bool,
}

/// A message that is kept, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its offset.
    pub offset: u64,
    /// Its identity, if it is still kept.
    pub id: Option<MessageId>,
}

/// Which message is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest.
    Last,
    /// The one that stands there, though it may not be kept any more.
    At(u64),
    /// This one, if it is kept.
    Id(MessageId),
}

/// Somebody who has read up to an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Whose own messages do not count.
    pub user: Arc<str>,
    /// Up to where he has read.
    pub read: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written_and_nothing_else_is_one() {
        let position = Position { epoch: 0xab, offset: 7 };
        assert_eq!(position.to_string(), "00000000000000ab-7");
        for position in [position, Position { epoch: u64::MAX, offset: u64::MAX }] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in [
            "",
            "-",
            "ab-7",
            "00000000000000AB-7",
            "00000000000000ab-07",
            "00000000000000ab-+7",
            "00000000000000ab--7",
            "00000000000000ab-7 ",
            "00000000000000ab-18446744073709551616",
            "00000000000000ab",
            "+0000000000000ab-7",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
    }
}
