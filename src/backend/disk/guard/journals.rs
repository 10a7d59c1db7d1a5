//! The journals of the database: read before it does, and judged by what was promised.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::batches::{self, Fault, Scan};
use super::inspection::{Inspection, Repair};
use super::witness::Witness;
use super::{End, OpenError, batches_missing, files};

/// A journal as it stands on disk.
#[derive(Debug)]
pub(super) struct Journal {
    number: u64,
    path: PathBuf,
    scan: Scan,
}

/// Reads all journals in `db`, in their order. One at a time is in memory, without the zeros at its end: some 64 MiB.
///
/// # Errors
///
/// As [`numbers`], and what the system says.
pub(super) fn read(db: &Path) -> Result<Vec<Journal>, OpenError> {
    let read = |number| {
        let path = path_of(db, number);
        let scan = batches::scan(&content(&path).map_err(files::at(&path))?);
        Ok(Journal { number, path, scan })
    };
    numbers(db)?.into_iter().map(read).collect()
}

/// Tells torn ends, which it plans to cut off, from damage. The answer is from which journal on none may be missing.
///
/// # Errors
///
/// [`OpenError::Damaged`], unless losses are accepted.
pub(super) fn judge(
    db: &Path,
    journals: &[Journal],
    before: &Witness,
    inspection: &mut Inspection,
) -> Result<u64, OpenError> {
    let journals_from = missing(db, journals, before, inspection)?;
    let newest_of_all = newest(journals);
    let mut newest = None;
    for (at, journal) in journals.iter().enumerate() {
        newest = newest.max(journal.scan.newest);
        let Some(fault) = &journal.scan.fault else { continue };
        let is_last = at + 1 == journals.len();
        if !(is_last && is_torn(fault, newest, before)) {
            let last = newest_of_all.max(fault.behind).unwrap_or(0).max(before.batch);
            inspection.fault(journal.path.clone(), lost(journal.scan.whole_bytes, fault, newest, last))?;
        }
        inspection.plan(Repair::Cut { path: journal.path.clone(), bytes: journal.scan.whole_bytes });
    }
    // Journals are removed oldest first, and only when all that is in them stands in tables. So while there is a
    // batch in a journal, all that came later are in journals too.
    if let Some(newest) = newest.filter(|newest| *newest < before.batch && before.end() != End::MayHaveLost) {
        inspection.fault(db.to_owned(), batches_missing(newest + 1, before.batch))?;
    }
    Ok(journals_from)
}

/// The highest number of a whole batch.
pub(super) fn newest(journals: &[Journal]) -> Option<u64> {
    journals.iter().filter_map(|journal| journal.scan.newest).max()
}

/// The lowest journal in `db` behind which none is missing.
///
/// # Errors
///
/// As [`numbers`].
pub(super) fn unbroken_from(db: &Path) -> Result<u64, OpenError> {
    let numbers = numbers(db)?;
    let breaks =
        numbers.windows(2).rev().find(|pair| pair[0].saturating_add(1) != pair[1]).map(|pair| pair[1]);
    Ok(breaks.or(numbers.first().copied()).unwrap_or(0))
}

/// Makes the journals safe from the loss of power.
///
/// # Errors
///
/// What the system says.
pub(super) fn sync(journals: &[Journal]) -> Result<(), OpenError> {
    for Journal { path, .. } in journals {
        File::open(path).and_then(|file| file.sync_all()).map_err(files::at(path))?;
    }
    Ok(())
}

/// The numbers of the journals in `db`, lowest first: the highest is the one that is written.
///
/// # Errors
///
/// [`OpenError::Damaged`] if there is a name or a kind of file that the database would not bear; what the system says.
fn numbers(db: &Path) -> Result<Vec<u64>, OpenError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(db).map_err(files::at(db))? {
        let entry = entry.map_err(files::at(db))?;
        let path = entry.path();
        if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case(EXTENSION)) {
            continue;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let is_file = entry.file_type().map_err(files::at(&path))?.is_file();
        // A zero before the number or capitals would be another file than the one that we read.
        match number.filter(|number| is_file && path_of(db, *number) == path) {
            Some(number) => numbers.push(number),
            None => {
                let what = "it is no journal of the database: move it elsewhere".to_owned();
                return Err(OpenError::Damaged { path, what });
            }
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A file without the zeros at its end.
///
/// # Errors
///
/// What the system says.
pub(super) fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let (mut piece, zeros) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let (mut bytes, mut zeros_at_end) = (Vec::new(), 0);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(bytes);
        }
        let piece = &piece[..read];
        // Comparing is many times faster than looking at each byte, and most pieces are zeros.
        let last = if *piece == zeros[..read] { None } else { piece.iter().rposition(|byte| *byte != 0) };
        match last {
            None => zeros_at_end += read,
            Some(last) => {
                bytes.resize(bytes.len() + zeros_at_end, 0);
                bytes.extend_from_slice(&piece[..=last]);
                zeros_at_end = read - last - 1;
            }
        }
    }
}

/// Looks for journals that somebody has removed.
fn missing(
    db: &Path,
    journals: &[Journal],
    before: &Witness,
    inspection: &mut Inspection,
) -> Result<u64, OpenError> {
    let Some(last) = journals.last() else {
        // The database never is without one.
        inspection.fault(db.to_owned(), "it has no journal".to_owned())?;
        return Ok(0);
    };
    let is_there = |number| journals.iter().any(|journal| journal.number == number);
    // While the database runs it removes the oldest.
    let oldest = before.clean.then_some(before.journals_from).filter(|number| !is_there(*number));
    let mut next = journals.iter().map(|journal| journal.number.saturating_add(1));
    let gap = next.find(|next| (before.journals_from..last.number).contains(next) && !is_there(*next));
    match oldest.or(gap) {
        None => Ok(before.journals_from),
        Some(number) => {
            inspection.fault(path_of(db, number), "it is missing".to_owned())?;
            // What was accepted once is no news at the next start.
            Ok(last.number)
        }
    }
}

/// Whether what stands behind the last whole batch was never acknowledged.
fn is_torn(fault: &Fault, newest: Option<u64>, before: &Witness) -> bool {
    // Without a sync any page may be missing, and whole batches may stand behind it.
    if before.end() == End::MayHaveLost {
        return true;
    }
    let acknowledged = before.batch;
    // In a journal that was just begun nothing tells how far the tables go: then the batch itself must, or
    // `Guard::check_opened` finds out.
    let all_before = newest.is_none_or(|newest| newest >= acknowledged);
    let came_later = fault.number.is_none_or(|number| number > acknowledged);
    // Each batch is synced before the next is written. So with one behind it this one was whole once, and the
    // witness is old: it is not synced as often.
    all_before && came_later && fault.behind.is_none()
}

fn lost(at: u64, fault: &Fault, newest: Option<u64>, last: u64) -> String {
    let what = fault.what;
    match newest.map_or(fault.number.unwrap_or(last), |newest| newest + 1) {
        first if first < last => format!("at byte {at} {what}; batches {first} to {last} are lost"),
        first if first == last && last > 0 => format!("at byte {at} {what}; batch {last} is lost"),
        _ => format!("at byte {at} {what}"),
    }
}

fn path_of(db: &Path, number: u64) -> PathBuf {
    db.join(format!("{number}.{EXTENSION}"))
}

const EXTENSION: &str = "jnl";

/// What is read of a journal at once.
const PIECE_BYTES: usize = 64 * 1024;
