//! One connection: bytes from its socket to the shard, bytes from its outbox to the socket.

mod farewell;
mod write;

use std::cell::RefCell;
use std::future::poll_fn;
use std::hint::cold_path;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::broker::{Link, Now, Shown, Status, Transport};
use crate::model::{CloseReason, Refusal};
use crate::transport::{Framing, FramingError, Incoming};

use super::flusher::Flush;
use super::worker::Worker;

use write::poll_write;

/// Who comes, and how.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) link: Link,
    pub(crate) transport: Transport,
    pub(crate) shown: Shown,
    /// When the connection was accepted.
    pub(crate) accepted: Now,
}

/// Serves STOMP on `stream` until either side has ended it. `read_ahead` is what was read of the client already.
pub(crate) fn serve<S, F>(
    worker: &Rc<Worker>,
    stream: S,
    framing: F,
    visitor: Visitor,
    read_ahead: &[u8],
) -> impl Future<Output = ()> + 'static
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Framing + 'static,
{
    let mut line = Line::open(worker, stream, framing, visitor);
    line.take(read_ahead);
    line.run()
}

/// Tells a client why it is not served.
pub(crate) fn refuse<S, F>(
    worker: &Rc<Worker>,
    stream: S,
    framing: F,
    visitor: Visitor,
    refusal: &Refusal,
) -> impl Future<Output = ()> + 'static
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Framing + 'static,
{
    let line = Line::open(worker, stream, framing, visitor);
    let now = worker.now();
    worker.shard.borrow_mut().end(line.seat.slot, refusal, now);
    line.run()
}

/// One connection: what its task and the flusher share.
struct Line<S, F> {
    stream: S,
    framing: F,
    seat: Seat,
    /// The client sends nothing more.
    hung_up: bool,
    connected: bool,
    /// The flusher met an error.
    broken: Option<io::ErrorKind>,
}

/// A place in the worker's shard, given back however the connection ends, a fault in between included.
struct Seat {
    worker: Rc<Worker>,
    slot: u32,
    transport: Transport,
}

impl<S, F> Line<S, F>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Framing + 'static,
{
    fn open(worker: &Rc<Worker>, stream: S, framing: F, visitor: Visitor) -> Self {
        let Visitor { link, transport, shown, accepted } = visitor;
        let mut shard = worker.shard.borrow_mut();
        let id = shard.open(link, shown, accepted);
        shard.tally().came(transport);
        if worker.is_draining() {
            shard.end(id.slot, &CloseReason::ShuttingDown.into(), worker.now());
        }
        drop(shard);
        let seat = Seat { worker: Rc::clone(worker), slot: id.slot, transport };
        Self { stream, framing, seat, hung_up: false, connected: false, broken: None }
    }

    /// The rest of the connection's life. Everything stands in one allocation, which the flusher reaches too.
    fn run(self) -> impl Future<Output = ()> + 'static {
        let line = Rc::new(RefCell::new(self));
        let this: Weak<RefCell<Self>> = Rc::downgrade(&line);
        let Seat { worker, slot, .. } = &line.borrow().seat;
        worker.flusher.register(*slot, this);
        drive(Rc::clone(&line))
    }

    /// Ready when everything is written and the session has ended, or with an error when the socket is of no more use.
    #[inline(always)]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..READS_AT_ONCE {
            let blocked = self.poll_flush(context, None)?.is_pending();
            let Seat { worker, slot, .. } = &self.seat;
            let status = worker.shard.borrow().status(*slot);
            match status {
                Status::Dead => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Status::Closing if !blocked => return Poll::Ready(Ok(())),
                Status::Open if let wanted @ 1.. = self.bytes_wanted() => {
                    if self.poll_read(context, wanted)?.is_ready() {
                        continue;
                    }
                }
                Status::Open if self.hung_up && worker.shard.borrow().is_idle(*slot) => {
                    cold_path();
                    let now = worker.now();
                    worker.shard.borrow_mut().hang_up(*slot, now);
                    continue;
                }
                Status::Open | Status::Closing => {}
            }
            self.seat.worker.shard.borrow_mut().watch(self.seat.slot, context.waker());
            return Poll::Pending;
        }
        // Others want their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// How many bytes may be read now.
    #[inline(always)]
    fn bytes_wanted(&self) -> usize {
        let shard = self.seat.worker.shard.borrow();
        match () {
            () if self.hung_up => 0,
            () if shard.wants_input(self.seat.slot) => usize::MAX,
            () => shard.read_ahead_max(self.seat.slot),
        }
    }

    /// Writes what waits, as much as the socket takes; pending while it takes no more. Looks at the clock unless it is
    /// known what it shows.
    #[inline(always)]
    fn poll_flush(&mut self, context: &mut Context<'_>, now: Option<Now>) -> Poll<io::Result<()>> {
        if let Some(broken) = self.broken {
            return Poll::Ready(Err(broken.into()));
        }
        let Seat { worker, slot, .. } = &self.seat;
        let waits = worker.shard.borrow().outbox(*slot).is_some_and(|outbox| !outbox.is_empty());
        if waits {
            ready!(self.poll_write_out(context, now))?;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    // In one place: most turns of a connection have nothing to write.
    #[inline(never)]
    fn poll_write_out(&mut self, context: &mut Context<'_>, mut now: Option<Now>) -> Poll<io::Result<()>> {
        let Seat { worker, slot, .. } = &self.seat;
        loop {
            let shard = worker.shard.borrow();
            let outbox = shard.outbox(*slot).filter(|outbox| !outbox.is_empty());
            let Some(outbox) = outbox else { return Poll::Ready(Ok(())) };
            let written = poll_write(context, &mut self.stream, outbox, &worker.scratch);
            drop(shard);
            let mut shard = worker.shard.borrow_mut();
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    shard.wrote(*slot, count, *now.get_or_insert_with(|| worker.now()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // Since when it is refused may decide who is closed: never since earlier than it was.
                    shard.blocked(*slot, worker.now());
                    return Poll::Pending;
                }
            }
        }
    }

    #[inline]
    fn poll_read(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<()>> {
        let worker = Rc::clone(&self.seat.worker);
        let mut scratch = worker.scratch.borrow_mut();
        let count = scratch.len().min(wanted).min(self.framing.read_bytes_max());
        let mut buffer = ReadBuf::new(&mut scratch[..count]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            cold_path();
            self.hung_up = true;
        } else {
            self.take(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes of the client, through the framing to the shard.
    #[inline(always)]
    fn take(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.see_who_it_is();
        let Seat { worker, slot, .. } = &self.seat;
        let (worker, slot) = (worker, *slot);
        let now = worker.now();
        let mut shard = worker.shard.borrow_mut();
        shard.tally().bytes_received.count(bytes.len());
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
        shard.drain(now);
        drop(shard);
        worker.see_to_calls();
        self.see_who_it_is();
    }

    /// A stranger may send small messages only; who is accepted, also while slow work was done, may send any.
    #[inline(always)]
    fn see_who_it_is(&mut self) {
        if !self.connected {
            self.meet();
        }
    }

    #[inline(never)]
    fn meet(&mut self) {
        let shard = self.seat.worker.shard.borrow();
        if shard.is_connected(self.seat.slot) {
            self.connected = true;
            let limits = &shard.broker().settings().limits;
            self.framing
                .set_message_bytes_max((limits.body_bytes_max + limits.head_bytes_max) * FRAMES_A_MESSAGE);
        }
    }
}

impl<S, F> Flush for Line<S, F>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Framing + 'static,
{
    fn flush_now(&mut self, now: Now) -> bool {
        // Whether the socket refuses bytes or fails, the connection's own task sees to it.
        match self.poll_flush(&mut Context::from_waker(Waker::noop()), Some(now)) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => {
                self.broken = Some(error.kind());
                false
            }
            Poll::Pending => false,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = self.worker.now();
        self.worker.flusher.forget(self.slot);
        match self.worker.shard.try_borrow_mut() {
            Ok(mut shard) => {
                shard.tally().went(self.transport);
                shard.remove(self.slot, now);
            }
            Err(_) => tracing::error!("a connection is gone that its worker cannot forget"),
        }
    }
}

/// Serves the connection to its end.
async fn drive<S, F>(line: Rc<RefCell<Line<S, F>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Framing + 'static,
{
    let end = poll_fn(|context| line.borrow_mut().poll(context)).await;
    // The flusher knows it weakly.
    let Some(line) = Rc::into_inner(line) else { return };
    let Line { stream, seat, .. } = line.into_inner();
    let worker = Rc::clone(&seat.worker);
    drop(seat);
    worker.see_to_calls();
    if end.is_ok() {
        Box::pin(farewell::linger(worker, stream)).await;
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

#[cfg(test)]
mod tests;
