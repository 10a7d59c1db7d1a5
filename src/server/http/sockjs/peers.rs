//! Other instances: a request for a session that one of them has is handed on to it, so that nobody needs to be sent to the
//! same instance each time.
//!
//! Whoever begins a session claims its name first. The claim says where its holder is asked, and has a proof that nobody but
//! instances can read: who shows it to the holder is one of them, and is believed when it says who its client is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::passing::Passing;
use crate::backend::claims::{CLAIM_MS, Claimed, Claims, Holder};
use crate::model::StoreError;
use crate::policy::Secret;
use crate::server::http::{Peer, aside};

/// The way to other instances.
pub(in crate::server) struct Peers {
    claims: Arc<dyn Claims>,
    own: Holder,
    proof: Secret,
    client: Client<HttpConnector, Body>,
    runtime: Handle,
    /// Bounds what is asked at one time, and waits for a store that does not answer.
    asking: Arc<Semaphore>,
}

/// Nobody could be asked who has it.
#[derive(Debug)]
pub(super) struct Unknown;

/// What became of a request that was handed on and not answered.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The holder is not there.
    Gone,
    /// It is, but did not answer in time.
    Late,
}

impl Peers {
    /// Others ask this instance at `address`, if they can, and show it `proof`.
    pub(in crate::server) fn new(
        claims: Arc<dyn Claims>,
        address: Option<&str>,
        proof: u128,
        runtime: &Handle,
    ) -> Arc<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_MAX));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        let proof = format!("{proof:032x}");
        let own = Holder { address: address.unwrap_or_default().into(), proof: proof.as_str().into() };
        let asking = Arc::new(Semaphore::new(ASKED_MAX));
        Arc::new(Self { claims, own, proof: Secret::new(&proof), client, runtime: runtime.clone(), asking })
    }

    /// Whose request it is, if an instance hands it on.
    pub(in crate::server::http) fn recognise(&self, headers: &HeaderMap) -> Option<Peer> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        text(PROOF).filter(|shown| self.proof.is(shown))?;
        let remote: IpAddr = text(CLIENT)?.parse().ok()?;
        Some(Peer { remote, tls: text(ENCRYPTED) == Some("1") })
    }

    /// Whether somebody says that he is an instance, rightly or not.
    pub(super) fn claims_to_be_one(headers: &HeaderMap) -> bool {
        headers.contains_key(PROOF)
    }

    /// Claims a name for this instance. Nobody else is given if it is ours.
    pub(super) async fn claim(&self, name: &str) -> Result<Option<Holder>, Unknown> {
        if !self.claims.is_shared() {
            return Ok(None);
        }
        self.ask(|then| self.claims.claim(name, &self.own, then)).await
    }

    /// Who else has it.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Holder>, Unknown> {
        if !self.claims.is_shared() {
            return Ok(None);
        }
        self.ask(|then| self.claims.find(name, then)).await
    }

    /// Lets the claim of this instance stand, as long as it is polled.
    pub(super) async fn keep(&self, name: &str) {
        let mut wait = KEPT_EVERY;
        loop {
            tokio::time::sleep(wait).await;
            if self.claims.is_shared() {
                // Beside what requests ask, and without an end: one question for each session at a time.
                let (tell, told) = oneshot::channel();
                self.claims.claim(name, &self.own, Box::new(|holder| drop(tell.send(holder))));
                wait = if matches!(told.await, Ok(Ok(_))) { KEPT_EVERY } else { AGAIN_AFTER };
            }
        }
    }

    /// The name is nobody's any more.
    pub(super) fn release(&self, name: &str) {
        self.claims.release(name, &self.own);
    }

    /// Hands a request on; what comes back goes to the client as it comes.
    ///
    /// # Errors
    /// Nothing comes back.
    pub(super) async fn hand_on(
        &self,
        holder: &Holder,
        parts: &Parts,
        body: Body,
        peer: Peer,
        patience: Duration,
    ) -> Result<Response<Passing>, Unanswered> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Unanswered::Gone);
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let uri = format!("http://{}{target}", holder.address);
        let request = Request::builder().method(parts.method.clone()).uri(uri).body(body);
        let mut request = request.map_err(|_| Unanswered::Gone)?;
        let headers = request.headers_mut();
        *headers = parts.headers.clone();
        for name in OF_THE_CONNECTION {
            headers.remove(name);
        }
        headers.insert(PROOF, value(&holder.proof)?);
        headers.insert(CLIENT, value(&peer.remote.to_string())?);
        headers.insert(ENCRYPTED, HeaderValue::from_static(if peer.tls { "1" } else { "0" }));
        let answer = timeout(patience, self.client.request(request));
        match aside::run(&self.runtime, answer).await {
            Ok(Ok(Ok(answer))) => {
                let mut answer = answer.map(Passing::new);
                for name in OF_THE_CONNECTION {
                    answer.headers_mut().remove(name);
                }
                Ok(answer)
            }
            Ok(Ok(Err(error))) => {
                tracing::info!(instance = %holder.address, %error, "a session's instance does not answer");
                Err(Unanswered::Gone)
            }
            Ok(Err(_)) | Err(_) => {
                tracing::info!(instance = %holder.address, "a session's instance does not answer in time");
                Err(Unanswered::Late)
            }
        }
    }

    async fn ask(&self, ask: impl FnOnce(Claimed)) -> Result<Option<Holder>, Unknown> {
        let turn = Arc::clone(&self.asking).try_acquire_owned().map_err(|_| Unknown)?;
        let (tell, told) = oneshot::channel();
        ask(Box::new(move |holder: Result<Option<Holder>, StoreError>| {
            drop(turn);
            // Whoever asked may wait no more.
            let _ = tell.send(holder);
        }));
        let Ok(Ok(Ok(holder))) = timeout(ANSWER_MAX, told).await else { return Err(Unknown) };
        Ok(holder.filter(|holder| *holder != self.own))
    }
}

const PROOF: HeaderName = HeaderName::from_static("x-stompede-instance");
const CLIENT: HeaderName = HeaderName::from_static("x-stompede-client");
const ENCRYPTED: HeaderName = HeaderName::from_static("x-stompede-client-tls");

/// What is said for one connection, not for what follows it.
const OF_THE_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("x-forwarded-for"),
];

/// To an instance that is there.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// A connection that waits for the next request; an instance closes one after ten seconds, and must not be first.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// For who has a name.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Questions that wait for the store.
const ASKED_MAX: usize = 4_096;

/// A claim is kept so often; the store may be away for the rest of the time that it stands.
const KEPT_EVERY: Duration = Duration::from_millis(CLAIM_MS / 12);

/// And tried again, where the store is not reached.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
