//! The scenarios: who connects, who publishes, what is measured.

mod cast;
mod connect;
mod fsync;
mod http;
mod idle;
mod join;
mod last;
mod loss;
mod mixed;
mod receipts;
mod replay;
mod rooms;
mod slow;
mod users;

use std::io;

use self::cast::Cast;
use crate::options::{Options, Scenario};
use crate::report::Report;

pub(crate) fn run(options: &Options) -> io::Result<Report> {
    match options.scenario {
        Scenario::Fanout => rooms::fanout(options),
        Scenario::Chat => rooms::chat(options),
        Scenario::Users => users::run(options),
        Scenario::Last => last::run(options),
        Scenario::Connect => connect::once(options),
        Scenario::Reconnect => connect::again(options),
        Scenario::Idle => idle::memory(options),
        Scenario::Heartbeats => idle::heart_beats(options),
        Scenario::Slow => slow::run(options),
        Scenario::Mixed => mixed::run(options),
        Scenario::Receipts => receipts::run(options),
        Scenario::Replay => replay::run(options),
        Scenario::Join => join::run(options),
        Scenario::Loss => loss::run(options),
        Scenario::Fsync => fsync::run(options),
        Scenario::HttpPublish => http::run(options),
    }
}

/// One room with its subscribers, and the publishers of the options.
fn one_room(options: &Options) -> io::Result<Cast<'_>> {
    let mut cast = Cast::new(options, "/topic/room.{room}", "/topic/room.{room}", "guest")?;
    let room = ["0".to_owned()];
    let streams: Vec<u32> = (0..options.publishers as u32).collect();
    for n in 0..options.publishers {
        let client = cast.add(&format!("publisher{n}"), &room)?;
        cast.publish(client, &room[0], "");
        if options.no_receipts {
            cast.subscribe(client, &room[0], "", streams.clone());
        }
    }
    for n in 0..options.connections.unwrap_or(1_000) {
        let client = cast.add(&format!("subscriber{n}"), &room)?;
        cast.subscribe(client, &room[0], "", streams.clone());
    }
    Ok(cast)
}

/// Publishes as the options say, waits for everything, and reports.
fn deliver(options: &Options, cast: Cast<'_>) -> io::Result<Report> {
    let fleet = cast.launch("x")?;
    fleet.open()?;
    let span = fleet.publish(options)?;
    let sent = fleet.drain();
    let mut report = Report::new();
    report.span(&span);
    report.memory(options);
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, sent);
    Ok(report)
}
