//! What time does in a partition, and what operators read where it lies apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use redis::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::backend::Edge;
use crate::backend::redis::custody::{Custodian, Done};
use crate::backend::redis::hub::text;
use crate::backend::redis::keys::Partition;
use crate::backend::redis::keys::presence::STATUS_TTL_S;
use crate::backend::redis::link::Fault;

use crate::model::MessageId;

use super::RedisPresence;
use super::replies;

/// In place of an empty text.
const ONLINE: &str = "online";

/// What operators read of one thing.
struct Mark {
    /// `<user>:<room>`, or `<user>:` for whether he is online.
    entry: Bytes,
    number: Bytes,
    is_true: bool,
    status: Bytes,
}

impl RedisPresence {
    /// Tells Redis that this node ends: what it has there lingers. `done` is called once for each partition.
    pub(in crate::backend::redis) fn retire(&self, done: &Arc<dyn Fn() + Send + Sync>) {
        let incarnation = self.hub.incarnation();
        for partition in Partition::all() {
            let done = Arc::clone(done);
            self.scribe.send(self.scribe.retire(partition, incarnation), Box::new(move |_| done()));
        }
    }

    /// Sees to edges that were noted a moment ago.
    pub(super) fn sweep_edged(self: &Arc<Self>) {
        let edged = std::mem::take(&mut *self.edged.lock());
        edged.into_iter().for_each(|partition| self.sweep_some(partition, 0));
    }

    fn sweep_some(self: &Arc<Self>, partition: Partition, rounds: usize) {
        let limits = [PASS_MS, PASS_STEP, FENCE_MS, MARKS_MAX, EDGE_MS];
        let presence = Arc::clone(self);
        self.scribe.send(
            self.scribe.sweep(partition, BURIED_MAX, &limits),
            Box::new(move |reply| presence.swept(partition, rounds, &reply)),
        );
    }

    fn swept(self: &Arc<Self>, partition: Partition, rounds: usize, reply: &Result<Value, Fault>) {
        let Some([more, strangers, marks, is_empty, edges]) = reply.as_ref().ok().and_then(replies::items)
        else {
            return;
        };
        // Where nothing is, nothing comes due for a while. Not so what operators read, where it lies apart.
        if replies::number(is_empty) == Some(1) && !self.scribe.is_apart() {
            self.idle[usize::from(partition.0)].store(IDLE_ROUNDS, Ordering::Release);
        }
        for stranger in replies::items(strangers).unwrap_or_default() {
            if let Some(stranger) = replies::incarnation(stranger) {
                self.custody.suspect(stranger);
            }
        }
        let edges = replies::items(edges).unwrap_or_default().iter().filter_map(replies::text);
        edges.for_each(|entry| self.give(partition, entry));
        let marks: Vec<Mark> =
            replies::items(marks).unwrap_or_default().chunks_exact(4).filter_map(Mark::read).collect();
        let is_more = replies::number(more) == Some(1) || marks.len() as u64 >= MARKS_MAX;
        if !marks.is_empty() {
            self.write(partition, marks);
        }
        if is_more && rounds > 0 {
            self.sweep_some(partition, rounds - 1);
        }
    }

    /// Hands an edge on. It is struck out when it was told.
    fn give(self: &Arc<Self>, partition: Partition, entry: &str) {
        let Some((edge, room)) = replies::edge(entry) else { return };
        let Some(sink) = self.hub.sink() else { return };
        let (presence, told) = (Arc::clone(self), text(entry));
        let acked = Box::new(move || {
            let draft = presence.scribe.told(partition, told);
            presence.scribe.send(draft, Box::new(|_| {}));
        });
        // A room's versions are its own: with its name they are an identity, the same on all nodes.
        let id = MessageId { node: xxh3_64(room.as_bytes()), number: edge.version };
        let replies::Noted { is_occupied, timestamp_ms, .. } = edge;
        sink.edge(&Edge { room: &room, is_occupied, id, timestamp_ms }, acked);
    }

    /// Writes what operators read, and then says that it is written.
    fn write(self: &Arc<Self>, partition: Partition, marks: Vec<Mark>) {
        let orders: Vec<_> = marks.iter().flat_map(|mark| self.views(mark)).collect();
        let left = Arc::new(AtomicUsize::new(orders.len()));
        let is_written = Arc::new(AtomicBool::new(true));
        let marks = Arc::new(marks);
        for (key, args) in orders {
            let (presence, marks) = (Arc::clone(self), Arc::clone(&marks));
            let (left, is_written) = (Arc::clone(&left), Arc::clone(&is_written));
            self.hub.run_apart(
                key,
                args,
                Box::new(move |reply| {
                    is_written.fetch_and(reply.is_ok(), Ordering::AcqRel);
                    let is_last = left.fetch_sub(1, Ordering::AcqRel) == 1;
                    if is_last && is_written.load(Ordering::Acquire) {
                        let settled = marks.iter().flat_map(|mark| {
                            [
                                mark.entry.clone(),
                                mark.number.clone(),
                                text(if mark.is_true { "1" } else { "0" }),
                            ]
                        });
                        let draft = presence.scribe.settle(partition, settled);
                        presence.scribe.send(draft, Box::new(|_| {}));
                    }
                }),
            );
        }
    }

    fn views(&self, mark: &Mark) -> Vec<(String, Vec<Bytes>)> {
        let keys = &self.hub.keys;
        let entry = String::from_utf8_lossy(&mark.entry);
        let Some((user, room)) = entry.split_once(':') else { return Vec::new() };
        let act = text(if mark.is_true { "+" } else { "-" });
        if !room.is_empty() {
            return vec![
                (keys.room_users(room), vec![act.clone(), text(user)]),
                (keys.user_rooms(user), vec![act, text(room)]),
            ];
        }
        let status = if mark.status.is_empty() { text(ONLINE) } else { mark.status.clone() };
        let status = if mark.is_true {
            vec![text("="), status, text(&STATUS_TTL_S.to_string())]
        } else {
            vec![text("0")]
        };
        vec![(keys.online_users(), vec![act, text(user)]), (keys.user_status(user), status)]
    }
}

impl Custodian for Arc<RedisPresence> {
    fn sweep(&self, partition: Partition) {
        let idle = &self.idle[usize::from(partition.0)];
        let waits = idle.fetch_update(Ordering::AcqRel, Ordering::Acquire, |rounds| rounds.checked_sub(1));
        if waits.is_ok() {
            return;
        }
        self.sweep_some(partition, ROUNDS_MAX);
    }

    fn bury(&self, partition: Partition, incarnation: u64, done: Done) {
        let presence = Arc::clone(self);
        let draft = self.scribe.bury(partition, incarnation, BURIED_MAX);
        self.scribe.send(
            draft,
            Box::new(move |reply| match reply.ok().as_ref().and_then(replies::number) {
                None => done(false),
                Some(0) => done(true),
                Some(_) => presence.bury(partition, incarnation, done),
            }),
        );
    }

    fn reincarnated(&self, before: u64) {
        self.walk_again(Some(before));
    }
}

impl Mark {
    fn read(parts: &[Value]) -> Option<Self> {
        let [entry, number, is_true, status] = parts else { return None };
        Some(Self {
            entry: text(replies::text(entry)?),
            number: text(replies::text(number)?),
            is_true: replies::number(is_true)? == 1,
            status: text(replies::text(status)?),
        })
    }
}

/// Rows that go in one script: a few milliseconds of a server's time.
const BURIED_MAX: u64 = 200;

/// What is left is swept at once, so often.
const ROUNDS_MAX: usize = 50;

/// A partition that was empty is left alone so many times: less than anybody lingers.
const IDLE_ROUNDS: u8 = 4;

/// Between two times that what operators read is written anew, milliseconds: a status would expire after 30 minutes.
const PASS_MS: u64 = 60_000;

/// How much is written in one script, if that is not small as a whole: a million users take four minutes.
const PASS_STEP: u64 = 16;

/// It is known so long that an incarnation was fenced, milliseconds: no node is paused for a day.
const FENCE_MS: u64 = 86_400_000;

/// An edge that was not told is given again after so long, milliseconds.
const EDGE_MS: u64 = 15_000;

/// Changes of what operators read that are written at once.
const MARKS_MAX: u64 = 256;
