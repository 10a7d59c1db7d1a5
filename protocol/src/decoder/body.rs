//! Taking the body of a frame, from the input or over several inputs.

use bytes::Bytes;
use memchr::memchr;

use crate::error::excerpt;
use crate::parse::Head;
use crate::{Command, Limits, Version, Violation};

/// What stands between the head and the end of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// "this number of octets MUST be read, regardless of whether or not there are NULL octets in the body"
    Counted(usize),
    /// A body up to the first NUL.
    Terminated,
    /// "All other frames MUST NOT have a body."
    Nothing,
    /// 1.0 forbids no body; that of a frame which has no use for it is ignored, counted or up to the NUL.
    Ignored(Option<usize>),
}

impl Expected {
    pub(super) fn of(head: &Head, version: Option<Version>, limits: &Limits) -> Result<Self, Violation> {
        let length =
            head.headers.get("content-length").map(|value| content_length(value, limits)).transpose()?;
        if head.command.has_body() {
            return Ok(length.map_or(Self::Terminated, Self::Counted));
        }
        // A CONNECT without accept-version is 1.0.
        let is_1_0 = version
            .map_or_else(|| head.headers.get("accept-version").is_none(), |version| version == Version::V1_0);
        match length {
            _ if is_1_0 => Ok(Self::Ignored(length)),
            Some(1..) => Err(Violation::UnexpectedBody { command: head.command }),
            _ => Ok(Self::Nothing),
        }
    }

    /// Takes the body, and its NUL, that lies wholly in `input`; `None`, and nothing taken, when it does not.
    pub(super) fn whole(
        self,
        command: Command,
        limits: &Limits,
        input: &mut &[u8],
    ) -> Result<Option<Bytes>, Violation> {
        let length = match self {
            Self::Counted(length) if length < input.len() => length,
            Self::Terminated => {
                let window = &input[..input.len().min(limits.body_bytes_max.saturating_add(1))];
                match memchr(0, window) {
                    Some(length) => length,
                    None => return Ok(None),
                }
            }
            Self::Nothing if !input.is_empty() => 0,
            _ => return Ok(None),
        };
        if input[length] != 0 {
            return Err(self.not_terminated(command));
        }
        let body = Bytes::copy_from_slice(&input[..length]);
        *input = &input[length + 1..];
        Ok(Some(body))
    }

    fn not_terminated(self, command: Command) -> Violation {
        match self {
            Self::Counted(content_length) | Self::Ignored(Some(content_length)) => {
                Violation::BodyNotTerminated { content_length }
            }
            _ => Violation::UnexpectedBody { command },
        }
    }
}

/// A frame whose head is complete and whose body is not.
#[derive(Debug)]
pub(super) struct PartialBody {
    head: Head,
    expected: Expected,
    bytes: Vec<u8>,
    ignored_bytes: usize,
}

impl PartialBody {
    pub(super) fn new(head: Head, expected: Expected) -> Self {
        Self { head, expected, bytes: Vec::new(), ignored_bytes: 0 }
    }

    /// Takes from `input` up to the end of the frame; whether the frame is complete.
    pub(super) fn fill(&mut self, limits: &Limits, input: &mut &[u8]) -> Result<bool, Violation> {
        match self.expected {
            Expected::Counted(length) => {
                let missing = length - self.bytes.len();
                let part = &input[..input.len().min(missing)];
                reserve(&mut self.bytes, part.len(), length);
                self.bytes.extend_from_slice(part);
                *input = &input[part.len()..];
                if self.bytes.len() < length { Ok(false) } else { self.end(input) }
            }
            Expected::Terminated => {
                let part = self.part(self.bytes.len(), limits, input)?;
                reserve(&mut self.bytes, part.len(), limits.body_bytes_max);
                self.bytes.extend_from_slice(part);
                *input = &input[part.len()..];
                self.end(input)
            }
            Expected::Nothing => self.end(input),
            Expected::Ignored(Some(length)) => {
                let part = input.len().min(length - self.ignored_bytes);
                self.ignored_bytes += part;
                *input = &input[part..];
                if self.ignored_bytes < length { Ok(false) } else { self.end(input) }
            }
            Expected::Ignored(None) => {
                let part = self.part(self.ignored_bytes, limits, input)?.len();
                self.ignored_bytes += part;
                *input = &input[part..];
                self.end(input)
            }
        }
    }

    /// The frame's parts. The body is an allocation of exactly its length.
    pub(super) fn finish(self) -> (Head, Bytes) {
        (self.head, Bytes::from(self.bytes.into_boxed_slice()))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.head.headers.heap_bytes() + self.bytes.capacity()
    }

    /// What `input` holds of a body up to its NUL, of which `taken` bytes came before.
    fn part<'a>(&self, taken: usize, limits: &Limits, input: &'a [u8]) -> Result<&'a [u8], Violation> {
        let room = limits.body_bytes_max - taken;
        let window = &input[..input.len().min(room.saturating_add(1))];
        match memchr(0, window) {
            Some(end) => Ok(&window[..end]),
            None if window.len() > room => Err(Violation::BodyTooLarge { limit: limits.body_bytes_max }),
            None => Ok(window),
        }
    }

    /// The body is complete as far as `input` goes; its NUL follows.
    fn end(&self, input: &mut &[u8]) -> Result<bool, Violation> {
        match input.split_first() {
            None => Ok(false),
            Some((0, rest)) => {
                *input = rest;
                Ok(true)
            }
            Some(_) => Err(self.expected.not_terminated(self.head.command)),
        }
    }
}

/// Room for `more` bytes, by doubling, so that each byte moves once on average; never above `bytes_max`. What the peer
/// only announces is not allocated.
pub(super) fn reserve(bytes: &mut Vec<u8>, more: usize, bytes_max: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let capacity = needed.max(2 * bytes.capacity()).max(FIRST_BYTES).min(bytes_max.max(needed));
        bytes.reserve_exact(capacity - bytes.len());
    }
}

/// "content-length": digits and nothing else.
fn content_length(value: &str, limits: &Limits) -> Result<usize, Violation> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Violation::BadContentLength { value: excerpt(value.as_bytes()) });
    }
    let limit = limits.body_bytes_max;
    // Digits that do not fit are a number above any limit.
    value.parse().ok().filter(|length| *length <= limit).ok_or(Violation::BodyTooLarge { limit })
}

/// The least that is allocated for an incomplete frame.
const FIRST_BYTES: usize = 256;
