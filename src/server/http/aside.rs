//! Work for a request that is done on the API runtime, aside from the worker.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};
use tower::ServiceExt;

use super::{Peer, api};
use crate::model::{CloseReason, Refusal};

/// Has `router` answer on the API runtime; a client that leaves ends the work done for it.
pub(super) async fn answer(
    runtime: &Handle,
    router: Router,
    mut request: Request<Incoming>,
    peer: Peer,
    answer_max: Duration,
) -> Response<Body> {
    request.extensions_mut().insert(peer);
    let answered = run(runtime, tokio::time::timeout(answer_max, router.oneshot(request))).await;
    match answered {
        Ok(Ok(Ok(response))) => response,
        Ok(Err(_elapsed)) => {
            api::refused(&Refusal::new(CloseReason::Unavailable, "the answer took too long"))
        }
        Err(failed) => {
            if failed.is_panic() {
                tracing::error!(%failed, "a request failed");
            }
            api::refused(&CloseReason::Internal.into())
        }
    }
}

/// Runs it there as long as somebody waits for it here.
pub(super) async fn run<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let mut task = AbortOnDrop(runtime.spawn(work));
    (&mut task.0).await
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
