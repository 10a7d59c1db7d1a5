//! Members of rooms: as in memory, and on disk what brings them back.

use std::sync::Arc;

use crate::backend::memory::MemoryMemberships;
use crate::backend::{Memberships, Soon};
use crate::model::{Membership, MembershipError, People, Ticket};

use super::OpenError;
use super::changes::Change;
use super::line::{Line, Order};
use super::open::Known;
use super::stripes::Stripes;
use super::tables::{self, MEMBER, Table, Tables, paired};

/// Memberships that outlive the process.
#[derive(Debug)]
pub(super) struct DiskMemberships {
    inner: MemoryMemberships,
    line: Arc<Line>,
    /// Changes of one user are written in the order in which they took effect.
    order: Stripes,
}

impl DiskMemberships {
    pub(super) fn new(inner: MemoryMemberships, line: Arc<Line>) -> Self {
        Self { inner, line, order: Stripes::default() }
    }

    fn write(&self, room: &str, user: &str, read: Option<u64>) {
        let value = read.map(|read| tables::numbers(&[read]));
        self.line.push(Order::Change(Change { table: Table::State, key: paired(MEMBER, user, room), value }));
    }

    fn enrolled(&self, room: &str, user: &str, read: u64) -> Result<bool, MembershipError> {
        let _order = self.order.lock(user);
        let enrolled = self.inner.enrolled(room, user, read)?;
        if enrolled {
            self.write(room, user, Some(read));
        }
        Ok(enrolled)
    }

    fn withdrawn(&self, room: &str, user: &str) -> bool {
        let _order = self.order.lock(user);
        let withdrawn = self.inner.withdrawn(room, user);
        if withdrawn {
            self.write(room, user, None);
        }
        withdrawn
    }

    fn marked_read(&self, room: &str, user: &str, offset: u64) -> Option<bool> {
        let _order = self.order.lock(user);
        let moved = self.inner.marked_read(room, user, offset)?;
        if moved {
            self.write(room, user, Some(offset));
        }
        Some(moved)
    }
}

impl Memberships for DiskMemberships {
    fn enrol(&self, room: &str, user: &str, read: u64, _: Ticket) -> Soon<Result<bool, MembershipError>> {
        Soon::Now(self.enrolled(room, user, read))
    }

    fn withdraw(&self, room: &str, user: &str, _: Ticket) -> Soon<bool> {
        Soon::Now(self.withdrawn(room, user))
    }

    fn mark_read(&self, room: &str, user: &str, offset: u64, _: Ticket) -> Soon<Option<bool>> {
        Soon::Now(self.marked_read(room, user, offset))
    }

    fn membership(&self, room: &str, user: &str, _: Ticket) -> Soon<Option<Membership>> {
        Soon::Now(self.inner.membership_of(room, user))
    }

    fn rooms_of(&self, user: &str, _: Ticket) -> Soon<Vec<Membership>> {
        Soon::Now(self.inner.all_of(user))
    }

    fn members(&self, room: &str, next: Option<&str>, count: usize, _: Ticket) -> Soon<People> {
        Soon::Now(self.inner.members_of(room, next, count))
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn bytes(&self) -> usize {
        self.inner.bytes()
    }
}

/// Brings back what an earlier process had.
pub(super) fn load(
    tables: &Tables,
    memberships: &MemoryMemberships,
    known: &Known<'_>,
) -> Result<(), OpenError> {
    for found in tables.prefix(Table::State, &[MEMBER]) {
        let (key, value) = found.map_err(|error| known.fault(&error))?;
        let (Some((user, room)), Some([read])) = (tables::parse_paired(&key), tables::parse_numbers(&value))
        else {
            known.lacks(&format!("the entry {} of a membership is none", key.escape_ascii()))?;
            continue;
        };
        memberships.restore(room, user, read);
    }
    Ok(())
}
