//! Subscriptions to topics and to the user's own queues.

use smallvec::SmallVec;
use stompede_protocol::{AckMode, Receipt, Subscribe, SubscriptionKey};

use crate::backend::{Kept, Wanted};
use crate::broker::letters::Letter;
use crate::broker::routes::Route;
use crate::model::{Refusal, StoreError, Ticket};
use crate::routing::{Interest, Note, Subscriber, SubscriberId, Topic};

use super::calls::{Asked, recovered};
use super::membership::Entry;
use super::replay::{Replay, question};
use super::{Env, Listening, Peer};

/// What became of a SUBSCRIBE.
pub(super) enum Begun {
    /// It hears what is published from now on.
    Live,
    /// A worker of the application is to be asked.
    Asks(Letter),
    /// A store has been asked: the RECEIPT comes with its answer.
    Waits,
    /// As [`Begun::Live`]; it wanted what is kept, but there nothing is.
    HasNoHistory,
}

/// A subscription that is to hear what is published on other nodes, too.
#[derive(Debug, Clone)]
pub(super) struct Listened {
    key: SubscriptionKey,
    /// The room in which the subscriber becomes present.
    entry: Option<Entry>,
    /// It wanted what is kept, but there nothing is.
    has_no_history: bool,
}

impl Peer {
    pub(super) fn begin_topic(
        &mut self,
        env: &mut Env<'_>,
        subscribe: &Subscribe,
        route: Route,
    ) -> Result<Begun, Refusal> {
        let Route::Topic { topic, entry, own, errors, unread, replay } = route else {
            return Ok(Begun::Live);
        };
        let key = subscribe.key;
        let kept = match &topic {
            Topic::Exact(destination) => env.broker.settings().rules.history(destination).is_some(),
            Topic::Wildcard(_) => false,
        };
        // Who reads what is kept first asks the store, which sees to it that nothing is missing behind that.
        let ticket = (!kept || !own && replay.is_none()).then(|| self.ticket());
        let (subscriber, heard) = self.listen(env, subscribe, &topic, own, ticket);
        let signals = (subscribe.headers.get("stompede-signals") == Some("message")).then_some(0);
        if unread {
            self.listen_unread(env, key);
        }
        if let (Topic::Exact(destination), None) = (&topic, ticket) {
            let opened = match own {
                true => self.open_mailbox(env, subscribe, destination, replay),
                false => Ok((None, question(replay.unwrap_or(crate::model::Start::Last(0))))),
            };
            let (mailbox, question) = opened.inspect_err(|_| self.unlisten(env, subscriber))?;
            env.table.note(subscriber, Note::Muted);
            let replay = Some(Box::new(Replay::new(destination.clone(), entry)));
            let live = Listening::Topic { subscriber, room: None, errors, signals, replay, mailbox };
            self.add(key, live);
            self.begin_replay(env, key, destination, question);
            return Ok(Begun::Waits);
        }
        let live = Listening::Topic { subscriber, room: None, errors, signals, replay: None, mailbox: None };
        self.add(key, live);
        let listened = Listened { key, entry, has_no_history: replay.is_some() };
        match (heard, ticket) {
            (Kept::Later, Some(ticket)) => {
                self.calls.add(ticket.call, Asked::Listen(listened));
                Ok(Begun::Waits)
            }
            _ => self.begin_hearing(env, listened),
        }
    }

    /// The subscription hears everything that is published from now on.
    fn begin_hearing(&mut self, env: &mut Env<'_>, listened: Listened) -> Result<Begun, Refusal> {
        let Listened { key, entry, has_no_history } = listened;
        if has_no_history
            && self.usual_note() == Note::None
            && let Some(subscriber) = self.subscriber(key)
        {
            env.table.note(subscriber, Note::Say(false));
        }
        let entered = entry.map_or(Ok(Kept::Now), |entry| self.enter(env, key, entry))?;
        Ok(match entered {
            Kept::Later => Begun::Waits,
            Kept::Now if has_no_history => Begun::HasNoHistory,
            Kept::Now => Begun::Live,
        })
    }

    /// The answer to [`Relay::listen`](crate::backend::Relay::listen).
    pub(super) fn heard(
        &mut self,
        env: &mut Env<'_>,
        listened: Listened,
        heard: Result<(), StoreError>,
        receipts: SmallVec<[Receipt; 1]>,
    ) {
        let key = listened.key;
        let begun = heard.map_err(|error| self.unreadable(key, error));
        match begun.and_then(|()| self.begin_hearing(env, listened)) {
            Ok(Begun::Waits) => self.calls.attach(receipts),
            Ok(Begun::HasNoHistory) => {
                receipts
                    .into_iter()
                    .for_each(|receipt| self.session.complete_with(receipt, &[recovered(false)]));
            }
            Ok(_) => receipts.into_iter().for_each(|receipt| self.session.complete(receipt)),
            Err(refusal) => {
                self.drop_subscription(env, key);
                self.refuse(env, &refusal, receipts.into_iter().next_back());
            }
        }
    }

    fn listen(
        &self,
        env: &mut Env<'_>,
        subscribe: &Subscribe,
        topic: &Topic,
        own: bool,
        ticket: Option<Ticket>,
    ) -> (SubscriberId, Kept) {
        let subscriber = Subscriber {
            slot: self.id.slot,
            key: subscribe.key,
            kind: self.kind,
            id: subscribe.id.as_deref().map(|id| env.table.text(id)),
            shown: own.then(|| env.table.text(&subscribe.destination)),
            issued: (subscribe.ack != AckMode::Auto).then_some(0),
            note: self.usual_note(),
        };
        self.join_topic(env, topic, subscriber, ticket)
    }

    /// From now on what is published there reaches `subscriber`; what other nodes publish, when the answer to `ticket` has
    /// come.
    pub(super) fn join_topic(
        &self,
        env: &mut Env<'_>,
        topic: &Topic,
        subscriber: Subscriber,
        ticket: Option<Ticket>,
    ) -> (SubscriberId, Kept) {
        let (subscriber, interest) = env.table.add(topic.clone(), subscriber);
        if interest == Interest::Gained {
            match topic {
                Topic::Exact(destination) => {
                    env.broker.directory.add(destination, self.id.worker);
                }
                Topic::Wildcard(pattern) => env.broker.directory.add_pattern(pattern, self.id.worker),
            }
        }
        (subscriber, env.broker.relay.listen(wanted(topic), ticket))
    }

    /// The end of [`Peer::join_topic`].
    pub(super) fn unlisten(&self, env: &mut Env<'_>, subscriber: SubscriberId) {
        let (topic, interest) = env.table.remove(subscriber);
        if interest != Interest::Lost {
            return;
        }
        let node_interest = match &topic {
            Topic::Exact(destination) => env.broker.directory.remove(destination, self.id.worker),
            Topic::Wildcard(pattern) => {
                env.broker.directory.remove_pattern(pattern, self.id.worker);
                Interest::Lost
            }
        };
        if node_interest == Interest::Lost {
            env.broker.relay.unlisten(wanted(&topic));
        }
    }

    pub(super) fn subscriber(&self, key: SubscriptionKey) -> Option<SubscriberId> {
        self.live.iter().find(|live| live.key == key).and_then(|live| match live.what {
            Listening::Topic { subscriber, .. } => Some(subscriber),
            _ => None,
        })
    }
}

fn wanted(topic: &Topic) -> Wanted<'_> {
    match topic {
        Topic::Exact(destination) => Wanted::Exact(destination),
        Topic::Wildcard(pattern) => Wanted::Pattern(pattern),
    }
}
