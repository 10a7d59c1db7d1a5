//! One connection to a server: commands out, values in, in order.
//!
//! The library's parser reads the protocol; pipelining is ours, for what was answered and what was not must be known for
//! each order, and a push must never be taken for a reply.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use redis::{Parser, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection.
pub(super) struct Pipe {
    stream: Box<dyn Stream>,
    parser: Parser,
    arrived: Box<[u8]>,
    /// What of `arrived` the parser has not taken.
    unread: std::ops::Range<usize>,
    /// The parser has said that it needs more than there is.
    is_dry: bool,
    output: Vec<u8>,
    /// So much of `output` is out.
    written: usize,
}

impl Pipe {
    /// A connection over a stream on which nothing was said yet.
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            parser: Parser::new(),
            arrived: vec![0; READ_BYTES].into(),
            unread: 0..0,
            is_dry: true,
            output: Vec::new(),
            written: 0,
        }
    }

    /// Appends a command to what is to be written.
    pub(super) fn command<'a>(&mut self, parts: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.head(b'*', parts.len());
        for part in parts {
            self.part(part);
        }
    }

    /// Appends the head of a command of so many parts, each of which must follow.
    pub(super) fn begin(&mut self, parts: usize) {
        self.head(b'*', parts);
    }

    /// Appends one part.
    pub(super) fn part(&mut self, part: &[u8]) {
        self.head(b'$', part.len());
        self.output.extend_from_slice(part);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Appends one part that is a number.
    pub(super) fn number(&mut self, number: usize) {
        let (digits, at) = digits(number);
        self.part(&digits[at..]);
    }

    /// Bytes that are not written yet.
    pub(super) fn unwritten(&self) -> usize {
        self.output.len() - self.written
    }

    /// Writes what there is to write, until the socket takes no more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.output.clear();
        self.output.shrink_to(OUTPUT_BYTES_KEPT);
        self.written = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// The next value. Errors of the server are values too.
    pub(super) fn poll_value(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Value>> {
        loop {
            if let Some(value) = self.parse()? {
                return Poll::Ready(Ok(value));
            }
            let mut buffer = ReadBuf::new(&mut self.arrived);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let count = buffer.filled().len();
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.unread = 0..count;
            self.is_dry = false;
        }
    }

    /// Sends a command and waits for what comes back. Only where nothing else is under way.
    pub(super) async fn ask(&mut self, parts: &[&[u8]]) -> io::Result<Value> {
        self.send(parts).await?;
        self.next().await
    }

    /// Sends a command.
    pub(super) async fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.command(parts.iter().copied());
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// The next value. Nothing is lost where that is not waited for to the end.
    pub(super) async fn next(&mut self) -> io::Result<Value> {
        std::future::poll_fn(|cx| self.poll_value(cx)).await
    }

    fn parse(&mut self) -> io::Result<Option<Value>> {
        if self.is_dry {
            return Ok(None);
        }
        let mut feed = Feed { bytes: &self.arrived[self.unread.clone()], is_starved: false };
        let result = self.parser.parse_value(&mut feed);
        self.unread.start = self.unread.end - feed.bytes.len();
        self.is_dry = feed.is_starved;
        match result {
            Ok(value) => Ok(Some(value)),
            Err(_) if feed.is_starved => Ok(None),
            Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a malformed reply")),
        }
    }

    fn head(&mut self, kind: u8, number: usize) {
        let (digits, at) = digits(number);
        self.output.push(kind);
        self.output.extend_from_slice(&digits[at..]);
        self.output.extend_from_slice(b"\r\n");
    }
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe").field("unwritten", &self.unwritten()).finish_non_exhaustive()
    }
}

/// Gives the parser what has arrived, and then says that there is no more yet, upon which it keeps its place.
struct Feed<'a> {
    bytes: &'a [u8],
    is_starved: bool,
}

impl Read for Feed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            self.is_starved = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.bytes.read(into)
    }
}

/// A number in decimal digits, and where they begin.
fn digits(number: usize) -> ([u8; 20], usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return (digits, at);
        }
    }
}

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// A burst's buffer is given back down to this.
const OUTPUT_BYTES_KEPT: usize = 256 << 10;
