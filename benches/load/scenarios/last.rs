//! How long it takes from a SEND until the last of many has it.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use super::one_room;
use crate::options::Options;
use crate::report::Report;

pub(super) fn run(options: &Options) -> io::Result<Report> {
    let options = &Options { connections: Some(options.connections.unwrap_or(10_000)), ..options.clone() };
    let fleet = one_room(options)?.launch("x")?;
    fleet.open()?;
    let mut taken_ms = Vec::new();
    let mark = fleet.mark(options.pid);
    for n in 0..WARM + options.rounds.unwrap_or(30) {
        thread::sleep(PAUSE);
        let start = fleet.send_one(n)?;
        if !fleet.all_have_come() {
            break;
        }
        taken_ms.push((fleet.run.last.load(Relaxed) - start) as f64 / 1e6);
    }
    let span = fleet.since(&mark);
    let sent = fleet.drain();
    let mut report = Report::new();
    taken_ms.drain(..WARM.min(taken_ms.len()));
    taken_ms.sort_by(f64::total_cmp);
    if let (Some(first), Some(last)) = (taken_ms.first(), taken_ms.last()) {
        report.number("last_p50_ms", taken_ms[taken_ms.len() / 2]);
        report.number("last_min_ms", *first);
        report.number("last_max_ms", *last);
    }
    report.add("rounds", taken_ms.len());
    report.span(&span);
    report.memory(options);
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, sent);
    Ok(report)
}

/// Rounds that do not count.
const WARM: usize = 3;
/// Quiet before each round.
const PAUSE: Duration = Duration::from_millis(20);
