//! What the load program found.

use std::fmt;
use std::time::Duration;

/// What one reading thread counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) received: u64,
    pub(super) doubled_or_late: u64,
    pub(super) gaps: u64,
    pub(super) errors: u64,
    pub(super) ended: u64,
    pub(super) reading: Duration,
}

/// The whole.
#[derive(Debug)]
pub(super) struct Report {
    sent: u64,
    subscribers: u64,
    tally: Tally,
    pub(super) sending: Duration,
    pub(super) elapsed: Duration,
    /// CPU seconds of the server.
    pub(super) cpu: Option<f64>,
}

impl Report {
    pub(super) fn new(sent: u64, subscribers: u64) -> Self {
        let (sending, elapsed) = (Duration::ZERO, Duration::ZERO);
        Self { sent, subscribers, tally: Tally::default(), sending, elapsed, cpu: None }
    }

    pub(super) fn add(&mut self, other: &Tally) {
        let tally = &mut self.tally;
        tally.received += other.received;
        tally.doubled_or_late += other.doubled_or_late;
        tally.gaps += other.gaps;
        tally.errors += other.errors;
        tally.ended += other.ended;
        tally.reading = tally.reading.max(other.reading);
    }

    /// Nothing was lost, doubled, out of order or refused.
    pub(super) fn is_clean(&self) -> bool {
        let tally = &self.tally;
        tally.received == self.sent * self.subscribers
            && tally.doubled_or_late + tally.gaps + tally.errors + tally.ended == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let expected = self.sent * self.subscribers;
        writeln!(f, "published            {} in {:.2} s", self.sent, self.sending.as_secs_f64())?;
        writeln!(
            f,
            "delivered            {} of {expected} in {:.2} s",
            tally.received,
            self.elapsed.as_secs_f64()
        )?;
        writeln!(f, "deliveries a second  {:.0}", tally.received as f64 / self.elapsed.as_secs_f64())?;
        writeln!(f, "gaps                 {}", tally.gaps)?;
        writeln!(f, "doubled or late      {}", tally.doubled_or_late)?;
        writeln!(f, "errors, ended        {}, {}", tally.errors, tally.ended)?;
        if let Some(cpu) = self.cpu {
            let per_million = cpu * 1e6 / tally.received.max(1) as f64;
            writeln!(f, "server CPU           {cpu:.2} s, {per_million:.2} s per million deliveries")?;
        }
        Ok(())
    }
}

/// User and system time of a process so far.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold blanks.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |n: usize| {
        fields.split_whitespace().nth(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// Linux reports CPU time in hundredths of a second, whatever its own tick.
const TICKS_PER_SECOND: f64 = 100.0;
