//! Publishing what is not kept, and listening.

use std::sync::Arc;

use bytes::Bytes;
use redis::Value;

use super::hub::{self, Hub};
use super::interest::{Interest, Ready};
use super::keys::{self, Channel, Partition};
use super::link::{Doubt, Fault, Order, Then};
use super::logs::Logs;
use super::{scripts, wire};
use crate::backend::{Kept, Relay, Wanted, record};
use crate::model::{Answer, Full, Message, StoreError, Ticket, WorkerId};

/// The relay of one node.
#[derive(Debug)]
pub(super) struct RedisRelay {
    hub: Arc<Hub>,
    interest: Arc<Interest>,
    logs: Arc<Logs>,
}

impl RedisRelay {
    pub(super) fn new(hub: Arc<Hub>, interest: Arc<Interest>, logs: Arc<Logs>) -> Self {
        Self { hub, interest, logs }
    }

    fn order(&self, message: &Message, then: Then) -> Order {
        let destination = &message.destination;
        let channel = self.hub.keys.channel(destination.as_str());
        let payload = wire::published(destination, &record::encode(message));
        let keys = idempotency_key(&self.hub, channel.partition, message).into_iter().collect();
        Order { keys, ..publication(&self.hub, &channel, payload, then) }
    }
}

/// The order to publish `payload` on a channel, and on that of its partition.
pub(super) fn publication(hub: &Hub, channel: &Channel, payload: Bytes, then: Then) -> Order {
    let partition = channel.partition;
    let args = vec![hub::text(&channel.name), hub::text(&hub.keys.star(partition).name), payload];
    // Twice would be two messages for those who listen: who sent it is told that nobody knows.
    Order { partition, script: &scripts::PUBLISH, keys: Vec::new(), args, doubt: Doubt::Tell, then }
}

impl Relay for RedisRelay {
    fn publish(&self, message: &Arc<Message>, from: Option<WorkerId>, ticket: Ticket) -> Result<Kept, Full> {
        let hub = Arc::clone(&self.hub);
        let is_reply = keys::is_reply(message.destination.as_str());
        let then = Box::new(move |reply: Result<Value, Fault>| {
            let published = match reply {
                Ok(Value::Int(0)) if is_reply => Err(StoreError::NoReceiver),
                reply => reply.map(drop).map_err(|fault| store_error(&fault)),
            };
            hub.sink().into_iter().for_each(|sink| sink.answer(ticket, Answer::Published(published)));
        });
        let link = self.hub.link().ok_or(Full)?;
        link.send(self.order(message, then), from).map_err(|_| Full)?;
        Ok(Kept::Later)
    }

    fn announce(&self, message: &Arc<Message>) {
        if let Some(link) = self.hub.link() {
            link.force(self.order(message, Box::new(|_| {})));
        }
    }

    fn listen(&self, wanted: Wanted<'_>, ticket: Option<Ticket>) -> Kept {
        let hub = Arc::clone(&self.hub);
        let ready = move || {
            let ticket = ticket?;
            let ready: Ready = Box::new(move |heard| {
                let heard = heard.map_err(|fault| store_error(&fault));
                hub.sink().into_iter().for_each(|sink| sink.answer(ticket, Answer::Listening(heard)));
            });
            Some(ready)
        };
        let is_heard = match wanted {
            Wanted::Exact(destination) => {
                self.logs.follow(destination);
                self.interest.listen(destination, ready)
            }
            Wanted::Pattern(_) => self.interest.listen_all(ready),
        };
        if is_heard { Kept::Now } else { Kept::Later }
    }

    fn unlisten(&self, wanted: Wanted<'_>) {
        match wanted {
            Wanted::Exact(destination) => self.interest.unlisten(Some(destination)),
            Wanted::Pattern(_) => self.interest.unlisten(None),
        }
    }
}

/// The key under which it is noted that a message was accepted, if its sender wants that noted.
pub(super) fn idempotency_key(hub: &Hub, partition: Partition, message: &Message) -> Option<String> {
    let key = message.headers.get("idempotency-key")?;
    let sender = message.sender.as_deref().unwrap_or("");
    Some(hub.keys.idempotency(partition, message.destination.as_str(), sender, key))
}

/// What a client is told of a fault.
pub(super) fn store_error(fault: &Fault) -> StoreError {
    match fault {
        Fault::Refused { code, .. } if code == "OOM" => StoreError::Full,
        Fault::Refused { code, text } => {
            tracing::error!(code, text, "Redis refuses what is asked of it");
            StoreError::Unavailable
        }
        Fault::Unreachable | Fault::Unknown => StoreError::Unavailable,
    }
}
