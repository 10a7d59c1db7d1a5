//! A session that requests reach from any thread: its state behind one lock, and who waits for what.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, sleep_until};

use crate::transport::sockjs::{Attached, Bounds, State, frame};

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    inner: Mutex<Inner>,
    /// A receiver left, or the last word was told.
    changed: Notify,
    /// The handler has read.
    room: Notify,
    /// Requests with messages of the client, one waiting or being read and few behind it.
    senders: Semaphore,
    first: Semaphore,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// The handler waits for messages.
    reader: Option<Waker>,
    /// The handler waits for room.
    writer: Option<Waker>,
    /// A request waits for frames.
    receiver: Option<Waker>,
    vacant_since: Instant,
}

/// A request that gets what waits. Dropped before [`Receiver::done`], the client has vanished.
#[derive(Debug)]
pub(super) struct Receiver {
    session: Arc<Session>,
    /// Gone with it.
    alive: Arc<()>,
    in_order: bool,
}

/// The one request whose messages are read, after there was room for them.
pub(super) struct Turn<'s> {
    session: &'s Session,
    _place: (SemaphorePermit<'s>, SemaphorePermit<'s>),
}

/// The handler's end of a session of requests: what is read are the client's messages one behind the other, what is written
/// are frames of SockJS, a line each. Dropped, the session has ended.
#[derive(Debug)]
pub struct Pipe(Arc<Session>);

impl Session {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        let inner = Inner {
            state: State::new(bounds),
            reader: None,
            writer: None,
            receiver: None,
            vacant_since: Instant::now(),
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            changed: Notify::new(),
            room: Notify::new(),
            senders: Semaphore::new(SENDERS_MAX),
            first: Semaphore::new(1),
        })
    }

    /// The handler's end. There is one.
    pub(super) fn pipe(self: &Arc<Self>) -> Pipe {
        Pipe(Arc::clone(self))
    }

    /// A receiver comes; what it is told where another one is there.
    pub(super) fn attach(self: &Arc<Self>) -> Result<Receiver, &'static str> {
        match self.inner.lock().state.attach() {
            Attached::Yes => {
                Ok(Receiver { session: Arc::clone(self), alive: Arc::default(), in_order: false })
            }
            Attached::No(last) => Err(last),
        }
    }

    /// Ready when there is room for messages of the client, one request after the other; nothing where too many wait already.
    pub(super) async fn turn(&self) -> Option<Turn<'_>> {
        let place = (self.senders.try_acquire().ok()?, self.first.acquire().await.ok()?);
        loop {
            let room = self.room.notified();
            if self.inner.lock().state.has_room_for_messages() {
                return Some(Turn { session: self, _place: place });
            }
            room.await;
        }
    }

    /// Ready when no receiver was there for so long.
    pub(super) async fn abandoned(&self, vacant_max: Duration) {
        loop {
            let changed = self.changed.notified();
            let vacant_since = {
                let inner = self.inner.lock();
                (!inner.state.receives()).then_some(inner.vacant_since)
            };
            let Some(since) = vacant_since else {
                changed.await;
                continue;
            };
            sleep_until(since + vacant_max).await;
            let inner = self.inner.lock();
            if !inner.state.receives() && inner.vacant_since == since {
                return;
            }
        }
    }

    /// Ready when the client knows all there is to know.
    pub(super) async fn told(&self) {
        loop {
            let changed = self.changed.notified();
            if self.inner.lock().state.is_told() {
                return;
            }
            changed.await;
        }
    }

    /// Ready when the session is long over and the receiver is still there.
    async fn outlasted(self: Arc<Self>, receiver: Weak<()>) {
        loop {
            let changed = self.changed.notified();
            if self.inner.lock().state.has_hung_up() {
                break;
            }
            changed.await;
        }
        sleep(OUTLASTED_MAX).await;
        if receiver.strong_count() == 0 {
            std::future::pending().await
        }
    }

    /// The client is gone.
    pub(super) fn hang_up(&self) {
        let mut inner = self.inner.lock();
        inner.state.hang_up();
        inner.wake_all();
        drop(inner);
        self.changed.notify_waiters();
        self.room.notify_waiters();
    }

    fn end(&self, last: &str) {
        let mut inner = self.inner.lock();
        inner.state.end(last);
        inner.wake_all();
        drop(inner);
        self.room.notify_waiters();
    }
}

impl Inner {
    fn wake_all(&mut self) {
        [&mut self.reader, &mut self.writer, &mut self.receiver].into_iter().for_each(wake);
    }
}

impl Turn<'_> {
    /// See [`State::request_bytes_max`].
    pub(super) fn bytes_max(&self) -> usize {
        self.session.inner.lock().state.request_bytes_max()
    }

    /// Messages of the client.
    pub(super) fn receive(self, messages: Vec<String>) {
        let mut inner = self.session.inner.lock();
        inner.state.receive(messages);
        wake(&mut inner.reader);
    }
}

impl Receiver {
    /// The next frame, see [`State::take`].
    pub(super) fn poll_frame(&self, context: &mut Context<'_>, bytes_max: usize) -> Poll<Vec<u8>> {
        let mut inner = self.session.inner.lock();
        let Some(frame) = inner.state.take(bytes_max) else {
            inner.receiver = Some(context.waker().clone());
            return Poll::Pending;
        };
        if inner.state.has_room() {
            wake(&mut inner.writer);
        }
        let told = inner.state.is_told();
        drop(inner);
        if told {
            self.session.changed.notify_waiters();
        }
        Poll::Ready(frame)
    }

    /// Ready when its connection is of no more use: it takes nothing of a session that is over.
    pub(super) fn outlasts(&self) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.session).outlasted(Arc::downgrade(&self.alive))
    }

    /// It has got what it was to get.
    pub(super) fn done(mut self) {
        self.in_order = true;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut inner = self.session.inner.lock();
        inner.state.detach(self.in_order);
        inner.vacant_since = Instant::now();
        inner.receiver = None;
        if inner.state.has_hung_up() {
            inner.wake_all();
        }
        drop(inner);
        self.session.changed.notify_waiters();
    }
}

impl Pipe {
    /// The next message; `None` when no more comes.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<String>> {
        let mut inner = self.0.inner.lock();
        let message = inner.state.next_message();
        if message.is_none() && !inner.state.has_hung_up() && !inner.state.is_ended() {
            inner.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(inner);
        self.0.room.notify_waiters();
        Poll::Ready(message)
    }

    /// Takes `message` as soon as there is room.
    pub(super) fn poll_push(&self, context: &mut Context<'_>, message: &str) -> Poll<io::Result<()>> {
        let mut inner = self.0.inner.lock();
        if inner.state.has_hung_up() || inner.state.is_ended() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !inner.state.has_room() {
            inner.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        inner.state.push(message);
        wake(&mut inner.receiver);
        Poll::Ready(Ok(()))
    }

    /// The last word.
    pub(super) fn end(&self, last: &str) {
        self.0.end(last);
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.0.inner.lock();
        let count = inner.state.read(buffer.initialize_unfilled());
        if count == 0 && !inner.state.has_hung_up() && !inner.state.is_ended() {
            inner.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(inner);
        buffer.advance(count);
        self.0.room.notify_waiters();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.inner.lock();
        if inner.state.has_hung_up() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !inner.state.has_room() {
            inner.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = bytes.len().min(WRITE_BYTES_MAX);
        inner.state.write(&bytes[..count]);
        wake(&mut inner.receiver);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.end(frame::GO_AWAY);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.end(frame::GO_AWAY);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// Requests of a session that bring messages at one time. Clients send one after the other.
const SENDERS_MAX: usize = 4;

/// For a receiver to see that the session is over.
const OUTLASTED_MAX: Duration = Duration::from_secs(1);

/// Taken at a time, so that what waits is not far above its bound.
const WRITE_BYTES_MAX: usize = 16 << 10;
