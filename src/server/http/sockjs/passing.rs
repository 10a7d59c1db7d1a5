//! An answer of another instance on its way to the client.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::sleep;

/// As it comes, counting how often it is asked for more.
pub(super) struct Passing {
    answer: Incoming,
    asked: Arc<AtomicU64>,
}

impl Passing {
    pub(super) fn new(answer: Incoming) -> Self {
        Self { answer, asked: Arc::default() }
    }

    /// Ready when nobody has asked for more for `silent_max`, in which something must have come: the client takes nothing, and
    /// its connection would never end.
    pub(super) fn stalls(&self, silent_max: Duration) -> impl Future<Output = ()> + use<> {
        stalls(Arc::downgrade(&self.asked), silent_max)
    }
}

async fn stalls(asked: Weak<AtomicU64>, silent_max: Duration) {
    let count = || asked.upgrade().map(|asked| asked.load(Ordering::Relaxed));
    let mut before = count();
    loop {
        sleep(silent_max).await;
        match count() {
            // It has come to its end.
            None => std::future::pending().await,
            same if same == before => return,
            more => before = more,
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.answer).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_goes_on_and_what_is_not_stalls() {
        let asked = Arc::<AtomicU64>::default();
        let silent_max = Duration::from_secs(30);
        let watched = stalls(Arc::downgrade(&asked), silent_max);
        tokio::pin!(watched);
        for _ in 0..4 {
            asked.fetch_add(1, Ordering::Relaxed);
            assert!(timeout(Duration::from_secs(25), &mut watched).await.is_err());
        }
        assert!(timeout(2 * silent_max, &mut watched).await.is_ok());
        let watched = stalls(Arc::downgrade(&asked), silent_max);
        drop(asked);
        assert!(timeout(10 * silent_max, watched).await.is_err(), "it has ended");
    }
}
