//! The port for requests of our own: keys of issuers. Whoever asks knows neither sockets nor HTTP's library.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// What is asked of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Where.
    pub(crate) url: Box<str>,
    /// What is sent with it: with a body it is a POST, without one a GET.
    pub(crate) body: Option<Bytes>,
    /// Headers beside those of HTTP itself.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// From the first moment to the last byte of the answer.
    pub(crate) answer_max: Duration,
    /// Body of the answer, bytes.
    pub(crate) answer_bytes_max: usize,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The status of HTTP. Redirects are not followed: they are an answer like any other.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// It is not a URL that may be asked.
    #[error("{0}")]
    Url(String),
    /// Nobody is reached there, or not by TLS.
    #[error("no connection: {0}")]
    Connection(String),
    /// It was not complete in time.
    #[error("no complete answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// It is larger than it may be.
    #[error("the answer has more than {0} bytes")]
    Large(usize),
    /// The connection broke in the middle.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// The answer, some time.
pub(crate) type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Answered, FetchError>> + Send + 'a>>;

/// Asks servers.
pub(crate) trait Fetch: Send + Sync + Debug {
    /// Asks once.
    fn fetch(&self, question: Question) -> Fetching<'_>;
}
