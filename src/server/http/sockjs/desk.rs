//! Requests below a base path, and the sessions that they are for.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::answer::{EVENTS, Head, SCRIPT, TEXT};
use super::peers::Unanswered;
use super::place::{Place, Way};
use super::session::{Receiver, Session};
use super::stream::{Cut, Dress, Stream};
use super::table::Hold;
use super::{By, Came, Peers, SockJsMount, SockJsSettings};
use crate::policy::Origins;
use crate::policy::quota::AddressGuard;
use crate::server::callers::Callers;
use crate::server::http::mount::{Mount, OriginCheck, UpgradeRequest};
use crate::server::http::router::too_many_requests;
use crate::server::http::sse::Origin;
use crate::server::http::template::Params;
use crate::server::http::{Peer, Serving};
use crate::server::shutdown::Closing;
use crate::transport::sockjs::{Bounds, cost_of, frame};
use crate::transport::websocket::handshake::{self, Refused};

/// What is known of a request beside itself.
pub(in crate::server::http) struct Around<'a> {
    pub(in crate::server::http) peer: Peer,
    pub(in crate::server::http) share: Option<AddressGuard>,
    pub(in crate::server::http) origins: &'a Origins,
    pub(in crate::server::http) callers: &'a Callers,
    pub(in crate::server::http) closing: &'a Closing,
    /// Ends the connection.
    pub(in crate::server::http) cut: &'a Cut,
    /// From a complete head to what is to follow at once.
    pub(in crate::server::http) answer_max: Duration,
}

impl SockJsMount {
    /// Whose request it is, if another instance hands it on.
    pub(in crate::server::http) fn recognise(&self, headers: &HeaderMap) -> Option<Peer> {
        self.peers.recognise(headers)
    }

    /// What a path means here, if it is below the base.
    pub(in crate::server::http) fn place<'p>(&self, path: &'p str) -> Option<Place<'p>> {
        Place::of(&self.base, path)
    }

    /// What a request for a WebSocket is to be upgraded by.
    ///
    /// # Errors
    /// The answer to what is none.
    pub(in crate::server::http) fn upgrade(
        &self,
        place: Place<'_>,
        request: &Request<Incoming>,
    ) -> Option<Result<&Mount, Response<Body>>> {
        let mount = match place {
            Place::Raw => &self.raw,
            Place::Session(_, Way::WebSocket) => &self.framed,
            _ => return None,
        };
        let head = Head::plain();
        Some(match handshake::check(request.method(), request.version(), request.headers()) {
            _ if !self.settings.websocket => Err(head.sentence(StatusCode::NOT_FOUND, NOWHERE)),
            _ if request.method() != Method::GET => Err(head.bad_method("GET")),
            Ok(_) => Ok(mount),
            Err(refused @ Refused::BadVersion) => Err(refused.answer()),
            Err(_) => Err(head.sentence(StatusCode::BAD_REQUEST, NO_UPGRADE)),
        })
    }

    /// Answers any other request.
    pub(in crate::server::http) async fn answer(
        &self,
        place: Place<'_>,
        parts: &Parts,
        body: Incoming,
        around: Around<'_>,
    ) -> Response<Body> {
        let origin = match self.origins {
            OriginCheck::Skipped => None,
            OriginCheck::Configured => match Origin::judge(&parts.headers, around.peer, around.origins) {
                Ok(origin) => Some(origin),
                Err(refused) => return *refused,
            },
        };
        let head = Head::of(parts, origin, &self.settings);
        let nowhere = || head.sentence(StatusCode::NOT_FOUND, NOWHERE);
        let (method, allow) = match place {
            Place::Greeting => (Method::GET, "GET"),
            Place::Info => (Method::GET, "OPTIONS, GET"),
            Place::Iframe if self.iframe.is_some() && around.origins.are_all() => (Method::GET, "GET, HEAD"),
            Place::Session(_, way) => way.methods(),
            Place::Raw | Place::Iframe | Place::Nowhere => return nowhere(),
        };
        if parts.method == Method::OPTIONS && allow.starts_with("OPTIONS") {
            return head.preflight(allow);
        }
        // What is kept for a year is asked for by its head, too; the answer's body is left out where it is written.
        let is_head = place == Place::Iframe && parts.method == Method::HEAD;
        if parts.method != method && !is_head {
            return head.bad_method(allow);
        }
        match place {
            Place::Iframe => self.iframe.as_ref().map_or_else(nowhere, |page| page.answer(&parts.headers)),
            Place::Session(id, way) => self.of_session(id, way, (parts, body), &head, around).await,
            Place::Info => head.info(&self.settings, entropy()),
            _ => head.sentence(StatusCode::OK, GREETING),
        }
    }

    /// Answers what is for a session, here or where it is.
    async fn of_session(
        &self,
        id: &str,
        way: Way,
        (parts, body): (&Parts, Incoming),
        head: &Head,
        around: Around<'_>,
    ) -> Response<Body> {
        let no_session = || head.of_session(StatusCode::NOT_FOUND, TEXT, Body::from(NO_SESSION));
        let mut session = self.table.find(id);
        // Who may begin none is told so only where there is none.
        let mut beginning = None;
        if session.is_none() {
            if Peers::claims_to_be_one(&parts.headers) {
                // It was here, or at another one that had this address.
                return no_session();
            }
            let name = format!("{}/{id}", self.base);
            beginning = (way != Way::XhrSend).then(|| {
                let share = around.callers.share(around.peer.remote)?;
                Ok((self.table.hold(&self.peers, id, name.clone()), share))
            });
            let holder = match &beginning {
                Some(Ok((hold, _))) => self.peers.claim(hold.name()).await,
                None | Some(Err(_)) => self.peers.find(&name).await,
            };
            match holder {
                Err(_) => return later(head, "It cannot be told now where the session is.\n"),
                Ok(Some(holder)) => {
                    if let Some(Ok((hold, _))) = beginning {
                        hold.give_up();
                    }
                    if holder.address.is_empty() {
                        return no_session();
                    }
                    // A client's messages wait for room, and are then read.
                    let longest = self.settings.heart_beat.max(2 * around.answer_max);
                    let (peer, patience) = (around.peer, longest + HAND_ON_MARGIN);
                    let answer = self.peers.hand_on(&holder, parts, Body::new(body), peer, patience).await;
                    let answer = match answer {
                        Ok(answer) => answer,
                        Err(Unanswered::Gone) => return no_session(),
                        Err(Unanswered::Late) => {
                            return later(head, "The session's instance did not answer in time.\n");
                        }
                    };
                    around.cut.when(Box::pin(answer.body().stalls(2 * self.settings.heart_beat)));
                    return answer.map(Body::new);
                }
                // It may have begun meanwhile.
                Ok(None) => session = self.table.find(id),
            }
        }
        let session = match (session, beginning) {
            (Some(session), _) => session,
            (None, None) => return no_session(),
            (None, Some(Err(refusal))) => return too_many_requests(&refusal),
            (None, Some(Ok(held))) => match self.begin(held, parts, head, &around) {
                Ok(session) => session,
                Err(refused) => return *refused,
            },
        };
        match way {
            Way::XhrSend => self.send(&session, body, head, around.answer_max).await,
            _ => {
                let is_handed_on = Peers::claims_to_be_one(&parts.headers);
                self.receive(&session, way, head, around, is_handed_on.then_some(HANDED_ON_MAX)).await
            }
        }
    }

    /// Messages of a client. Nothing of them is read before there is room.
    async fn send(
        &self,
        session: &Session,
        body: Incoming,
        head: &Head,
        patience: Duration,
    ) -> Response<Body> {
        let refuse = |status, text: &'static str| head.of_session(status, TEXT, Body::from(text));
        let Ok(Some(turn)) = timeout(patience, session.turn()).await else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "The session takes no more for now.\n");
        };
        let bytes_max = turn.bytes_max();
        let too_large = || refuse(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.\n");
        let body: Bytes = match timeout(patience, Limited::new(body, bytes_max).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return too_large(),
            Err(_elapsed) => return refuse(StatusCode::REQUEST_TIMEOUT, "The body did not come in time.\n"),
        };
        if body.is_empty() {
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "Payload expected.");
        }
        let Ok(messages) = frame::messages(&body) else {
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "Broken JSON encoding.");
        };
        // One message of any length that the body may have; many small ones take more than they seem to.
        if messages.len() > 1 && cost_of(&messages) > bytes_max {
            return too_large();
        }
        turn.receive(messages);
        head.of_session(StatusCode::NO_CONTENT, TEXT, Body::empty())
    }

    /// What there is for a client, in an answer that is over after `at_most`.
    async fn receive(
        &self,
        session: &Arc<Session>,
        way: Way,
        head: &Head,
        around: Around<'_>,
        at_most: Option<Duration>,
    ) -> Response<Body> {
        let SockJsSettings { stream_bytes_max, heart_beat, .. } = *self.settings;
        let receiver = session.attach();
        let stream = |dress, receiver: Result<Receiver, &'static str>| {
            receiver.iter().for_each(|receiver| around.cut.when(Box::pin(receiver.outlasts())));
            Body::new(Stream::new(dress, receiver, stream_bytes_max, (heart_beat, at_most), around.share))
        };
        match way {
            Way::XhrStreaming => head.streaming(SCRIPT, stream(Dress::Lines, receiver)),
            Way::EventSource => head.streaming(EVENTS, stream(Dress::Events, receiver)),
            Way::Xhr | Way::XhrSend | Way::WebSocket => {
                let mut frame = match receiver {
                    Err(word) => word.into(),
                    Ok(receiver) => {
                        let next = poll_fn(|context| receiver.poll_frame(context, stream_bytes_max));
                        let patience = at_most.map_or(heart_beat, |at_most| at_most.min(heart_beat));
                        let frame = timeout(patience, next).await;
                        receiver.done();
                        frame.unwrap_or_else(|_| frame::HEART_BEAT.into())
                    }
                };
                frame.push(b'\n');
                head.of_session(StatusCode::OK, SCRIPT, Body::from(frame))
            }
        }
    }

    /// A new session, served on this thread.
    fn begin(
        &self,
        (mut hold, share): (Hold, Option<AddressGuard>),
        parts: &Parts,
        head: &Head,
        around: &Around<'_>,
    ) -> Result<Arc<Session>, Box<Response<Body>>> {
        let bounds = Bounds {
            waiting_bytes_max: self.settings.waiting_bytes_max,
            unread_bytes_max: self.settings.body_bytes_max,
            unanswered_bytes_max: self.settings.unanswered_bytes_max,
        };
        let session = Session::new(bounds);
        let Some(known) = hold.enter(&session, self.settings.sessions_max) else {
            return Err(Box::new(later(head, "This broker takes no more sessions for now.\n")));
        };
        if !Arc::ptr_eq(&known, &session) {
            // Another request for it came at the same time.
            return Ok(known);
        }
        let request = UpgradeRequest::new(parts, Params::default(), None, false, around.peer);
        let came = Came { by: By::Requests(session.pipe()), request, closing: around.closing.clone() };
        let serving = self.endpoint.serve(came);
        let tended = tend(Arc::clone(&session), serving, self.settings.vacant_max);
        // Whichever way this ends, by a panic of the handler too, they are given back.
        let held = (hold, share);
        spawn_local(async move {
            tokio::select! {
                () = tended => {}
                () = held.0.keep() => {}
            }
            drop(held);
        });
        Ok(session)
    }
}

/// Serves a session while somebody receives or is about to, and lets its client hear how it ended.
async fn tend(session: Arc<Session>, mut serving: Serving, vacant_max: Duration) {
    let is_abandoned = tokio::select! {
        () = &mut serving => false,
        () = session.abandoned(vacant_max) => true,
    };
    if is_abandoned {
        session.hang_up();
        return serving.await;
    }
    drop(serving);
    let _ = timeout(vacant_max, session.told()).await;
    sleep(vacant_max).await;
    // Whoever still receives reads too slowly.
    session.hang_up();
}

/// What cannot be done now.
fn later(head: &Head, text: &'static str) -> Response<Body> {
    let mut answer = head.of_session(StatusCode::SERVICE_UNAVAILABLE, TEXT, Body::from(text));
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    answer
}

/// Chance for browsers without a source of their own.
fn entropy() -> u32 {
    let mut bytes = [0; 4];
    // Without it the browser has its own, as all have by now.
    let _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

const GREETING: &str = "Welcome to SockJS!\n";

const NOWHERE: &str = "Nothing is here.\n";

const NO_SESSION: &str = "There is no such session.\n";

const NO_UPGRADE: &str = "Can \"Upgrade\" only to \"WebSocket\".\n";

/// An answer through another instance is over after this, in order, and the client asks for the next: an instance that ends
/// waits for it, and knows nothing of the session to end it itself. Well below `shutdown.deadline_ms`.
const HANDED_ON_MAX: Duration = Duration::from_secs(5);

/// For another instance to answer, beyond what it may wait itself.
const HAND_ON_MARGIN: Duration = Duration::from_secs(5);

/// When a session that found no room may be tried again.
const RETRY_AFTER_S: u32 = 5;
