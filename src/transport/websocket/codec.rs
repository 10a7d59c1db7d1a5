//! tungstenite between two byte buffers: it never sees the socket.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use super::boundary::Boundary;
use super::frame::CONTROL_BYTES_MAX;
use super::whole;
use crate::transport::{Framing, FramingError, Incoming};

/// The receiving side of one WebSocket.
///
/// tungstenite reads from the slice at hand and writes pongs and the echo of a close into a buffer, from which they
/// leave as whole frames: only the caller's outbox decides what stands next to what on the wire.
///
/// Between two messages tungstenite remembers nothing that another connection could not use: a context belongs to a
/// connection only while a message of it is incomplete, so an idle one owns none.
#[derive(Debug)]
pub struct WebSocket {
    context: Option<Box<WebSocketContext>>,
    boundary: Boundary,
    message_bytes_max: usize,
    /// Our close frame has left.
    closing: bool,
}

impl WebSocket {
    /// A connection after its handshake; a message may have up to `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { context: None, boundary: Boundary::default(), message_bytes_max, closing: false }
    }

    /// Whether the peer may still send: it has not closed.
    pub(super) fn is_open(&self) -> bool {
        self.context.as_ref().is_none_or(|context| context.can_read())
    }

    /// The largest message, bytes.
    pub(super) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    fn context(&mut self) -> Box<WebSocketContext> {
        self.context.take().unwrap_or_else(|| {
            let mut context = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(fresh);
            limit(&mut context, self.message_bytes_max);
            context
        })
    }

    /// What is not one whole message after the other goes through tungstenite.
    #[inline(never)]
    fn receive_rest(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
        let plausible = self.boundary.feed(bytes);
        let mut context = self.context();
        let pumped = pump(&mut context, &mut Wire { unread: bytes, written: Vec::new() }, sink);
        let hopeless = !plausible && context.can_read();
        // After an error it is nobody's.
        pumped?;
        self.put_back(context);
        if hopeless { Err(FramingError::NotUtf8) } else { Ok(()) }
    }

    /// A context between two messages is anybody's. One that has grown, or whose connection is about to end, is not.
    fn put_back(&mut self, context: Box<WebSocketContext>) {
        let between = self.boundary.held_bytes() == 0 && !self.closing;
        if !between || !context.can_write() || !context.can_read() {
            self.context = Some(context);
            return;
        }
        // For a large buffer tungstenite has no release.
        let large = self.boundary.largest_bytes() > KEPT_FRAME_BYTES;
        self.boundary = Boundary::default();
        SPARE.with_borrow_mut(|spare| {
            if !large && spare.len() < SPARE_MAX {
                spare.push(context);
            }
        });
    }
}

impl Framing for WebSocket {
    fn receive(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
        let bytes = match self.context {
            None if !self.closing => whole::take(bytes, self.message_bytes_max, sink),
            _ => bytes,
        };
        if bytes.is_empty() { Ok(()) } else { self.receive_rest(bytes, sink) }
    }

    fn set_message_bytes_max(&mut self, bytes_max: usize) {
        self.message_bytes_max = bytes_max;
        if let Some(context) = &mut self.context {
            limit(context, bytes_max);
        }
    }

    fn closing(&mut self) {
        if !self.closing {
            self.closing = true;
            let mut context = self.context();
            // Ours is in the outbox already; tungstenite's copy only tells it the state.
            let _written = context.close(&mut Wire { unread: &[], written: Vec::new() }, None);
            self.context = Some(context);
        }
    }

    fn buffered_bytes(&self) -> usize {
        self.boundary.held_bytes()
    }
}

/// All that tungstenite sees of the world.
struct Wire<'a> {
    unread: &'a [u8],
    written: Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.unread.read(buffer) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            taken => taken,
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        self.written.write(frame)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pump(
    context: &mut WebSocketContext,
    wire: &mut Wire<'_>,
    sink: &mut dyn FnMut(Incoming<'_>),
) -> Result<(), FramingError> {
    loop {
        let read = context.read(wire);
        if !wire.written.is_empty() {
            sink(Incoming::Reply(Bytes::from(std::mem::take(&mut wire.written))));
        }
        match read {
            Ok(tungstenite::Message::Text(text)) => {
                sink(Incoming::Payload { bytes: text.as_bytes(), text: true, end: true });
            }
            Ok(tungstenite::Message::Binary(bytes)) => {
                sink(Incoming::Payload { bytes: &bytes, text: false, end: true });
            }
            Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_)) => sink(Incoming::Alive),
            Ok(tungstenite::Message::Close(frame)) => {
                echo_close(context, wire, sink);
                sink(Incoming::Closed { code: frame.map(|frame| frame.code.into()) });
                return Ok(());
            }
            // Only ever made by a sender.
            Ok(tungstenite::Message::Frame(_)) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(()),
            Err(error) => return Err(misdeed(&error)),
        }
    }
}

/// tungstenite writes the echo with the next read or flush; the latter answers that the connection is closed now.
fn echo_close(context: &mut WebSocketContext, wire: &mut Wire<'_>, sink: &mut dyn FnMut(Incoming<'_>)) {
    wire.unread = &[];
    let _closed = context.flush(wire);
    if !wire.written.is_empty() {
        sink(Incoming::Reply(Bytes::from(std::mem::take(&mut wire.written))));
    }
}

fn fresh() -> Box<WebSocketContext> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES);
    Box::new(WebSocketContext::new(Role::Server, Some(config)))
}

fn limit(context: &mut WebSocketContext, message_bytes_max: usize) {
    context.set_config(|config| {
        config.max_message_size = Some(message_bytes_max);
        config.max_frame_size = Some(message_bytes_max.max(CONTROL_BYTES_MAX));
    });
}

thread_local! {
    /// Contexts between two messages.
    #[expect(clippy::vec_box, reason = "they come and go in their boxes")]
    static SPARE: RefCell<Vec<Box<WebSocketContext>>> = const { RefCell::new(Vec::new()) };
}

fn misdeed(error: &Error) -> FramingError {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            FramingError::TooLarge { bytes: *size, bytes_max: *max_size }
        }
        Error::Utf8(_) => FramingError::NotUtf8,
        error => FramingError::Malformed(error.to_string().into()),
    }
}

/// Bytes that tungstenite takes from the slice at hand at a time, and clears before: small enough to cost little, large
/// enough for most messages.
const READ_BUFFER_BYTES: usize = 1 << 10;

/// A context that has seen a larger frame is not kept: it would keep a buffer of that size.
const KEPT_FRAME_BYTES: u64 = 64 << 10;

/// Contexts that a thread keeps. One is in use at a time but for messages that come in pieces.
const SPARE_MAX: usize = 4;

/// Holds one pong or close at a time: at most 127 bytes.
const WRITE_BUFFER_BYTES: usize = 256;

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
