//! What this node has of one queue. Nothing in here knows Redis.
//!
//! ```text
//!             come                 take
//!   Redis ---------> at hand -----------------> out --- settle, bury ---> ending ---> Redis
//!     ^               |   ^                      |                          ^
//!     |               |   +--- release,          |                          |
//!     |   nobody      |        give back --------+------- postpone ---------+
//!     +--- takes it --+
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use stompede_protocol::Millis;

use super::batch::{Batch, Return};
use super::standing::{Presence, Standing};
use crate::backend::redis::journal::Entry;
use crate::model::{Message, Queued, expiry};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// For whoever takes it here, and since when.
    at_hand: BTreeMap<u64, (Held, Millis)>,
    /// With somebody here. How often it was handed out counts this time too.
    out: HashMap<u64, Held, RandomState>,
    /// Ends that Redis has not confirmed.
    ending: HashSet<u64, RandomState>,
    /// Ends that Redis was not told of, since it is told of others just now.
    settled: Batch<u64>,
    /// Messages that go back, of which Redis was not told for the same reason.
    returned: Batch<Return>,
    /// Messages that somebody here would take at once, as far as we know.
    pub(super) wanted: usize,
    /// When somebody asked in vain.
    pub(super) asked: Millis,
    pub(super) search: Search,
    /// Somebody here consumes from the queue.
    pub(super) is_attended: bool,
    standing: Standing,
    /// What Redis thinks that we have is to be compared with what we have.
    pub(super) is_doubtful: bool,
    /// Its channel is listened to.
    pub(super) is_heard: bool,
    bytes: usize,
}

/// A message that is ours at the moment.
#[derive(Debug)]
struct Held {
    message: Arc<Message>,
    deliveries: u32,
}

/// How far we are with asking for messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// We do not.
    #[default]
    Idle,
    /// Redis is asked.
    UnderWay {
        /// We were called meanwhile, maybe after the answer was made.
        called: bool,
    },
    /// There were not as many as we wanted, or nobody answered; if there are, we are called, and ask again in any case.
    Waiting(Millis),
}

impl Local {
    /// A message has come from Redis.
    pub(super) fn come(&mut self, queued: Queued, now: Millis) {
        let Queued { tag, message, deliveries, .. } = queued;
        if !self.knows(tag) {
            self.bytes += message.cost_bytes();
            self.at_hand.insert(tag, (Held { message, deliveries }, now));
        }
    }

    /// Takes the oldest that is at hand.
    pub(super) fn take(&mut self) -> Option<Queued> {
        let (tag, (held, _)) = self.at_hand.pop_first()?;
        Some(self.hand_out(tag, held))
    }

    /// Takes up to `count` that have expired while they were at hand.
    pub(super) fn take_expired(&mut self, now_ms: u64, count: usize) -> Vec<Queued> {
        let is_past = |(held, _): &(Held, Millis)| expiry::is_past(held.message.expires_ms(), now_ms);
        let expired = self.at_hand.iter().filter(|(_, entry)| is_past(entry)).map(|(tag, _)| *tag);
        let expired: Vec<u64> = expired.take(count).collect();
        let take = |tag| self.at_hand.remove(&tag).map(|(held, _)| (tag, held));
        let taken: Vec<_> = expired.into_iter().filter_map(take).collect();
        taken.into_iter().map(|(tag, held)| self.hand_out(tag, held)).collect()
    }

    /// What Redis has taken for us, since it has expired: it is with somebody here from the beginning.
    pub(super) fn come_out(&mut self, queued: Queued) -> Option<Queued> {
        let Queued { tag, message, deliveries, .. } = queued;
        if self.knows(tag) {
            return None;
        }
        self.bytes += message.cost_bytes();
        Some(self.hand_out(tag, Held { message, deliveries }))
    }

    /// It is at hand again, handed out as often as somebody can have seen it.
    pub(super) fn release(&mut self, tag: u64, now: Millis) {
        if let Some(held) = self.out.remove(&tag) {
            self.at_hand.insert(tag, (held, now));
        }
    }

    /// As [`Local::release`], but this time nobody can have seen it.
    pub(super) fn give_back(&mut self, tag: u64, now: Millis) {
        if let Some(Held { message, deliveries }) = self.out.remove(&tag) {
            self.at_hand.insert(tag, (Held { message, deliveries: deliveries.saturating_sub(1) }, now));
        }
    }

    pub(super) fn retake(&mut self, tag: u64) -> Option<Queued> {
        let held = self.out.remove(&tag)?;
        Some(self.hand_out(tag, held))
    }

    /// It goes back, and is ready again at `due_ms`.
    pub(super) fn postpone(&mut self, tag: u64, due_ms: u64, open: impl FnOnce() -> Entry) -> bool {
        let Some(held) = self.out.remove(&tag) else { return false };
        self.send_back(tag, held, due_ms, Some(open()));
        true
    }

    /// Its end begins.
    pub(super) fn settle(&mut self, tag: u64, open: impl FnOnce() -> Entry) -> Option<Arc<Message>> {
        let message = self.bury(tag)?;
        self.settled.push(tag, Some(open()));
        Some(message)
    }

    /// Its end begins, of which Redis is told otherwise.
    pub(super) fn bury(&mut self, tag: u64) -> Option<Arc<Message>> {
        let held = self.out.remove(&tag)?;
        self.bytes -= held.message.cost_bytes();
        self.ending.insert(tag);
        Some(held.message)
    }

    /// What nobody has taken for so long goes back.
    pub(super) fn turn_back(&mut self, now: Millis, patience_ms: u64) {
        let stale = self.at_hand.iter().filter(|(_, (_, since))| now.since(*since) >= patience_ms);
        for tag in stale.map(|(tag, _)| *tag).collect::<Vec<u64>>() {
            if let Some((held, _)) = self.at_hand.remove(&tag) {
                self.send_back(tag, held, 0, None);
            }
        }
    }

    /// A message that came cannot be read here: it goes back.
    pub(super) fn refuse(&mut self, tag: u64, deliveries: u32, due_ms: u64) {
        self.ending.insert(tag);
        let alarm_ms = Some(due_ms);
        self.returned.push(Return { tag, deliveries, due_ms, alarm_ms }, None);
    }

    /// Ends of which Redis is to be told now.
    pub(super) fn next_settled(&mut self) -> Option<(Vec<u64>, Vec<Entry>)> {
        self.settled.next()
    }

    /// Messages that go back of which Redis is to be told now.
    pub(super) fn next_returned(&mut self) -> Option<(Vec<Return>, Vec<Entry>)> {
        self.returned.next()
    }

    /// Redis was told.
    pub(super) fn told_settled(&mut self, tags: &[u64]) {
        self.settled.told();
        self.ended(tags);
    }

    /// Redis was told.
    pub(super) fn told_returned(&mut self, returned: &[Return]) {
        self.returned.told();
        returned.iter().for_each(|returned| self.ended(&[returned.tag]));
    }

    /// They have ended.
    pub(super) fn ended(&mut self, tags: &[u64]) {
        for tag in tags {
            self.ending.remove(tag);
        }
    }

    /// Compares what we have with what Redis thinks that we have. What is not ours any more is at hand no longer; what we
    /// know nothing of goes back.
    pub(super) fn compare(&mut self, ours: &[(u64, u32)]) {
        let known: HashSet<u64> = ours.iter().map(|(tag, _)| *tag).collect();
        let bytes = &mut self.bytes;
        self.at_hand.retain(|tag, (held, _)| {
            let is_ours = known.contains(tag);
            *bytes -= if is_ours { 0 } else { held.message.cost_bytes() };
            is_ours
        });
        for (tag, deliveries) in ours {
            if !self.knows(*tag) {
                // Somebody here may have seen it, and its end may have been lost.
                self.refuse(*tag, deliveries.saturating_add(1), 0);
            }
        }
    }

    /// Nothing that we have is ours any more. What will never be safe.
    pub(super) fn lose_all(&mut self) -> Vec<Entry> {
        let Self { wanted, asked, is_attended, is_heard, .. } = *self;
        let lost = std::mem::replace(self, Self { wanted, asked, is_attended, is_heard, ..Self::default() });
        lost.settled.abandon().chain(lost.returned.abandon()).collect()
    }

    /// How often a message that is ours was handed out before, which Redis may not know.
    pub(super) fn deliveries(&self, tag: u64) -> Option<u32> {
        let at_hand = self.at_hand.get(&tag).map(|(held, _)| held.deliveries);
        at_hand.or_else(|| self.out.get(&tag).map(|held| held.deliveries.saturating_sub(1)))
    }

    /// For how many messages Redis is to be asked now, if it is.
    pub(super) fn begin_search(&mut self) -> Option<usize> {
        if self.wanted == 0 || self.search != Search::Idle {
            return None;
        }
        self.search = Search::UnderWay { called: false };
        self.standing.take();
        Some(self.wanted)
    }

    /// Whether the channel is to be listened to from now on.
    pub(super) fn begin_to_listen(&mut self) -> bool {
        let begins = !self.is_heard && (self.wanted > 0 || self.is_attended);
        self.is_heard |= begins;
        begins
    }

    fn is_searching(&self) -> bool {
        matches!(self.search, Search::UnderWay { .. })
    }

    /// Redis is told what we are: what is that?
    pub(super) fn tell(&mut self) -> Presence {
        self.standing.tell();
        self.presence()
    }

    /// It was told, or could not be.
    pub(super) fn told(&mut self, presence: Presence, is_told: bool, again: Millis) {
        self.standing.told(presence, is_told, again);
    }

    /// Whether Redis is to be told what we are.
    pub(super) fn is_to_tell(&self, now: Millis) -> bool {
        self.standing.is_to_tell(self.presence(), now)
    }

    fn presence(&self) -> Presence {
        match self.is_attended {
            true => Presence::Attending,
            false if self.is_idle() => Presence::Gone,
            false => Presence::Holding,
        }
    }

    /// As [`Local::stir`], where nobody consumes: who does is called when something is there.
    pub(super) fn stir_unattended(&mut self) {
        if !self.is_attended {
            self.stir();
        }
    }

    /// Something may be there that was not: if somebody wants it, Redis is asked.
    pub(super) fn stir(&mut self) {
        match &mut self.search {
            Search::UnderWay { called } => *called = true,
            search => *search = Search::Idle,
        }
    }

    /// Whether something at hand has expired.
    pub(super) fn has_expired(&self, now_ms: u64) -> bool {
        self.at_hand.values().any(|(held, _)| expiry::is_past(held.message.expires_ms(), now_ms))
    }

    /// Whether time asks for something.
    pub(super) fn needs_care(&self, now: Millis) -> bool {
        let is_waiting = matches!(self.search, Search::Waiting(_)) && self.wanted > 0;
        !self.at_hand.is_empty() || is_waiting || self.is_doubtful || self.is_to_tell(now) || self.is_idle()
    }

    /// Whether nobody remembers that we had anything to do with the queue.
    pub(super) fn is_forgettable(&self) -> bool {
        self.is_idle() && self.standing.is_gone()
    }

    /// Whether we have nothing of it and want nothing.
    fn is_idle(&self) -> bool {
        !self.may_hold() && !self.is_attended && self.wanted == 0
    }

    /// Whether we have messages of it.
    pub(super) fn has_messages(&self) -> bool {
        !self.at_hand.is_empty() || !self.out.is_empty()
    }

    /// How many messages of it we have.
    pub(super) fn messages(&self) -> usize {
        self.at_hand.len() + self.out.len()
    }

    /// Whether Redis thinks that we have some, or may think so.
    fn may_hold(&self) -> bool {
        self.has_messages() || !self.ending.is_empty() || self.is_searching()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A message may come though we have it: Redis had forgotten that, as it does when a server that knew is lost.
    fn knows(&self, tag: u64) -> bool {
        self.at_hand.contains_key(&tag) || self.out.contains_key(&tag) || self.ending.contains(&tag)
    }

    fn hand_out(&mut self, tag: u64, held: Held) -> Queued {
        let Held { message, deliveries } = held;
        let expires_ms = message.expires_ms();
        let handed = deliveries.saturating_add(1);
        self.out.insert(tag, Held { message: Arc::clone(&message), deliveries: handed });
        Queued { tag, message, deliveries, expires_ms }
    }

    fn send_back(&mut self, tag: u64, held: Held, due_ms: u64, entry: Option<Entry>) {
        let Held { message, deliveries } = held;
        self.bytes -= message.cost_bytes();
        self.ending.insert(tag);
        let expired_ms = message.expires_ms().map(|at| at.saturating_add(1));
        let alarm_ms = [expired_ms, (due_ms > 0).then_some(due_ms)].into_iter().flatten().min();
        self.returned.push(Return { tag, deliveries, due_ms, alarm_ms }, entry);
    }
}
