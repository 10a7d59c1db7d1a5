//! Refused messages that wait for another consumer, or for their time.

use std::collections::{BTreeMap, BTreeSet};

use stompede_protocol::Millis;

use crate::model::Queued;

use super::Consumer;

/// What rests in one queue. Whoever looks for the next message never walks over those that do not suit.
#[derive(Debug, Default)]
pub(super) struct Resting {
    /// Not due yet, by who refused them; only consumers of whom something rests are here.
    shunned: Vec<(Consumer, Shunned)>,
    /// For anybody, though another than who refused them is better.
    ripe: BTreeMap<u64, (Consumer, Queued)>,
    /// When the shunned ones are due, and their tags.
    due: BTreeSet<(Millis, u64)>,
    /// Until when those are good that expire, milliseconds since the Unix epoch, and their tags.
    expiring: BTreeSet<(u64, u64)>,
}

/// By tag: when it is due, and the message.
type Shunned = BTreeMap<u64, (Millis, Queued)>;

impl Resting {
    pub(super) fn is_empty(&self) -> bool {
        self.shunned.is_empty() && self.ripe.is_empty()
    }

    pub(super) fn add(&mut self, queued: Queued, refused_by: Consumer, due: Millis) {
        self.due.insert((due, queued.tag));
        self.expiring.extend(queued.expires_ms.map(|at| (at, queued.tag)));
        match self.shunned.iter_mut().find(|(consumer, _)| *consumer == refused_by) {
            Some((_, theirs)) => drop(theirs.insert(queued.tag, (due, queued))),
            None => self.shunned.push((refused_by, BTreeMap::from([(queued.tag, (due, queued))]))),
        }
    }

    /// What is due is for anybody.
    pub(super) fn ripen(&mut self, now: Millis) {
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, tag)) = self.due.pop_first() else { return };
            let Some(place) = self.place_of(tag) else { continue };
            let consumer = self.shunned[place].0;
            if let Some((_, queued)) = self.remove_shunned(place, tag) {
                self.ripe.insert(tag, (consumer, queued));
            }
        }
    }

    /// Takes the oldest message and who refused it; with `only`, the oldest that this consumer may have.
    pub(super) fn take(&mut self, only: Option<Consumer>) -> Option<(Consumer, Queued)> {
        let others = self.shunned.iter().enumerate().filter(|(_, (consumer, _))| Some(*consumer) != only);
        let shunned =
            others.filter_map(|(place, (_, theirs))| Some((*theirs.first_key_value()?.0, place))).min();
        let ripe = self.ripe.first_key_value().map(|(tag, _)| *tag);
        let found = match shunned {
            Some((tag, place)) if ripe.is_none_or(|ripe| tag < ripe) => {
                let consumer = self.shunned[place].0;
                let (due, queued) = self.remove_shunned(place, tag)?;
                self.due.remove(&(due, tag));
                (consumer, queued)
            }
            _ => self.ripe.pop_first()?.1,
        };
        if let Some(at) = found.1.expires_ms {
            self.expiring.remove(&(at, found.1.tag));
        }
        Some(found)
    }

    /// Takes what is good no more.
    pub(super) fn take_expired(&mut self, now_ms: u64) -> Vec<Queued> {
        let mut expired = Vec::new();
        while self.expiring.first().is_some_and(|(at, _)| *at < now_ms) {
            let Some((_, tag)) = self.expiring.pop_first() else { break };
            let ripe = self.ripe.remove(&tag).map(|(_, queued)| queued);
            expired.extend(ripe.or_else(|| {
                let place = self.place_of(tag)?;
                let (due, queued) = self.remove_shunned(place, tag)?;
                self.due.remove(&(due, tag));
                Some(queued)
            }));
        }
        expired
    }

    /// Everything, by tag.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> {
        let Self { shunned, ripe, .. } = std::mem::take(self);
        let shunned = shunned.into_iter().flat_map(|(_, theirs)| theirs.into_keys());
        shunned.chain(ripe.into_keys())
    }

    /// Among whose shunned messages it is.
    fn place_of(&self, tag: u64) -> Option<usize> {
        self.shunned.iter().position(|(_, theirs)| theirs.contains_key(&tag))
    }

    fn remove_shunned(&mut self, place: usize, tag: u64) -> Option<(Millis, Queued)> {
        let theirs = &mut self.shunned[place].1;
        let queued = theirs.remove(&tag);
        if theirs.is_empty() {
            self.shunned.swap_remove(place);
        }
        queued
    }
}
