//! The consumers of one queue: whose turn it is, and what each has.

use std::collections::BTreeMap;

use crate::model::Queued;

use super::Consumer;
use super::resting::Resting;

/// The consumers of one queue on this node.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: Vec<Member>,
    /// Whose turn it is.
    pub(super) next: usize,
    /// Refused messages that wait for somebody else, or for their time.
    pub(super) resting: Resting,
    /// Whether [`Dispatcher`](super::Dispatcher)'s list of the restless has this queue.
    pub(super) restless: bool,
    /// Queued out of the map: whoever still holds it looks again.
    pub(super) gone: bool,
}

impl Group {
    /// The next member in turn that has credit and suits.
    pub(super) fn pick(&self, suits: impl Fn(&Member) -> bool) -> Option<usize> {
        let count = self.members.len();
        (0..count).map(|step| (self.next + step) % count).find(|index| {
            let member = &self.members[*index];
            member.out.len() < member.credit && !member.paused && suits(member)
        })
    }

    /// Messages that all members together may have beside those that they have.
    pub(super) fn credit(&self) -> usize {
        let open = self.members.iter().filter(|member| !member.paused);
        open.map(|member| member.credit.saturating_sub(member.out.len())).fold(0, usize::saturating_add)
    }

    /// The oldest resting message that somebody may have, and who: `next` or another one with credit.
    pub(super) fn take_resting(&mut self, next: usize) -> Option<(usize, Queued)> {
        if self.resting.is_empty() {
            return None;
        }
        let consumer = self.members[next].consumer;
        let other = self.pick(|member| member.consumer != consumer);
        // Of two consumers one at least has not refused it.
        let (refused_by, queued) = self.resting.take(other.is_none().then_some(consumer))?;
        let member = if refused_by == consumer { other.unwrap_or(next) } else { next };
        Some((member, queued))
    }

    /// The consumer does not have these messages any more.
    pub(super) fn forget(&mut self, consumer: Consumer, tags: &[u64]) {
        if let Some(place) = self.place(consumer) {
            let out = &mut self.members[place].out;
            tags.iter().for_each(|tag| {
                out.remove(tag);
            });
        }
    }

    pub(super) fn set_paused(&mut self, consumer: Consumer, paused: bool) {
        if let Some(place) = self.place(consumer) {
            self.members[place].paused = paused;
        }
    }

    pub(super) fn place(&self, consumer: Consumer) -> Option<usize> {
        self.members.iter().position(|member| member.consumer == consumer)
    }
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) consumer: Consumer,
    /// Most messages that it may have at once.
    pub(super) credit: usize,
    /// Tags of the messages that it has, or that are on their way to it, and the how many-th each was.
    pub(super) out: BTreeMap<u64, u64>,
    /// Messages that were ever handed to it.
    pub(super) handed: u64,
    pub(super) paused: bool,
}

impl Member {
    pub(super) fn new(consumer: Consumer, credit: usize) -> Self {
        Self { consumer, credit, out: BTreeMap::new(), handed: 0, paused: false }
    }
}
