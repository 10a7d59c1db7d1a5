//! From a SEND to a room that keeps messages until its RECEIPT: the message is kept.
//!
//! Nobody subscribes, so that nothing is measured but the way into the store. Each RECEIPT carries the stamp of its SEND,
//! and is checked as a message would be: one of each, in order.

use std::io;

use super::Cast;
use crate::options::Options;
use crate::report::Report;

/// Each client publishes to a room: as its receipts come, or all together at a rate.
pub(super) fn run(options: &Options) -> io::Result<Report> {
    let clients = options.connections.unwrap_or(64);
    let rooms = options.rooms.unwrap_or(clients);
    let options = &Options { window: Some(options.window.unwrap_or(1)), ..options.clone() };
    let mut cast = Cast::new(options, "/topic/chat/{room}", "/topic/chat/{room}", "guest")?;
    for n in 0..clients {
        let room = (n % rooms).to_string();
        let client = cast.add(&format!("publisher{n}"), std::slice::from_ref(&room))?;
        cast.publish(client, &room, "");
    }
    let fleet = cast.launch("x")?;
    fleet.open()?;
    let span = fleet.publish(options)?;
    let sent = fleet.drain();
    let mut report = Report::new();
    let (seconds, receipts) = (span.elapsed.as_secs_f64(), span.delivered as f64);
    report.number("seconds", seconds);
    report.number("receipts_per_second", receipts / seconds);
    if let Some(cpu) = span.server_cpu {
        report.number("server_cpu_share", cpu.as_secs_f64() / seconds);
        report.number("cpu_us_per_receipt", cpu.as_secs_f64() * 1e6 / receipts.max(1.0));
    }
    report.number("load_cpu_share", span.load_cpu.as_secs_f64() / seconds);
    report.memory(options);
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, sent);
    Ok(report)
}
