//! A store as a process would have it, and ways to break it.

use std::collections::BTreeMap;
use std::ops::Range;

use fjall::PersistMode;

use super::*;

/// A process that has opened its store.
pub(super) struct Running {
    pub(super) guard: Guard,
    pub(super) entered: Entered,
    pub(super) end: End,
    pub(super) db: Database,
    pub(super) keyspace: Keyspace,
    pub(super) batch: u64,
}

impl Running {
    pub(super) fn start(dir: &Path) -> Self {
        Self::try_start(dir, Fsync::Always, false).expect("the store opens")
    }

    pub(super) fn start_in(dir: &Path, fsync: Fsync) -> Self {
        Self::try_start(dir, fsync, false).expect("the store opens")
    }

    pub(super) fn start_accepting_loss(dir: &Path) -> Self {
        Self::try_start(dir, Fsync::Always, true).expect("the store opens")
    }

    pub(super) fn try_start(dir: &Path, fsync: Fsync, accept_loss: bool) -> Result<Self, OpenError> {
        let (mut guard, entered) = Guard::enter(dir, fsync, accept_loss, ID)?;
        let db = Database::builder(guard.db_dir()).worker_threads(1).open().unwrap();
        let keyspace = db.keyspace("records", KeyspaceCreateOptions::default).unwrap();
        let found = keyspace.get(BATCH_KEY).unwrap();
        let found = found.map(|number| u64::from_le_bytes(number.as_ref().try_into().unwrap()));
        let end = guard.check_opened(found)?;
        Ok(Self { guard, entered, end, db, keyspace, batch: found.unwrap_or(0) })
    }

    /// Writes a batch and tells nobody.
    pub(super) fn write(&mut self, value: &[u8]) {
        self.batch += 1;
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        batch.insert(&self.keyspace, BATCH_KEY, self.batch.to_le_bytes());
        batch.insert(&self.keyspace, format!("record {}", self.batch), value);
        batch.commit().unwrap();
    }

    pub(super) fn acknowledge(&mut self, value: &[u8]) {
        self.write(value);
        self.guard.note(self.batch).unwrap();
    }

    pub(super) fn records(&self) -> Vec<u64> {
        let has = |number: &u64| self.keyspace.contains_key(format!("record {number}")).unwrap();
        (1..=100).filter(has).collect()
    }

    pub(super) fn leave(self) {
        let Self { guard, db, keyspace, batch, .. } = self;
        drop((keyspace, db));
        guard.leave(batch).unwrap();
    }

    /// What is on disk at this moment, as the end of the process would leave it.
    pub(super) fn kill(self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&self.guard.dir, copy.path());
        copy
    }
}

/// A store whose process was killed after it had acknowledged `count` batches.
pub(super) fn killed_after(count: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Running::start(dir.path());
    (0..count).for_each(|_| store.acknowledge(b"value"));
    store.kill()
}

pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_dir(&from, &to)
        } else {
            write_sized(&to, &journals::content(&from).unwrap(), len(&from))
        }
    }
}

/// Writes `bytes` and zeros up to `len`.
pub(super) fn write_sized(path: &Path, bytes: &[u8], len: u64) {
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

pub(super) fn len(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// All files but the lock, in which we may leave our number.
pub(super) fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.insert(path.clone(), (0, Vec::new()));
            files.extend(snapshot(&path));
        } else if entry.file_name() != lock::NAME {
            files.insert(path.clone(), (len(&path), journals::content(&path).unwrap()));
        }
    }
    files
}

pub(super) fn journal(dir: &Path, number: u64) -> PathBuf {
    dir.join(DB).join(format!("{number}.jnl"))
}

pub(super) fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let (mut bytes, len) = (journals::content(path).unwrap(), len(path));
    change(&mut bytes);
    write_sized(path, &bytes, len.max(bytes.len() as u64));
}

pub(super) fn change_witness(dir: &Path, change: impl FnOnce(&mut Witness)) {
    let mut witness = WitnessFile::read(dir).unwrap().unwrap();
    change(&mut witness);
    WitnessFile::replace(dir, &witness).unwrap();
}

/// Where batch `number` stands in a journal: its start, item tag, key length, value length.
pub(super) fn start_of(bytes: &[u8], number: u64) -> usize {
    find(bytes, &[BATCH_KEY, &number.to_le_bytes()].concat()).start - 34
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Range<usize> {
    let at = bytes.windows(what.len()).position(|window| window == what).expect("it is there");
    at..at + what.len()
}

/// Splits the only journal before batch `number`, as a rotation would have.
pub(super) fn split_before(dir: &Path, number: u64) {
    let bytes = journals::content(&journal(dir, 0)).unwrap();
    let (sealed, active) = bytes.split_at(start_of(&bytes, number));
    write_sized(&journal(dir, 0), sealed, 1 << 20);
    write_sized(&journal(dir, 1), active, 1 << 20);
}

/// Starting is refused for damage of `path`, and changes nothing; the answer is what is said of it.
#[track_caller]
pub(super) fn refused(dir: &Path, path: &Path) -> String {
    let before = snapshot(dir);
    let error = Running::try_start(dir, Fsync::Always, false).err().expect("damage is noticed");
    let OpenError::Damaged { path: named, what } = error else { panic!("{error}") };
    assert_eq!(named, path, "{what}");
    assert!(snapshot(dir) == before, "something was changed: {what}");
    what
}
