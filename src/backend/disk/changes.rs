//! What one batch changes: of each entry the last word.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use super::tables::Table;

/// One entry that is written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) table: Table,
    pub(super) key: Vec<u8>,
    /// `None`: it is removed.
    pub(super) value: Option<Vec<u8>>,
}

impl Change {
    pub(super) fn put(table: Table, key: Vec<u8>, value: impl Into<Vec<u8>>) -> Self {
        Self { table, key, value: Some(value.into()) }
    }

    pub(super) fn remove(table: Table, key: Vec<u8>) -> Self {
        Self { table, key, value: None }
    }

    /// Bytes that it keeps in memory.
    pub(super) fn cost_bytes(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Changes that are written together. The database gives all of them one number: of two of one entry it would not know
/// which is the later.
#[derive(Debug, Default)]
pub(super) struct Changes(HashMap<(Table, Vec<u8>), Option<Vec<u8>>, RandomState>);

impl Changes {
    pub(super) fn push(&mut self, change: Change) {
        let Change { table, key, value } = change;
        match self.0.entry((table, key)) {
            Entry::Occupied(mut known) => drop(known.insert(value)),
            Entry::Vacant(unknown) => drop(unknown.insert(value)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<Change> for Changes {
    fn extend<I: IntoIterator<Item = Change>>(&mut self, changes: I) {
        changes.into_iter().for_each(|change| self.push(change));
    }
}

impl FromIterator<Change> for Changes {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut all = Self::default();
        all.extend(changes);
        all
    }
}

impl IntoIterator for Changes {
    type Item = Change;
    type IntoIter = std::iter::Map<
        std::collections::hash_map::IntoIter<(Table, Vec<u8>), Option<Vec<u8>>>,
        fn(((Table, Vec<u8>), Option<Vec<u8>>)) -> Change,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|((table, key), value)| Change { table, key, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let (a, b) = (b"a".to_vec(), b"b".to_vec());
        let changes = Changes::from_iter([
            Change::put(Table::State, a.clone(), "1"),
            Change::put(Table::Work, a.clone(), "2"),
            Change::put(Table::State, b.clone(), "3"),
            Change::remove(Table::State, a.clone()),
            Change::remove(Table::Work, a.clone()),
            Change::put(Table::Work, a.clone(), "4"),
        ]);
        let mut last: Vec<Change> = changes.into_iter().collect();
        last.sort_by_key(|change| (change.key.clone(), change.table as u8));
        let expected = [
            Change::put(Table::Work, a.clone(), "4"),
            Change::remove(Table::State, a),
            Change::put(Table::State, b, "3"),
        ];
        assert_eq!(last, expected);
    }
}
