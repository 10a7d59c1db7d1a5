//! Connections that do nothing: what they hold, and what their heart-beats cost.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::Cast;
use super::connect::{join, many};
use crate::engine::Command;
use crate::options::Options;
use crate::process;
use crate::report::Report;

/// Memory of the server with all connections, after they have gone, and again.
///
/// What counts is what a connection adds to a process that has had as many before: by then the allocator holds what it
/// will hold.
pub(super) fn memory(options: &Options) -> io::Result<Report> {
    let pid = options.pid.ok_or_else(|| io::Error::other("idle needs --pid"))?;
    let count = options.connections.unwrap_or(15_000);
    let fleet = many(options, count)?.launch("x")?;
    let mut report = Report::new();
    let mut empty = settled(pid, options.patience);
    report.number("rss_at_start_mib", empty / MEBIBYTE);
    let (mut per_connection, mut in_all) = (0.0, 0.0);
    let mut figures = Vec::new();
    for _ in 0..options.rounds.unwrap_or(3) {
        fleet.open()?;
        let full = settled(pid, options.patience);
        per_connection = (full - empty) / count as f64;
        in_all = full / count as f64;
        fleet.tell(Command::Cut)?;
        fleet.wait_until_open(0)?;
        empty = settled(pid, options.patience);
        figures.push([full / MEBIBYTE, empty / MEBIBYTE].map(|mebibytes| (mebibytes * 10.0).round() / 10.0));
    }
    report.add("connections", count);
    report.number("bytes_per_connection", per_connection);
    report.number("bytes_per_connection_in_all", in_all);
    report.add("rss_mib_full_and_empty", serde_json::json!(figures));
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, 0);
    Ok(report)
}

/// All send and are sent a heart-beat every ten seconds.
pub(super) fn heart_beats(options: &Options) -> io::Result<Report> {
    let count = options.connections.unwrap_or(15_000);
    let mut cast = Cast::new(options, "/topic/room.{room}", "/topic/room.{room}", "guest")?;
    cast.heart_beat = PERIOD;
    for n in 0..count {
        join(&mut cast, n)?;
    }
    let fleet = cast.launch("x")?;
    fleet.open()?;
    // From here on every connection has its turn.
    thread::sleep(Duration::from_secs_f64(options.warm));
    let mark = fleet.mark(options.pid);
    thread::sleep(Duration::from_secs_f64(options.seconds));
    let span = fleet.since(&mark);
    let mut report = Report::new();
    report.number("seconds", span.elapsed.as_secs_f64());
    let per = 1e6 / span.elapsed.as_secs_f64() / count as f64;
    if let Some(cpu) = span.server_cpu {
        report.number("cpu_us_per_connection_second", cpu.as_secs_f64() * per);
        report.number("server_cpu_share", cpu.as_secs_f64() / span.elapsed.as_secs_f64());
    }
    report.number("load_cpu_share", span.load_cpu.as_secs_f64() / span.elapsed.as_secs_f64());
    report.notes(&fleet.run.notes());
    let tally = fleet.finish()?;
    report.add("heart_beats", tally.beats);
    report.tally(&tally, 0);
    report.memory(options);
    Ok(report)
}

/// Bytes in memory once they have stood still for half a second.
fn settled(pid: u32, patience: f64) -> f64 {
    let resident = || process::memory(pid).map_or(0.0, |memory| memory.now as f64);
    let (start, mut since, mut last) = (Instant::now(), Instant::now(), resident());
    while since.elapsed() < STILL && start.elapsed().as_secs_f64() < patience {
        thread::sleep(Duration::from_millis(50));
        let now = resident();
        if (now - last).abs() > MEBIBYTE / 4.0 {
            (last, since) = (now, Instant::now());
        }
    }
    resident()
}

const MEBIBYTE: f64 = 1_048_576.0;
const STILL: Duration = Duration::from_millis(1_500);
const PERIOD: Duration = Duration::from_secs(10);
