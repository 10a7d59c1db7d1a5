//! SUBSCRIBE: what a destination means to the one who subscribes it.

use stompede_protocol::{Headers, Subscribe};

use crate::features::rooms::{self, Page, Verb, status};
use crate::features::users::{self, ERRORS_PATH};
use crate::model::{Address, CloseReason, Destination, Principal, Refusal};
use crate::policy::access::Action;
use crate::routing::Topic;

use super::door::Broker;
use super::letters::REFRESH;

/// What a subscription becomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Everything published there.
    Topic {
        topic: Topic,
        /// The room in which the subscriber becomes present.
        room: Option<Box<str>>,
        /// MESSAGE shows the destination as subscribed.
        own: bool,
        /// Refusals of the session come here.
        errors: bool,
    },
    /// A share of a work queue's messages, or of requests to the application.
    Queue(Destination),
    /// Answers to the session.
    Temp(Box<str>),
    /// One answer: who is in the room, or some of them.
    Members(Box<str>, Page),
    /// One answer, from a worker of the application.
    Request(Destination),
}

impl Broker {
    /// Checks a SUBSCRIBE and says what it becomes.
    pub(super) fn route(&self, principal: &Principal, subscribe: &Subscribe) -> Result<Route, Refusal> {
        let name = &*subscribe.destination;
        if subscribe.headers.get("selector").is_some() {
            let text = "there are no selectors: publish to more destinations, or SUBSCRIBE with * and **";
            return Err(Refusal::new(CloseReason::BadDestination, text).at(name));
        }
        let address = Address::of_subscribe(name)?;
        if let Some(queue) = users::own_queue(&address, principal).map_err(|refusal| refusal.at(name))? {
            // Both names are one queue: the rule for the short one decides.
            self.check(principal, Action::Subscribe, &users::short_name(queue.as_str()))?;
            let errors = queue.user_queue().is_some_and(|(_, path)| path == ERRORS_PATH);
            return Ok(Route::Topic { topic: Topic::Exact(queue), room: None, own: true, errors });
        }
        match address {
            Address::App(destination) => self.application(principal, destination, &subscribe.headers),
            Address::Wildcard(pattern) => {
                if !self.parts.access.may_pattern(principal, Action::Subscribe, &pattern) {
                    let text = format!("not allowed to SUBSCRIBE to everything that {name} can match");
                    return Err(Refusal::new(CloseReason::Forbidden, text).at(name));
                }
                Ok(Route::Topic { topic: Topic::Wildcard(pattern), room: None, own: false, errors: false })
            }
            Address::ReplyQueue(_) => {
                let text = "a reply address is for SEND; SUBSCRIBE /temp-queue/<name> for answers";
                Err(Refusal::new(CloseReason::BadDestination, text).at(name))
            }
            address => {
                self.check(principal, Action::Subscribe, name)?;
                Ok(match address {
                    Address::Queue(destination) => Route::Queue(destination),
                    Address::TempQueue(name) => Route::Temp(name),
                    _ => self.topic(principal, name),
                })
            }
        }
    }

    fn topic(&self, principal: &Principal, name: &str) -> Route {
        let room = self.parts.settings.rooms.of_topic(name);
        let room = room
            .filter(|_| principal.user.is_some() && self.parts.access.may(principal, Action::Presence, name));
        let topic = Topic::Exact(Destination::internal(name));
        Route::Topic { topic, room: room.map(Into::into), own: false, errors: false }
    }

    fn application(
        &self,
        principal: &Principal,
        destination: Destination,
        headers: &Headers,
    ) -> Result<Route, Refusal> {
        let name = destination.as_str();
        let sent_only = || {
            let text = "this destination takes SEND, not SUBSCRIBE";
            Err(Refusal::new(CloseReason::NoHandler, text).at(name))
        };
        if name == REFRESH || name == status::DESTINATION {
            return sent_only();
        }
        if let Some(command) = self.parts.settings.rooms.of_command(name) {
            let (room, verb) = command?;
            if verb != Verb::Members {
                return sent_only();
            }
            let topic = self.parts.settings.rooms.topic(room);
            self.check(principal, Action::Presence, topic.as_str()).map_err(|refusal| refusal.at(name))?;
            let listed_max = self.parts.settings.limits.members_listed_max;
            let page = Page::parse(headers.get(rooms::LIMIT), headers.get(rooms::AFTER), listed_max);
            return Ok(Route::Members(room.into(), page.map_err(|refusal| refusal.at(name))?));
        }
        if self.parts.access.may(principal, Action::Handle, name) {
            return Ok(Route::Queue(destination));
        }
        // Asking is sending: who may SEND a request may also ask it by SUBSCRIBE.
        if !self.parts.access.may(principal, Action::Send, name) {
            self.check(principal, Action::Subscribe, name)?;
        }
        Ok(Route::Request(destination))
    }
}
