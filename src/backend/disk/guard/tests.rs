//! The guard before real databases: started, killed, broken, started again.

use std::fs;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

mod broken_journals;
mod store;

use store::*;

const ID: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

#[test]
fn an_empty_or_missing_directory_becomes_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b");
    let store = Running::start(&deep);
    assert_eq!(store.entered, Entered { id: ID, is_new: true, end: End::Clean, known_batch: 0 });
    let marker = fs::read_to_string(deep.join("stompede.store")).unwrap();
    assert_eq!(marker, "stompede store\nformat 1\nid 0123456789abcdef0011223344556677\n");
}

#[test]
fn a_store_that_was_left_is_found_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Running::start(dir.path());
    store.acknowledge(b"value");
    store.acknowledge(b"value");
    store.leave();
    let (guard, entered) = Guard::enter(dir.path(), Fsync::Always, false, 7).unwrap();
    assert_eq!(entered, Entered { id: ID, is_new: false, end: End::Clean, known_batch: 2 });
    drop(guard);
    // That one went without a word.
    let store = Running::start(dir.path());
    assert_eq!((store.end, store.records()), (End::Killed, vec![1, 2]));
}

#[test]
fn a_killed_process_loses_nothing() {
    for fsync in [Fsync::Always, Fsync::Interval] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Running::start_in(dir.path(), fsync);
        store.acknowledge(b"value");
        store.write(b"value");
        let dir = store.kill();
        let store = Running::start_in(dir.path(), fsync);
        assert_eq!((store.end, store.entered.known_batch), (End::Killed, 1));
        assert_eq!(store.records(), [1, 2]);
    }
}

#[test]
fn a_second_process_is_told_who_has_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::start(dir.path());
    let error = Guard::enter(dir.path(), Fsync::Always, true, 7).unwrap_err();
    assert!(
        matches!(&error, OpenError::InUse { holder: Some(pid), .. } if *pid == std::process::id()),
        "{error}"
    );
    store.leave();
    assert_eq!(len(&dir.path().join(lock::NAME)), 0);
    Running::start(dir.path());
}

#[test]
fn a_directory_of_others_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "chapter one").unwrap();
    let before = snapshot(dir.path());
    for accept_loss in [false, true] {
        let error = Guard::enter(dir.path(), Fsync::Always, accept_loss, ID).unwrap_err();
        assert!(matches!(&error, OpenError::Foreign { dir: named } if named == dir.path()), "{error}");
        assert!(snapshot(dir.path()) == before && !dir.path().join(lock::NAME).exists());
    }
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join(DB)).unwrap();
    let error = Guard::enter(other.path(), Fsync::Always, false, ID).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn what_a_crash_while_making_a_store_leaves_behind_counts_as_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lock"), "1234").unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    fs::write(dir.path().join("stompede.store.new"), "stom").unwrap();
    fs::write(dir.path().join("witness"), "").unwrap();
    let store = Running::start(dir.path());
    assert_eq!((store.entered.is_new, store.end), (true, End::Clean));
}

#[test]
fn a_database_that_was_never_finished_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(Guard::enter(dir.path(), Fsync::Always, false, ID).unwrap());
    fs::create_dir_all(dir.path().join("db/keyspaces")).unwrap();
    fs::write(dir.path().join("db/lock"), "").unwrap();
    write_sized(&journal(dir.path(), 0), b"", 1 << 20);
    let store = Running::start(dir.path());
    assert!(store.entered.is_new);
}

#[test]
fn a_newer_format_is_left_to_a_newer_program() {
    let dir = killed_after(1);
    let marker = dir.path().join(marker::NAME);
    fs::write(&marker, "stompede store\nformat 2\nsomething else\n").unwrap();
    let before = snapshot(dir.path());
    for accept_loss in [false, true] {
        let error = Guard::enter(dir.path(), Fsync::Always, accept_loss, ID).unwrap_err();
        let OpenError::Newer { path, found: 2, known: 1 } = &error else { panic!("{error}") };
        assert_eq!(*path, marker);
        assert!(snapshot(dir.path()) == before);
    }
}

#[test]
fn a_garbled_or_missing_marker_is_damage_and_can_be_written_anew() {
    for text in [Some(""), Some("stompede store\nformat 1\nid 0123\n"), Some("\0\0\0"), None] {
        let dir = killed_after(2);
        let marker = dir.path().join(marker::NAME);
        match text {
            Some(text) => fs::write(&marker, text).unwrap(),
            None => fs::remove_file(&marker).unwrap(),
        }
        refused(dir.path(), &marker);
        let store = Running::start_accepting_loss(dir.path());
        assert_eq!((store.entered.id, store.end, store.records()), (ID, End::MayHaveLost, vec![1, 2]));
        assert_eq!(Marker::read(dir.path()).unwrap().unwrap(), Marker { id: ID });
    }
}

#[test]
fn a_garbled_or_missing_witness_is_damage_and_can_be_done_without() {
    for bytes in [Some(vec![]), Some(vec![7; 8192]), None] {
        let dir = killed_after(2);
        let witness = dir.path().join(witness::NAME);
        match bytes {
            Some(bytes) => fs::write(&witness, bytes).unwrap(),
            None => fs::remove_file(&witness).unwrap(),
        }
        refused(dir.path(), &witness);
        let store = Running::start_accepting_loss(dir.path());
        assert_eq!((store.entered.id, store.entered.known_batch), (ID, 0));
        assert_eq!((store.end, store.records()), (End::MayHaveLost, vec![1, 2]));
    }
}

#[test]
fn the_witness_of_another_store_says_nothing() {
    let dir = killed_after(2);
    change_witness(dir.path(), |witness| witness.id += 1);
    refused(dir.path(), &dir.path().join(witness::NAME));
}

#[test]
fn one_torn_slot_of_the_witness_leaves_the_one_before() {
    let dir = killed_after(4);
    // Turns 0 and 1 are written by entering, 2 by checking, 3 to 6 by noting.
    change(&dir.path().join(witness::NAME), |bytes| bytes[60] ^= 1);
    let store = Running::start(dir.path());
    assert_eq!((store.entered.known_batch, store.end), (3, End::Killed));
    assert_eq!(store.records(), [1, 2, 3, 4]);
}

#[test]
fn a_store_without_its_version_file_is_never_made_anew() {
    for bytes in [None, Some(b"FJ"), Some(b"??")] {
        let dir = killed_after(2);
        let version = dir.path().join("db/version");
        match bytes {
            Some(bytes) => fs::write(&version, bytes).unwrap(),
            None => fs::remove_file(&version).unwrap(),
        }
        refused(dir.path(), &version);
        let store = Running::start_accepting_loss(dir.path());
        assert_eq!((store.end, store.records()), (End::MayHaveLost, vec![1, 2]));
    }
}

#[test]
fn a_store_without_its_database_is_made_anew_only_if_that_is_accepted() {
    let dir = killed_after(2);
    fs::remove_dir_all(dir.path().join(DB)).unwrap();
    refused(dir.path(), &dir.path().join(DB));
    let store = Running::start_accepting_loss(dir.path());
    assert_eq!((store.end, store.records()), (End::MayHaveLost, vec![]));
}

#[test]
fn a_keyspace_that_the_database_would_delete_is_damage() {
    for gone in [
        "db/keyspaces/0/current",
        "db/keyspaces/1/current",
        "db/keyspaces/0",
        "db/keyspaces/1",
        "db/keyspaces",
    ] {
        let dir = killed_after(2);
        let path = dir.path().join(gone);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        refused(dir.path(), &dir.path().join("db/keyspaces"));
    }
}

#[test]
fn what_the_database_would_panic_at_is_an_error() {
    for stranger in ["db/keyspaces/1.bak", "db/2.jnl", "db/copy.jnl", "db/02.jnl"] {
        let dir = killed_after(1);
        let path = dir.path().join(stranger);
        if stranger.ends_with("2.jnl") || stranger.ends_with("bak") {
            fs::create_dir(&path).unwrap();
        } else {
            fs::write(&path, "").unwrap();
        }
        refused(dir.path(), &path);
    }
}

#[test]
fn the_database_itself_misses_its_tables() {
    for gone in ["tables", "version"] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Running::start(dir.path());
        store.acknowledge(b"value");
        store.keyspace.rotate_memtable_and_wait().unwrap();
        let dir = store.kill();
        remove_files(&dir.path().join("db/keyspaces/1"), gone);
        let (guard, _) = Guard::enter(dir.path(), Fsync::Always, false, ID).unwrap();
        assert!(Database::builder(guard.db_dir()).open().is_err(), "{gone}");
    }
}

/// Removes the tables of a keyspace, or what lists them.
fn remove_files(keyspace: &Path, what: &str) {
    let dir = if what == "tables" { keyspace.join("tables") } else { keyspace.to_owned() };
    let is_gone = |name: &str| what == "tables" || name.starts_with('v');
    let mut removed = 0;
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_file() && is_gone(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).unwrap();
            removed += 1;
        }
    }
    assert!(removed > 0, "{what}");
}

#[test]
fn the_loss_of_power_may_take_what_was_not_synced() {
    for (fsync, boot, end) in [
        (Fsync::Interval, 1, End::MayHaveLost),
        (Fsync::Interval, 0, End::MayHaveLost),
        (Fsync::Always, 1, End::Killed),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Running::start_in(dir.path(), fsync);
        store.acknowledge(b"value");
        let dir = store.kill();
        change_witness(dir.path(), |witness| witness.boot = boot);
        let store = Running::start_in(dir.path(), fsync);
        assert_eq!((store.entered.end, store.end, store.records()), (end, end, vec![1]));
    }
}

#[test]
fn after_the_loss_of_power_whole_batches_may_stand_behind_torn_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Running::start_in(dir.path(), Fsync::Interval);
    (0..4).for_each(|_| store.acknowledge(b"value"));
    let dir = store.kill();
    change_witness(dir.path(), |witness| witness.boot = 1);
    change(&journal(dir.path(), 0), |bytes| {
        let value = find(bytes, b"record 2").end;
        bytes[value] = 0;
    });
    let store = Running::start(dir.path());
    assert_eq!((store.end, store.records()), (End::MayHaveLost, vec![1]));
}

#[test]
fn a_loss_is_spoken_of_until_it_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Running::start_in(dir.path(), Fsync::Interval);
    store.acknowledge(b"value");
    let dir = store.kill();
    change_witness(dir.path(), |witness| witness.boot = 1);
    // A process that dies before it has looked into the database, one that dies later, one that leaves.
    drop(Guard::enter(dir.path(), Fsync::Always, false, ID).unwrap());
    let mut store = Running::start(dir.path());
    assert_eq!(store.end, End::MayHaveLost);
    store.acknowledge(b"value");
    drop(store);
    let store = Running::start(dir.path());
    assert_eq!(store.end, End::MayHaveLost);
    store.leave();
    let mut store = Running::start(dir.path());
    assert_eq!(store.end, End::MayHaveLost);
    store.write(b"a new epoch");
    store.guard.settle_loss(store.batch).unwrap();
    drop(store);
    assert_eq!(Running::start(dir.path()).end, End::Killed);
}

#[test]
fn nobody_leaves_while_the_database_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let Running { guard, db, keyspace, batch, .. } = Running::start(dir.path());
    let error = guard.leave(batch).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    drop((keyspace, db));
    assert_eq!(Running::start(dir.path()).end, End::Killed);
}

#[test]
fn a_store_that_was_never_opened_can_be_left() {
    let dir = tempfile::tempdir().unwrap();
    let (guard, _) = Guard::enter(dir.path(), Fsync::Always, false, ID).unwrap();
    guard.leave(0).unwrap();
    let store = Running::start(dir.path());
    assert_eq!((store.entered.is_new, store.end), (true, End::Clean));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_in_any_file_are_an_answer(
        name in prop::sample::select(vec!["stompede.store", "witness", "lock", "db/version", "db/0.jnl", "db/1.jnl"]),
        bytes in prop::collection::vec(prop_oneof![0u8..5, any::<u8>()], 0..300),
        accept_loss: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        drop(Guard::enter(dir.path(), Fsync::Always, false, ID).unwrap());
        fs::create_dir_all(dir.path().join("db/keyspaces/0")).unwrap();
        fs::write(dir.path().join("db/version"), b"FJL\x03").unwrap();
        fs::write(journal(dir.path(), 0), b"").unwrap();
        fs::write(dir.path().join(name), bytes).unwrap();
        let _ = Guard::enter(dir.path(), Fsync::Always, accept_loss, ID);
    }
}
