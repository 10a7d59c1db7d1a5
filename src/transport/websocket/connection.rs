//! Messages over one stream, for handlers that are not the broker.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::codec::WebSocket;
use super::frame::{self, Kind};
use crate::transport::{Framing, FramingError, Incoming};

/// A WebSocket over any byte stream. Pings are answered while [`Connection::recv`] is awaited.
///
/// One task owns it. `recv` and `send` may be dropped at any await: no message is lost and no frame torn.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    framing: WebSocket,
    received: VecDeque<Message>,
    end: Option<End>,
    outgoing: VecDeque<Bytes>,
    outgoing_bytes: usize,
    /// Our close frame, which waits until the messages before it have been received and perhaps answered.
    last_word: Option<Bytes>,
    close_sent: bool,
}

/// A message of the peer, or for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// UTF-8.
    Text(String),
    /// Any bytes.
    Binary(Bytes),
}

/// Why no more messages come, other than by an orderly close.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The peer broke the framing; the close frame with the right code is on its way.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The stream failed, or ended without a close frame.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}

#[derive(Debug)]
enum End {
    Orderly,
    Broken(Option<Closed>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A stream after its handshake. `read_ahead` was read past the handshake; a message of the peer may have up to
    /// `message_bytes_max` bytes.
    pub fn new(stream: S, read_ahead: &[u8], message_bytes_max: usize) -> Self {
        let mut connection = Self {
            stream,
            framing: WebSocket::new(message_bytes_max),
            received: VecDeque::new(),
            end: None,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            last_word: None,
            close_sent: false,
        };
        connection.receive(read_ahead);
        connection
    }

    /// The next message; `None` after an orderly close.
    ///
    /// # Errors
    /// The peer broke the framing or the stream; told once, `None` afterwards.
    pub async fn recv(&mut self) -> Option<Result<Message, Closed>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Sends a message in one frame and waits until the stream has taken it.
    ///
    /// # Errors
    /// The stream failed, or a close frame has gone out: nothing may follow it.
    pub async fn send(&mut self, message: &Message) -> io::Result<()> {
        if self.close_sent {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.push(match message {
            Message::Text(text) => frame::message(Kind::Text, text.as_bytes()),
            Message::Binary(bytes) => frame::message(Kind::Binary, bytes),
        });
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Says goodbye with a close code, unless one of both sides has already, and waits a moment for the peer to end the
    /// stream: what it still sends is read and dropped, since unread bytes would turn the end into a reset that can
    /// overtake the close frame.
    ///
    /// # Errors
    /// The stream failed or the peer did not end it in time.
    pub async fn close(mut self, code: u16, reason: &str) -> io::Result<()> {
        let frame = self.last_word.take().unwrap_or_else(|| frame::close(code, reason));
        self.push_close(frame);
        tokio::time::timeout(CLOSE_MAX, poll_fn(|cx| self.poll_close(cx))).await?
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Closed>>> {
        loop {
            if let Some(message) = self.received.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            if let Some(frame) = self.last_word.take() {
                self.push_close(frame);
            }
            let flushed = self.poll_flush(cx);
            if let Some(end) = &mut self.end {
                let error = match end {
                    End::Orderly => None,
                    End::Broken(error) => error.take(),
                };
                return Poll::Ready(error.map(Err));
            }
            match flushed {
                Poll::Ready(Err(error)) => self.end = Some(End::Broken(Some(error.into()))),
                // A peer that asks without reading the answers is not read either.
                Poll::Pending if self.outgoing_bytes > UNSENT_BYTES_MAX => return Poll::Pending,
                Poll::Ready(Ok(())) | Poll::Pending => ready!(self.poll_read(cx)),
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => {
                    self.end = Some(End::Broken(Some(io::Error::from(io::ErrorKind::UnexpectedEof).into())));
                }
                Ok(()) => self.receive(buffer.filled()),
                Err(error) => self.end = Some(End::Broken(Some(error.into()))),
            }
            Poll::Ready(())
        })
    }

    fn receive(&mut self, bytes: &[u8]) {
        let Self { framing, received, outgoing, outgoing_bytes, end, last_word, .. } = self;
        let mut replies = VecDeque::new();
        let result = framing.receive(bytes, &mut |incoming| match incoming {
            Incoming::Payload { bytes, text, .. } => received.push_back(Message::copy(bytes, text)),
            Incoming::Reply(frame) => replies.push_back(frame),
            Incoming::Closed { .. } => {
                *last_word = replies.pop_back();
                *end = Some(End::Orderly);
            }
            Incoming::Alive => {}
        });
        *outgoing_bytes += replies.iter().map(Bytes::len).sum::<usize>();
        outgoing.append(&mut replies);
        if let Err(error) = result {
            *last_word = Some(frame::close(error.close_code(), &error.to_string()));
            *end = Some(End::Broken(Some(error.into())));
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let count = self.outgoing.len().min(WRITE_SLICES);
            slices.iter_mut().zip(&self.outgoing).for_each(|(slice, frame)| *slice = IoSlice::new(frame));
            let taken = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(taken);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    fn advance(&mut self, mut taken: usize) {
        self.outgoing_bytes -= taken;
        while let Some(frame) = self.outgoing.front_mut() {
            if taken < frame.len() {
                bytes::Buf::advance(frame, taken);
                return;
            }
            taken -= frame.len();
            self.outgoing.pop_front();
        }
    }

    fn push(&mut self, frame: Bytes) {
        self.outgoing_bytes += frame.len();
        self.outgoing.push_back(frame);
    }

    fn push_close(&mut self, frame: Bytes) {
        if !self.close_sent {
            self.push(frame);
            self.close_sent = true;
            self.framing.closing();
        }
    }
}

impl Message {
    fn copy(bytes: &[u8], text: bool) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(valid) if text => Self::Text(valid.to_owned()),
            _ => Self::Binary(Bytes::copy_from_slice(bytes)),
        }
    }
}

thread_local! {
    /// Reads go through one buffer per thread, so an idle connection holds none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

const SCRATCH_BYTES: usize = 64 << 10;

/// Frames in one system call.
const WRITE_SLICES: usize = 16;

/// Pongs that wait for a peer which does not read.
const UNSENT_BYTES_MAX: usize = 64 << 10;

/// How long a peer may take to end the stream after the close frames.
const CLOSE_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
