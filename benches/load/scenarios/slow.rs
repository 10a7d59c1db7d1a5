//! One in ten never reads: what the others feel of it.

use std::io;
use std::thread;
use std::time::Duration;

use super::one_room;
use crate::engine::Command;
use crate::options::Options;
use crate::process;
use crate::report::{MEBIBYTE, Report};

/// Alternates rounds in which all read and rounds in which one in ten stops.
pub(super) fn run(options: &Options) -> io::Result<Report> {
    let (rate, bytes) = (options.rate.unwrap_or(150.0), options.bytes.clone().unwrap_or_else(|| vec![2_000]));
    let options = &Options { rate: Some(rate), bytes: Some(bytes), ..options.clone() };
    let mut report = Report::new();
    let (mut healthy, mut beside, mut closed, mut peaks) = (Vec::new(), Vec::new(), 0, Vec::new());
    let mut before = None;
    for round in 0..2 * options.rounds.unwrap_or(3) {
        let with_deaf = round % 2 == 1;
        let mut cast = one_room(options)?;
        let subscribers = cast.clients.iter_mut().skip(options.publishers);
        subscribers.step_by(10).for_each(|client| client.is_deaf = with_deaf);
        let deaf = cast.clients.iter().filter(|client| client.is_deaf).count();
        let fleet = cast.launch("x")?;
        fleet.open()?;
        fleet.tell(Command::Deafen)?;
        fleet.publish(options)?;
        let sent = fleet.drain();
        let memory = options.pid.and_then(process::memory);
        before = before.or(memory.as_ref().map(|memory| memory.now));
        peaks.extend(memory.filter(|_| with_deaf).map(|memory| memory.now >> 20));
        // What the server wrote before it closed them is read now, and then the end.
        fleet.tell(Command::Hear)?;
        thread::sleep(Duration::from_millis(500));
        let notes = fleet.run.notes();
        let tally = fleet.finish()?;
        let p99 = tally.latency.ms(0.99);
        if with_deaf { &mut beside } else { &mut healthy }.push(p99);
        closed += tally.deaf_ended;
        if !tally.is_clean() || round == 1 {
            report.add("deaf", deaf);
            report.notes(&notes);
            report.tally(&tally, sent);
        }
    }
    report.number("p99_ms_all_read", median(&mut healthy));
    report.number("p99_ms_one_in_ten_deaf", median(&mut beside));
    report.number("p99_ratio", median(&mut beside) / median(&mut healthy));
    report.add("deaf_closed", closed);
    report.add("rss_mib_with_deaf", peaks);
    // Above what it had when all had read: the most that it ever had, if it is a process of our own.
    if let (Some(before), Some(memory)) = (before, options.pid.and_then(process::memory)) {
        report.number("rss_mib_for_deaf", memory.peak.saturating_sub(before) as f64 / MEBIBYTE);
    }
    report.memory(options);
    Ok(report)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
