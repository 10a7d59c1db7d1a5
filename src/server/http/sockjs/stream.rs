//! An answer that goes on: frames as they come, until it is long enough.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::session::Receiver;
use crate::policy::quota::AddressGuard;
use crate::server::http::Serving;
use crate::transport::sockjs::frame;

/// Says when a connection is of no more use, because it holds on to a stream that is over and takes nothing of it.
#[derive(Default)]
pub(in crate::server::http) struct Cut(RefCell<Option<Serving>>);

impl Cut {
    /// Once `over` is ready.
    pub(super) fn when(&self, over: Serving) {
        self.0.replace(Some(over));
    }

    pub(in crate::server::http) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.borrow_mut().as_mut().map_or(Poll::Pending, |over| over.as_mut().poll(context))
    }
}

/// Each frame is a chunk by itself.
pub(super) struct Stream {
    /// Said first, once: browsers wait for so much before they pass on anything.
    prelude: Option<&'static str>,
    dress: Dress,
    from: From,
    /// Bytes that may still be said.
    left: usize,
    beat: Pin<Box<Sleep>>,
    heart_beat: Duration,
    /// It ends then at the latest.
    until: Option<Pin<Box<Sleep>>>,
    /// Counts the answer as its client's, where a proxy brought the request.
    _share: Option<AddressGuard>,
}

/// How frames are told from each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dress {
    /// Each is a line.
    Lines,
    /// Each is an event.
    Events,
}

/// Where frames come from.
enum From {
    Receiver(Receiver),
    /// There is this one alone.
    Word(&'static str),
    Nobody,
}

impl Stream {
    pub(super) fn new(
        dress: Dress,
        receiver: Result<Receiver, &'static str>,
        bytes_max: usize,
        (heart_beat, at_most): (Duration, Option<Duration>),
        share: Option<AddressGuard>,
    ) -> Self {
        Self {
            prelude: Some(match dress {
                Dress::Lines => LONG_PRELUDE,
                Dress::Events => "\r\n",
            }),
            dress,
            from: receiver.map_or_else(From::Word, From::Receiver),
            left: bytes_max,
            beat: Box::pin(sleep(heart_beat)),
            heart_beat,
            until: at_most.map(|at_most| Box::pin(sleep(at_most))),
            _share: share,
        }
    }

    fn poll_word(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(prelude) = self.prelude.take() {
            return Poll::Ready(Some(Bytes::from_static(prelude.as_bytes())));
        }
        let frame = match &self.from {
            From::Nobody => return Poll::Ready(None),
            From::Word(word) => Poll::Ready(word.as_bytes().to_vec()),
            From::Receiver(receiver) => receiver.poll_frame(context, self.left),
        };
        let frame = match frame {
            Poll::Ready(frame) => frame,
            Poll::Pending
                if self.until.as_mut().is_some_and(|until| until.as_mut().poll(context).is_ready()) =>
            {
                self.finish();
                return Poll::Ready(None);
            }
            Poll::Pending if self.beat.as_mut().poll(context).is_ready() => frame::HEART_BEAT.into(),
            Poll::Pending => return Poll::Pending,
        };
        self.beat.as_mut().reset(Instant::now() + self.heart_beat);
        let is_last = frame.first() == Some(&b'c');
        let word = self.dress.on(&frame);
        self.left = self.left.saturating_sub(word.len());
        if is_last || self.left == 0 {
            self.finish();
        }
        Poll::Ready(Some(word))
    }

    /// The receiver has what it was to get.
    fn finish(&mut self) {
        if let From::Receiver(receiver) = std::mem::replace(&mut self.from, From::Nobody) {
            receiver.done();
        }
    }
}

impl Dress {
    fn on(self, frame: &[u8]) -> Bytes {
        let (before, after): (&[u8], &[u8]) = match self {
            Self::Lines => (b"", b"\n"),
            Self::Events => (b"data: ", b"\r\n\r\n"),
        };
        [before, frame, after].concat().into()
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_word(context).map(|word| word.map(|word| Ok(Frame::data(word))))
    }
}

/// 2,048 times `h`, and a line's end.
const LONG_PRELUDE: &str = {
    const BYTES: [u8; 2_049] = {
        let mut bytes = [b'h'; 2_049];
        bytes[2_048] = b'\n';
        bytes
    };
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "\n",
    }
};
