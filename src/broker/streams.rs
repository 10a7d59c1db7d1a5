//! Streams of server-sent events: who may have which, and what is said for a client that can say nothing.

use stompede_protocol::{AckMode, Command, Frame, Headers, Subscribe, SubscriptionKey, Version, encode};

use crate::model::{CloseReason, Principal, Refusal};
use crate::policy::access::Action;
use crate::routing::Topic;
use crate::transport::events;

use super::door::Broker;
use super::pleas::{Leave, Unruled};
use super::routes::Route;

impl Broker {
    /// What begins a session of [`Link::Events`](super::Link::Events) for `principal`, who is to be vouched for: CONNECT, and
    /// SUBSCRIBE of each destination. With `last_event_id` it goes on where another stream of these destinations ended.
    ///
    /// # Errors
    /// Its token is revoked, it may not subscribe one of them, or that is neither a topic nor a queue of its own.
    pub fn stream(
        &self,
        principal: &Principal,
        destinations: &[Box<str>],
        last_event_id: Option<&str>,
    ) -> Result<Vec<u8>, Refusal> {
        self.revocations.check(principal)?;
        let last = last_event_id.map(|cursor| events::positions(cursor, destinations.len()));
        let mut is_numbered = destinations.len() == 1;
        let mut subscribes = Vec::with_capacity(destinations.len());
        for (place, destination) in destinations.iter().enumerate() {
            let number = (place as u32 + 1).to_string();
            let mut frame = Frame::new(Command::Subscribe)
                .with("id", &number)
                .with("destination", destination)
                .with("receipt", &number);
            let topic = self.may_stream(principal, destination)?;
            is_numbered &= matches!(topic, Topic::Exact(_));
            if self.reads_history(principal, destination, &topic) {
                let since = last.as_ref().map(|last| events::cursor(&last[place..=place]));
                match since {
                    Some(since) => frame.headers.push("stompede-since", &since),
                    None => frame.headers.push("stompede-history", "0"),
                }
            }
            subscribes.push(frame);
        }
        let mut connect = Frame::new(Command::Connect)
            .with("accept-version", Version::V1_2.as_str())
            .with(DESTINATIONS, &destinations.len().to_string());
        if is_numbered {
            connect.headers.push(NUMBERED, "true");
        }
        if let Some(last) = &last {
            connect.headers.push(LAST_EVENT_ID, &events::cursor(last));
        }
        let mut frames = Vec::new();
        std::iter::once(&connect)
            .chain(&subscribes)
            .for_each(|frame| encode(frame, Version::V1_2, &mut frames));
        Ok(frames)
    }

    fn may_stream(&self, principal: &Principal, destination: &str) -> Result<Topic, Refusal> {
        let subscribe = Subscribe {
            key: SubscriptionKey(0),
            id: None,
            destination: destination.into(),
            ack: AckMode::Auto,
            headers: Headers::new(),
            receipt: None,
        };
        // What a backend decides, it decides when the session asks.
        match self.route(principal, &subscribe, Leave::Any).map_err(Unruled::refusal)? {
            Route::Topic { topic, .. } => Ok(topic),
            _ => {
                let text = "a stream of events is for /topic/... and /user/queue/...";
                Err(Refusal::new(CloseReason::BadDestination, text).at(destination))
            }
        }
    }

    /// Whether what is kept can be read from a position on. A queue of one's own goes on by itself.
    fn reads_history(&self, principal: &Principal, destination: &str, topic: &Topic) -> bool {
        let Topic::Exact(known) = topic else { return false };
        let is_kept = known.user_queue().is_none() && self.settings().rules.history(known).is_some();
        is_kept && self.inquire(principal, Action::History, destination, Leave::Any).is_ok()
    }
}

/// Headers of the CONNECT that is said for a stream: how many destinations follow,
pub(super) const DESTINATIONS: &str = "destinations";

/// that the position of the only one is the stream's,
pub(super) const NUMBERED: &str = "numbered";

/// and where it goes on.
pub(super) const LAST_EVENT_ID: &str = "last-event-id";
