//! What a room keeps: how long one who comes waits for it, alone and among many who come at once.

use std::io;

use super::Cast;
use crate::engine::Command;
use crate::options::Options;
use crate::report::{Report, quantile};
use crate::shared::Wait;

/// Fills a room, then has clients that are connected subscribe, one after the other, and all of them again at once.
pub(super) fn run(options: &Options) -> io::Result<Report> {
    let (kept, count) = (options.kept, options.connections.unwrap_or(100));
    let mut cast = Cast::new(options, "/topic/chat/{room}", "/topic/chat/{room}", "guest")?;
    let room = ["replay".to_owned()];
    let publisher = cast.add("publisher", &room)?;
    let stream = cast.publish(publisher, &room[0], "");
    for n in 0..count {
        let reader = cast.add(&format!("reader{n}"), &room)?;
        cast.subscribe(reader, &room[0], "", vec![stream]);
        let client = &mut cast.clients[reader];
        client.is_told = true;
        client.subscriptions.iter_mut().for_each(|subscription| subscription.history = Some(kept));
    }
    let fleet = cast.launch("x")?;
    fleet.open()?;
    for n in 0..kept {
        fleet.send_one(n as usize)?;
    }
    if !fleet.all_have_come() {
        return Err(io::Error::other(format!(
            "not all SENDs were answered. {}",
            fleet.run.notes().join("; ")
        )));
    }
    let mark = fleet.mark(options.pid);
    let mut alone = Vec::new();
    for first in 1..=count {
        alone.extend(fleet.ask(Command::Subscribe { first, count: 1 }, 1)?);
    }
    let span = fleet.since(&mark);
    fleet.ask(Command::Leave, count)?;
    let together = fleet.ask(Command::Subscribe { first: 1, count }, count)?;
    let mut report = Report::new();
    let (receipt, whole) = (|wait: &Wait| wait.answered - wait.asked, |wait: &Wait| wait.whole - wait.asked);
    report.number("alone_receipt_p50_ms", quantile(&alone, 0.5, receipt));
    report.number("alone_receipt_p99_ms", quantile(&alone, 0.99, receipt));
    report.number("alone_all_p50_ms", quantile(&alone, 0.5, whole));
    report.number("alone_all_p99_ms", quantile(&alone, 0.99, whole));
    report.number("together_receipt_p50_ms", quantile(&together, 0.5, receipt));
    report.number("together_all_p50_ms", quantile(&together, 0.5, whole));
    report.number("together_all_max_ms", quantile(&together, 1.0, whole));
    if let Some(cpu) = span.server_cpu {
        report.number("cpu_us_per_message", cpu.as_secs_f64() * 1e6 / (count * kept as usize) as f64);
    }
    report.memory(options);
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, kept.into());
    Ok(report)
}
