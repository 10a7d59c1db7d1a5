//! SUBSCRIBE: what a destination means to the one who subscribes it.

use stompede_protocol::{Headers, Subscribe};

use crate::features::control::{self, Order};
use crate::features::revoke;
use crate::features::rooms::{self, Page, Verb, status};
use crate::features::unread::UNREAD_PATH;
use crate::features::users::{self, ERRORS_PATH};
use crate::model::{Address, CloseReason, Destination, Pattern, Principal, Refusal, Start};
use crate::policy::access::{Action, Ruling};
use crate::policy::hooks::HookEvent;
use crate::routing::Topic;

use super::door::Broker;
use super::letters::REFRESH;
use super::peer::membership::Entry;
use super::pleas::{Asks, Leave, Unruled, not_allowed};

/// What a subscription becomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Everything published there.
    Topic {
        topic: Topic,
        /// The room in which the subscriber becomes present.
        entry: Option<Entry>,
        /// MESSAGE shows the destination as subscribed.
        own: bool,
        /// Refusals of the session come here.
        errors: bool,
        /// Unread counts that have changed come here.
        unread: bool,
        /// From where what is kept is wanted, if it is.
        replay: Option<Start>,
    },
    /// A share of a work queue's messages, or of requests to the application.
    Queue(Destination),
    /// A look at what is in a work queue.
    Browse(Destination),
    /// Answers to the session.
    Temp(Box<str>),
    /// One answer: who is in the room, or some of them.
    Members(Box<str>, Page),
    /// One answer: what all nodes say to an operator's order.
    Order(Order),
    /// One answer: that tokens are revoked.
    Revoke,
    /// One answer: all unread counts of the user.
    Unread,
    /// One answer, from a worker of the application.
    Request(Destination),
}

impl Broker {
    /// Checks a SUBSCRIBE and says what it becomes.
    pub(super) fn route(
        &self,
        principal: &Principal,
        subscribe: &Subscribe,
        leave: Leave,
    ) -> Result<Route, Unruled> {
        let name = &*subscribe.destination;
        if subscribe.headers.get("selector").is_some() {
            let text = "there are no selectors: publish to more destinations, or SUBSCRIBE with * and **";
            return Err(Refusal::new(CloseReason::BadDestination, text).at(name).into());
        }
        let address = Address::of_subscribe(name)?;
        let browses = browses(subscribe)?;
        if browses && !matches!(address, Address::Queue(_)) {
            let text = "browser:true is for /queue/<name>";
            return Err(Refusal::new(CloseReason::BadDestination, text).at(name).into());
        }
        if let Some(queue) = users::own_queue(&address, principal).map_err(|refusal| refusal.at(name))? {
            // Both names are one queue: the rule for the short one decides.
            self.inquire(principal, Action::Subscribe, &users::short_name(queue.as_str()), leave)?;
            let replay = self.replay(principal, subscribe, leave)?;
            let is = |known: &str| queue.user_queue().is_some_and(|(_, path)| path == known);
            let (errors, unread) = (is(ERRORS_PATH), is(UNREAD_PATH));
            let topic = Topic::Exact(queue);
            return Ok(Route::Topic { topic, entry: None, own: true, errors, unread, replay });
        }
        match address {
            Address::App(destination) => self.application(principal, destination, &subscribe.headers, leave),
            Address::Wildcard(pattern) => {
                self.inquire_pattern(principal, &pattern, leave)?;
                let (topic, replay) = (Topic::Wildcard(pattern), self.replay(principal, subscribe, leave)?);
                Ok(Route::Topic { topic, entry: None, own: false, errors: false, unread: false, replay })
            }
            Address::ReplyQueue(_) => {
                let text = "a reply address is for SEND; SUBSCRIBE /temp-queue/<name> for answers";
                Err(Refusal::new(CloseReason::BadDestination, text).at(name).into())
            }
            address => {
                self.inquire(principal, Action::Subscribe, name, leave)?;
                if let Address::Queue(queue) = &address {
                    self.check_private(principal, queue)?;
                }
                Ok(match address {
                    Address::Queue(destination) if browses => Route::Browse(destination),
                    Address::Queue(destination) => Route::Queue(destination),
                    Address::TempQueue(name) => Route::Temp(name),
                    _ => self.topic(principal, subscribe, leave)?,
                })
            }
        }
    }

    /// A SUBSCRIBE with wildcards.
    fn inquire_pattern(&self, principal: &Principal, pattern: &Pattern, leave: Leave) -> Result<(), Unruled> {
        let name = pattern.as_str();
        match self.parts.access.rule_pattern(principal, Action::Subscribe, pattern) {
            Ruling::Allowed => Ok(()),
            Ruling::Asked(hook) => {
                leave.check(Asks { hook, event: HookEvent::Subscribe, destination: name.into() })
            }
            Ruling::Denied => {
                let text = format!("not allowed to SUBSCRIBE to everything that {name} can match");
                Err(Refusal::new(CloseReason::Forbidden, text).at(name).into())
            }
        }
    }

    fn topic(&self, principal: &Principal, subscribe: &Subscribe, leave: Leave) -> Result<Route, Unruled> {
        let name = &*subscribe.destination;
        let room = self.parts.settings.rooms.of_topic(name);
        let room = room
            .filter(|_| principal.user.is_some())
            .filter(|_| self.inquire(principal, Action::Presence, name, leave).is_ok());
        let topic = Topic::Exact(Destination::internal(name));
        let replay = self.replay(principal, subscribe, leave)?;
        let marks_read = self.parts.settings.mark_read_on_subscribe
            || subscribe.headers.get("stompede-mark-read") == Some("true");
        let entry = room.map(|room| Entry { room: room.into(), marks_read });
        Ok(Route::Topic { topic, entry, own: false, errors: false, unread: false, replay })
    }

    /// From where a SUBSCRIBE wants what is kept.
    fn replay(
        &self,
        principal: &Principal,
        subscribe: &Subscribe,
        leave: Leave,
    ) -> Result<Option<Start>, Unruled> {
        let name = &*subscribe.destination;
        let since = subscribe.headers.get("stompede-since");
        let last = subscribe.headers.get("stompede-history").map(|count| {
            let number = (!count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit())).then(|| {
                // More than can be counted is all.
                count.parse().unwrap_or(usize::MAX)
            });
            let text = "stompede-history is a number of messages";
            number.ok_or_else(|| Refusal::new(CloseReason::BadContent, text).at(name))
        });
        let last = last.transpose()?;
        if since.is_none() && last.is_none() {
            return Ok(None);
        }
        self.inquire(principal, Action::History, &users::short_name(name), leave)?;
        Ok(Some(match since {
            Some(position) => Start::Since(position.parse().ok(), last.unwrap_or(0)),
            None => Start::Last(last.unwrap_or(0)),
        }))
    }

    fn application(
        &self,
        principal: &Principal,
        destination: Destination,
        headers: &Headers,
        leave: Leave,
    ) -> Result<Route, Unruled> {
        let name = destination.as_str();
        let sent_only = || {
            let text = "this destination takes SEND, not SUBSCRIBE";
            Err(Unruled::from(Refusal::new(CloseReason::NoHandler, text).at(name)))
        };
        if name == REFRESH || name == status::DESTINATION {
            return sent_only();
        }
        if let Some(order) = name.strip_prefix(control::PREFIX) {
            if !principal.is_service() {
                let text = "only a service asks this";
                return Err(Refusal::new(CloseReason::Forbidden, text).at(name).into());
            }
            if order == revoke::NAME {
                return Ok(Route::Revoke);
            }
            let order = Order::parse(order, headers).map_err(|refusal| refusal.at(name))?;
            return Ok(Route::Order(order));
        }
        if self.parts.settings.rooms.is_unread(name) {
            let nobody =
                || Refusal::new(CloseReason::Forbidden, "only a signed-in user has unread messages").at(name);
            return Ok(principal.user.as_ref().map(|_| Route::Unread).ok_or_else(nobody)?);
        }
        if let Some(command) = self.parts.settings.rooms.of_command(name) {
            let (room, verb) = command?;
            if verb != Verb::Members {
                return sent_only();
            }
            let topic = self.parts.settings.rooms.topic(room);
            self.inquire(principal, Action::Presence, topic.as_str(), leave).map_err(
                |unruled| match unruled {
                    Unruled::Refused(refusal) => Unruled::Refused(refusal.at(name)),
                    asks @ Unruled::Asks(_) => asks,
                },
            )?;
            let listed_max = self.parts.settings.limits.members_listed_max;
            let page = Page::parse(headers.get(rooms::LIMIT), headers.get(rooms::AFTER), listed_max);
            return Ok(Route::Members(room.into(), page.map_err(|refusal| refusal.at(name))?));
        }
        if self.parts.access.may(principal, Action::Handle, name) {
            return Ok(Route::Queue(destination));
        }
        // Asking is sending: who may SEND a request may also ask it by SUBSCRIBE.
        match self.parts.access.rule(principal, Action::Subscribe, name) {
            Ruling::Denied if self.parts.access.may(principal, Action::Send, name) => {}
            Ruling::Denied => return Err(not_allowed(Action::Subscribe, name).into()),
            _ => self.inquire(principal, Action::Subscribe, name, leave)?,
        }
        Ok(Route::Request(destination))
    }
}

/// Anything but the two words is refused: who only wanted to look must not take.
fn browses(subscribe: &Subscribe) -> Result<bool, Refusal> {
    match subscribe.headers.get("browser") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => {
            let text = "browser is true or false";
            Err(Refusal::new(CloseReason::BadContent, text).at(&subscribe.destination))
        }
    }
}
