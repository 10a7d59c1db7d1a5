//! The disk alone: what any store waits for that says when a message is safe.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::report::Report;
use crate::tally::Latency;

/// Writes blocks into a file that is there in full, then to the end of one that grows; each block is followed by
/// fdatasync. The second has the file system write where the block stands, too.
pub(super) fn run(options: &Options) -> io::Result<Report> {
    let dir = options.dir.as_ref().ok_or_else(|| io::Error::other("fsync needs --dir"))?;
    let bytes = options.bytes.as_ref().and_then(|bytes| bytes.first()).copied().unwrap_or(4_096).max(1);
    let path = dir.join(format!("fsync-{}", std::process::id()));
    let measured = measure(&path, &vec![b'x'; bytes], Duration::from_secs_f64(options.seconds / 2.0));
    fs::remove_file(&path)?;
    let (in_place, growing) = measured?;
    let mut report = Report::new();
    report.number("in_place_per_second", in_place.per_second);
    report.number("in_place_p50_ms", in_place.latency.ms(0.5));
    report.number("in_place_p99_ms", in_place.latency.ms(0.99));
    report.number("growing_per_second", growing.per_second);
    report.number("growing_p50_ms", growing.latency.ms(0.5));
    report.number("growing_p99_ms", growing.latency.ms(0.99));
    Ok(report)
}

struct Pace {
    per_second: f64,
    latency: Latency,
}

fn measure(path: &Path, block: &[u8], lasting: Duration) -> io::Result<(Pace, Pace)> {
    let file = File::create(path)?;
    for n in 0..BLOCKS {
        file.write_all_at(block, n * block.len() as u64)?;
    }
    file.sync_all()?;
    let in_place = repeat(&file, block, lasting, |n| n % BLOCKS)?;
    let growing = repeat(&file, block, lasting, |n| BLOCKS + n)?;
    Ok((in_place, growing))
}

fn repeat(file: &File, block: &[u8], lasting: Duration, place: impl Fn(u64) -> u64) -> io::Result<Pace> {
    let (start, mut count, mut latency) = (Instant::now(), 0, Latency::default());
    while start.elapsed() < lasting {
        let began = Instant::now();
        file.write_all_at(block, place(count) * block.len() as u64)?;
        file.sync_data()?;
        latency.record(began.elapsed().as_micros() as u64);
        count += 1;
    }
    Ok(Pace { per_second: count as f64 / start.elapsed().as_secs_f64(), latency })
}

/// Blocks of the file that is there in full.
const BLOCKS: u64 = 4_096;
