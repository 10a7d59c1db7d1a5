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
            // Of a client that has gone only the place is left.
            if self.peer(slot).is_none() {
                continue;
            }
            if round.task == Task::Review {
                self.with(slot, now, |peer, env| findings.sessions += usize::from(peer.review(env)));
                self.lanes.wake(slot);
                continue;
            }
            self.with(slot, now, |peer, env| {
                let Some(row) = peer.row(&round.whom) else { return };
                findings.sessions += 1;
                match &round.task {
                    Task::List if findings.listed.len() < LISTED_MAX => findings.listed.push(row),
                    Task::List | Task::Count | Task::Rooms | Task::Consumers | Task::Review => {}
                    Task::Kick(reason) => peer.kick(env, reason.as_deref()),
                    Task::Unsubscribe(destination) => {
                        findings.subscriptions += peer.unsubscribe_from(env, destination);
                    }
                }
            });
            // A slot whose connection is gone has no lane.
            if self.peer(slot).is_some() && matches!(round.task, Task::Kick(_) | Task::Unsubscribe(_)) {
                self.lanes.wake(slot);
            }
        }
        round.answer(findings);
    }
}
