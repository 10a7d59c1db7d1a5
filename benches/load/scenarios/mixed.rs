//! Everything at once, all of it verified: sizes, versions, many subscriptions, wildcards, and clients that come and go.

use std::io;
use std::time::{Duration, Instant};

use super::Cast;
use crate::engine::Command;
use crate::options::Options;
use crate::report::Report;

/// Rooms stand in groups of ten. Publishers send to all rooms; subscribers are of four kinds.
pub(super) fn run(options: &Options) -> io::Result<Report> {
    let options = &Options {
        rate: Some(options.rate.unwrap_or(300.0)),
        bytes: options.bytes.clone().or_else(|| Some(SIZES.to_vec())),
        ..options.clone()
    };
    let mut cast = Cast::new(options, "/topic/mixed/{room}", "/topic/mixed/{room}", "guest")?;
    cast.versions = &["1.0", "1.2", "1.0,1.1,1.2", "1.1"];
    let rooms = options.rooms.unwrap_or(1_000).next_multiple_of(10);
    let name = |room: usize| format!("{}/{}", room / 10, room % 10);
    let all: Vec<String> = (0..rooms).map(name).collect();
    let publishers: Vec<usize> = (0..options.publishers.max(4))
        .map(|n| cast.add(&format!("publisher{n}"), &[]))
        .collect::<io::Result<_>>()?;
    // A room's streams: its publisher is always the same.
    for (room, place) in all.iter().enumerate() {
        cast.publish(publishers[room % publishers.len()], place, "");
    }
    for n in 0..options.connections.unwrap_or(600) {
        let user = format!("user{n}");
        let client = cast.add(&user, &[])?;
        let streams = |room: usize| vec![room as u32];
        match n % 4 {
            // One room; the first ones are the largest by far.
            0 => {
                let room = rooms / (1 + n);
                cast.subscribe(client, &all[room % rooms], &user, streams(room % rooms));
            }
            // A hundred rooms.
            1 => {
                let places = (0..100.min(rooms)).map(|k| (n * 7 + k * 11) % rooms);
                let mut places: Vec<_> = places.collect();
                places.sort_unstable();
                places.dedup();
                places.into_iter().for_each(|room| cast.subscribe(client, &all[room], &user, streams(room)));
            }
            // Groups, by wildcards, or everything.
            2 if n % 40 == 2 => cast.subscribe(client, "**", &user, (0..rooms as u32).collect()),
            2 => {
                let group = n % (rooms / 10);
                let streams = (0..10).map(|room| (group * 10 + room) as u32).collect();
                cast.subscribe(client, &format!("{group}/*"), &user, streams);
            }
            // Comes and goes; a room that many listen to.
            _ => {
                cast.clients[client].is_fleeting = true;
                let room = n % 3;
                cast.subscribe(client, &all[room], &user, streams(room));
            }
        }
    }
    let fleet = cast.launch("wörter 단어 ")?;
    fleet.open()?;
    let start = Instant::now();
    let lasting = Duration::from_secs_f64(options.warm + options.seconds);
    let span = std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let mut rounds = 0;
            while start.elapsed() < lasting {
                std::thread::sleep(CHURN);
                fleet.tell(Command::Churn)?;
                rounds += 1;
            }
            Ok::<_, io::Error>(rounds)
        });
        let span = fleet.publish(options)?;
        let rounds = churn.join().map_err(|_| io::Error::other("the churning thread panicked"))??;
        Ok::<_, io::Error>((span, rounds))
    });
    let (span, rounds) = span?;
    let sent = fleet.settle(QUIET);
    let mut report = Report::new();
    report.add("churn_rounds", rounds);
    report.span(&span);
    report.memory(options);
    report.notes(&fleet.run.notes());
    report.tally(&fleet.finish()?, sent);
    Ok(report)
}

/// Bytes of bodies, in turn.
const SIZES: [usize; 12] = [64, 200, 130, 900, 200, 4_000, 200, 16_000, 150, 4_200, 65_536, 120];
const CHURN: Duration = Duration::from_millis(100);
/// Nothing for so long: all has arrived that will.
const QUIET: Duration = Duration::from_secs(1);
