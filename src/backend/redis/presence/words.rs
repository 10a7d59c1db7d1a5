//! What users with sessions on this node say of themselves, as Redis has it.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// What one user says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Known {
    /// Grows with each word; 0 where there never was one.
    pub(super) serial: u64,
    /// When it ends, by the clock of Redis; 0: never.
    pub(super) until_ms: u64,
    /// Empty: nothing any more.
    pub(super) text: Arc<str>,
}

/// Of all who have said something: no more than have a session here.
#[derive(Debug, Default)]
pub(super) struct Words {
    by_user: HashMap<Box<str>, Known, RandomState>,
}

impl Words {
    /// What a user says.
    pub(super) fn of(&self, user: &str) -> Known {
        self.by_user.get(user).cloned().unwrap_or_default()
    }

    /// A user says that. `false` if it is known, or something newer is.
    pub(super) fn learn(&mut self, user: &str, serial: u64, until_ms: u64, text: &str) -> bool {
        let known = self.by_user.get(user).map_or(0, |known| known.serial);
        if serial <= known {
            return false;
        }
        self.by_user.insert(user.into(), Known { serial, until_ms, text: text.into() });
        true
    }

    /// The user has no session here any more.
    pub(super) fn forget(&mut self, user: &str) {
        if self.by_user.remove(user).is_some() && self.by_user.capacity() > self.by_user.len() * 8 + 64 {
            self.by_user.shrink_to_fit();
        }
    }

    /// Users who say something.
    pub(super) fn len(&self) -> usize {
        self.by_user.len()
    }
}
