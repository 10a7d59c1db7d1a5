//! The end of a connection whose last word has been written.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::server::worker::Worker;

/// A socket that is closed while the client's bytes are unread is reset, and what we said last may be lost with it.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(worker: Rc<Worker>, mut stream: S) {
    let farewell = async {
        stream.shutdown().await?;
        poll_fn(|context| poll_discard(&worker, context, &mut stream)).await
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

/// How long a closed connection waits for the client to close its side.
const LINGER: Duration = Duration::from_secs(2);
