//! Everything at once, all of it verified: sizes, versions, many subscriptions, wildcards, and clients that come and go.

use std::io;
use std::time::{Duration, Instant};

use super::Cast;
use crate::client::Restless;
use crate::engine::Command;
use crate::options::Options;
use crate::report::Report;

pub(super) fn run(options: &Options) -> io::Result<Report> {
    let options = &Options {
        rate: Some(options.rate.unwrap_or(300.0)),
        bytes: options.bytes.clone().or_else(|| Some(SIZES.to_vec())),
        ..options.clone()
    };
    let cast = cast(options)?;
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

/// Rooms stand in groups of ten, a thousand in all. Publishers send to each room in turn, and as often to a few that
/// many listen to.
fn cast(options: &Options) -> io::Result<Cast<'_>> {
    let mut cast = Cast::new(options, "/topic/mixed/{room}", "/topic/mixed/{room}", "guest")?;
    cast.versions = &["1.0", "1.2", "1.0,1.1,1.2", "1.1"];
    let rooms = options.rooms.unwrap_or(1_000).next_multiple_of(10);
    let places: Vec<String> = (0..rooms).map(|room| format!("{}/{}", room / 10, room % 10)).collect();
    let publishers = (0..options.publishers.max(4))
        .map(|n| cast.add(&format!("publisher{n}"), &[]))
        .collect::<io::Result<Vec<_>>>()?;
    let mut streams = vec![Vec::new(); rooms];
    for n in 0..2 * rooms {
        let room = if n % 2 == 0 { n / 2 } else { n / 2 % HOT };
        streams[room].push(cast.publish(publishers[n / 2 % publishers.len()], &places[room], ""));
    }
    for n in 0..options.connections.unwrap_or(600) {
        let user = format!("user{n}");
        let client = cast.add(&user, &[])?;
        let mut join = |room: usize| cast.subscribe(client, &places[room], &user, streams[room].clone());
        match n % 4 {
            // One room: half of them in the first, a quarter in the second, and so on.
            0 => join((n / 4 + 1).trailing_zeros() as usize % rooms),
            // A hundred rooms.
            1 => {
                let mut several: Vec<_> = (0..100.min(rooms)).map(|k| (n * 7 + k * 11) % rooms).collect();
                several.sort_unstable();
                several.dedup();
                several.into_iter().for_each(join);
            }
            // Everything, or one group, by wildcards.
            2 if n % 40 == 2 => cast.subscribe(client, "**", &user, streams.concat()),
            2 => {
                let group = n % (rooms / 10);
                let streams = streams[group * 10..][..10].concat();
                cast.subscribe(client, &format!("{group}/*"), &user, streams);
            }
            // Comes and goes where most is said.
            _ => {
                join(n / 4 % HOT);
                let ways = [Restless::Cut, Restless::Unsubscribe];
                cast.clients[client].restless = Some(ways[n / 4 / HOT % 2]);
            }
        }
    }
    Ok(cast)
}

/// Rooms to which every second message goes.
const HOT: usize = 4;
/// Bytes of bodies, in turn.
const SIZES: [usize; 12] = [64, 200, 130, 900, 200, 4_000, 200, 16_000, 150, 4_200, 65_536, 120];
const CHURN: Duration = Duration::from_millis(100);
/// Nothing for so long: all has arrived that will.
const QUIET: Duration = Duration::from_secs(1);
