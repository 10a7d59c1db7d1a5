//! One connection: bytes from its socket to the shard, bytes from its outbox to the socket.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::broker::{Link, Now, Shown, Status};
use crate::model::{CloseReason, Refusal};
use crate::transport::{Framing, FramingError, Incoming};

use super::worker::Worker;

/// Who comes, and how.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) link: Link,
    pub(crate) shown: Shown,
    /// When the connection was accepted.
    pub(crate) accepted: Now,
}

/// Serves STOMP on `stream` until either side has ended it. `read_ahead` is what was read of the client already.
pub(crate) async fn serve<S, F>(
    worker: Rc<Worker>,
    stream: S,
    framing: F,
    visitor: Visitor,
    read_ahead: &[u8],
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Framing,
{
    let mut driver = Driver::open(worker, framing, visitor);
    driver.take(read_ahead);
    driver.run(stream).await;
}

/// Tells a client why it is not served.
pub(crate) async fn refuse<S, F>(
    worker: Rc<Worker>,
    stream: S,
    framing: F,
    visitor: Visitor,
    refusal: &Refusal,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Framing,
{
    let driver = Driver::open(worker, framing, visitor);
    let now = driver.worker.now();
    driver.worker.shard.borrow_mut().end(driver.slot, refusal, now);
    driver.run(stream).await;
}

/// A socket that is closed while the client's bytes are unread is reset, and what we said last may be lost with it.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(worker: &Worker, mut stream: S) {
    let farewell = async {
        stream.shutdown().await?;
        poll_fn(|context| poll_discard(worker, context, &mut stream)).await
    };
    // Whether the client closes in time or not, the connection has ended.
    let _ = timeout(LINGER, farewell).await;
}

/// Reads to the end and keeps nothing.
fn poll_discard<S>(worker: &Worker, context: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>>
where
    S: AsyncRead + Unpin,
{
    let mut scratch = worker.scratch.borrow_mut();
    loop {
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}

struct Driver<F> {
    worker: Rc<Worker>,
    slot: u32,
    framing: F,
    /// The client sends nothing more.
    hung_up: bool,
    connected: bool,
}

impl<F: Framing> Driver<F> {
    fn open(worker: Rc<Worker>, framing: F, visitor: Visitor) -> Self {
        let Visitor { link, shown, accepted } = visitor;
        let mut shard = worker.shard.borrow_mut();
        let id = shard.open(link, shown, accepted);
        if worker.is_draining() {
            shard.end(id.slot, &CloseReason::ShuttingDown.into(), worker.now());
        }
        drop(shard);
        Self { worker, slot: id.slot, framing, hung_up: false, connected: false }
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut stream: S) {
        let end = poll_fn(|context| self.poll(context, &mut stream)).await;
        let worker = Rc::clone(&self.worker);
        drop(self);
        worker.see_to_calls();
        if end.is_ok() {
            linger(&worker, stream).await;
        }
    }

    /// Ready when everything is written and the session has ended, or with an error when the socket is of no more use.
    fn poll<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        for _ in 0..READS_AT_ONCE {
            let blocked = self.poll_flush(context, stream)?.is_pending();
            let status = self.worker.shard.borrow().status(self.slot);
            match status {
                Status::Dead => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Status::Closing if !blocked => return Poll::Ready(Ok(())),
                Status::Open if self.bytes_wanted() > 0 => {
                    if self.poll_read(context, stream)?.is_ready() {
                        continue;
                    }
                }
                Status::Open if self.hung_up && self.worker.shard.borrow().is_idle(self.slot) => {
                    let now = self.worker.now();
                    self.worker.shard.borrow_mut().hang_up(self.slot, now);
                    continue;
                }
                Status::Open | Status::Closing => {}
            }
            self.worker.shard.borrow_mut().watch(self.slot, context.waker());
            return Poll::Pending;
        }
        // Others want their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// How many bytes may be read now.
    fn bytes_wanted(&self) -> usize {
        let shard = self.worker.shard.borrow();
        match () {
            () if self.hung_up => 0,
            () if shard.wants_input(self.slot) => usize::MAX,
            () => shard.read_ahead_max(self.slot),
        }
    }

    /// Writes what waits, as much as the socket takes; pending while it takes no more.
    fn poll_flush<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        loop {
            let shard = self.worker.shard.borrow();
            let mut slices = [IoSlice::new(&[]); SLICES_AT_ONCE];
            let count = shard.gather(self.slot, &mut slices);
            if count == 0 {
                break;
            }
            let written = Pin::new(&mut *stream).poll_write_vectored(context, &slices[..count]);
            drop(shard);
            let now = self.worker.now();
            let mut shard = self.worker.shard.borrow_mut();
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => shard.wrote(self.slot, count, now),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    shard.blocked(self.slot, now);
                    return Poll::Pending;
                }
            }
        }
        Pin::new(stream).poll_flush(context)
    }

    fn poll_read<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin,
    {
        let worker = Rc::clone(&self.worker);
        let mut scratch = worker.scratch.borrow_mut();
        let count = scratch.len().min(self.bytes_wanted());
        let mut buffer = ReadBuf::new(&mut scratch[..count]);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            self.hung_up = true;
        } else {
            self.take(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes of the client, through the framing to the shard.
    fn take(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.see_who_it_is();
        let now = self.worker.now();
        let mut shard = self.worker.shard.borrow_mut();
        let slot = self.slot;
        let mut closed = false;
        let taken = self.framing.receive(bytes, &mut |incoming| match incoming {
            Incoming::Payload { bytes, text, .. } => shard.receive(slot, bytes, text, now),
            Incoming::Alive => shard.alive(slot, now),
            Incoming::Reply(frame) => shard.push_control(slot, frame),
            Incoming::Closed { .. } => closed = true,
        });
        if let Err(error) = taken {
            shard.end(slot, &refusal_of(&error), now);
        } else if closed {
            // The framing has answered the close; a second one must not follow.
            shard.said_goodbye(slot);
            self.hung_up = true;
        }
        shard.holds(slot, self.framing.buffered_bytes());
        drop(shard);
        self.see_who_it_is();
        self.worker.see_to_calls();
    }

    /// A stranger may send small messages only; who is accepted, also while slow work was done, may send any.
    fn see_who_it_is(&mut self) {
        let shard = self.worker.shard.borrow();
        if !self.connected && shard.is_connected(self.slot) {
            self.connected = true;
            let limits = &shard.broker().settings().limits;
            self.framing
                .set_message_bytes_max((limits.body_bytes_max + limits.head_bytes_max) * FRAMES_A_MESSAGE);
        }
    }
}

/// However it ends, a fault in between included, the shard must not keep what nobody drives.
impl<F> Drop for Driver<F> {
    fn drop(&mut self) {
        let now = self.worker.now();
        match self.worker.shard.try_borrow_mut() {
            Ok(mut shard) => shard.remove(self.slot, now),
            Err(_) => tracing::error!("a connection is gone that its worker cannot forget"),
        }
    }
}

fn refusal_of(error: &FramingError) -> Refusal {
    let reason: CloseReason = error.reason();
    Refusal::new(reason, error.to_string()).closing_with(error.close_code())
}

/// Several frames may come in one WebSocket message: so many of the largest.
const FRAMES_A_MESSAGE: usize = 4;

/// Reads of one connection before the others get their turn.
const READS_AT_ONCE: usize = 4;

/// Slices of one vectored write; the system takes at most 1,024.
const SLICES_AT_ONCE: usize = 256;

/// How long a closed connection waits for the client to close its side.
const LINGER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
