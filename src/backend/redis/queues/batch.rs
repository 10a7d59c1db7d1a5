//! What became of messages, gathered while Redis is being told of others.

use crate::backend::redis::journal::Entry;

/// What Redis is told in one go, one go at a time. Each with what is closed when it is safe, if somebody may ask whether it
/// is.
#[derive(Debug)]
pub(super) struct Batch<T> {
    waiting: Vec<(T, Option<Entry>)>,
    is_under_way: bool,
}

/// A message that goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Return {
    pub(super) tag: u64,
    /// How often it was handed out.
    pub(super) deliveries: u32,
    /// When it is ready again, milliseconds since the Unix epoch; 0 = now.
    pub(super) due_ms: u64,
    /// When something is to be done with it.
    pub(super) alarm_ms: Option<u64>,
}

impl<T> Batch<T> {
    /// Redis is to be told that too.
    pub(super) fn push(&mut self, one: T, entry: Option<Entry>) {
        self.waiting.push((one, entry));
    }

    /// What Redis is to be told now.
    pub(super) fn next(&mut self) -> Option<(Vec<T>, Vec<Entry>)> {
        if self.is_under_way || self.waiting.is_empty() {
            return None;
        }
        self.is_under_way = true;
        let count = self.waiting.len().min(BATCH_MAX);
        let (all, entries): (_, Vec<_>) = self.waiting.drain(..count).unzip();
        Some((all, entries.into_iter().flatten().collect()))
    }

    /// Redis was told.
    pub(super) fn told(&mut self) {
        self.is_under_way = false;
    }

    /// What it will never be told.
    pub(super) fn abandon(self) -> impl Iterator<Item = Entry> {
        self.waiting.into_iter().filter_map(|(_, entry)| entry)
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), is_under_way: false }
    }
}

/// Messages of which Redis is told in one go.
const BATCH_MAX: usize = 256;
