//! Cursors of user queues: as in memory, and on disk what brings them back.

use std::sync::Arc;

use crate::backend::memory::MemoryCursors;
use crate::backend::{Cursor, Cursors};
use crate::model::Destination;

use super::OpenError;
use super::changes::Change;
use super::line::{Line, Order};
use super::open::Known;
use super::stripes::Stripes;
use super::tables::{self, CURSOR, Table, Tables, paired};

/// Cursors that outlive the process.
#[derive(Debug)]
pub(super) struct DiskCursors {
    inner: MemoryCursors,
    line: Arc<Line>,
    /// Changes of one queue are written in the order in which they took effect.
    order: Stripes,
}

impl DiskCursors {
    pub(super) fn new(inner: MemoryCursors, line: Arc<Line>) -> Self {
        Self { inner, line, order: Stripes::default() }
    }

    fn write(&self, queue: &Destination, device: &str, offset: u64, seen_ms: u64) {
        let value = tables::numbers(&[offset, seen_ms]);
        self.line.push(Order::Change(Change::put(
            Table::State,
            paired(CURSOR, queue.as_str(), device),
            value,
        )));
    }

    fn remove(&self, queue: &Destination, device: &str) {
        self.line.push(Order::Change(Change::remove(Table::State, paired(CURSOR, queue.as_str(), device))));
    }
}

impl Cursors for DiskCursors {
    fn begin(&self, queue: &Destination, device: &str, now_ms: u64) -> Cursor {
        let _order = self.order.lock(queue);
        let begun = self.inner.begun(queue, device, now_ms, &mut |device| self.remove(queue, device));
        if let Some(offset) = begun {
            self.write(queue, device, offset, now_ms);
        }
        Cursor::At(begun.filter(|offset| *offset > 0))
    }

    fn advance(&self, queue: &Destination, device: &str, offset: u64, now_ms: u64) -> Option<u64> {
        let _order = self.order.lock(queue);
        let forget = &mut |device: &str| self.remove(queue, device);
        let Some(taken) = self.inner.advanced(queue, device, offset, now_ms, forget) else { return Some(0) };
        self.write(queue, device, taken.by_device, now_ms);
        Some(taken.by_all)
    }

    fn tick(&self, seen_ms: u64) {
        self.inner.forget_unseen(seen_ms, &mut |queue, device| self.remove(queue, device));
    }

    fn len(&self) -> usize {
        self.inner.len()
    }
}

/// Brings back what an earlier process had.
pub(super) fn load(tables: &Tables, cursors: &MemoryCursors, known: &Known<'_>) -> Result<(), OpenError> {
    for found in tables.prefix(Table::State, &[CURSOR]) {
        let (key, value) = found.map_err(|error| known.fault(&error))?;
        let (Some((queue, device)), Some([offset, seen_ms])) =
            (tables::parse_paired(&key), tables::parse_numbers(&value))
        else {
            known.lacks(&format!("the entry {} of a cursor is none", key.escape_ascii()))?;
            continue;
        };
        cursors.restore(&Destination::internal(queue), device, offset, seen_ms);
    }
    Ok(())
}
