//! What a worker can be given to do.

use std::sync::Arc;

use stompede_protocol::SubscriptionKey;

use crate::model::{Answer, ConnectionId, Destination, Message, Ticket};

use super::replies::ReplyRoute;
use super::round::Round;

/// One thing to do.
#[derive(Debug)]
pub enum Item {
    /// Deliver to everyone here who subscribes the message's destination.
    Publish(Arc<Message>),
    /// Hand a work queue's message to one consumer.
    Consume {
        /// The consumer's connection.
        to: ConnectionId,
        /// Its subscription.
        key: SubscriptionKey,
        /// What the queue knows the message by.
        tag: u64,
        /// The message.
        message: Arc<Message>,
        /// How often somebody may have had it before.
        deliveries: u32,
    },
    /// Hand out a work queue's messages to a consumer again.
    Resume {
        /// The consumer's connection.
        to: ConnectionId,
        /// Its subscription.
        key: SubscriptionKey,
    },
    /// Deliver an answer to the session that asked.
    Reply {
        /// Whom and where.
        route: ReplyRoute,
        /// The answer.
        message: Arc<Message>,
    },
    /// What a store answers; publishes that it knew of stand before it.
    Answer {
        /// Who asked what.
        ticket: Ticket,
        /// The answer.
        answer: Answer,
    },
    /// Tell everyone here who subscribes the destination that something may be missing.
    Gap(Destination),
    /// Tell everyone here who subscribes patterns that something may be missing.
    PatternGap,
    /// Do what an operator orders.
    Round(Arc<Round>),
    /// Hand out what is in a queue: something there may be taken that could not be before.
    Ready(Destination),
    /// An inbox or a store that was full when this worker wanted to publish has room again.
    Room,
}

impl Item {
    /// Memory that it takes while it waits.
    pub(super) fn cost_bytes(&self) -> usize {
        match self {
            Self::Publish(message) | Self::Consume { message, .. } | Self::Reply { message, .. } => {
                size_of::<Self>() + message.cost_bytes()
            }
            Self::Answer { answer, .. } => size_of::<Self>() + answer.cost_bytes(),
            Self::Resume { .. }
            | Self::Round(_)
            | Self::Gap(_)
            | Self::PatternGap
            | Self::Ready(_)
            | Self::Room => size_of::<Self>(),
        }
    }
}
