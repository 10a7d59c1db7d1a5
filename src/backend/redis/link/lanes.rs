//! Orders that wait or are under way: one lane for each partition, first in, first out.
//!
//! ```text
//!   send --> waiting --> taken by the connection of the owner --> settled
//!               ^                          |
//!               +------- returned <--------+   the connection was lost, or the server was not the right one
//! ```
//!
//! A lane is emptied by one connection at a time, and what comes back stands before what came later, so that everything of
//! a partition is done in the order in which it was given.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::backend::redis::keys::{PARTITIONS, Partition};
use crate::backend::redis::link::{Doubt, Fault, HOLD_MS, ORDER_BYTES_MAX, ORDERS_MAX, Order};
use crate::model::WorkerId;

use super::calls::Calls;
use super::servers::ServerId;

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// Lanes from which each server's connection may take.
    ready: HashMap<ServerId, VecDeque<Partition>>,
    count: usize,
    bytes: usize,
    /// Workers that found no room.
    refused: Vec<WorkerId>,
}

#[derive(Debug, Default)]
struct Lane {
    owner: Option<ServerId>,
    waiting: VecDeque<Waiting>,
    /// Was under way, and is to be sent again as soon as nothing of the lane is under way any more.
    returned: Vec<Waiting>,
    /// Orders under way.
    flying: usize,
    /// To whom the last of them went.
    flown_to: Option<ServerId>,
    /// Whether it stands in a list of `ready`.
    is_listed: bool,
    pace: Pace,
    /// Until the next look at the clock.
    is_resting: bool,
}

/// How a lane is emptied.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// As many at once as there are.
    #[default]
    Free,
    /// Its slot is on the move, and so it was last said then: one at a time, first by the owner, then by whom that names.
    Careful(Instant),
    /// Not before the servers are known anew.
    Halted,
}

/// An order in its lane.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) order: Order,
    pub(super) since: Instant,
    pub(super) cost: usize,
    /// It was sent once, and nobody knows whether it was done.
    pub(super) is_doubtful: bool,
    /// Who is to be asked in place of the owner.
    pub(super) detour: Option<ServerId>,
}

/// Why an order that was sent is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Return {
    /// It was not done. What else is needed is done already.
    Undone,
    /// It was not done: the owner is another.
    Moved,
    /// It was not done: for its keys another server is to be asked.
    Detour(ServerId),
    /// It was not done: its key lies apart from the partition, there.
    Elsewhere(ServerId),
    /// It was not done: its keys are neither here nor there. A little later they will be.
    Rest,
    /// Nobody knows.
    Lost,
}

impl Lanes {
    pub(super) fn new() -> Self {
        let lanes = (0..PARTITIONS).map(|_| Lane::default()).collect();
        Self { lanes, ready: HashMap::new(), count: 0, bytes: 0, refused: Vec::new() }
    }

    /// Puts an order at the end of its lane, if there is room. Gives the server whose connection has something to take and
    /// had nothing before.
    pub(super) fn send(&mut self, order: Order, from: Option<WorkerId>) -> Result<Option<ServerId>, Order> {
        if self.count < ORDERS_MAX && self.bytes < ORDER_BYTES_MAX {
            return Ok(self.force(order));
        }
        if let Some(worker) = from
            && !self.refused.contains(&worker)
        {
            self.refused.push(worker);
        }
        Err(order)
    }

    /// As [`Lanes::send`], room or not.
    pub(super) fn force(&mut self, order: Order) -> Option<ServerId> {
        let cost = order.cost_bytes();
        self.count += 1;
        self.bytes += cost;
        let partition = order.partition;
        let waiting = Waiting { order, since: Instant::now(), cost, is_doubtful: false, detour: None };
        self.lane(partition).waiting.push_back(waiting);
        self.list(partition)
    }

    /// As [`Lanes::force`], but before everything that waits: for what has nothing to do with it.
    pub(super) fn hurry(&mut self, order: Order) -> Option<ServerId> {
        let partition = order.partition;
        let woken = self.force(order);
        self.lane(partition).waiting.rotate_right(1);
        woken
    }

    /// Takes what a server's connection may send now, as many as there is room for.
    pub(super) fn take(&mut self, server: ServerId, room: usize, into: &mut Vec<Waiting>) {
        let Some(ready) = self.ready.get_mut(&server) else { return };
        let mut room = room;
        while room > 0 {
            let Some(partition) = ready.pop_front() else { return };
            let lane = &mut self.lanes[usize::from(partition.0)];
            lane.is_listed = false;
            if lane.server() != Some(server) || !lane.is_takeable() {
                continue;
            }
            let most = if lane.pace == Pace::Free { room } else { 1 };
            let free = lane.waiting.iter().take(most).take_while(|waiting| waiting.detour.is_none()).count();
            let count = free.max(1);
            into.extend(lane.waiting.drain(..count));
            lane.flying += count;
            lane.flown_to = Some(server);
            room -= count;
            if lane.is_takeable() {
                lane.is_listed = true;
                ready.push_back(partition);
            }
        }
    }

    /// An order has ended. What was returned before it and is about the same keys has lost its place, and with it its turn.
    pub(super) fn settle(
        &mut self,
        waiting: Waiting,
        result: Result<redis::Value, Fault>,
        calls: &mut Calls<redis::Value>,
    ) {
        let partition = waiting.order.partition;
        self.forget(&waiting);
        let lane = self.lane(partition);
        lane.flying -= 1;
        let mut late = Vec::new();
        if result.is_ok() && !lane.returned.is_empty() {
            let shares =
                |other: &mut Waiting| other.order.keys.iter().any(|key| waiting.order.keys.contains(key));
            late.extend(lane.returned.extract_if(.., shares));
        }
        late.into_iter().for_each(|late| self.end_late(late, calls));
        calls.push(waiting.order.then, result);
        self.rejoin(partition);
    }

    /// An order comes back.
    pub(super) fn give_back(&mut self, mut waiting: Waiting, why: Return, calls: &mut Calls<redis::Value>) {
        let partition = waiting.order.partition;
        if why == Return::Lost && waiting.order.doubt == Doubt::Tell {
            return self.settle(waiting, Err(Fault::Unknown), calls);
        }
        let lane = self.lane(partition);
        lane.flying -= 1;
        waiting.is_doubtful |= why == Return::Lost;
        waiting.detour = None;
        match why {
            Return::Undone | Return::Lost => {}
            Return::Moved => lane.pace = Pace::Halted,
            Return::Detour(server) | Return::Elsewhere(server) => waiting.detour = Some(server),
            Return::Rest => lane.is_resting = true,
        }
        if matches!(why, Return::Detour(_) | Return::Rest) && lane.pace != Pace::Halted {
            lane.pace = Pace::Careful(Instant::now());
        }
        lane.returned.push(waiting);
        self.rejoin(partition);
    }

    /// Who takes from a partition's lane, as the servers have said just now.
    pub(super) fn set_owner(&mut self, partition: Partition, owner: Option<ServerId>) {
        let lane = self.lane(partition);
        if lane.pace == Pace::Halted {
            lane.pace = Pace::Free;
        }
        if lane.owner != owner {
            lane.owner = owner;
            lane.is_listed = false;
            lane.waiting.iter_mut().for_each(|waiting| waiting.detour = None);
            self.ready.values_mut().for_each(|ready| ready.retain(|other| *other != partition));
        }
        self.list(partition);
    }

    /// A server is of no use any more.
    pub(super) fn forget_server(&mut self, server: ServerId) {
        self.ready.remove(&server);
        for partition in Partition::all() {
            let lane = self.lane(partition);
            for waiting in lane.waiting.iter_mut().filter(|waiting| waiting.detour == Some(server)) {
                waiting.detour = None;
                lane.is_listed = false;
            }
            self.list(partition);
        }
    }

    /// Who takes from a partition's lane now.
    pub(super) fn owner(&self, partition: Partition) -> Option<ServerId> {
        self.lanes[usize::from(partition.0)].owner
    }

    /// Ends what has waited too long, and lets those go on who had to be careful, or to wait a little.
    pub(super) fn tick(&mut self, now: Instant, calls: &mut Calls<redis::Value>) {
        for partition in Partition::all() {
            let lane = self.lane(partition);
            if matches!(lane.pace, Pace::Careful(since) if now - since > CAREFUL) {
                lane.pace = Pace::Free;
            }
            lane.is_resting = false;
            let is_late = |waiting: &Waiting| now - waiting.since > HOLD;
            // The oldest is the first, or second to one that was in a hurry.
            if lane.waiting.iter().take(2).any(is_late) {
                let (late, rest): (Vec<_>, Vec<_>) = lane.waiting.drain(..).partition(is_late);
                lane.waiting = rest.into();
                late.into_iter().for_each(|late| self.end_late(late, calls));
            }
            self.list(partition);
        }
    }

    /// Ends everything that waits.
    pub(super) fn abandon(&mut self, calls: &mut Calls<redis::Value>) {
        for partition in Partition::all() {
            let lane = self.lane(partition);
            let rest: Vec<_> = lane.returned.drain(..).chain(lane.waiting.drain(..)).collect();
            rest.into_iter().for_each(|waiting| self.end_late(waiting, calls));
        }
    }

    /// Workers that found no room, once it is half empty.
    pub(super) fn relieved(&mut self) -> Vec<WorkerId> {
        let is_half = self.count * 2 <= ORDERS_MAX && self.bytes * 2 <= ORDER_BYTES_MAX;
        if is_half { std::mem::take(&mut self.refused) } else { Vec::new() }
    }

    /// Servers whose connections have something to take.
    pub(super) fn wanted(&self) -> impl Iterator<Item = ServerId> {
        self.ready.iter().filter(|(_, ready)| !ready.is_empty()).map(|(server, _)| *server)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn lane(&mut self, partition: Partition) -> &mut Lane {
        &mut self.lanes[usize::from(partition.0)]
    }

    /// What came back is put before what waits, as soon as all of it is back.
    fn rejoin(&mut self, partition: Partition) {
        let lane = self.lane(partition);
        if lane.flying > 0 {
            return;
        }
        for waiting in lane.returned.drain(..).rev() {
            lane.waiting.push_front(waiting);
        }
        self.list(partition);
    }

    /// Lets the server's connection know that something can be taken. Gives the server, if it had nothing before.
    fn list(&mut self, partition: Partition) -> Option<ServerId> {
        let lane = &mut self.lanes[usize::from(partition.0)];
        let server = lane.server()?;
        if lane.is_listed || !lane.is_takeable() {
            return None;
        }
        lane.is_listed = true;
        let ready = self.ready.entry(server).or_default();
        ready.push_back(partition);
        (ready.len() == 1).then_some(server)
    }

    /// An order's time is over.
    fn end_late(&mut self, late: Waiting, calls: &mut Calls<redis::Value>) {
        self.forget(&late);
        let fault = if late.is_doubtful { Fault::Unknown } else { Fault::Unreachable };
        calls.push(late.order.then, Err(fault));
    }

    fn forget(&mut self, waiting: &Waiting) {
        self.count -= 1;
        self.bytes -= waiting.cost;
    }
}

impl Lane {
    /// Who is to take what is first.
    fn server(&self) -> Option<ServerId> {
        self.waiting.front().and_then(|first| first.detour).or(self.owner)
    }

    fn is_takeable(&self) -> bool {
        let may_fly = match self.pace {
            Pace::Free => self.flying == 0 || self.flown_to == self.server(),
            Pace::Careful(_) => self.flying == 0,
            Pace::Halted => false,
        };
        may_fly && !self.is_resting && !self.waiting.is_empty() && self.returned.is_empty()
    }
}

const HOLD: Duration = Duration::from_millis(HOLD_MS);

/// A slot on the move is treated with care so long after the last hint.
const CAREFUL: Duration = Duration::from_secs(1);
