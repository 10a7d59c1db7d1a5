//! Connections that come, and come back: handshake, CONNECT, one subscription with its receipt.

use std::io;
use std::time::{Duration, Instant};

use super::Cast;
use crate::engine::Command;
use crate::options::Options;
use crate::process;
use crate::report::Report;

/// All at once, each with a token of its own when there is a key.
pub(super) fn once(options: &Options) -> io::Result<Report> {
    let count = options.connections.unwrap_or(9_000);
    let fleet = many(options, count)?.launch("x")?;
    let (mark, overflows) = (fleet.mark(options.pid), process::listen_overflows());
    let elapsed = fleet.open()?;
    let span = fleet.since(&mark);
    let mut report = Report::new();
    report.number("seconds", elapsed.as_secs_f64());
    report.number("connects_per_second", count as f64 / elapsed.as_secs_f64());
    if let Some(cpu) = span.server_cpu {
        report.number("cpu_us_per_connect", cpu.as_secs_f64() * 1e6 / count as f64);
    }
    report.number("load_cpu_share", span.load_cpu.as_secs_f64() / elapsed.as_secs_f64());
    report.add("listen_overflows", process::listen_overflows() - overflows);
    report.memory(options);
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, 0);
    Ok(report)
}

/// All are cut, and come back at once.
pub(super) fn again(options: &Options) -> io::Result<Report> {
    let count = options.connections.unwrap_or(10_000);
    let fleet = many(options, count)?.launch("x")?;
    fleet.open()?;
    let mut seconds = Vec::new();
    let (mark, overflows) = (fleet.mark(options.pid), process::listen_overflows());
    let rounds = options.rounds.unwrap_or(3);
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_millis(200));
        let start = Instant::now();
        fleet.tell(Command::Cut)?;
        fleet.wait_until_open(0)?;
        fleet.open()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let span = fleet.since(&mark);
    seconds.sort_by(f64::total_cmp);
    let mut report = Report::new();
    report.number("back_p50_s", seconds[seconds.len() / 2]);
    report.number("back_max_s", seconds[seconds.len() - 1]);
    if let Some(cpu) = span.server_cpu {
        report.number("cpu_us_per_return", cpu.as_secs_f64() * 1e6 / (count * rounds) as f64);
    }
    report.add("listen_overflows", process::listen_overflows() - overflows);
    report.memory(options);
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, 0);
    Ok(report)
}

/// Connections in rooms of ten.
pub(super) fn many(options: &Options, count: usize) -> io::Result<Cast<'_>> {
    let mut cast = Cast::new(options, "/topic/room.{room}", "/topic/room.{room}", "guest")?;
    for n in 0..count {
        join(&mut cast, n)?;
    }
    Ok(cast)
}

pub(super) fn join(cast: &mut Cast<'_>, n: usize) -> io::Result<()> {
    let room = (n / 10).to_string();
    let client = cast.add(&format!("user{n}"), std::slice::from_ref(&room))?;
    cast.subscribe(client, &room, "", Vec::new());
    Ok(())
}
