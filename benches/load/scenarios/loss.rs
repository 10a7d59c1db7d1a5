//! The loss of one of several instances: its clients come back to the others, and are given what they missed.

use std::io;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

use super::Cast;
use crate::options::Options;
use crate::report::{Report, quantile};
use crate::shared::{Run, Wait};

/// Rooms of ten that keep messages, over all instances. The last instance is killed, each room is sent a message at once,
/// and whoever was there is to have it.
pub(super) fn run(options: &Options) -> io::Result<Report> {
    let pid = options.lose.ok_or_else(|| io::Error::other("--lose says which process is to be killed"))?;
    let count = options.connections.unwrap_or(10_000);
    let rooms = options.rooms.unwrap_or(count.div_ceil(10));
    let servers = options.url.split(',').count();
    if servers < 2 {
        return Err(io::Error::other("--url names several instances, the one that is killed last"));
    }
    let mut cast = Cast::new(options, "/topic/chat/{room}", "/topic/chat/{room}", "guest")?;
    // The first is on the first instance, which stays.
    let publisher = cast.add("publisher", &[])?;
    let streams: Vec<u32> = (0..rooms).map(|room| cast.publish(publisher, &room.to_string(), "")).collect();
    for n in 0..count {
        let room = n % rooms;
        let client = cast.add(&format!("member{n}"), &[room.to_string()])?;
        cast.subscribe(client, &room.to_string(), "", vec![streams[room]]);
        cast.clients[client].is_loyal = true;
    }
    let lost = (0..cast.clients.len()).filter(|number| number % servers == servers - 1).count();
    let fleet = cast.launch("x")?;
    fleet.open()?;
    publish(&fleet, rooms)?;
    let mark = fleet.mark(options.pid);
    let start = fleet.run.now();
    fleet.run.has_lost.store(true, Relaxed);
    if !Command::new("kill").args(["-KILL", &pid.to_string()]).status()?.success() {
        return Err(io::Error::other(format!("process {pid} cannot be killed")));
    }
    for n in 0..rooms {
        fleet.send_one(n)?;
    }
    let progress = |run: &Run| (run.waits(), run.received.load(Relaxed));
    if !fleet.run.wait(fleet.patience, progress, |run| run.waits() >= lost) {
        let (back, why) = (fleet.run.waits(), fleet.run.notes().join("; "));
        return Err(io::Error::other(format!("{back} of {lost} are back. {why}")));
    }
    let span = fleet.since(&mark);
    let waits = fleet.run.take_waits();
    let mut report = Report::new();
    report.add("lost", lost);
    report.number("receipt_p50_s", quantile(&waits, 0.5, |wait: &Wait| wait.answered - start) / 1e3);
    report.number("back_p50_s", quantile(&waits, 0.5, |wait: &Wait| wait.whole - start) / 1e3);
    report.number("back_max_s", quantile(&waits, 1.0, |wait: &Wait| wait.whole - start) / 1e3);
    if let Some(cpu) = span.server_cpu {
        report.number("cpu_us_per_return", cpu.as_secs_f64() * 1e6 / lost as f64);
    }
    let sent = fleet.drain();
    report.add("unrecovered", fleet.run.unrecovered.load(Relaxed));
    report.memory(options);
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, sent);
    Ok(report)
}

/// One message for each room, which all of its members get.
fn publish(fleet: &crate::fleet::Fleet, rooms: usize) -> io::Result<()> {
    for n in 0..rooms {
        fleet.send_one(n)?;
    }
    let why = || io::Error::other(format!("not everybody got the first. {}", fleet.run.notes().join("; ")));
    fleet.all_have_come().then_some(()).ok_or_else(why)
}
