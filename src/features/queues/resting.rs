//! Refused messages that wait for another consumer, or for their time.

use std::collections::{BTreeMap, BTreeSet};

use stompede_protocol::Millis;

use crate::backend::Taken;

use super::Consumer;

/// What rests in one queue. Whoever looks for the next message never walks over those that do not suit.
#[derive(Debug, Default)]
pub(super) struct Resting {
    /// Not due yet, by who refused them; only consumers of whom something rests are here.
    shunned: Vec<(Consumer, Shunned)>,
    /// For anybody, though another than who refused them is better.
    ripe: BTreeMap<u64, (Consumer, Taken)>,
    /// When the shunned ones are due, and their tags.
    due: BTreeSet<(Millis, u64)>,
}

/// By tag: when it is due, and the message.
type Shunned = BTreeMap<u64, (Millis, Taken)>;

impl Resting {
    pub(super) fn is_empty(&self) -> bool {
        self.shunned.is_empty() && self.ripe.is_empty()
    }

    pub(super) fn add(&mut self, taken: Taken, refused_by: Consumer, due: Millis) {
        self.due.insert((due, taken.tag));
        match self.shunned.iter_mut().find(|(consumer, _)| *consumer == refused_by) {
            Some((_, theirs)) => drop(theirs.insert(taken.tag, (due, taken))),
            None => self.shunned.push((refused_by, BTreeMap::from([(taken.tag, (due, taken))]))),
        }
    }

    /// What is due is for anybody.
    pub(super) fn ripen(&mut self, now: Millis) {
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, tag)) = self.due.pop_first() else { return };
            let Some(place) = self.shunned.iter().position(|(_, theirs)| theirs.contains_key(&tag)) else {
                continue;
            };
            let consumer = self.shunned[place].0;
            if let Some((_, taken)) = self.remove_shunned(place, tag) {
                self.ripe.insert(tag, (consumer, taken));
            }
        }
    }

    /// Takes the oldest message and who refused it; with `only`, the oldest that this consumer may have.
    pub(super) fn take(&mut self, only: Option<Consumer>) -> Option<(Consumer, Taken)> {
        let others = self.shunned.iter().enumerate().filter(|(_, (consumer, _))| Some(*consumer) != only);
        let shunned =
            others.filter_map(|(place, (_, theirs))| Some((*theirs.first_key_value()?.0, place))).min();
        let ripe = self.ripe.first_key_value().map(|(tag, _)| *tag);
        match shunned {
            Some((tag, place)) if ripe.is_none_or(|ripe| tag < ripe) => {
                let consumer = self.shunned[place].0;
                let (due, taken) = self.remove_shunned(place, tag)?;
                self.due.remove(&(due, tag));
                Some((consumer, taken))
            }
            _ => self.ripe.pop_first().map(|(_, row)| row),
        }
    }

    /// Everything, by tag.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> {
        let Self { shunned, ripe, .. } = std::mem::take(self);
        let shunned = shunned.into_iter().flat_map(|(_, theirs)| theirs.into_keys());
        shunned.chain(ripe.into_keys())
    }

    fn remove_shunned(&mut self, place: usize, tag: u64) -> Option<(Millis, Taken)> {
        let theirs = &mut self.shunned[place].1;
        let taken = theirs.remove(&tag);
        if theirs.is_empty() {
            self.shunned.swap_remove(place);
        }
        taken
    }
}
