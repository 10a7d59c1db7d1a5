//! Who is slow, and when it is nobody's fault.

use stompede_protocol::Millis;

use super::{Lane, Lanes};

/// Most connections are blocked at once.
#[derive(Debug)]
pub(super) struct Outage {
    since: Millis,
    /// So many connections have taken bytes since then, after they had taken none for long.
    came_back: usize,
}

impl Outage {
    /// Shorter ones are no reason to take anybody for slow.
    fn is_long(&self, now: Millis) -> bool {
        now.since(self.since) > PROGRESS_MS
    }
}

impl Lane {
    /// Whether the socket has taken a good part of the limit since it began to lag.
    fn takes_much(&self, outbox_bytes_max: usize) -> bool {
        self.taken as usize >= outbox_bytes_max / MUCH_PART
    }

    /// Whether it takes enough to have caught up within about a second, were there nothing new.
    fn takes_fast(&self, outbox_bytes_max: usize, lag_ms: u64) -> bool {
        u64::from(self.taken) * PROGRESS_MS >= outbox_bytes_max as u64 * lag_ms
    }
}

impl Lanes {
    /// Whether publishers must wait: for this worker's turn, or because many consumers lag at once.
    pub fn is_backlogged(&self, backlog_bytes_max: usize) -> bool {
        self.congested || self.is_patient() || self.backlog_bytes() > backlog_bytes_max
    }

    /// Looks again whether consumers lag for a common cause. To be called several times a second.
    pub fn tick(&mut self, now: Millis, outbox_bytes_max: usize) {
        self.now = now;
        self.looks = 0;
        let recoveries_min = MANY_MIN.max(self.lanes.len() / MANY_SHARE);
        self.common_ms = self.recoveries.common_ms(recoveries_min);
        self.recoveries.tick(now);
        self.caught_up_bytes = outbox_bytes_max / 4;
        // Once begun it lasts until they have caught up well below the mark at which it began.
        self.congested = self.congested && self.many_lag(outbox_bytes_max / 4, outbox_bytes_max);
    }

    /// An outbox is full; what it may hold, of `bytes`, instead. A consumer that reads nothing is slow and must go. When
    /// many that do read lag at once, it is what they share: the machine, the network. Then nobody is blamed, and
    /// publishing stops until they have caught up. The first of them are met before that shows, since the system buffers
    /// more for one than for another: so who reads, and has not lagged for long, is given several times the limit; after
    /// some seconds only if it is more than a trickle that it reads.
    pub(super) fn lenient_limit(&mut self, slot: u32, bytes: usize, outbox_bytes_max: usize) -> usize {
        if self.looks == 0 {
            self.look(outbox_bytes_max);
        }
        let lane = &self.lanes[slot as usize];
        let progress_ms = self.progress_ms(outbox_bytes_max);
        let lag_ms_max = match lane.takes_much(outbox_bytes_max) {
            true if self.is_pressed() => COMMON_LAG_MS_MAX,
            true => LAG_MS_MAX,
            false => progress_ms,
        };
        let reads = self.is_of_late(lane.blocked, progress_ms) && self.is_of_late(lane.lagging, lag_ms_max);
        let lenient = if reads { LENIENCY } else { 1 };
        let limit = outbox_bytes_max.saturating_mul(lenient);
        if bytes > limit && self.looks < LOOKS_MAX {
            // Before somebody is closed: what was not yet to be seen may show by now.
            self.look(outbox_bytes_max);
        }
        if self.congested || bytes > limit && self.is_excused(slot, outbox_bytes_max) {
            usize::MAX
        } else {
            limit
        }
    }

    /// Nothing can be known yet of who was blocked only just now: on a busy machine a client that reads well may not run
    /// for so long, and be sent megabytes meanwhile. It is excused once until it has caught up, and publishers wait for
    /// it that long, so that the bytes end too. How long that is, is taken from those that did read in the end. Where
    /// many need long, who goes on reading fast is excused again.
    fn is_excused(&mut self, slot: u32, outbox_bytes_max: usize) -> bool {
        let lane = &self.lanes[slot as usize];
        let lag_ms = lane.lagging.map_or(0, |since| self.now.since(since));
        let reads_on = self.is_pressed() && lane.takes_fast(outbox_bytes_max, lag_ms);
        if !lane.excused || reads_on && !self.is_patient() {
            let patience_ms = self.patience_ms();
            let keeps_up = reads_on || self.is_of_late(lane.lagging, PROGRESS_MS.max(patience_ms));
            if !keeps_up || !self.is_of_late(lane.blocked, patience_ms) {
                return false;
            }
            self.excused_count += usize::from(!lane.excused);
            self.lanes[slot as usize].excused = true;
            self.patient_until = self.patient_until.max(self.now.after(patience_ms));
        }
        self.is_patient()
    }

    /// Whether many of those that read need longer for it than a client in good health.
    fn is_pressed(&self) -> bool {
        self.patience_ms() > PATIENCE_MS
    }

    /// How long publishers wait for somebody who is blocked.
    fn patience_ms(&self) -> u64 {
        (self.common_ms * TIMES_COMMON).clamp(PATIENCE_MS, PATIENCE_MS_MAX)
    }

    /// A socket that took bytes so lately belongs to somebody who reads. There is time to be sure while all that is
    /// blocked together is little; when it is much, somebody must go.
    fn progress_ms(&self, outbox_bytes_max: usize) -> u64 {
        let is_little = self.blocked_bytes / outbox_bytes_max.max(1) < self.lanes.len() / LITTLE_PART;
        let progress_ms = if is_little { PROGRESS_MS_MAX } else { PROGRESS_MS };
        progress_ms.max(self.patience_ms())
    }

    fn is_patient(&self) -> bool {
        self.excused_count > 0 && self.now < self.patient_until
    }

    /// It has caught up, or is gone.
    pub(super) fn forget_lag(&mut self, slot: u32) {
        let lane = &mut self.lanes[slot as usize];
        (lane.lagging, lane.taken) = (None, 0);
        self.excused_count -= usize::from(std::mem::take(&mut lane.excused));
    }

    fn look(&mut self, outbox_bytes_max: usize) {
        self.looks += 1;
        self.congested = self.congested || self.many_lag(outbox_bytes_max / 2, outbox_bytes_max);
    }

    /// Whether what began then began at most `ms` ago, or never; of what most had in common, only the end counts.
    fn is_of_late(&self, since: Option<Millis>, ms: u64) -> bool {
        since.is_none_or(|since| self.now.since(since.max(self.relieved)) <= ms)
    }

    pub(super) fn most_are_blocked(&self) -> bool {
        self.blocked_count * 2 > self.lanes.len()
    }

    /// Keeps book of outages; to be called whenever a socket refuses bytes or takes them again.
    pub(super) fn watch_outage(&mut self) {
        if !self.most_are_blocked() {
            self.end_outage();
        } else if self.outage.is_none() {
            self.outages = self.outages.wrapping_add(1);
            self.outage = Some(Outage { since: self.now, came_back: 0 });
        }
    }

    /// A socket that had refused bytes for `ms` takes more than a trickle. Most may be blocked for as long as there is
    /// much to catch up with, everybody by what he is sent as soon as there is room: the outage is over all the same.
    pub(super) fn came_back(&mut self, slot: u32, ms: u64) {
        self.recoveries.record(ms);
        let lane = &mut self.lanes[slot as usize];
        let Some(outage) = &mut self.outage else { return };
        if ms > PROGRESS_MS && lane.came_back_in != self.outages {
            lane.came_back_in = self.outages;
            outage.came_back += 1;
        }
        if outage.came_back * 2 >= self.blocked_count && outage.is_long(self.now) {
            self.end_outage();
        }
    }

    /// What most had in common is over, an outage perhaps. Those still blocked are given the time to show that they read:
    /// publishers go on as soon as half do.
    fn end_outage(&mut self) {
        if self.outage.take().is_some_and(|outage| outage.is_long(self.now)) {
            self.relieved = self.now;
        }
    }

    /// Whether many connections with more than `bytes_min` waiting still take bytes, and more than a trickle: who has
    /// only just been blocked may never read at all. Who lags for long counts only while most do: a few cannot hold up
    /// publishers for good. Where consumers are few, most of them are many if they catch up fast.
    fn many_lag(&self, bytes_min: usize, outbox_bytes_max: usize) -> bool {
        let (mut lately, mut all, mut fast, mut consumers) = (0, 0, 0, 0);
        let progress_ms = self.progress_ms(outbox_bytes_max);
        let reading = |(_, lane): &(usize, &Lane)| self.is_of_late(lane.blocked, progress_ms);
        for (_, lane) in self.lanes.iter().filter(reading) {
            consumers += usize::from(lane.consumes && self.now.since(lane.wrote) <= LAG_MS_MAX);
            let lags = lane.outbox.bytes() > bytes_min && lane.takes_much(outbox_bytes_max);
            let Some(since) = lane.lagging.filter(|_| lags) else { continue };
            let lag_ms = self.now.since(since);
            all += usize::from(lag_ms <= COMMON_LAG_MS_MAX);
            lately += usize::from(lag_ms <= LAG_MS_MAX);
            fast += usize::from(lane.takes_fast(outbox_bytes_max, lag_ms));
        }
        let many =
            all >= MANY_MIN && (all * 2 >= self.lanes.len() || lately * MANY_SHARE >= self.lanes.len());
        many || fast * 2 > consumers
    }
}

/// A socket that took bytes so lately belongs to somebody who reads, milliseconds.
const PROGRESS_MS: u64 = 1_000;

/// And this long ago, while little is blocked, milliseconds.
const PROGRESS_MS_MAX: u64 = 5_000;

/// What is blocked is little below this part of what all outboxes of the worker may hold.
const LITTLE_PART: usize = 2;

/// So long publishers wait at least for somebody who may not have had his turn on a busy machine, milliseconds.
pub(super) const PATIENCE_MS: u64 = 200;

/// And so long at most, where others have been seen to need it, milliseconds.
const PATIENCE_MS_MAX: u64 = 5_000;

/// Who has been blocked for so many times as long as is common among those that came back may not come back.
const TIMES_COMMON: u64 = 8;

/// Who has taken this part of the limit since it began to lag does read.
const MUCH_PART: usize = 16;

/// A consumer that reads but lags since lately may have so many times the limit waiting.
pub(super) const LENIENCY: usize = 8;

/// Who lags for longer counts only together with most others, milliseconds.
pub(super) const LAG_MS_MAX: u64 = 10_000;

/// Nobody holds up publishers for longer, however many they are, milliseconds.
const COMMON_LAG_MS_MAX: u64 = 60_000;

/// How often it is looked for congestion between two ticks.
const LOOKS_MAX: u8 = 16;

/// Fewer lagging consumers than this are many only where they are most.
pub(super) const MANY_MIN: usize = 4;

/// One connection in so many that lags is many.
const MANY_SHARE: usize = 20;
