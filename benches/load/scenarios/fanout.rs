//! One room, many subscribers: what a delivery costs when there is nothing else to do.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Cast;
use crate::client::{Client, Publication, Subscription};
use crate::fleet::Fleet;
use crate::options::Options;
use crate::report::Report;

pub(super) fn run(options: &Options) -> io::Result<Report> {
    let cast = Cast::new(options, "/topic/room.{room}", "/topic/room.{room}");
    let subscribers = options.connections.unwrap_or(1_000);
    let streams: Vec<u32> = (0..options.publishers as u32).collect();
    let mut clients: Vec<Client> = (0..subscribers)
        .map(|n| {
            let user = format!("subscriber{n}");
            let subscription =
                Subscription { destination: cast.subscribe_to(0, &user), streams: streams.clone() };
            Client {
                connect: cast.connect(&user, Duration::ZERO),
                subscriptions: vec![subscription],
                ..Client::default()
            }
        })
        .collect();
    let mut lent = Vec::new();
    for stream in &streams {
        let user = format!("publisher{stream}");
        let publication = Publication::new(*stream, &cast.send_to(0, &user), &options.header);
        lent.push((clients.len(), publication.clone()));
        let connect = cast.connect(&user, Duration::ZERO);
        clients.push(Client { connect, publishes: vec![publication], is_lent: true, ..Client::default() });
    }
    let fleet = Fleet::launch(options, cast.template()?, clients, streams.len(), None)?;
    fleet.open()?;
    let span = match options.rate {
        Some(rate) => fleet.publish_at_rate(options, rate, &lent)?,
        None => fleet.publish_at_will(options)?,
    };
    // What a publisher's own thread sends at this moment is counted before it is on its way.
    fleet.settle(Duration::from_millis(50));
    let sent: u64 = fleet.run.sent.iter().map(|count| u64::from(count.load(Relaxed))).sum();
    fleet.drain(sent * subscribers as u64);
    let mut report = Report::new();
    report.span(&span);
    report.tally(&fleet.finish()?, sent);
    report.memory(options);
    Ok(report)
}
