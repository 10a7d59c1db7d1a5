//! Subscriptions to topics and to the user's own queues.

use stompede_protocol::{AckMode, Subscribe};

use crate::broker::letters::Letter;
use crate::broker::routes::Route;
use crate::model::Refusal;
use crate::routing::{Interest, Note, Subscriber, SubscriberId, Topic};

use super::replay::Replay;
use super::{Env, Listening, Peer};

/// What became of a SUBSCRIBE.
pub(super) enum Begun {
    /// It hears what is published from now on.
    Live,
    /// A worker of the application is to be asked.
    Asks(Letter),
    /// What is kept is being read.
    Reads,
    /// As [`Begun::Live`]; it wanted what is kept, but there nothing is.
    HasNoHistory,
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
        let subscriber = self.listen(env, subscribe, &topic, own);
        let signals = (subscribe.headers.get("stompede-signals") == Some("message")).then_some(0);
        if unread {
            self.listen_unread(env, subscribe.key);
        }
        let (mailbox, start) = match &topic {
            Topic::Exact(queue) if own => match self.open_mailbox(env, subscribe, queue, replay) {
                Ok(opened) => opened,
                Err(refusal) => {
                    self.unlisten(env, subscriber);
                    return Err(refusal);
                }
            },
            _ => (None, replay),
        };
        if let (Topic::Exact(destination), Some(start)) = (&topic, start)
            && env.broker.settings().rules.history(destination).is_some()
        {
            env.table.note(subscriber, Note::Muted);
            let replay = Some(Box::new(Replay::new(destination.clone(), entry)));
            let live = Listening::Topic { subscriber, room: None, errors, signals, replay, mailbox };
            self.add(subscribe.key, live);
            self.begin_replay(env, subscribe.key, destination, start);
            return Ok(Begun::Reads);
        }
        let live = Listening::Topic { subscriber, room: None, errors, signals, replay: None, mailbox: None };
        self.add(subscribe.key, live);
        if let Some(entry) = entry {
            self.enter(env, subscribe.key, entry)?;
        }
        if replay.is_none() {
            return Ok(Begun::Live);
        }
        env.table.note(subscriber, Note::Say(false));
        Ok(Begun::HasNoHistory)
    }

    fn listen(&self, env: &mut Env<'_>, subscribe: &Subscribe, topic: &Topic, own: bool) -> SubscriberId {
        let subscriber = Subscriber {
            slot: self.id.slot,
            key: subscribe.key,
            kind: self.kind,
            id: subscribe.id.as_deref().map(|id| env.table.text(id)),
            shown: own.then(|| env.table.text(&subscribe.destination)),
            issued: (subscribe.ack != AckMode::Auto).then_some(0),
            note: Note::None,
        };
        self.join_topic(env, topic, subscriber)
    }

    /// From now on what is published there reaches `subscriber`.
    pub(super) fn join_topic(
        &self,
        env: &mut Env<'_>,
        topic: &Topic,
        subscriber: Subscriber,
    ) -> SubscriberId {
        let (subscriber, interest) = env.table.add(topic.clone(), subscriber);
        if interest == Interest::Gained {
            match topic {
                Topic::Exact(destination) => {
                    env.broker.directory.add(destination, self.id.worker);
                }
                Topic::Wildcard(pattern) => env.broker.directory.add_pattern(pattern, self.id.worker),
            }
        }
        subscriber
    }

    /// The end of [`Peer::join_topic`].
    pub(super) fn unlisten(&self, env: &mut Env<'_>, subscriber: SubscriberId) {
        let (topic, interest) = env.table.remove(subscriber);
        if interest == Interest::Lost {
            match &topic {
                Topic::Exact(destination) => {
                    env.broker.directory.remove(destination, self.id.worker);
                }
                Topic::Wildcard(pattern) => env.broker.directory.remove_pattern(pattern, self.id.worker),
            }
        }
    }
}
