//! The stream under a connection, whatever it is made of.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A TCP connection, encrypted or not; bytes that were looked at already are read again first.
#[derive(Debug)]
pub struct Socket {
    io: Io,
    read_ahead: Bytes,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

type Tls = TlsStream<TcpStream>;

impl Socket {
    /// Puts bytes back that were read but belong to what is read next.
    pub fn unread(&mut self, bytes: Bytes) {
        debug_assert!(self.read_ahead.is_empty(), "bytes are put back once");
        self.read_ahead = bytes;
    }

    #[inline(never)]
    fn take_read_ahead(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.read_ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.read_ahead[..count]);
        self.read_ahead.advance(count);
        if self.read_ahead.is_empty() {
            self.read_ahead = Bytes::new();
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self { io: Io::Plain(stream), read_ahead: Bytes::new() }
    }
}

impl From<Tls> for Socket {
    fn from(stream: Tls) -> Self {
        Self { io: Io::Tls(Box::new(stream)), read_ahead: Bytes::new() }
    }
}

// Apart, or all of TLS would stand amidst what an unencrypted connection runs through for every message.
#[inline(never)]
fn read_tls(stream: &mut Tls, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_read(cx, buffer)
}

#[inline(never)]
fn write_tls(stream: &mut Tls, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_write(cx, bytes)
}

#[inline(never)]
fn flush_tls(stream: &mut Tls, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_flush(cx)
}

impl AsyncRead for Socket {
    #[inline(always)]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.is_empty() {
            return match &mut self.io {
                Io::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
                Io::Tls(stream) => read_tls(stream, cx, buffer),
            };
        }
        self.take_read_ahead(buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    #[inline(always)]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Tls(stream) => write_tls(stream, cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => flush_tls(stream, cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
