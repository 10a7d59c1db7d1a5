//! Cursors of user queues in Redis, beside the messages that they are cursors of: what all devices have taken goes in the same
//! step.
//!
//! A client acknowledges message by message. Of one device one script is under way at a time; what it has taken meanwhile goes
//! with the next.
//!
//! ```text
//!  nothing --- advance ---> under way --- done ---> nothing, or under way again with what was taken meanwhile
//!                            |   ^
//!               unreachable  v   |  tick
//!                           waiting
//! ```

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use redis::Value;

use super::history::{CURSORS, META, STREAM};
use super::hub::{self, Hub};
use super::keys::Partition;
use super::link::{Doubt, Fault, Order, Then};
use super::relay::store_error;
use super::{pages, scripts};
use crate::backend::{Cursor, Cursors};
use crate::model::{Destination, Limits};

/// Cursors of all nodes, as one of them has them.
#[derive(Debug)]
pub(super) struct RedisCursors {
    course: Arc<Course>,
}

#[derive(Debug)]
struct Course {
    hub: Arc<Hub>,
    devices_max: usize,
    /// Whoever was not seen since then is forgotten, milliseconds since the Unix epoch; 0: not known yet.
    seen_ms: AtomicU64,
    state: Mutex<State>,
}

/// What Redis does not know yet.
#[derive(Debug, Default)]
struct State {
    advances: HashMap<Device, Advance, RandomState>,
    /// Those that could not be sent.
    waiting: VecDeque<Device>,
}

/// A device of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Device {
    queue: Destination,
    name: Arc<str>,
}

/// How far a device has come.
#[derive(Debug, Clone, Copy)]
struct Advance {
    offset: u64,
    now_ms: u64,
}

impl RedisCursors {
    pub(super) fn new(hub: Arc<Hub>, limits: &Limits) -> Self {
        let (devices_max, seen_ms) = (limits.devices_of_user_max, AtomicU64::new(0));
        Self { course: Arc::new(Course { hub, devices_max, seen_ms, state: Mutex::default() }) }
    }
}

impl Cursors for RedisCursors {
    fn begin(&self, queue: &Destination, device: &str, now_ms: u64) -> Cursor {
        let device = Device { queue: queue.clone(), name: device.into() };
        let then = Box::new(|reply: Result<Value, Fault>| drop(reply.map_err(|fault| store_error(&fault))));
        let order = self.course.order(&device, Advance { offset: 0, now_ms }, then);
        // One for each SUBSCRIBE, whose reading goes behind it.
        if let Some(link) = self.course.hub.link() {
            link.force(order);
        }
        Cursor::Kept
    }

    fn advance(&self, queue: &Destination, device: &str, offset: u64, now_ms: u64) -> Option<u64> {
        let device = Device { queue: queue.clone(), name: device.into() };
        self.course.advance(device, Advance { offset, now_ms });
        None
    }

    /// Devices are forgotten where another of the same queue comes or takes something, and with the last of them all. What
    /// could not be sent is sent again here.
    fn tick(&self, seen_ms: u64) {
        self.course.seen_ms.store(seen_ms, Ordering::Relaxed);
        self.course.go_on();
    }

    /// Those of which Redis is to hear something still.
    fn len(&self) -> usize {
        self.course.state.lock().advances.len()
    }
}

impl Course {
    fn advance(self: &Arc<Self>, device: Device, to: Advance) {
        match self.state.lock().advances.entry(device.clone()) {
            // It goes with the next.
            Entry::Occupied(mut known) => return known.get_mut().join(to),
            Entry::Vacant(place) => drop(place.insert(to)),
        }
        self.send(device, to);
    }

    fn send(self: &Arc<Self>, device: Device, to: Advance) {
        let (course, sent) = (Arc::clone(self), device.clone());
        let then = Box::new(move |reply| course.hear(sent, to, reply));
        let order = self.order(&device, to, then);
        let refused = self.hub.link().is_none_or(|link| link.send(order, None).is_err());
        if refused {
            self.wait(device);
        }
    }

    fn hear(self: &Arc<Self>, device: Device, sent: Advance, reply: Result<Value, Fault>) {
        let may_be_more = match reply {
            Ok(reply) => pages::number(reply) == Ok(1),
            Err(Fault::Unreachable | Fault::Unknown) => return self.wait(device),
            Err(fault @ Fault::Refused { .. }) => {
                // It is said in the log; the device gets again what it has taken.
                store_error(&fault);
                false
            }
        };
        let next = {
            let mut state = self.state.lock();
            let wanted = state.advances.get(&device).copied();
            let next = wanted.filter(|wanted| may_be_more || wanted.offset > sent.offset);
            if next.is_none() {
                state.advances.remove(&device);
            }
            next
        };
        if let Some(next) = next {
            self.send(device, next);
        }
    }

    fn wait(&self, device: Device) {
        let mut state = self.state.lock();
        if state.waiting.len() < WAITING_MAX {
            state.waiting.push_back(device);
        } else {
            // It gets again what it has taken.
            state.advances.remove(&device);
        }
    }

    /// Sends some of what waits, if there is a way.
    fn go_on(self: &Arc<Self>) {
        let count = self.state.lock().waiting.len().min(SENT_A_TICK);
        if count == 0 || self.hub.link().is_none_or(|link| link.health().is_err()) {
            return;
        }
        for _ in 0..count {
            let next = {
                let mut state = self.state.lock();
                let device = state.waiting.pop_front();
                device.and_then(|device| state.advances.get(&device).copied().map(|to| (device, to)))
            };
            let Some((device, to)) = next else { return };
            self.send(device, to);
        }
    }

    fn order(&self, device: &Device, Advance { offset, now_ms }: Advance, then: Then) -> Order {
        let queue = device.queue.as_str();
        let partition = Partition::of_destination(queue);
        let keys = [CURSORS, STREAM, META].map(|family| self.hub.keys.key(partition, family, queue)).into();
        let args = vec![
            hub::text(&device.name),
            hub::number(offset),
            hub::number(now_ms),
            hub::number(self.devices_max as u64),
            hub::number(self.seen_ms.load(Ordering::Relaxed)),
        ];
        Order { partition, script: &scripts::ADVANCE, keys, args, doubt: Doubt::Repeat, then }
    }
}

impl Advance {
    fn join(&mut self, other: Self) {
        self.offset = self.offset.max(other.offset);
        self.now_ms = self.now_ms.max(other.now_ms);
    }
}

/// Devices whose progress waits for Redis. Of one more it is forgotten: it gets again what it has taken.
const WAITING_MAX: usize = 65_536;

/// So many of them are sent in one tick.
const SENT_A_TICK: usize = 256;

#[cfg(test)]
mod tests;
