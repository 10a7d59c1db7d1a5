//! What a process has promised, kept where its death does not reach: a file of two slots that are written in turn.
//!
//! ```text
//! slot: magic 8 | turn 8 | store id 16 | boot id 16 | mode 1 | clean 1 | loss 1 | 0 | keyspaces 4 | batch 8
//!       | journals from 8 | xxh3 of all that 8                                                   (little-endian)
//! ```
//!
//! The slots stand in different blocks: a write that is torn by the loss of power leaves the one before it whole. The
//! newest whole slot counts.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::{End, Fsync, OpenError, files};

/// What is promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Witness {
    /// The store's number: a witness of another one says nothing.
    pub(super) id: u128,
    /// Which start of the system the process ran in; 0 is unknown.
    pub(super) boot: u128,
    /// The mode of the process.
    pub(super) fsync: Fsync,
    /// It has left.
    pub(super) clean: bool,
    /// Acknowledged batches may be missing, and nobody was told so far.
    pub(super) loss: bool,
    /// How many keyspaces of the database were whole when it was last opened; 0 if it never was.
    pub(super) keyspaces: u32,
    /// The last batch that was acknowledged; 0 is none.
    pub(super) batch: u64,
    /// From this journal on none may be missing. After a clean end this one itself must be there.
    pub(super) journals_from: u64,
}

/// The file, held open.
#[derive(Debug)]
pub(super) struct WitnessFile {
    path: PathBuf,
    file: File,
    /// Of the last write.
    turn: u64,
}

impl Witness {
    /// Of a store that holds nothing.
    pub(super) fn of_new_store(id: u128) -> Self {
        Self { clean: true, loss: false, ..Self::of_unknown_past(id) }
    }

    /// Of a store of which nothing is known: anything may be missing.
    pub(super) fn of_unknown_past(id: u128) -> Self {
        let (clean, loss) = (false, true);
        Self { id, boot: 0, fsync: Fsync::Interval, clean, loss, keyspaces: 0, batch: 0, journals_from: 0 }
    }

    /// This process goes on from there.
    pub(super) fn begin_run(&mut self, fsync: Fsync) {
        self.boot = boot_id();
        self.fsync = fsync;
        self.clean = false;
    }

    /// How the process ended that has left this.
    pub(super) fn end(&self) -> End {
        // Within one boot the system still has whatever it was given.
        let same_boot = self.boot != 0 && self.boot == boot_id();
        if self.loss {
            End::MayHaveLost
        } else if self.clean {
            End::Clean
        } else if self.fsync == Fsync::Always || same_boot {
            End::Killed
        } else {
            End::MayHaveLost
        }
    }

    fn encode(&self, turn: u64) -> [u8; SLOT_BYTES] {
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend_from_slice(MAGIC);
        slot.extend_from_slice(&turn.to_le_bytes());
        slot.extend_from_slice(&self.id.to_le_bytes());
        slot.extend_from_slice(&self.boot.to_le_bytes());
        slot.push(u8::from(self.fsync == Fsync::Interval));
        slot.extend_from_slice(&[u8::from(self.clean), u8::from(self.loss), 0]);
        slot.extend_from_slice(&self.keyspaces.to_le_bytes());
        slot.extend_from_slice(&self.batch.to_le_bytes());
        slot.extend_from_slice(&self.journals_from.to_le_bytes());
        let checksum = xxh3_64(&slot);
        slot.extend_from_slice(&checksum.to_le_bytes());
        let mut bytes = [0; SLOT_BYTES];
        bytes.copy_from_slice(&slot);
        bytes
    }

    /// The witness in a slot and its turn, if the slot is whole.
    fn decode(slot: &[u8]) -> Option<(u64, Self)> {
        let (said, checksum) = slot.get(..SLOT_BYTES)?.split_last_chunk::<8>()?;
        if u64::from_le_bytes(*checksum) != xxh3_64(said) {
            return None;
        }
        let mut rest = said.strip_prefix(MAGIC)?;
        let turn = u64::from_le_bytes(take(&mut rest)?);
        let id = u128::from_le_bytes(take(&mut rest)?);
        let boot = u128::from_le_bytes(take(&mut rest)?);
        let [interval, clean, loss, _] = take(&mut rest)?;
        let fsync = if interval == 0 { Fsync::Always } else { Fsync::Interval };
        let keyspaces = u32::from_le_bytes(take(&mut rest)?);
        let batch = u64::from_le_bytes(take(&mut rest)?);
        let journals_from = u64::from_le_bytes(take(&mut rest)?);
        let (clean, loss) = (clean != 0, loss != 0);
        Some((turn, Self { id, boot, fsync, clean, loss, keyspaces, batch, journals_from }))
    }
}

impl WitnessFile {
    /// The newest witness in `dir`, or what is wrong with it.
    ///
    /// # Errors
    ///
    /// [`OpenError::Io`].
    pub(super) fn read(dir: &Path) -> Result<Result<Witness, String>, OpenError> {
        let path = dir.join(NAME);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(FILE_BYTES as u64).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Err("it is missing".to_owned()));
            }
            Err(source) => return Err(OpenError::Io { path, source }),
        }
        let slots = bytes.chunks(SLOT_STRIDE).filter_map(Witness::decode);
        let newest = slots.max_by_key(|(turn, _)| *turn).map(|(_, witness)| witness);
        Ok(newest.ok_or_else(|| "neither of its two copies is whole".to_owned()))
    }

    /// Makes `witness` the only one that was ever written, durably: an older slot must not speak of a clean end.
    ///
    /// # Errors
    ///
    /// [`OpenError::Io`].
    pub(super) fn replace(dir: &Path, witness: &Witness) -> Result<Self, OpenError> {
        let mut bytes = vec![0; FILE_BYTES];
        for (turn, slot) in bytes.chunks_mut(SLOT_STRIDE).enumerate() {
            slot[..SLOT_BYTES].copy_from_slice(&witness.encode(turn as u64));
        }
        let file = files::replace(dir, NAME, &bytes)?;
        Ok(Self { path: dir.join(NAME), file, turn: SLOTS - 1 })
    }

    /// Writes over the older slot. The system has it then; the disk, after [`WitnessFile::sync`].
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn write(&mut self, witness: &Witness) -> io::Result<()> {
        self.turn += 1;
        let at = (self.turn % SLOTS) * SLOT_STRIDE as u64;
        self.file.write_all_at(&witness.encode(self.turn), at)
    }

    /// Makes what was written survive the loss of power.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// This start of the system, by its own word; 0 where it has none.
fn boot_id() -> u128 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

/// The file's name.
pub(super) const NAME: &str = "witness";

const MAGIC: &[u8; 8] = b"witness\x01";

const SLOT_BYTES: usize = 80;

/// A slot to a page, the largest piece that disks and file systems write at once.
const SLOT_STRIDE: usize = 4096;

const SLOTS: u64 = 2;

const FILE_BYTES: usize = SLOT_STRIDE * SLOTS as usize;
