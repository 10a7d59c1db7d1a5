//! Requests of our own, by HTTP/1.1: connections are kept alive, a few to each server.
//!
//! It asks what the configuration names and nothing else: no redirect is followed, no proxy of the environment is used.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use tokio::time::timeout;

use crate::server::fetch::{Answered, Fetch, FetchError, Fetching, Question};
use crate::server::trust;

/// The client.
pub(in crate::server) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    plain: Plain,
}

/// Where http without TLS may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Plain {
    /// To this machine alone.
    Loopback,
    /// To anybody.
    Anywhere,
}

impl HttpClient {
    /// A client that trusts `roots`. To be asked inside a runtime.
    ///
    /// # Errors
    /// The cryptography has no version of TLS in common with rustls.
    pub(in crate::server) fn new(roots: RootCertStore, plain: Plain) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust::client(roots)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Ok(Self { client, plain })
    }

    async fn ask(&self, question: Question) -> Result<Answered, FetchError> {
        let Question { url, body, headers, answer_bytes_max, .. } = question;
        let uri = check_url(&url, self.plain).map_err(FetchError::Url)?;
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let authority = uri.authority().map_or("", |authority| authority.as_str()).to_owned();
        let mut request = Request::builder().method(method).uri(uri).header(HOST, authority);
        request = request.header(USER_AGENT, AGENT);
        for (name, value) in headers {
            let value = HeaderValue::try_from(value).map_err(|error| FetchError::Url(error.to_string()))?;
            request = request.header(HeaderName::from_static(name), value);
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        let request = request.map_err(|error| FetchError::Url(error.to_string()))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| FetchError::Connection(causes(&error)))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), answer_bytes_max).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => FetchError::Large(answer_bytes_max),
            None => FetchError::Broken(error.to_string()),
        })?;
        Ok(Answered { status, body: body.to_bytes() })
    }
}

impl Fetch for HttpClient {
    fn fetch(&self, question: Question) -> Fetching<'_> {
        let whole = question.answer_max;
        Box::pin(async move {
            let late = |_| FetchError::Late(whole);
            timeout(whole, self.ask(question)).await.map_err(late)?
        })
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("plain", &self.plain).finish_non_exhaustive()
    }
}

/// A URL that may be asked.
///
/// # Errors
/// Why not, in words for an operator.
pub(in crate::server) fn check_url(url: &str, plain: Plain) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| format!("{url:?} is no URL such as https://example.com/keys"))?;
    let host = uri.host().unwrap_or_default();
    if host.is_empty() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(format!("{url:?} must name a server, and no login"));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = bare == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_here || plain == Plain::Anywhere => Ok(uri),
        Some("http") => Err(format!(
            "{url:?} is not encrypted: use https, or accept http to other machines with fetch.allow_http = true"
        )),
        _ => Err(format!("{url:?} must begin with https://")),
    }
}

/// What went wrong, down to the first cause.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

const AGENT: &str = concat!("stompede/", env!("CARGO_PKG_VERSION"));

/// To a TCP connection.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// A connection that is not used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Connections to one server that wait for the next request.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// Status line and headers of an answer, bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_encrypted_or_allowed_is_asked() {
        let may = |url, plain| check_url(url, plain).is_ok();
        for url in ["https://a.example/x?y=1", "http://127.0.0.1:81/", "http://[::1]/", "http://localhost/k"]
        {
            assert!(may(url, Plain::Loopback), "{url}");
        }
        for url in
            ["http://a.example/", "http://10.0.0.1/", "http://169.254.169.254/", "http://localhost.evil/"]
        {
            assert!(!may(url, Plain::Loopback) && may(url, Plain::Anywhere), "{url}");
        }
        for url in
            ["", "/keys", "file:///etc/passwd", "https://", "https://me:it@a.example/", "a.example/keys"]
        {
            assert!(!may(url, Plain::Anywhere), "{url}");
        }
    }
}
