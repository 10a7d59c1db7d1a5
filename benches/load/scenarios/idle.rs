//! Connections that do nothing: what they hold, and what their heart-beats cost.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::Cast;
use super::connect::{join, many};
use crate::engine::Command;
use crate::options::Options;
use crate::process;
use crate::report::{MEBIBYTE, Report};

/// Memory of the server with all connections, after they have gone, and again.
///
/// What counts is what the last of the rounds has more than a process that has had a few connections, for what the first
/// of them makes it take is no other connection's. What the allocator keeps between rounds is counted with it.
pub(super) fn memory(options: &Options) -> io::Result<Report> {
    let pid = options.pid.ok_or_else(|| io::Error::other("idle needs --pid"))?;
    let count = options.connections.unwrap_or(15_000);
    let few = many(options, FEW)?.launch("x")?;
    few.open()?;
    few.finish()?;
    let base = settled(pid, options.patience);
    let fleet = many(options, count)?.launch("x")?;
    let mut report = Report::new();
    report.number("rss_at_start_mib", base / MEBIBYTE);
    let (mut full, mut empty) = (base, base);
    let mut figures = Vec::new();
    for _ in 0..options.rounds.unwrap_or(3) {
        fleet.open()?;
        full = settled(pid, options.patience);
        fleet.tell(Command::Cut)?;
        fleet.wait_until_open(0)?;
        empty = settled(pid, options.patience);
        figures.push([full, empty].map(|bytes| (bytes / MEBIBYTE * 10.0).round() / 10.0));
    }
    report.add("connections", count);
    report.number("bytes_per_connection", (full - base) / count as f64);
    report.number("bytes_per_connection_kept", (empty - base) / count as f64);
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
    // So many periods passed while all were connected.
    let periods = (options.seconds / PERIOD.as_secs_f64()) as u64;
    report.require(tally.beats >= periods * count as u64);
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

/// Connections that warm a process up.
const FEW: usize = 100;
const STILL: Duration = Duration::from_millis(1_500);
const PERIOD: Duration = Duration::from_secs(10);
