//! Streams of server-sent events on a worker.

use std::future::ready;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::broker::{Broker, Link, Shown, Transport};
use crate::model::{CloseReason, Principal, Refusal};
use crate::policy::jwt::Unproven;
use crate::transport::events::Events;

use super::connection::{self, Visitor};
use super::http::{Opening, Serving, StreamEndpoint, StreamRequest};
use super::socket::Socket;
use super::worker::Worker;

/// What serves streams.
#[derive(Debug)]
pub(super) struct EventEndpoint {
    pub(super) worker: Weak<Worker>,
}

impl StreamEndpoint for EventEndpoint {
    fn open(&self, request: &StreamRequest) -> Result<Opening, Refusal> {
        let worker = self.worker.upgrade().ok_or(CloseReason::ShuttingDown)?;
        let broker = Arc::clone(worker.shard.borrow().broker());
        let judged = judge(&worker, &broker, request);
        let (principal, frames) =
            judged.inspect_err(|refusal| worker.shard.borrow().tally().refused(refusal.reason))?;
        let worker = Weak::clone(&self.worker);
        Ok(Box::new(move |socket, head| match worker.upgrade() {
            Some(worker) => begin(worker, socket, head, principal, frames),
            None => Box::pin(ready(())),
        }))
    }
}

/// Who it is, and what begins his stream.
fn judge(
    worker: &Rc<Worker>,
    broker: &Broker,
    request: &StreamRequest,
) -> Result<(Principal, Vec<u8>), Refusal> {
    let recognised = broker.authenticator().recognise(&request.credentials, worker.now().wall_s());
    let principal = recognised.map_err(|unproven| match unproven {
        // The browser comes again, and then the key is known, or it is known that there is none.
        Unproven::Keys(source) if worker.seek_keys(source.number()) => {
            Refusal::new(CloseReason::Unavailable, "the key of the token is being looked for")
                .retry_after(KEYS_MS)
        }
        unproven => unproven.refusal(),
    })?;
    if principal.user.is_none() && !request.is_fixed_host {
        let text = "in development mode a stream without a token is for the host localhost or an address";
        return Err(Refusal::new(CloseReason::Forbidden, text));
    }
    let frames = broker.stream(&principal, &request.destinations, request.last_event_id.as_deref())?;
    Ok((principal, frames))
}

/// Writes the head, then serves the stream as a session.
fn begin(
    worker: Rc<Worker>,
    mut socket: Socket,
    head: Bytes,
    principal: Principal,
    frames: Vec<u8>,
) -> Serving {
    let accepted = worker.now();
    let patience = Duration::from_millis(worker.shard.borrow().broker().settings().limits.write_ms_max);
    Box::pin(async move {
        let written = timeout(patience, async {
            socket.write_all(&head).await?;
            socket.flush().await
        });
        // Without it there is nothing to serve.
        let Ok(Ok(())) = written.await else { return };
        let shown = Shown::Vouched(Box::new(principal));
        let visitor = Visitor { link: Link::Events, transport: Transport::Events, shown, accepted };
        let serving = connection::serve(&worker, socket, Events::default(), visitor, &frames);
        drop((worker, frames, head));
        serving.await;
    })
}

/// When a browser comes again whose token's key is being looked for, milliseconds: most issuers have answered by then.
const KEYS_MS: u32 = 1_000;
