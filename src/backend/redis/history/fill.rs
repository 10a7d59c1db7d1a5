//! Reading what has not come by the bus.

use std::sync::Arc;

use redis::Value;

use super::{LIMIT, META, RedisHistory};
use crate::backend::redis::hub;
use crate::backend::redis::keys::Partition;
use crate::backend::redis::link::Fault;
use crate::backend::redis::logs::Care;
use crate::backend::redis::{pages, scripts, wire};
use crate::model::{Destination, Position};

impl RedisHistory {
    /// Reads what is missing after that position and hands it on, page by page.
    pub(in crate::backend::redis) fn fill(self: &Arc<Self>, destination: &Destination, after: Position) {
        let (history, place) = (Arc::clone(self), destination.clone());
        let now_ms = (self.hub.clock)().wall_ms;
        let mut args = self.read_args(destination, FILL_MESSAGES, FILL_BYTES, now_ms, Default::default());
        args.extend([hub::text("fill"), wire::nonce(after.epoch), hub::number(after.offset)]);
        self.ask_page(destination, None, args, move |page| match page {
            Ok(page) => {
                if let Some(next) = history.logs.fill(&place, &page) {
                    history.fill(&place, next);
                }
            }
            Err(_) => history.logs.give_up_filling(&place),
        });
    }

    /// Compares where this node stands with where Redis does, and reads what has not come.
    pub(in crate::backend::redis) fn compare(self: &Arc<Self>, turn: usize) {
        let Care { compare, fill, read } = self.logs.tick(turn, (self.hub.clock)().mono);
        for (destination, after) in fill {
            self.fill(&destination, after);
        }
        for (destination, reader) in read {
            self.read_each(&destination, vec![reader]);
        }
        let mut compare: Vec<(Partition, Destination)> =
            compare.into_iter().map(|name| (Partition::of_destination(name.as_str()), name)).collect();
        compare.sort_unstable_by_key(|(partition, _)| *partition);
        for of_one in compare.chunk_by(|(a, _), (b, _)| a == b) {
            for some in of_one.chunks(COMPARED_MAX) {
                self.compare_some(some[0].0, some.iter().map(|(_, name)| name.clone()).collect());
            }
        }
    }

    fn compare_some(&self, partition: Partition, names: Vec<Destination>) {
        let metas = names.iter().map(|name| self.hub.keys.key(partition, META, name.as_str()));
        let keys = std::iter::once(self.hub.keys.single(partition, LIMIT)).chain(metas).collect();
        let logs = Arc::clone(&self.logs);
        let then = Box::new(move |reply: Result<Value, Fault>| {
            let Some(ends) = reply.ok().and_then(|reply| pages::ends(reply).ok()) else { return };
            for (name, end) in names.iter().zip(ends) {
                end.into_iter().for_each(|end| logs.verify(name, end));
            }
        });
        self.hub.run(partition, &scripts::TOPS, keys, vec![self.fresh_nonce()], then);
    }
}

/// A page of what was missing.
const FILL_MESSAGES: usize = 128;
const FILL_BYTES: usize = 1 << 20;

/// Logs that one script compares.
const COMPARED_MAX: usize = 64;
