//! tungstenite between two byte buffers: it never sees the socket.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use super::boundary::Boundary;
use super::frame::CONTROL_BYTES_MAX;
use crate::transport::{Framing, FramingError, Incoming};

/// The receiving side of one WebSocket.
///
/// tungstenite reads from the slice at hand and writes pongs and the echo of a close into a buffer, from which they
/// leave as whole frames: only the caller's outbox decides what stands next to what on the wire.
#[derive(Debug)]
pub struct WebSocket {
    context: WebSocketContext,
    boundary: Boundary,
    closing: bool,
}

impl WebSocket {
    /// A connection after its handshake; a message may have up to `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            context: WebSocketContext::new(Role::Server, Some(config(message_bytes_max))),
            boundary: Boundary::default(),
            closing: false,
        }
    }

    fn pump(&mut self, wire: &mut Wire<'_>, sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
        loop {
            let read = self.context.read(wire);
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
                    self.echo_close(wire, sink);
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
    fn echo_close(&mut self, wire: &mut Wire<'_>, sink: &mut dyn FnMut(Incoming<'_>)) {
        wire.unread = &[];
        let _closed = self.context.flush(wire);
        if !wire.written.is_empty() {
            sink(Incoming::Reply(Bytes::from(std::mem::take(&mut wire.written))));
        }
    }

    /// A large frame leaves a buffer of its size behind, for which tungstenite has no release: an idle connection gets
    /// a small one again.
    fn release(&mut self) {
        let idle = self.boundary.held_bytes() == 0 && self.context.can_write();
        if idle && self.boundary.largest_bytes() > READ_BUFFER_BYTES as u64 {
            self.context = WebSocketContext::new(Role::Server, Some(*self.context.get_config()));
            self.boundary = Boundary::default();
        }
    }
}

impl Framing for WebSocket {
    fn receive(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), FramingError> {
        let plausible = self.boundary.feed(bytes);
        self.pump(&mut Wire { unread: bytes, written: Vec::new() }, sink)?;
        if !plausible && self.context.can_read() {
            return Err(FramingError::NotUtf8);
        }
        self.release();
        Ok(())
    }

    fn set_message_bytes_max(&mut self, bytes_max: usize) {
        self.context.set_config(|config| {
            config.max_message_size = Some(bytes_max);
            config.max_frame_size = Some(bytes_max.max(CONTROL_BYTES_MAX));
        });
    }

    fn closing(&mut self) {
        if !self.closing {
            self.closing = true;
            // Ours is in the outbox already; tungstenite's copy only tells it the state.
            let _written = self.context.close(&mut Wire { unread: &[], written: Vec::new() }, None);
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

fn config(message_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max.max(CONTROL_BYTES_MAX)))
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

/// Held by every connection, idle or not; it is filled from the slice at hand, so a small one costs no system call.
const READ_BUFFER_BYTES: usize = 256;

/// Holds one pong or close at a time: at most 127 bytes.
const WRITE_BUFFER_BYTES: usize = 256;

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
