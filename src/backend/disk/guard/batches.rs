//! The batches of a journal, read as the database writes them (`fjall::journal`, format 3), and checked.
//!
//! ```text
//! batch: 1 | items 4 | sequence number 8 | item ... | 3 | xxh3 of the items 8 | "FJL" 3           (little-endian)
//! item:  2 | kind 1 | compression 1 | keyspace 8 | key bytes 2 | value bytes 4 | stored bytes 4 | key | value
//!        4 | keyspace 8                                                               (clears a keyspace)
//! ```
//!
//! The database hashes the items one after the other as it encodes them, and to compare it encodes anew what it has
//! read: with no compression that is the hash of the bytes as they stand. A journal is made with 64 MiB of zeros, so
//! zeros behind a batch are its end.

use xxhash_rust::xxh3::xxh3_64;

/// The key under which every batch of ours has its number: a `u64`, little-endian, beginning with 1 and rising. It must
/// be a batch's first item, so that one that was torn can still be told from others; and no other key may be equal to it.
pub(in super::super) const BATCH_KEY: &[u8] = b"\0batch";

/// What a journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// The highest number of its whole batches before the fault.
    pub(super) newest: Option<u64>,
    /// The bytes of those batches.
    pub(super) whole_bytes: u64,
    /// What stands behind them, unless it is nothing.
    pub(super) fault: Option<Fault>,
}

/// Where no whole batch begins and yet there is something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// What was met instead.
    pub(super) what: &'static str,
    /// The number of the batch that is not whole, if that much of it can be read. Nothing vouches for it.
    pub(super) number: Option<u64>,
    /// The highest number of whole batches further behind.
    pub(super) behind: Option<u64>,
}

/// Reads a journal, without the zeros at its end.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let (mut at, mut newest) = (0, None);
    let mut fault = None;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.iter().any(|byte| *byte != 0)) {
        let mut number = None;
        match read_batch(rest, &mut number) {
            Ok(batch_bytes) => {
                newest = newest.max(number);
                at += batch_bytes;
            }
            Err(what) => {
                fault =
                    Some(Fault { what, number, behind: search(&rest[1..]).filter(|n| Some(*n) > newest) });
                break;
            }
        }
    }
    Scan { newest, whole_bytes: at as u64, fault }
}

/// The highest number of whole batches, wherever in `bytes` they begin.
fn search(bytes: &[u8]) -> Option<u64> {
    let (mut at, mut highest) = (0, None);
    while let Some(begin) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == START)) {
        at += begin;
        let mut number = None;
        match read_batch(&bytes[at..], &mut number) {
            Ok(batch_bytes) => {
                highest = highest.max(number);
                at += batch_bytes;
            }
            Err(_) => at += 1,
        }
    }
    highest
}

/// The bytes of the batch that begins with `bytes`, or what is wrong with it. `number` is its number, as far as read.
fn read_batch(bytes: &[u8], number: &mut Option<u64>) -> Result<usize, &'static str> {
    let mut rest = bytes;
    if take(&mut rest)? != [START] {
        return Err("no batch begins");
    }
    let item_count = u32::from_le_bytes(take(&mut rest)?);
    let _sequence_number: [u8; 8] = take(&mut rest)?;
    let items = rest;
    for _ in 0..item_count {
        *number = (*number).max(read_item(&mut rest)?);
    }
    let items = &items[..items.len() - rest.len()];
    if take(&mut rest)? != [END] {
        return Err("a batch does not end after its items");
    }
    let checksum = u64::from_le_bytes(take(&mut rest)?);
    if take(&mut rest)? != *TRAILER {
        return Err("the end of a batch is not whole");
    }
    if xxh3_64(items) != checksum {
        return Err("a batch is not what its checksum says");
    }
    Ok(bytes.len() - rest.len())
}

/// Takes an item off; the answer is the batch's number, if the item is that.
fn read_item(rest: &mut &[u8]) -> Result<Option<u64>, &'static str> {
    match take(rest)? {
        [ITEM] => {}
        [CLEAR] => {
            let _keyspace: [u8; 8] = take(rest)?;
            return Ok(None);
        }
        _ => return Err("no item begins where one should"),
    }
    let [kind, compression] = take(rest)?;
    if !KINDS.contains(&kind) || compression != UNCOMPRESSED {
        return Err("an item is of no known kind");
    }
    let _keyspace: [u8; 8] = take(rest)?;
    let key_bytes = u16::from_le_bytes(take(rest)?);
    let (value_bytes, stored_bytes): ([u8; 4], [u8; 4]) = (take(rest)?, take(rest)?);
    if value_bytes != stored_bytes {
        return Err("an item has two lengths");
    }
    let key = take_slice(rest, usize::from(key_bytes))?;
    let value = take_slice(rest, u32::from_le_bytes(value_bytes) as usize)?;
    Ok(value.try_into().ok().filter(|_| key == BATCH_KEY).map(u64::from_le_bytes))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], &'static str> {
    let (taken, behind) = rest.split_first_chunk().ok_or(TOO_SHORT)?;
    *rest = behind;
    Ok(*taken)
}

fn take_slice<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], &'static str> {
    let (taken, behind) = rest.split_at_checked(bytes).ok_or(TOO_SHORT)?;
    *rest = behind;
    Ok(taken)
}

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// Value, tombstone, weak tombstone. A value in another file is never journalled.
const KINDS: [u8; 3] = [0, 1, 2];

const UNCOMPRESSED: u8 = 0;

const TRAILER: &[u8; 4] = b"FJL\x03";

const TOO_SHORT: &str = "a batch is cut off";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut item = vec![ITEM, 0, UNCOMPRESSED];
        item.extend_from_slice(&1u64.to_le_bytes());
        item.extend_from_slice(&(key.len() as u16).to_le_bytes());
        item.extend_from_slice(&(value.len() as u32).to_le_bytes());
        item.extend_from_slice(&(value.len() as u32).to_le_bytes());
        item.extend_from_slice(key);
        item.extend_from_slice(value);
        item
    }

    fn batch(items: &[Vec<u8>]) -> Vec<u8> {
        let mut batch = vec![START];
        batch.extend_from_slice(&(items.len() as u32).to_le_bytes());
        batch.extend_from_slice(&7u64.to_le_bytes());
        batch.extend(items.concat());
        batch.push(END);
        batch.extend_from_slice(&xxh3_64(&items.concat()).to_le_bytes());
        batch.extend_from_slice(TRAILER);
        batch
    }

    fn numbered(number: u64, value: &[u8]) -> Vec<u8> {
        batch(&[item(BATCH_KEY, &number.to_le_bytes()), item(b"a", value)])
    }

    fn journal(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| numbered(*number, b"value")).collect()
    }

    #[test]
    fn whole_batches_and_zeros_are_a_whole_journal() {
        let mut bytes = journal(&[1, 2]);
        bytes.extend(batch(&[[vec![CLEAR], vec![1; 8]].concat()]));
        let whole_bytes = bytes.len() as u64;
        bytes.extend([0; 100]);
        assert_eq!(scan(&bytes), Scan { newest: Some(2), whole_bytes, fault: None });
        assert_eq!(scan(&[0; 100]), Scan { newest: None, whole_bytes: 0, fault: None });
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = journal(&[1, 2, 3]);
        let one = numbered(1, b"value").len();
        // The sequence number is outside the checksum; the database would not see it either.
        let unseen = one + 5..one + 13;
        for at in (one..2 * one).filter(|at| !unseen.contains(at)) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let scan = scan(&bytes);
            assert_eq!((scan.newest, scan.whole_bytes), (Some(1), one as u64), "byte {at}");
            assert_eq!(scan.fault.expect("a fault").behind, Some(3), "byte {at}");
        }
    }

    #[test]
    fn a_torn_batch_tells_its_number_if_it_can() {
        let torn = numbered(2, &[7; 500]);
        for cut in 1..torn.len() {
            let bytes = [numbered(1, b"value"), torn[..cut].to_vec()].concat();
            let fault = scan(&bytes).fault.expect("a fault");
            let number = (cut >= 13 + item(BATCH_KEY, &[0; 8]).len()).then_some(2);
            assert_eq!((fault.number, fault.behind), (number, None), "{cut} bytes");
        }
    }

    #[test]
    fn an_older_batch_in_a_torn_one_is_a_value_and_no_batch() {
        let inside = numbered(1, b"value");
        let mut torn = numbered(2, &inside);
        torn.pop();
        let bytes = [numbered(1, b"value"), torn].concat();
        assert_eq!(scan(&bytes).fault.expect("a fault").behind, None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_scanned(bytes in proptest::collection::vec(prop_oneof![0u8..5, any::<u8>()], 0..400)) {
            let scan = scan(&bytes);
            prop_assert!(scan.whole_bytes <= bytes.len() as u64);
        }

        #[test]
        fn any_change_of_a_journal_can_be_scanned(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let mut bytes = journal(&[1, 2, 3, 4]);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let scan = scan(&bytes);
            prop_assert!(scan.newest.is_none_or(|newest| newest <= 4));
        }
    }
}
