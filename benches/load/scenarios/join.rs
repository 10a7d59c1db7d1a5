//! A crowd that is connected joins one room at once, and leaves it.

use std::io;
use std::process;

use super::Cast;
use crate::engine::Command;
use crate::fleet::Fleet;
use crate::options::Options;
use crate::report::{Report, quantile};
use crate::shared::Wait;

pub(super) fn run(options: &Options) -> io::Result<Report> {
    let count = options.connections.unwrap_or(10_000);
    let mut cast = Cast::new(options, "/topic/chat/{room}", "/topic/chat/{room}", "guest")?;
    // A room of its own: all become members of it, which is kept too.
    let room = [format!("crowd-{}", process::id())];
    for n in 0..count {
        let client = cast.add(&format!("user{n}"), &room)?;
        cast.subscribe(client, &room[0], "", Vec::new());
        cast.clients[client].is_told = true;
    }
    let fleet = cast.launch("x")?;
    fleet.open()?;
    let mut report = Report::new();
    report.add("connections", count);
    let mut timed = |command, [last, p50, cpu]: [&'static str; 3]| {
        let (seconds, median, cpu_us) = measure(&fleet, options, command, count)?;
        report.number(last, seconds);
        report.number(p50, median);
        cpu_us.into_iter().for_each(|us| report.number(cpu, us));
        Ok::<_, io::Error>(())
    };
    let join = Command::Subscribe { first: 0, count };
    timed(join, ["join_last_s", "join_p50_ms", "cpu_us_per_join"])?;
    timed(Command::Leave, ["leave_last_s", "leave_p50_ms", "cpu_us_per_leave"])?;
    report.memory(options);
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, 0);
    Ok(report)
}

/// Seconds until the last has its RECEIPT, the median's milliseconds, and the server's microseconds for each.
fn measure(
    fleet: &Fleet,
    options: &Options,
    command: Command,
    count: usize,
) -> io::Result<(f64, f64, Option<f64>)> {
    let mark = fleet.mark(options.pid);
    let waits = fleet.ask(command, count)?;
    let cpu = fleet.since(&mark).server_cpu;
    let first = waits.iter().map(|wait| wait.asked).min().unwrap_or(0);
    let last = waits.iter().map(|wait| wait.answered).max().unwrap_or(first);
    let median = quantile(&waits, 0.5, |wait: &Wait| wait.answered - wait.asked);
    Ok(((last - first) as f64 / 1e9, median, cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / count as f64)))
}
