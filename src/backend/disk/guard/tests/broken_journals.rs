//! Journals that are flipped, torn, sealed and removed.

use super::*;

#[test]
fn a_flipped_byte_in_a_journal_is_damage_and_named() {
    // Of batch 2: its tag, its count, the tag of an item, a key's length, a value's length, a value.
    for offset in [0, 1, 13, 24, 26, 40] {
        let dir = killed_after(4);
        let path = journal(dir.path(), 0);
        let mut at = 0;
        change(&path, |bytes| {
            at = start_of(bytes, 2);
            bytes[at + offset] ^= 0x55;
        });
        let what = refused(dir.path(), &path);
        assert!(what.starts_with(&format!("at byte {at} ")), "{what}");
        assert!(what.ends_with("batches 2 to 4 are lost"), "{what}");
        let mut store = Running::start_accepting_loss(dir.path());
        assert_eq!((store.end, store.records()), (End::MayHaveLost, vec![1]));
        store.acknowledge(b"value");
        store.guard.settle_loss(store.batch).unwrap();
        store.leave();
        let store = Running::start(dir.path());
        assert_eq!((store.end, store.records()), (End::Clean, vec![1, 2]));
    }
}

#[test]
fn damage_after_a_clean_end_is_noticed_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Running::start(dir.path());
    (0..3).for_each(|_| store.acknowledge(b"value"));
    store.leave();
    let path = journal(dir.path(), 0);
    change(&path, |bytes| {
        let last = start_of(bytes, 3);
        bytes[last] = 9;
    });
    assert!(refused(dir.path(), &path).ends_with("batch 3 is lost"));
}

#[test]
fn a_fault_before_batches_of_which_an_old_witness_knows_nothing_is_damage() {
    let dir = killed_after(4);
    // In mode always the witness is not synced: after the loss of power it may be this old.
    change_witness(dir.path(), |witness| (witness.batch, witness.boot) = (0, 1));
    let path = journal(dir.path(), 0);
    change(&path, |bytes| {
        let value = find(bytes, b"record 2").end;
        bytes[value] ^= 1;
    });
    assert!(refused(dir.path(), &path).ends_with("batches 2 to 4 are lost"));
}

/// A store that was killed while its last batch, of 16 KiB, was written, with a page of zeros in it.
fn torn(tell: impl FnOnce(&mut Running)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Running::start(dir.path());
    (0..3).for_each(|_| store.acknowledge(b"value"));
    store.write(&[0x5a; 16 * 1024]);
    tell(&mut store);
    let dir = store.kill();
    change(&journal(dir.path(), 0), |bytes| {
        let value = find(bytes, &[0x5a; 64]).start;
        bytes[value + 4096..value + 8192].fill(0);
    });
    dir
}

#[test]
fn a_torn_batch_of_which_nobody_was_told_is_cut_off() {
    let dir = torn(|_| ());
    let mut store = Running::start(dir.path());
    assert_eq!((store.end, store.records()), (End::Killed, vec![1, 2, 3]));
    store.acknowledge(b"value");
    store.leave();
    assert_eq!(Running::start(dir.path()).records(), [1, 2, 3, 4]);
}

#[test]
fn a_torn_batch_that_was_acknowledged_is_damage() {
    let dir = torn(|store| store.guard.note(4).unwrap());
    let what = refused(dir.path(), &journal(dir.path(), 0));
    assert!(what.ends_with("a batch is not what its checksum says; batch 4 is lost"), "{what}");
    let store = Running::start_accepting_loss(dir.path());
    assert_eq!((store.end, store.records()), (End::MayHaveLost, vec![1, 2, 3]));
}

#[test]
fn a_batch_may_be_torn_at_any_byte() {
    let whole = killed_after(2);
    let bytes = journals::content(&journal(whole.path(), 0)).unwrap();
    for cut in (start_of(&bytes, 2) + 1..bytes.len()).step_by(7) {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(whole.path(), dir.path());
        change_witness(dir.path(), |witness| witness.batch = 1);
        write_sized(&journal(dir.path(), 0), &bytes[..cut], 1 << 20);
        let store = Running::start(dir.path());
        assert_eq!((store.end, store.records()), (End::Killed, vec![1]), "{cut} bytes");
    }
}

#[test]
fn the_first_batch_of_a_journal_may_be_torn_where_all_others_stand_in_tables() {
    let dir = killed_after(1);
    let path = journal(dir.path(), 0);
    // Of a batch that has just begun no more is known than that the tables must go as far as was promised.
    for (acknowledged, is_torn) in [(0, true), (1, false)] {
        let dir_of_case = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), dir_of_case.path());
        change_witness(dir_of_case.path(), |witness| witness.batch = acknowledged);
        let path_of_case = journal(dir_of_case.path(), 0);
        change(&path_of_case, |bytes| bytes.truncate(bytes.len() - 1));
        if is_torn {
            Running::start(dir_of_case.path());
        } else {
            refused(dir_of_case.path(), &path_of_case);
        }
    }
    change(&path, |bytes| bytes.truncate(5));
    let error = Running::try_start(dir.path(), Fsync::Always, false).err().expect("batch 1 is gone");
    assert!(matches!(&error, OpenError::Damaged { path, .. } if *path == dir.path().join(DB)), "{error}");
}

#[test]
fn a_sealed_journal_has_no_torn_end() {
    let dir = killed_after(4);
    split_before(dir.path(), 3);
    assert_eq!(Running::start(copied(&dir).path()).records(), [1, 2, 3, 4]);
    change_witness(dir.path(), |witness| witness.batch = 0);
    change(&journal(dir.path(), 0), |bytes| bytes.truncate(bytes.len() - 1));
    let what = refused(dir.path(), &journal(dir.path(), 0));
    assert!(what.ends_with("batches 2 to 4 are lost"), "{what}");
    let store = Running::start_accepting_loss(dir.path());
    assert_eq!((store.end, store.records()), (End::MayHaveLost, vec![1, 3, 4]));
}

fn copied(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    copy
}

#[test]
fn a_deleted_journal_is_missed() {
    let dir = killed_after(6);
    split_before(dir.path(), 3);
    // The last: while there are older batches in journals, the newest must be there too.
    let case = copied(&dir);
    fs::remove_file(journal(case.path(), 1)).unwrap();
    assert_eq!(refused(case.path(), &case.path().join(DB)), "batches 3 to 6 are missing");
    // All of them.
    let case = copied(&dir);
    fs::remove_file(journal(case.path(), 0)).unwrap();
    fs::remove_file(journal(case.path(), 1)).unwrap();
    assert_eq!(refused(case.path(), &case.path().join(DB)), "it has no journal");
    // One in between; what was accepted once is no news later.
    fs::rename(journal(dir.path(), 1), journal(dir.path(), 2)).unwrap();
    assert_eq!(refused(dir.path(), &journal(dir.path(), 1)), "it is missing");
    let mut store = Running::start_accepting_loss(dir.path());
    store.guard.settle_loss(store.batch).unwrap();
    store.leave();
    let store = Running::start(dir.path());
    assert_eq!((store.end, store.records()), (End::Clean, vec![1, 2, 3, 4, 5, 6]));
}

#[test]
fn after_a_clean_end_the_oldest_journal_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Running::start(dir.path());
    (0..4).for_each(|_| store.acknowledge(b"value"));
    store.leave();
    // As if there had been a journal 0 before it.
    fs::rename(journal(dir.path(), 0), journal(dir.path(), 1)).unwrap();
    assert_eq!(refused(dir.path(), &journal(dir.path(), 0)), "it is missing");
}

#[test]
fn an_emptied_journal_is_noticed_once_the_database_is_open() {
    let dir = killed_after(3);
    write_sized(&journal(dir.path(), 0), b"", 1 << 20);
    let error = Running::try_start(dir.path(), Fsync::Always, false).err().expect("batches are missing");
    let OpenError::Damaged { path, what } = &error else { panic!("{error}") };
    assert_eq!((path, what.as_str()), (&dir.path().join(DB), "batches 1 to 3 are missing"));
    // It is no less missing the second time.
    Running::try_start(dir.path(), Fsync::Always, false).err().expect("batches are missing");
    let store = Running::start_accepting_loss(dir.path());
    assert_eq!((store.end, store.records()), (End::MayHaveLost, vec![]));
}

#[test]
fn flushed_batches_need_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Running::start(dir.path());
    (0..3).for_each(|_| store.acknowledge(b"value"));
    store.keyspace.rotate_memtable_and_wait().unwrap();
    let dir = store.kill();
    write_sized(&journal(dir.path(), 0), b"", 1 << 20);
    let store = Running::start(dir.path());
    assert_eq!((store.end, store.records()), (End::Killed, vec![1, 2, 3]));
}

#[test]
fn journals_that_the_database_turned_over_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Running::start(dir.path());
    // Until it is flushed, this holds every journal from then on.
    let other = store.db.keyspace("other", KeyspaceCreateOptions::default).unwrap();
    other.insert("held", "value").unwrap();
    (0..9).for_each(|_| store.acknowledge(&vec![7; 8 << 20]));
    store.keyspace.rotate_memtable_and_wait().unwrap();
    store.acknowledge(b"value");
    drop(other);
    let copy = store.kill();
    assert!(journal(copy.path(), 0).exists() && journal(copy.path(), 1).exists());
    let store = Running::start(copy.path());
    assert_eq!((store.end, store.records()), (End::Killed, (1..=10).collect()));
    store.leave();
    assert_eq!(Running::start(copy.path()).end, End::Clean);
}
