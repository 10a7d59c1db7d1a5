//! A user's queue whose messages are kept for him while he is away.
//!
//! Each message is taken when it is written to the socket, in the client modes when it is acknowledged; until then it is
//! kept for the device. The connection delivers by itself, one message after the other, and reads on from the store when
//! there is no room, or no more may be unacknowledged: then the subscription is muted as while it reads the first time.

use std::collections::{BTreeSet, VecDeque};

use stompede_protocol::{AckMode, Settle, Subscribe, SubscriptionKey};

use crate::backend::{Cursor, Question};
use crate::model::{CloseReason, Destination, Message, Refusal, Start};
use crate::routing::Note;

use super::replay::{Replay, question, resumption};
use super::{Env, Listening, Peer};

/// What a subscription has of such a queue.
#[derive(Debug)]
pub(super) struct Mailbox {
    queue: Destination,
    device: Box<str>,
    /// Offset of the newest message that was delivered.
    delivered: u64,
    /// Delivered and not yet written: the position after it in the outbox, and its offset.
    unwritten: VecDeque<(u64, u64)>,
    /// Delivered and not yet acknowledged.
    unacked: BTreeSet<u64>,
}

impl Mailbox {
    pub(super) fn new(queue: Destination, device: &str) -> Self {
        let (unwritten, unacked) = (VecDeque::new(), BTreeSet::new());
        Self { queue, device: device.into(), delivered: 0, unwritten, unacked }
    }

    /// Everything up to here was acknowledged.
    fn acknowledged(&self) -> u64 {
        self.unacked.first().map_or(self.delivered, |first| first - 1)
    }
}

impl Peer {
    /// SUBSCRIBE to a queue of one's own: where it keeps messages, what the device has not taken comes first.
    pub(super) fn open_mailbox(
        &mut self,
        env: &Env<'_>,
        subscribe: &Subscribe,
        queue: &Destination,
        asked: Option<Start>,
    ) -> Result<(Option<Box<Mailbox>>, Question), Refusal> {
        let device = subscribe.headers.get("client-id").unwrap_or_default();
        if device.len() > DEVICE_BYTES_MAX {
            let text = format!("client-id has more than {DEVICE_BYTES_MAX} bytes");
            return Err(Refusal::new(CloseReason::BadContent, text).at(&subscribe.destination));
        }
        let taken = env.broker.cursors.begin(queue, device, env.now.wall_ms);
        self.session.track(subscribe.key);
        let first = match (asked, taken) {
            (Some(start), _) => question(start),
            (None, Cursor::At(offset)) => question(offset.map_or(Start::Last(usize::MAX), Start::After)),
            (None, Cursor::Kept) => resumption(device),
        };
        Ok((Some(Box::new(Mailbox::new(queue.clone(), device))), first))
    }

    /// A message for `key`, read or live. `false` when it has to wait: it will be read again.
    pub(super) fn deliver_mail(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        message: &Message,
        recovered: Option<bool>,
    ) -> bool {
        let Some(position) = message.position else { return true };
        let Some(auto) = self.session.subscription(key).map(|known| known.ack == AckMode::Auto) else {
            return true;
        };
        let outbox_bytes = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.bytes());
        let has_room = outbox_bytes <= env.broker.settings().limits.outbox_bytes_max
            && !env.lanes.is_sealed(self.id.slot)
            && self.is_open();
        let has_credit = auto || self.session.unacked(key) < env.broker.settings().limits.unacked_max;
        let Some(mailbox) = self.mailbox(key) else { return true };
        if position.offset <= mailbox.delivered {
            return true;
        }
        if !has_room || !has_credit {
            return false;
        }
        mailbox.delivered = position.offset;
        if !auto {
            mailbox.unacked.insert(position.offset);
        }
        let ack = if auto { None } else { self.session.deliver(key, position.offset) };
        self.deliver_kept_as(env, key, message, ack, recovered);
        if auto {
            let end = env.lanes.lane(self.id.slot).map_or(0, |lane| lane.outbox.pushed_total());
            if let Some(mailbox) = self.mailbox(key) {
                mailbox.unwritten.push_back((end, position.offset));
            }
            env.lanes.heed(self.id.slot, true);
        }
        true
    }

    /// A message was published to the queue of `key`. Whether it is one.
    pub(super) fn receive_mail(
        &mut self,
        env: &mut Env<'_>,
        key: SubscriptionKey,
        message: &Message,
    ) -> bool {
        if self.mailbox(key).is_none_or(|mailbox| mailbox.queue != message.destination) {
            return false;
        }
        if !self.deliver_mail(env, key, message, None) {
            self.wait_for_room(env, key);
        }
        true
    }

    /// Nothing more for now: what comes is read when there is room.
    pub(super) fn wait_for_room(&mut self, env: &mut Env<'_>, key: SubscriptionKey) {
        let Some(live) = self.live.iter_mut().find(|live| live.key == key) else { return };
        if let Listening::Topic { subscriber, replay, mailbox: Some(mailbox), .. } = &mut live.what {
            env.table.note(*subscriber, Note::Muted);
            let mut again = Replay::new(mailbox.queue.clone(), None);
            again.goes_on_after(mailbox.delivered);
            *replay = Some(Box::new(again));
            env.lanes.heed(self.id.slot, true);
        }
    }

    /// Whether more may be delivered to `key` before something is acknowledged.
    pub(super) fn may_read_mail(&self, env: &Env<'_>, key: SubscriptionKey) -> bool {
        let unacked_max = env.broker.settings().limits.unacked_max;
        self.session.unacked(key) * 2 <= unacked_max
    }

    /// The socket took bytes.
    pub(super) fn wrote_mail(&mut self, env: &Env<'_>, written: u64) {
        for live in &mut self.live {
            let Listening::Topic { mailbox: Some(mailbox), .. } = &mut live.what else { continue };
            let mut taken = None;
            while let Some((_, offset)) = mailbox.unwritten.pop_front_if(|(end, _)| *end <= written) {
                taken = Some(offset);
            }
            if let Some(offset) = taken {
                env.broker.take_mail(&mailbox.queue, &mailbox.device, offset, env.now);
            }
        }
    }

    /// Whether something is on its way that is taken when it is written.
    pub(super) fn has_unwritten_mail(&self) -> bool {
        let waits = |what: &Listening| matches!(what, Listening::Topic { mailbox: Some(mailbox), .. } if !mailbox.unwritten.is_empty());
        self.live.iter().any(|live| waits(&live.what))
    }

    /// ACK, or NACK with `requeue:false`; a NACK that wants it again leaves it for the next subscription.
    pub(super) fn settle_mail(&mut self, env: &mut Env<'_>, settle: &Settle) {
        let Some(mailbox) = self.mailbox(settle.key) else { return };
        settle.tags.iter().for_each(|offset| {
            mailbox.unacked.remove(offset);
        });
        let (queue, device, taken) = (mailbox.queue.clone(), mailbox.device.clone(), mailbox.acknowledged());
        env.broker.take_mail(&queue, &device, taken, env.now);
        self.read_further(env);
    }

    fn mailbox(&mut self, key: SubscriptionKey) -> Option<&mut Mailbox> {
        let live = self.live.iter_mut().find(|live| live.key == key)?;
        match &mut live.what {
            Listening::Topic { mailbox, .. } => mailbox.as_deref_mut(),
            _ => None,
        }
    }
}

/// Longest name of a device, bytes.
const DEVICE_BYTES_MAX: usize = 256;
