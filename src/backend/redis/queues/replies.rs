//! What Redis is asked, and what follows from what it says.

use std::sync::Arc;

use redis::Value;
use stompede_protocol::Millis;

use super::calls::{self, Call, Messages};
use super::local::Search;
use super::standing::Presence;
use super::{Fenced, RedisQueues, Task};
use crate::backend::redis::keys::Partition;
use crate::backend::redis::link::{Doubt, Fault};
use crate::backend::redis::relay::store_error;
use crate::model::{Answer, Destination, Look, Queued, StoreError, Ticket};

impl RedisQueues {
    pub(super) fn now(&self) -> Millis {
        (self.hub.clock)().mono
    }

    /// Takes messages that are ready.
    pub(super) fn claim(self: &Arc<Self>, queue: &Destination, call: Call) {
        let incarnation = self.state.lock().incarnation;
        let queue = queue.clone();
        // A claim of unknown outcome is not repeated: what we have then is compared with what Redis thinks.
        self.run(call, Doubt::Tell, move |this, reply| this.claimed(&queue, incarnation, &reply));
    }

    fn claimed(self: &Arc<Self>, queue: &Destination, incarnation: u64, reply: &Result<Value, Fault>) {
        let now = (self.hub.clock)();
        self.look_for_burial(incarnation, reply);
        let found = match reply {
            Ok(reply) => calls::read_messages(reply, queue),
            Err(fault) => {
                store_error(fault);
                None
            }
        };
        let has_come = self.with(queue, |caller, local| {
            if caller.incarnation != incarnation {
                // It was taken for dead: what it took comes back with the rest.
                return false;
            }
            let was_called = local.search == Search::UnderWay { called: true };
            let Some(Messages { first: is_waiting, sound, damaged }) = found else {
                local.is_doubtful |= matches!(reply, Err(Fault::Unknown));
                local.search = Search::Waiting(now.mono);
                return false;
            };
            let is_waiting = is_waiting == 1 && !was_called;
            local.search = if is_waiting { Search::Waiting(now.mono) } else { Search::Idle };
            let is_wanted = local.is_attended || local.wanted > 0;
            local.wanted = local.wanted.saturating_sub(sound.len());
            let has_come = !sound.is_empty();
            sound.into_iter().for_each(|queued| local.come(queued, now.mono));
            if !is_wanted {
                local.turn_back(now.mono, 0);
            }
            for (tag, deliveries) in damaged {
                tracing::error!(%queue, tag, "a message of the queue cannot be read here, maybe by newer nodes");
                local.refuse(tag, deliveries, now.wall_ms.saturating_add(UNREADABLE_REST_MS));
            }
            has_come
        });
        if has_come {
            self.tell_ready(queue);
        }
    }

    fn look_for_burial(&self, incarnation: u64, reply: &Result<Value, Fault>) {
        if let Some(Fenced(fenced)) = self.fenced.get()
            && reply.as_ref().is_ok_and(calls::is_buried)
        {
            fenced(incarnation);
        }
    }

    pub(super) fn tell_ready(&self, queue: &Destination) {
        self.hub.sink().into_iter().for_each(|sink| sink.ready(queue));
    }

    /// Listens to the queue's channel; what is there when that is confirmed is taken, for its call was not heard.
    pub(super) fn listen(self: &Arc<Self>, queue: &Destination) {
        let Some(link) = self.hub.link() else { return };
        let channel = self.hub.keys.queue(queue.as_str()).channel;
        let (this, queue) = (Arc::clone(self), queue.clone());
        let then = Box::new(move |heard: Result<(), Fault>| {
            if heard.is_ok() {
                this.with_known(&queue, |_, local| local.stir());
            }
        });
        link.listen(channel, Some(then));
    }

    /// Tells Redis of what became of messages, until it is done.
    pub(super) fn do_task(self: &Arc<Self>, task: Task) {
        let call = match &task {
            Task::Settle { call, .. } | Task::Return { call, .. } | Task::Bury { call, .. } => call.clone(),
        };
        self.run(call, Doubt::Repeat, move |this, reply| this.task_done(task, reply));
    }

    fn task_done(self: &Arc<Self>, task: Task, reply: Result<Value, Fault>) {
        let reply = match reply {
            Ok(reply) => reply,
            Err(fault) => {
                store_error(&fault);
                let at = self.now().after(REPEAT_MS);
                self.state.lock().repeats.push((at, task));
                return;
            }
        };
        let entries = match task {
            Task::Settle { queue, tags, entries, .. } => {
                self.with_known(&queue, |_, local| local.told_settled(&tags));
                entries
            }
            Task::Return { queue, returned, entries, .. } => {
                self.with_known(&queue, |_, local| {
                    local.told_returned(&returned);
                    local.stir_unattended();
                });
                let partition = Partition::of_destination(queue.as_str());
                for at_ms in returned.iter().filter_map(|returned| returned.alarm_ms) {
                    self.state.lock().note_alarm(partition, at_ms);
                }
                entries
            }
            Task::Bury { queue, tag, to, entry, .. } => {
                self.with_known(&queue, |_, local| local.ended(&[tag]));
                if let Some(lost) = calls::read_number(&reply).filter(|lost| *lost > 0) {
                    tracing::warn!(queue = %to, lost, "dead letters are dropped");
                }
                self.tell_ready(&to);
                vec![entry]
            }
        };
        entries.into_iter().for_each(|entry| self.ledger.close(entry));
    }

    /// Somebody here consumes from the queue, or nobody any more.
    pub(super) fn attend(self: &Arc<Self>, queue: &Destination, is_attended: bool) {
        let now = self.now();
        self.with(queue, |_, local| {
            local.is_attended = is_attended;
            if is_attended {
                local.stir();
            } else {
                local.wanted = 0;
                local.turn_back(now, 0);
            }
        });
        self.tell_attendance(queue);
        if is_attended {
            self.retry(queue);
        }
    }

    /// Tells Redis whether somebody here consumes from the queue.
    pub(super) fn tell_attendance(self: &Arc<Self>, queue: &Destination) {
        let told = self.with_known(queue, |caller, local| {
            let presence = local.tell();
            let call = match presence {
                Presence::Attending => caller.attend(queue),
                Presence::Holding => caller.leave(queue, true),
                Presence::Gone => caller.leave(queue, false),
            };
            (presence, caller.incarnation, call)
        });
        let Some((presence, incarnation, call)) = told else { return };
        let queue = queue.clone();
        self.run(call, Doubt::Repeat, move |this, reply| {
            this.look_for_burial(incarnation, &reply);
            // An incarnation that was taken for dead attends nothing; the next one will.
            if this.state.lock().incarnation != incarnation {
                return;
            }
            let is_told = matches!(reply, Ok(Value::Int(_)));
            let again = this.now().after(REPEAT_MS);
            this.with_known(&queue, |_, local| local.told(presence, is_told, again));
        });
    }

    /// Compares what we have of a queue with what Redis thinks that we have.
    pub(super) fn compare(self: &Arc<Self>, queue: &Destination) {
        let call = self.with_known(queue, |caller, local| {
            local.is_doubtful = false;
            (caller.incarnation, caller.held(queue))
        });
        let Some((incarnation, call)) = call else { return };
        let queue = queue.clone();
        self.run(call, Doubt::Repeat, move |this, reply| {
            let ours = reply.ok().as_ref().and_then(calls::read_tags);
            this.with_known(&queue, |caller, local| match ours {
                Some(ours) if caller.incarnation == incarnation => local.compare(&ours),
                Some(_) => {}
                None => local.is_doubtful = true,
            });
        });
    }

    /// See [`Queues::browse`](crate::backend::Queues::browse).
    pub(super) fn browse(self: &Arc<Self>, queue: &Destination, after: u64, count: usize, ticket: Ticket) {
        let call = {
            let state = self.state.lock();
            state.caller(&self.hub).browse(queue, after, count)
        };
        let queue = queue.clone();
        self.run(call, Doubt::Repeat, move |this, reply| {
            let look = match reply {
                Ok(reply) => match calls::read_messages(&reply, &queue) {
                    Some(Messages { first: newest, sound: listed, .. }) => Ok(Look { listed, newest }),
                    None => Err(StoreError::Unavailable),
                },
                Err(fault) => Err(store_error(&fault)),
            };
            let look = look.map(|look| this.as_here(&queue, look));
            this.hub.sink().into_iter().for_each(|sink| sink.answer(ticket, Answer::Browsed(look.clone())));
        });
    }

    /// With what Redis does not know yet: messages that were handed out again without ever going back.
    fn as_here(&self, queue: &Destination, mut look: Look) -> Look {
        let state = self.state.lock();
        let Some(local) = state.queues.get(queue) else { return look };
        for queued in &mut look.listed {
            queued.deliveries = local.deliveries(queued.tag).unwrap_or(queued.deliveries);
        }
        look
    }

    /// Sees to what has come due in a partition until `now_ms`, at most so many messages of each queue.
    pub(in crate::backend::redis) fn sweep_partition(
        self: &Arc<Self>,
        partition: Partition,
        now_ms: u64,
        count: usize,
    ) {
        let call = {
            let mut state = self.state.lock();
            state.alarms.remove(&partition);
            state.caller(&self.hub).due(partition, now_ms, count)
        };
        self.run(call, Doubt::Repeat, move |this, reply| {
            let Ok(Value::Array(parts)) = reply else {
                this.state.lock().note_alarm(partition, now_ms.saturating_add(REPEAT_MS));
                return;
            };
            let Some((next, names)) = parts.split_first() else { return };
            if let Some(next) = calls::read_number(next).filter(|next| *next > 0) {
                this.state.lock().note_alarm(partition, next);
            }
            for queue in calls::read_names(names).unwrap_or_default() {
                this.sweep_queue(&queue, now_ms, count);
            }
        });
    }

    fn sweep_queue(self: &Arc<Self>, queue: &Destination, now_ms: u64, count: usize) {
        let (incarnation, call) = {
            let state = self.state.lock();
            (state.incarnation, state.caller(&self.hub).sweep(queue, now_ms, count))
        };
        let queue = queue.clone();
        self.run(call, Doubt::Tell, move |this, reply| {
            let partition = Partition::of_destination(queue.as_str());
            // Whatever is left there is seen to next time.
            this.state.lock().note_alarm(partition, 0);
            let is_unknown = matches!(reply, Err(Fault::Unknown));
            let found = reply.ok().as_ref().and_then(|reply| calls::read_messages(reply, &queue));
            let Some(Messages { first: ripe, sound, damaged }) = found else {
                if is_unknown {
                    this.with(&queue, |_, local| local.is_doubtful = true);
                }
                return;
            };
            let expired: Vec<Queued> = this.with(&queue, |caller, local| {
                if ripe > 0 {
                    local.stir_unattended();
                }
                if caller.incarnation != incarnation {
                    return Vec::new();
                }
                for (tag, deliveries) in damaged {
                    local.refuse(tag, deliveries, now_ms.saturating_add(UNREADABLE_REST_MS));
                }
                sound.into_iter().filter_map(|queued| local.come_out(queued)).collect()
            });
            let mut state = this.state.lock();
            if ripe > 0 && !state.ripe.contains(&queue) {
                state.ripe.push(queue.clone());
            }
            state.expired.extend(expired.into_iter().map(|queued| (queue.clone(), queued)));
        });
    }
}

/// What has failed is tried again after so long, milliseconds.
pub(super) const REPEAT_MS: u64 = 1_000;

/// A message that cannot be read here is left to other nodes for so long, milliseconds.
const UNREADABLE_REST_MS: u64 = 10_000;
