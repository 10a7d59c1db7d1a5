//! Locks under which something takes effect in memory and is put in the line: so both have it in one order.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

/// One lock for each of many things, shared by some of them.
#[derive(Debug)]
pub(super) struct Stripes {
    locks: Box<[Mutex<()>]>,
    hasher: RandomState,
}

impl Stripes {
    /// The lock of `thing`, held.
    pub(super) fn lock(&self, thing: &(impl Hash + ?Sized)) -> MutexGuard<'_, ()> {
        self.locks[self.hasher.hash_one(thing) as usize % self.locks.len()].lock()
    }
}

impl Default for Stripes {
    fn default() -> Self {
        Self { locks: (0..LOCKS).map(|_| Mutex::default()).collect(), hasher: RandomState::default() }
    }
}

/// Things are spread over so many locks.
const LOCKS: usize = 64;
