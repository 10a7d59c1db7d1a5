//! What an operator orders.

use crate::broker::settings::Now;
use crate::model::control::LISTED_MAX;
use crate::model::{Findings, Task};
use crate::routing::Round;

use super::Shard;

impl Shard {
    /// Does what is ordered, to whom of this worker's sessions it means.
    pub(super) fn obey(&mut self, round: &Round, now: Now) {
        let mut findings = Findings::default();
        for slot in 0..self.peers.len() as u32 {
            self.with(slot, now, |peer, env| {
                let Some(row) = peer.row(&round.whom) else { return };
                findings.sessions += 1;
                match &round.task {
                    Task::List if findings.listed.len() < LISTED_MAX => findings.listed.push(row),
                    Task::List => {}
                    Task::Kick => peer.kick(env),
                    Task::Unsubscribe(destination) => {
                        findings.subscriptions += peer.unsubscribe_from(env, destination);
                    }
                }
            });
            if round.task != Task::List {
                self.lanes.wake(slot);
            }
        }
        round.answer(findings);
    }
}
