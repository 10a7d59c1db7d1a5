//! Taking a connection from under hyper in the middle of a request: what hyper keeps for each is many times what a stream of
//! events needs.
//!
//! The service notes that it wants the connection and never answers. Hyper writes all it has whenever it is polled; so once it
//! waits, and its last write was not refused, nothing of an earlier answer is left in it, and the stream can be taken out.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;

use crate::server::socket::Socket;

/// A stream that knows whether it refused the last bytes.
pub(super) struct Watched {
    io: TokioIo<Socket>,
    refuses: Arc<AtomicBool>,
}

/// Serves `socket` until it ends, is upgraded, or `is_wanted`: then it is taken; or until `poll_cut` says that it is of no more
/// use. When `closing` is ready the request under way
/// is answered, and no other.
pub(super) async fn serve<S>(
    http: &Builder,
    socket: Socket,
    service: S,
    closing: impl Future<Output = ()>,
    is_wanted: impl Fn() -> bool,
    poll_cut: impl Fn(&mut Context<'_>) -> Poll<()>,
) -> io::Result<Option<Socket>>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let refuses = Arc::new(AtomicBool::new(false));
    let watched = Watched { io: TokioIo::new(socket), refuses: Arc::clone(&refuses) };
    let mut connection = http.serve_connection(watched, service).with_upgrades();
    let is_free = || is_wanted() && !refuses.load(Ordering::Relaxed);
    let mut closing = pin!(closing);
    let mut is_closing = false;
    let ended = poll_fn(|context| {
        if !is_closing && closing.as_mut().poll(context).is_ready() {
            is_closing = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        // What the request just asked for is asked about at once.
        let polled = poll(&mut connection, context, &is_free);
        if polled.is_pending() && poll_cut(context).is_ready() { Poll::Ready(Some(Ok(()))) } else { polled }
    });
    if let Some(result) = ended.await {
        result.map_err(io::Error::other)?;
        return Ok(None);
    }
    // What the client sent behind its request goes with hyper: it has nothing to say.
    Ok(connection.into_parts().map(|parts| parts.io.into_inner()))
}

/// The end of the connection, or nothing where it may be taken.
fn poll<S>(
    connection: &mut UpgradeableConnection<Watched, S>,
    context: &mut Context<'_>,
    is_free: &impl Fn() -> bool,
) -> Poll<Option<hyper::Result<()>>>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Pin::new(connection).poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if is_free() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    }
}

impl Watched {
    pub(super) fn into_inner(self) -> Socket {
        self.io.into_inner()
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.refuses.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
